"""The program `chalknet`: its commands, and the messages and exit codes of its errors."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from contextlib import suppress
from pathlib import Path

import click
import cloup

from chalknet.cli.lazy import LazyCommand, LazyGroup
from chalknet.cli.output import echo
from chalknet.errors import ChalknetError
from chalknet.formatting import flags_in_messages, printable
from chalknet.version import __version__

TRAIN, STUDY, DATA, TEACH, MACHINE = ("Train and predict", "Study", "Data", "Teach", "Machine")
COMMANDS = {
    "train": LazyCommand("chalknet.cli.train", "train", "Train a network on images or table rows.", TRAIN),
    "predict": LazyCommand("chalknet.cli.predict", "predict", "Predict classes for images or table rows.", TRAIN),
    "evaluate": LazyCommand("chalknet.cli.evaluate", "evaluate", "Measure a model on labeled data.", TRAIN),
    "export": LazyCommand("chalknet.cli.export", "export", "Write a model as ONNX, Python file or web page.", TRAIN),
    "serve": LazyCommand(
        "chalknet.cli.serve", "serve", "Answer predictions over HTTP, with a page for uploads.", TRAIN
    ),
    "study": LazyCommand(
        "chalknet.cli.study", "study", "Compare configurations, each trained with several seeds.", STUDY
    ),
    "compare": LazyCommand(
        "chalknet.cli.compare", "compare", "Compare models of any library by their predictions.", STUDY
    ),
    "report": LazyCommand("chalknet.cli.report", "report", "Write a report about a study or a run.", STUDY),
    "stopping": LazyCommand(
        "chalknet.cli.stopping", "stopping", "Find the epoch at which training should have stopped.", STUDY
    ),
    "data": LazyCommand("chalknet.cli.data", "data", "Inspect, audit, convert and create data sets.", DATA),
    "writeup": LazyCommand("chalknet.cli.writeup", "writeup", "Reproduce the course write-up.", TEACH),
    "gradcheck": LazyCommand(
        "chalknet.cli.gradcheck", "gradcheck", "Check the gradients against numerical derivatives.", TEACH
    ),
    "exercise": LazyCommand("chalknet.cli.exercise", "exercise", "Create and grade programming exercises.", TEACH),
    "doctor": LazyCommand(
        "chalknet.cli.doctor", "doctor", "Measure this machine and suggest how to make training faster.", MACHINE
    ),
    "completion": LazyCommand(
        "chalknet.cli.completion", "completion", "Print a shell-completion script for bash, zsh or fish.", MACHINE
    ),
}


@cloup.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="chalknet", help="Show the version and exit.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error, not only its message.")
def cli(debug: bool) -> None:
    """Train neural-network classifiers whose gradients are derived by hand.

    Examples:
        chalknet train --data FILE   train a network, plot its curves, save it
        chalknet writeup             reproduce the course write-up
        chalknet data show glyphs    draw some of the built-in letters

    `chalknet COMMAND --help` shows the options of a command.

    Exit codes: 0 success, 1 failure, 2 usage error, 3 problems found with --strict, 130 stopped by
    Ctrl-C, 128 + N stopped by signal N.
    """
    del debug  # main() removes it from the line before click parses it. It is declared for --help.


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code.

    Errors that chalknet expects become one line on standard error. Their class has the exit code.

    Args:
        arguments: the words after `chalknet`. If they are None, this is the program itself: the
            words are those of the command line, and SIGTERM and SIGHUP end it in the same orderly
            way as Ctrl-C.
    """
    if arguments is None:
        _open_closed_streams()
        for name in ("SIGTERM", "SIGHUP"):
            # A signal that is ignored stays so, because `nohup` asks for that.
            if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) != signal.SIG_IGN:
                signal.signal(getattr(signal, name), _exit_on_signal)
    given = sys.argv[1:] if arguments is None else arguments
    # --debug concerns the whole program, so it may stand anywhere on the line.
    rest = [argument for argument in given if argument != "--debug"]
    try:
        with flags_in_messages():
            return _run(rest, debug="--debug" in given)
    except BrokenPipeError:
        # The program that reads the output, such as head or less, has ended. Without this line,
        # Python would write the rest of the buffer at exit and fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _open_closed_streams() -> None:
    """Open the null device for closed standard streams, so that no other file gets their numbers."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115


def _run(arguments: list[str], debug: bool) -> int:
    """Run a command, print its error, and return its exit code."""
    try:
        result = cli.main(args=arguments, prog_name="chalknet", standalone_mode=False)
        # An error such as a full disk must be reported here. At exit, Python would report it.
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except ChalknetError as error:
        return _print_error(debug, str(error), error.exit_code)
    except (click.exceptions.Abort, KeyboardInterrupt):
        return _print_error(debug, "stopped.", 130)
    except click.ClickException as error:
        return _print_error(debug, _usage_line(error), error.exit_code)
    except MemoryError as error:
        return _print_error(debug, f"needs more memory than there is. {error}".rstrip())
    except BrokenPipeError:
        raise
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # as after a broken pipe
        return _print_error(debug, f"{where}{error.strerror or error}.")


def _exit_on_signal(number: int, frame: object) -> None:
    """Raise SystemExit with the exit code that a shell gives to a process ended by this signal."""
    del frame
    raise SystemExit(128 + number)


def _usage_line(error: click.ClickException) -> str:
    """Return click's message in one line, with the command that shows the help."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "chalknet"
    return f"{' '.join(error.format_message().split())} See {path} --help."


def _print_error(debug: bool, message: str, code: int = 1) -> int:
    """Print a message to standard error, with the traceback if `debug`, and return the exit code."""
    if debug:
        traceback.print_exc()
    echo(f"chalknet: {printable(message)}", err=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
