"""`chalknet`: the group of commands, each imported only when it is used, and what becomes of an error."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from contextlib import suppress
from pathlib import Path

import click

from chalknet.cli.lazy import LazyCommand, LazyGroup
from chalknet.cli.output import echo
from chalknet.errors import ChalknetError
from chalknet.formatting import printable
from chalknet.version import __version__

COMMANDS = {
    "data": LazyCommand("chalknet.cli.data", "data", "Look at data sets, audit, convert and build them."),
    "doctor": LazyCommand(
        "chalknet.cli.doctor", "doctor", "Say how fast this machine multiplies, and what would help."
    ),
    "evaluate": LazyCommand("chalknet.cli.evaluate", "evaluate", "Say how good a model is on labeled data."),
    "export": LazyCommand(
        "chalknet.cli.export", "export", "Write a trained model as ONNX, or as Python that needs NumPy alone."
    ),
    "gradcheck": LazyCommand(
        "chalknet.cli.gradcheck", "gradcheck", "Compare every derivative with central differences."
    ),
    "predict": LazyCommand("chalknet.cli.predict", "predict", "Say what a model takes images or rows for."),
    "report": LazyCommand("chalknet.cli.report", "report", "Make a document of a study or a run."),
    "stopping": LazyCommand(
        "chalknet.cli.stopping", "stopping", "Say when training should have stopped, from full curves."
    ),
    "study": LazyCommand(
        "chalknet.cli.study", "study", "Train configurations times seeds, and never lose a finished one."
    ),
    "train": LazyCommand("chalknet.cli.train", "train", "Train a network and write a run folder."),
    "writeup": LazyCommand("chalknet.cli.writeup", "writeup", "Make the course write-up again, from data."),
}


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="chalknet")
@click.option("--debug", is_flag=True, help="Show the whole trace of an error instead of one line.")
def cli(debug: bool) -> None:
    """Dense neural networks whose every derivative is on the chalkboard.

    \b
    chalknet writeup                  the course write-up, made again from data
    chalknet train --data FILE        a network, its curves and its model file
    chalknet data show glyphs         the built-in letters as a picture

    Exit codes: 0 done, 1 failed, 2 used wrongly, 3 something found by a --strict check, 130 stopped by Ctrl-C.
    """
    del debug  # taken out by main() before the line is parsed; declared here for --help


def main(arguments: list[str] | None = None) -> int:
    """Runs a command; an error of ours is one line on standard error, and its class gives the exit code.

    Without arguments it is the program itself: they are taken from the command line, and a signal to end is obeyed as
    Ctrl-C is, so that what the work began is tidied up.
    """
    if arguments is None:
        _open_closed_streams()
        for name in ("SIGTERM", "SIGHUP"):
            if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) != signal.SIG_IGN:  # as nohup sets it
                signal.signal(getattr(signal, name), _end)
    given = sys.argv[1:] if arguments is None else arguments
    # --debug is a flag of the whole program, so it may stand anywhere on the line.
    rest = [argument for argument in given if argument != "--debug"]
    try:
        return _run(rest, debug="--debug" in given)
    except BrokenPipeError:
        # The reader of our output (head, less) went away: nobody to tell, and Python must not try again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _open_closed_streams() -> None:
    """Put /dev/null in the place of closed standard streams, so that no file opened later gets their numbers."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115


def _run(arguments: list[str], debug: bool) -> int:
    try:
        result = cli.main(args=arguments, prog_name="chalknet", standalone_mode=False)
        sys.stdout.flush()  # a full disk behind the output is told here, and not by Python at exit
        return result if isinstance(result, int) else 0
    except ChalknetError as error:
        return _say_error(debug, str(error), error.exit_code)
    except (click.exceptions.Abort, KeyboardInterrupt):
        return _say_error(debug, "stopped.", 130)
    except click.ClickException as error:
        return _say_error(debug, _usage_line(error), error.exit_code)
    except MemoryError as error:
        return _say_error(debug, f"needs more memory than there is. {error}".rstrip())
    except BrokenPipeError:
        raise
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python would try again at exit
        return _say_error(debug, f"{where}{error.strerror or error}.")


def _end(number: int, frame: object) -> None:
    """What a signal to end does: leave by the way of an error, with the code that a shell gives such an end."""
    del frame
    raise SystemExit(128 + number)


def _usage_line(error: click.ClickException) -> str:
    """Click's message in one line, with the way to the help of the command concerned."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "chalknet"
    return f"{' '.join(error.format_message().split())} See {path} --help."


def _say_error(debug: bool, message: str, code: int = 1) -> int:
    """Tells in one line on standard error, after the trace where that is wanted; gives the exit code back."""
    if debug:
        traceback.print_exc()
    echo(f"chalknet: {printable(message)}", err=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
