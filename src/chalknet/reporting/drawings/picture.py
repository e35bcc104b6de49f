"""A drawing as the bytes of a picture file."""

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

# kind -> what must be left out of its metadata so that equal drawings are equal bytes
KINDS: dict[str, dict[str, Any]] = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}


def file_kind(path: str | Path) -> str:
    """ "png", "svg" or "pdf", from the name.

    Raises:
        ConfigError: any other name.
    """
    kind = Path(path).suffix.lower().lstrip(".")
    if kind not in KINDS:
        raise ConfigError(f"{path}: a picture's name must end in {', '.join('.' + kind for kind in KINDS)}.")
    return kind


@cache
def drawing_type() -> type[Drawing]:
    """Return the class of drawings: matplotlib's figure, which also shows itself in a notebook without pyplot."""
    from matplotlib.figure import Figure

    class Picture(Figure):
        def _repr_png_(self) -> bytes:
            return drawing_bytes(self, "png")

    return Picture


@contextmanager
def default_settings() -> Iterator[None]:
    """matplotlib as it comes, whatever its user has set: for pictures that must be equal everywhere."""
    from matplotlib import rc_context, rcParamsDefault

    kept_out = ("backend", "backend_fallback", "interactive", "toolbar", "timezone", "webagg.port")
    with rc_context({key: value for key, value in rcParamsDefault.items() if key not in kept_out}):
        yield


def drawing_bytes(drawing: Drawing, kind: str) -> bytes:
    """The picture as a file of that kind; equal drawings give equal bytes on one version of matplotlib."""
    from matplotlib import rc_context

    buffer = io.BytesIO()
    # The ids of an SVG are random without the salt; its letters are drawn as shapes whatever fonts its reader has.
    with rc_context({"svg.hashsalt": "chalknet", "svg.fonttype": "path"}), warnings.catch_warnings():
        # A letter that the font lacks is drawn as a box, which its reader sees.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support .* natively")
        drawing.savefig(buffer, format=kind, dpi=150, metadata=KINDS[kind])
    return buffer.getvalue()
