"""The exceptions that chalknet raises for wrong input, with their exit codes on the command line.

    ChalknetError
    ├─ ConfigError         2  an invalid setting: flag, recipe field or argument       (ValueError)
    ├─ MissingExtraError   2  a package of an optional extra is not installed         (ImportError)
    ├─ DataError           1  invalid samples or labels, in a file or an array         (ValueError)
    ├─ ShapeError          1  an array argument of the wrong shape                     (ValueError)
    ├─ DivergenceError     1  the training loss is no longer finite               (ArithmeticError)
    ├─ OutputError         1  a folder or file that cannot be written
    ├─ ModelFileError      1  a model file that is damaged, foreign or too new         (ValueError)
    ├─ StoreError          1  a study store or run folder that is damaged, foreign or too new
    │                                                                                  (ValueError)
    └─ StoppedError      130  work that Ctrl-C interrupted and that can be resumed

Every message is one line that says what was expected, what came, where, and what to do. An argument that
has a flag stands before it, as in "overwrite=True (--overwrite)". `str` keeps the one of the two that the
reader can use (`formatting.for_reader`).
"""

from __future__ import annotations

from typing import Any

from chalknet.formatting import for_reader, printable


class ChalknetError(Exception):
    """The base class of all errors that chalknet raises for wrong input."""

    exit_code = 1

    def __str__(self) -> str:
        """Return the message as one line that names what its reader can give: an argument, or a flag."""
        return for_reader(self.message)

    @property
    def message(self) -> str:
        """The message as one line with arguments and flags, for a record that is read in Python and in a shell."""
        return printable(super().__str__())


class ConfigError(ChalknetError, ValueError):
    """Raised when a setting is invalid; names the field, the value and the nearest valid one."""

    exit_code = 2


class MissingExtraError(ChalknetError, ImportError):
    """Raised when an optional package is missing; names the command that installs it."""

    exit_code = 2


class DataError(ChalknetError, ValueError):
    """Raised when samples cannot be used; names the file, the field and the first bad row."""


class ShapeError(ChalknetError, ValueError):
    """Raised when an array has the wrong shape; names the expected and the actual shape."""


class DivergenceError(ChalknetError, ArithmeticError):
    """Raised when the training loss is no longer finite.

    The message names the epoch, the learning rate, the last finite loss, the largest gradient and
    what may help.

    Attributes:
        run: the `Run` up to the epoch before, with the weights of the best epoch, or of the last
            one if there is no validation split. None if no epoch was finished.
    """

    run: Any = None


class OutputError(ChalknetError):
    """Raised when a folder or file cannot be written; gives the reason of the system."""


class ModelFileError(ChalknetError, ValueError):
    """Raised when a model file cannot be read; names the part that is wrong."""


class StoreError(ChalknetError, ValueError):
    """Raised when a study store or run folder cannot be read; names the part that is wrong."""


class StoppedError(ChalknetError):
    """Raised when Ctrl-C interrupts resumable work; gives the command that resumes it."""

    exit_code = 130
