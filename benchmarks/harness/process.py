"""The process of a baseline: it answers requests line by line, and it is always ended."""

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
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]

# After this time a baseline counts as stuck. A compiler may take a minute.
ANSWER_SECONDS = 300.0
THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
# How much of standard error is read to find its last line.
TAIL_BYTES = 10_000


class BaselineError(Exception):
    """Raised if a baseline's process ended or did not answer.

    The message is its last error line.
    """


class BaselineProcess:
    """A process that runs `harness.worker` for one baseline.

    It has a process group of its own, so that it and everything that it started are killed together.
    If this process is killed, the worker's standard input ends, and the worker exits.

    Attributes:
        facts: the BLAS that its NumPy has loaded.

    Example:
        with BaselineProcess("torch", os.environ, threads=2) as process:
            process.start()
            process.request("prepare full 100")
    """

    def __init__(self, name: str, environment: Mapping[str, str], threads: int) -> None:
        """Start the worker.

        Args:
            name: name of the baseline.
            environment: environment variables of the worker, to which thread variables are added.
            threads: number of threads of the baseline; 0 for its own choice on all cores.
        """
        folders = [str(ROOT / "benchmarks"), str(ROOT / "src"), environment.get("PYTHONPATH", "")]
        limited = dict.fromkeys(THREAD_VARIABLES, str(threads)) if threads else {}
        self.facts: dict[str, Any] = {}
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 (closed by end())
        self._process = subprocess.Popen(
            [sys.executable, "-m", "harness.worker", name, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            encoding="utf-8",
            env={**environment, **limited, "PYTHONPATH": os.pathsep.join(filter(None, folders))},
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def start(self) -> None:
        """Wait until the worker runs, and read its facts.

        Raises:
            BaselineError: as `request`.
        """
        self.facts = json.loads(self._answer())

    def request(self, line: str) -> str:
        """Send a line and return the answer.

        Raises:
            BaselineError: the worker ended, or did not answer within `ANSWER_SECONDS`.
        """
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # the missing answer says it
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        return self._answer()

    def end(self) -> None:
        """Kill the worker and everything that it started; may be called again."""
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
        raise BaselineError(f"no answer in {ANSWER_SECONDS:g} s" if late else self._last_line())

    def _last_line(self) -> str:
        if self._process.returncode is None and hasattr(os, "waitid"):
            os.waitid(
                os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT
            )  # its process id is not reused until it is reaped
        self._kill()
        code = self._process.wait()
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, size - TAIL_BYTES))
        lines = [line.strip() for line in self._stderr.read().decode(errors="replace").splitlines() if line.strip()]
        return lines[-1] if lines else f"ended with code {code} without a message"

    def _kill(self) -> None:
        if self._process.returncode is not None:
            return  # reaped, so the process id may belong to another process
        if hasattr(os, "killpg"):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        else:
            self._process.kill()
