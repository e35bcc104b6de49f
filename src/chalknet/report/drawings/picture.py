"""A drawing as the bytes of a picture file."""

from __future__ import annotations

import io
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


def drawing_bytes(drawing: Drawing, kind: str) -> bytes:
    """The picture as a file of that kind; equal drawings give equal bytes on one version of matplotlib."""
    from matplotlib import rc_context

    buffer = io.BytesIO()
    with rc_context({"svg.hashsalt": "chalknet"}):  # the ids of an SVG are random without it
        drawing.savefig(buffer, format=kind, dpi=150, metadata=KINDS[kind])
    return buffer.getvalue()
