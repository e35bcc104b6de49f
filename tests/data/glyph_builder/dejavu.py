"""The DejaVu fonts that matplotlib brings along, and one that has no letters."""

from pathlib import Path

import matplotlib

from chalknet.data.glyph_builder.drawing import DrawTask, draw_file
from chalknet.data.glyph_builder.faces import Face
from chalknet.data.glyph_builder.fonts import FontFile

FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
SANS, SERIF, MONO = (FONTS / f"DejaVu{name}.ttf" for name in ("Sans", "Serif", "SansMono"))
SYMBOLS = FONTS / "STIXSizFourSymReg.ttf"  # has no letters at all


def drawn(path: Path, letter: str, size: int = 28):
    (face,) = draw_file(DrawTask(FontFile(path, path.name), (letter,), size))
    return face.images[0] if isinstance(face, Face) else None
