"""A peer's process as seen from outside: asked in turns, and never left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Self

from chalknet.bench.catalogue import Peer

ANSWER_SECONDS = 300.0  # after which a peer counts as stuck; a compiler may take a minute
THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
TAIL_BYTES = 10_000  # of standard error, in which its last line is looked for


class PeerError(Exception):
    """A peer whose process ended, or gave no answer; the message is its last line on standard error."""


class PeerProcess:
    """`with PeerProcess(peer, environment, threads) as process: process.ask("prepare full 100")`.

    The process has a group of its own, so that it and what it started end together; without us its standard input
    ends, and so does it.

    Attributes:
        facts: the BLAS that its NumPy has loaded.
    """

    def __init__(self, peer: Peer, environment: Mapping[str, str], threads: int) -> None:
        limited = dict.fromkeys(THREAD_VARIABLES, str(threads)) if threads else {}
        self.facts: dict[str, Any] = {}
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 (closed by end())
        self._process = subprocess.Popen(
            [sys.executable, "-m", "chalknet.bench.peer_work", peer.name, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            encoding="utf-8",
            env={**environment, **limited},
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def greet(self) -> None:
        """Waits until it is there, and notes its facts."""
        self.facts = json.loads(self._answer())

    def ask(self, line: str) -> str:
        """Its answer to a line.

        Raises:
            PeerError: it ended, or gave none in `ANSWER_SECONDS`.
        """
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # no answer will come, which tells the same
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        return self._answer()

    def end(self) -> None:
        """Ends the process and everything that it started; may be called again."""
        self._kill()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with suppress(BrokenPipeError):
                stream.close()
        self._process.wait()
        self._stderr.close()

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def _answer(self) -> str:
        assert self._process.stdout is not None
        timer = threading.Timer(ANSWER_SECONDS, self._kill)
        timer.daemon = True
        started = time.monotonic()
        timer.start()
        try:
            answer = self._process.stdout.readline().strip()
        finally:
            timer.cancel()
        if answer:
            return answer
        late = time.monotonic() - started >= ANSWER_SECONDS
        raise PeerError(f"no answer in {ANSWER_SECONDS:g} s" if late else self._last_line())

    def _last_line(self) -> str:
        if self._process.returncode is None and hasattr(os, "waitid"):
            os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)  # its number stays its own until reaped
        self._kill()
        code = self._process.wait()
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, size - TAIL_BYTES))
        lines = [line.strip() for line in self._stderr.read().decode(errors="replace").splitlines() if line.strip()]
        return lines[-1] if lines else f"ended with code {code} and no word"

    def _kill(self) -> None:
        if self._process.returncode is not None:
            return  # reaped, so its number may be another's by now
        if hasattr(os, "killpg"):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        else:
            self._process.kill()
