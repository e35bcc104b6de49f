"""`chalknet`: the group of commands, each imported only when it is used, and what becomes of an error."""

from __future__ import annotations

import os
import sys
import traceback

import click

import chalknet
from chalknet.cli.lazy import LazyCommand, LazyGroup
from chalknet.errors import ChalknetError

COMMANDS = {
    "data": LazyCommand("chalknet.cli.data", "data", "Look at data sets, audit, convert and build them."),
    "doctor": LazyCommand(
        "chalknet.cli.doctor", "doctor", "Say how fast this machine multiplies, and what would help."
    ),
    "gradcheck": LazyCommand(
        "chalknet.cli.gradcheck", "gradcheck", "Compare every derivative with central differences."
    ),
    "train": LazyCommand("chalknet.cli.train", "train", "Train a network and write a run folder."),
    "writeup": LazyCommand("chalknet.cli.writeup", "writeup", "Make the course write-up again, from data."),
}


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(chalknet.__version__, prog_name="chalknet")
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
    """Runs a command; an error of ours is one line on standard error, and its class gives the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in given
    try:
        # --debug is a flag of the whole program, so it may stand anywhere on the line.
        rest = [argument for argument in given if argument != "--debug"]
        result = cli.main(args=rest, prog_name="chalknet", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except ChalknetError as error:
        _say_error(debug, str(error))
        return error.exit_code
    except click.exceptions.Abort:
        _say_error(debug, "stopped.")
        return 130
    except KeyboardInterrupt:
        _say_error(debug, "stopped.")
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except BrokenPipeError:
        # The reader of our output (head, less) went away: nobody to tell, and Python must not try again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _say_error(debug: bool, message: str) -> None:
    if debug:
        traceback.print_exc()
    click.echo(f"chalknet: {message}", err=True)


if __name__ == "__main__":
    sys.exit(main())
