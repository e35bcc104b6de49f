"""Run a student's code in a process of its own, with limits on time, memory and output."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from chalknet.exercises import worker
from chalknet.exercises.calls import CallResult, Case, case_to_plain
from chalknet.files import read_bytes

MAX_OUTPUT = 2_000  # characters of what the code prints that are kept
MAX_RESULT_BYTES = worker.MAX_FILE_BYTES
# One thread for each library: with several, limits on memory and processes would stop NumPy itself.
SINGLE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
# HOME, because matplotlib keeps its list of fonts there, and takes seconds to make a new one.
PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "SYSTEMROOT", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


@dataclass(frozen=True)
class Limits:
    """Limits on the process that runs one task.

    Attributes:
        seconds: wall time, > 0.
        memory_mb: address space in MiB. Python and NumPy take about 200 of them.
    """

    seconds: float = 10.0
    memory_mb: int = 1024


@dataclass(frozen=True)
class Execution:
    """What the process of one task did.

    Attributes:
        outcomes: one for each case, or empty.
        failure: why there are no outcomes, as a sentence, or "".
        output: the first characters that the code printed.
        seconds: wall time.
    """

    outcomes: tuple[CallResult, ...]
    failure: str
    output: str
    seconds: float


def run_cases(
    code: str,
    file: str,
    folder: Path,
    cases: Sequence[Case],
    helpers: Sequence[str],
    limits: Limits,
    reference: str = "chalknet.exercises.reference",
) -> Execution:
    """Run a student's code and call its functions on cases.

    Args:
        code: the Python source.
        file: its name in tracebacks.
        folder: working directory of the process, from which the code may read files.
        cases: the calls, each with the name of its function.
        helpers: functions that are replaced by reference solutions before the calls.
        limits: limits on the process.
        reference: the module with the helpers, and with the training loop if that is called.
    """
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="chalknet-exercise-", ignore_cleanup_errors=True) as place:
        job, result = Path(place) / "job.json", Path(place) / "result.json"
        content = {
            "path": [*_import_path(), str(folder.resolve())],
            "code": code,
            "file": file,
            "cases": [case_to_plain(case) for case in cases],
            "helpers": list(helpers),
            "reference": reference,
            "seconds": limits.seconds,
            "memory_bytes": limits.memory_mb * 2**20,
        }
        job.write_text(json.dumps(content), encoding="utf-8")
        code_of_exit, output = _run([str(job), str(result)], place, folder, limits.seconds)
        seconds = time.monotonic() - started
        outcomes, failure = _read(result, len(cases), file)
    if code_of_exit is None:
        shown = f"{limits.seconds:g} s"
        return Execution((), f"It did not finish within {shown}. Look for a loop that never ends.", output, seconds)
    if outcomes is None:
        failure = failure or _reason(code_of_exit, output, limits)
        return Execution((), failure, output, seconds)
    return Execution(outcomes, "", output, seconds)


def _import_path() -> list[str]:
    """Return where this process finds NumPy and chalknet, without its working directory."""
    return [str(Path(entry).resolve()) for entry in sys.path if entry and Path(entry).exists()]


def _environment(home: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    quiet = {"TMPDIR": home, "TEMP": home, "TMP": home, "MPLBACKEND": "Agg"}
    return {**kept, **quiet, **dict.fromkeys(SINGLE_THREAD, "1")}


def _run(arguments: list[str], home: str, folder: Path, seconds: float) -> tuple[int | None, str]:
    """Run the worker and return its exit code, None after a timeout, and the start of its output."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-B", worker.__file__, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=folder,
        env=_environment(home),
        start_new_session=True,
    )
    assert process.stdout is not None
    kept: list[bytes] = []
    reader = threading.Thread(target=_drain, args=(process.stdout, kept), daemon=True)
    reader.start()
    try:
        code: int | None = process.wait(seconds)
    except subprocess.TimeoutExpired:
        code = None
    finally:
        _kill_group(process)  # also what the code has started and left behind
        process.wait()
    reader.join(1.0)
    return code, b"".join(kept)[:MAX_OUTPUT].decode("utf-8", "replace")


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and its children, which share a process group."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    if process.poll() is None:
        process.kill()


def _drain(stream: IO[bytes], kept: list[bytes]) -> None:
    """Read a stream to its end, and keep its first bytes, so that a process never waits for a reader."""
    size = 0
    with contextlib.suppress(OSError, ValueError), stream:
        while chunk := stream.read1(65_536):  # type: ignore[attr-defined]
            if size < MAX_OUTPUT:
                kept.append(chunk)
                size += len(chunk)


def _read(path: Path, n_cases: int, file: str) -> tuple[tuple[CallResult, ...] | None, str]:
    """Return the outcomes, or None and the reason why the file with the student's code failed.

    The file comes from a process that ran foreign code, so everything in it is checked.
    """
    try:
        found = json.loads(read_bytes(path, MAX_RESULT_BYTES, follow_links=False))
        if found["failure"] is not None:
            return None, import_failure(file, found["failure"])
        outcomes = tuple(_outcome(one) for one in found["outcomes"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None, ""
    return (outcomes, "") if len(outcomes) == n_cases else (None, "")


def _outcome(found: dict[str, Any]) -> CallResult:
    return CallResult(
        found["value"],
        str(found["error"])[:100],
        str(found["message"])[:500],
        int(found["line"]),
        str(found["code"])[:200],
        tuple(str(name) for name in found["changed"]),
    )


def has_lines(file: str) -> bool:
    """Return whether line numbers mean something to the student: not those of joined cells."""
    return file.endswith(".py")


def import_failure(file: str, found: dict[str, Any]) -> str:
    """Return the sentence for code that raised an error before any function was called."""
    place = f"{file}, line {int(found['line'])}" if found["line"] and has_lines(file) else file
    code = f" in {str(found['code'])!r}" if found["code"] else ""
    error = str(found["error"])
    if error == "SystemExit":
        return f"{place}: the file ends the program{code}. Remove the call of exit."
    return f"{place}: {error}: {found['message']!s}{code}. The file must run before its functions can be graded."


def _reason(code: int, output: str, limits: Limits) -> str:
    """Return why a process ended without a result."""
    if "MemoryError" in output or code in (-9, 137):  # 9: SIGKILL, which Windows does not have
        return f"It needed more memory than {limits.memory_mb} MB, or was killed."
    if hasattr(signal, "SIGXCPU") and code == -signal.SIGXCPU:
        return f"It used more processor time than {limits.seconds:g} s. Look for a loop that never ends."
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = str(-code)
        return f"The process was ended by signal {name}. Endless recursion or too much memory can cause this."
    return "The process ended before the function returned. Remove calls that end the program, such as os._exit."
