"""What chalknet raises when input is wrong, and the exit code each gives on the command line.

    ChalknetError
    ├─ ConfigError         2  a setting that cannot be meant: a flag, a recipe field, an argument      (ValueError)
    ├─ MissingExtraError   2  a package that an extra installs and that is not there                   (ImportError)
    ├─ DataError           1  a file or array of samples that is not what it should be                 (ValueError)
    ├─ ShapeError          1  an array of the wrong shape handed to a function                         (ValueError)
    ├─ DivergenceError     1  the loss stopped being finite while training                             (ArithmeticError)
    ├─ OutputError         1  a folder or file that cannot be written
    ├─ ModelFileError      1  a model file that is damaged, foreign or too new                         (ValueError)
    ├─ StoreError          1  a study's store or a run's folder that is damaged, foreign or too new    (ValueError)
    └─ StoppedError      130  work that Ctrl-C stopped and that can go on

Every message is one line: what was expected, what came, where, and what to do.
"""

from __future__ import annotations

from typing import Any

from chalknet.formatting import printable


class ChalknetError(Exception):
    """Anything that chalknet says about its input. Catch this to catch them all."""

    exit_code = 1

    def __str__(self) -> str:
        """Return the message in one line, with escapes for what would steer a terminal."""
        return printable(super().__str__())


class ConfigError(ChalknetError, ValueError):
    """A setting that cannot be meant, with the field, the value and the nearest legal one."""

    exit_code = 2


class MissingExtraError(ChalknetError, ImportError):
    """A package that only some uses need and that is not installed, with the command that installs it."""

    exit_code = 2


class DataError(ChalknetError, ValueError):
    """Samples that cannot be used, with the file, the field and the first bad row."""


class ShapeError(ChalknetError, ValueError):
    """An array of the wrong shape, with the shape that was expected and the one that came."""


class DivergenceError(ChalknetError, ArithmeticError):
    """A loss that is no longer finite: the epoch, the rate, the last finite loss, the largest gradient, what may help.

    Attributes:
        run: the `Run` up to the epoch before with the best epoch's weights, or the last one's without validation
            samples; None where no epoch was finished.
    """

    run: Any = None


class OutputError(ChalknetError):
    """A folder or file that cannot be written, with the reason the system gave."""


class ModelFileError(ChalknetError, ValueError):
    """A model file that cannot be read, with the part of it that is wrong."""


class StoreError(ChalknetError, ValueError):
    """A study's store or a run's folder that cannot be read, with the part of it that is wrong."""


class StoppedError(ChalknetError):
    """Work that was stopped by Ctrl-C and can go on, with the line that does it."""

    exit_code = 130
