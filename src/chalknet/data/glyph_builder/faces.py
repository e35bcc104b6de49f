"""What comes of a font file: faces with every letter drawn, and drops with a reason."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Face:
    """One face of a font file with every letter drawn: images (K, size, size) uint8."""

    file: str
    index: int
    sha256: str
    family: str
    style: str
    images: Images

    @property
    def name(self) -> str:
        return f"{self.family} {self.style}".strip()


@dataclass(frozen=True)
class Drop:
    """Something that did not get in: which, one of a few kinds of reason, and the particulars."""

    name: str
    kind: str
    detail: str = ""

    @property
    def reason(self) -> str:
        return f"{self.kind} {self.detail}".rstrip()
