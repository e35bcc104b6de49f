"""The process that runs a student's code: `python -I -B worker.py JOB RESULT`.

JOB is a JSON file with the code and the cases. RESULT is the JSON file that this process writes: a
list of outcomes. Points are not computed here, and the expected values are not known here, so
nothing that the student's code prints, writes or replaces in this process can change its points,
except by returning other values. It is not a sandbox: docs/guide/exercises.md says what is limited
and what is not.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import linecache
import sys
import traceback
import types
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

MAX_FILE_BYTES = 2**24  # of a file that this process writes; the results take a fraction of it
# What Python reports before a program is started or a connection is opened.
REFUSED = {
    **dict.fromkeys(
        (
            "os.fork",
            "os.forkpty",
            "os.system",
            "os.exec",
            "os.posix_spawn",
            "os.spawn",
            "subprocess.Popen",
            "pty.spawn",
        ),
        "start other programs",
    ),
    **dict.fromkeys(("os.startfile", "os.kill", "os.killpg"), "control other programs"),
    **dict.fromkeys(("socket.connect", "socket.bind", "socket.getaddrinfo"), "use the network"),
}
# The functions of the operating system that end this process before the results are written are not
# caught. The grader then reports that the process has ended.


def main(job_path: str, result_path: str) -> None:
    """Run the cases of a job and write the outcomes."""
    job = json.loads(Path(job_path).read_text(encoding="utf-8"))
    sys.path[:] = job["path"]
    from chalknet.exercises.calls import case_from_plain, message_of, run_case

    cases = [case_from_plain(plain) for plain in job["cases"]]
    is_needed = job["helpers"] or any(case.function == "train" for case in cases)
    reference = importlib.import_module(job["reference"]) if is_needed else None
    helpers = {name: getattr(reference, name) for name in job["helpers"]}
    dumps, write = json.dumps, Path.write_text  # the student's code may replace them in their modules
    limit_resources(job["seconds"], job["memory_bytes"])
    sys.addaudithook(_refuse)
    module = types.ModuleType("exercises")
    module.__file__ = job["file"]
    sys.modules["exercises"] = module
    sys.argv[1:] = []
    locate = _locator(job["file"], job["code"])
    failure = None
    try:
        exec(compile(job["code"], job["file"], "exec"), module.__dict__)
    except BaseException as error:
        line, text = locate(error)
        message = str(error.msg) if isinstance(error, SyntaxError) else message_of(error)  # str has the line again
        failure = {"error": type(error).__name__, "message": message, "line": line, "code": text}
    if failure is not None:
        outcomes: list[Any] = []
    else:
        module.__dict__.update(helpers)
        outcomes = [asdict(run_case(_function(module, case.function, reference), case, locate)) for case in cases]
    write(Path(result_path), dumps({"failure": failure, "outcomes": outcomes}), encoding="utf-8")


def _function(module: types.ModuleType, name: str, reference: types.ModuleType | None) -> Callable[..., Any]:
    """Return a function of the student's file, or one that raises NotImplementedError if there is none."""
    if name == "train" and reference is not None:
        return _training_loop(module, reference.train)
    found = module.__dict__.get(name)
    if callable(found):
        return found  # type: ignore[no-any-return]

    def missing(*_: Any) -> None:
        raise NotImplementedError("there is no function of this name")

    return missing


def _training_loop(module: types.ModuleType, train: types.FunctionType) -> Callable[..., Any]:
    """Return the given training loop with the student's functions in place of the reference ones."""
    return types.FunctionType(
        train.__code__, {**module.__dict__, "np": sys.modules["numpy"]}, "train", train.__defaults__
    )


def limit_resources(seconds: float, memory_bytes: int) -> None:
    """Limit processor time, memory, files and processes of this process, where the system can."""
    try:
        import resource
    except ImportError:  # Windows: only the time limit of the grader holds
        return
    cpu = int(seconds) + 2
    for name, limit in (
        ("RLIMIT_AS", memory_bytes),
        ("RLIMIT_CPU", cpu),
        ("RLIMIT_FSIZE", MAX_FILE_BYTES),
        ("RLIMIT_CORE", 0),
        ("RLIMIT_NPROC", 0),  # no effect for root, and neither on threads and processes that run already
    ):
        with contextlib.suppress(AttributeError, ValueError, OSError):
            resource.setrlimit(getattr(resource, name), (limit, limit))


def _refuse(event: str, arguments: Any) -> None:
    """Raise PermissionError for what a solution never needs."""
    del arguments
    if event in REFUSED:
        raise PermissionError(f"the grader does not let this code {REFUSED[event]} ({event})")


def _locator(file: str, code: str) -> Callable[[BaseException], tuple[int, str]]:
    """Return a function that finds the line of the student's file in a traceback."""
    lines = code.splitlines(keepends=True)
    linecache.cache[file] = (len(code), None, lines, file)

    def locate(error: BaseException) -> tuple[int, str]:
        number = 0
        if isinstance(error, SyntaxError) and error.filename == file:
            number = error.lineno or 0
        else:
            frames = [
                line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == file
            ]
            number = frames[-1] if frames else 0
        return number, lines[number - 1].strip()[:120] if 0 < number <= len(lines) else ""

    return locate


if __name__ == "__main__":
    main(*sys.argv[1:3])
