"""The DejaVu fonts that matplotlib brings along, and one that has no letters."""

from pathlib import Path

import matplotlib
from PIL import ImageFont

from chalknet.data.glyph_builder.drawing import EM_PIXELS, draw_letter

FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
SANS, SERIF, MONO = (FONTS / f"DejaVu{name}.ttf" for name in ("Sans", "Serif", "SansMono"))
SYMBOLS = FONTS / "STIXSizFourSymReg.ttf"  # has no letters at all


def drawn(path: Path, letter: str, size: int = 28):
    font = ImageFont.truetype(str(path), EM_PIXELS, layout_engine=ImageFont.Layout.BASIC)
    return draw_letter(font, letter, size)
