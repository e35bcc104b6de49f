"""Convert a matplotlib drawing to the bytes of a picture file, reproducibly."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chalknet.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

PIXELS_PER_INCH = 150
# Metadata to leave out of each kind of file, so that equal drawings are equal bytes.
KINDS: dict[str, dict[str, Any]] = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}


def file_kind(path: str | Path) -> str:
    """Return "png", "svg" or "pdf", from the ending of a file name.

    Raises:
        ConfigError: the name has another ending.
    """
    kind = Path(path).suffix.lower().lstrip(".")
    if kind not in KINDS:
        raise ConfigError(f"{path}: a picture's name must end in {', '.join('.' + kind for kind in KINDS)}.")
    return kind


@cache
def drawing_type() -> type[Drawing]:
    """Return matplotlib's figure class, extended so that notebooks show it without pyplot.

    pyplot keeps global state and opens windows, so chalknet does without it.
    """
    from matplotlib.figure import Figure

    class Picture(Figure):
        def _repr_png_(self) -> bytes:
            return drawing_bytes(self, "png")

    return Picture


@contextmanager
def default_settings() -> Iterator[None]:
    """Use the default settings of matplotlib instead of the settings of the user."""
    from matplotlib import rc_context, rcParamsDefault

    # These choose a backend or a port, and setting them has effects beyond this context.
    kept_out = ("backend", "backend_fallback", "interactive", "toolbar", "timezone", "webagg.port")
    with rc_context({key: value for key, value in rcParamsDefault.items() if key not in kept_out}):
        yield


def drawing_bytes(drawing: Drawing, kind: str) -> bytes:
    """Return the content of a picture file; equal drawings give equal bytes.

    Args:
        drawing: a matplotlib figure.
        kind: "png", "svg" or "pdf".
    """
    from matplotlib import rc_context

    buffer = io.BytesIO()
    # Without a salt, the ids in an SVG are random. Letters are stored as shapes, so that the
    # picture does not depend on the fonts of its reader.
    with rc_context({"svg.hashsalt": "chalknet", "svg.fonttype": "path"}), warnings.catch_warnings():
        # A letter that the font lacks is drawn as a box. The reader sees it, so no warning is
        # needed.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support .* natively")
        drawing.savefig(buffer, format=kind, dpi=PIXELS_PER_INCH, metadata=KINDS[kind])
    return buffer.getvalue()
