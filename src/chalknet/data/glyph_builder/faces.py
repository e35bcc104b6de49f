"""The results of reading a font file: faces with all letters, and drops with a reason."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Face:
    """One face of a font file with all letters drawn.

    Attributes:
        file: name of the file.
        index: number of the face in the file.
        sha256: digest of the file.
        family, style: names in the font.
        images: (K, size, size) uint8.
    """

    file: str
    index: int
    sha256: str
    family: str
    style: str
    images: Images

    @property
    def name(self) -> str:
        """Return the family and style."""
        return f"{self.family} {self.style}".strip()


@dataclass(frozen=True)
class Drop:
    """A file or face that is not used.

    Attributes:
        name: the file.
        kind: the kind of reason, one of a few.
        detail: particulars of the reason.
    """

    name: str
    kind: str
    detail: str = ""

    @property
    def reason(self) -> str:
        """Return the kind and the detail."""
        return f"{self.kind} {self.detail}".rstrip()
