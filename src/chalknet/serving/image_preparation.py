"""Image files made as training images are: inverted and trimmed where that is clear, and brought to their size."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from chalknet.data.image_facts import ImageFacts, ImageMeasurements, background_of, measure_image
from chalknet.data.readers.image import FITS, GrayImage, fitted, is_stretched
from chalknet.errors import ConfigError
from chalknet.formatting import count_of, quoted

CLEARLY_EMPTY, EMPTY = 0.6, 0.85  # content that takes less than this of what it takes in training is trimmed, or told
MIN_MANY = 5  # images that say more together than each of them
FILLED = 0.95  # of both sides: training images whose content was stretched to fill them

# What is told of images, and what changes it.
TOLD = {
    "inverted": "inverted, as {background} is behind what the training images show. invert=False (--no-invert) leaves "
    "them as they are",
    "may be inverted": "perhaps of the other kind than the training images, which have {background} behind what they "
    "show. If so, give invert=True (--invert)",
    "trimmed": "trimmed, as the training images have no such wide margins. trim=False (--no-trim) leaves them",
    "may be trimmed": "with wider margins than the training images. trim=True (--trim) cuts them off",
    "stretched": "stretched to the proportions of the training images. fit='pad' or 'crop' (--fit pad) keeps theirs",
}


@dataclass
class ImagePreparation:
    """Makes image files ready for one model, and remembers what was done to which.

    Attributes:
        shape: (H, W) of the training images. facts: what they look like; None where that is not known.
        invert, trim: whether to exchange black and white, and to cut off empty margins; None where that is clear.
        fit: how other proportions are met: "stretch", "crop" or "pad"; None to stretch and say so.
    """

    shape: tuple[int, int]
    facts: ImageFacts | None
    invert: bool | None = None
    trim: bool | None = None
    fit: str | None = None
    _told: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    _found: Counter[str] = field(default_factory=Counter)  # images with each background

    def __post_init__(self) -> None:
        if self.fit not in (None, *FITS):
            raise ConfigError(f"fit must be one of {', '.join(FITS)}, got {self.fit!r}.")

    def __call__(self, gray: GrayImage, name: str) -> tuple[GrayImage, str]:
        """Return an image as the training images are, and what was done to it beside the resizing."""
        look, done = measure_image(gray), list[str]()
        must_invert = self._must_invert(look, name)
        if must_invert:
            done.append("inverted")
        fit, fill = self.fit, 1.0
        if self._must_trim(look, name):
            top, bottom, left, right = look.box
            gray = gray[top:bottom, left:right]
            done.append(f"trimmed to {right - left}x{bottom - top}")
            facts = self.facts
            if fit is None and facts is not None:
                is_filled = min(facts.usual_height, facts.usual_width) >= FILLED
                fit, fill = ("stretch", 1.0) if is_filled else ("pad", facts.usual_fill)
        if fit is None and is_stretched(gray.shape, self.shape):
            self._told["stretched"].append(name)
            done.append("stretched")
        level = int(np.clip(round(255 * look.border), 0, 255))
        gray = fitted(gray, self.shape, fit or "stretch", fill, level)
        return 255 - gray if must_invert else gray, "".join(f", {what}" for what in done)

    def notes(self) -> list[str]:
        """What was done, and what is in doubt, a sentence for each kind with the images' names."""
        background = self.facts.background if self.facts is not None else ""
        told = [
            f"{count_of(len(paths), 'image')} {TOLD[kind].format(background=background)}: "
            f"{quoted((Path(path).name for path in paths), 3)}."
            for kind, paths in self._told.items()
        ]
        others = self._found.total() - self._found[background]
        if others >= MIN_MANY and others > 3 * self._found[background] and len(self._told["inverted"]) < others / 2:
            told.insert(
                0,
                f"{others} of {self._found.total()} images have another background than the {background} one of the "
                "training images. If all are so, give invert=True (--invert).",
            )
        return told

    def _must_invert(self, look: ImageMeasurements, name: str) -> bool:
        facts, found = self.facts, background_of(look)
        if self.invert is not None or facts is None or not facts.background:
            return bool(self.invert)
        if not look.fill:  # a blank image has no background
            return False
        self._found[found] += 1
        if found in ("", facts.background):
            return False
        is_unusual = look.mean > facts.mean_high if facts.background == "dark" else look.mean < facts.mean_low
        if look.is_plain or is_unusual:
            self._told["inverted" if look.is_plain else "may be inverted"].append(name)
        return look.is_plain

    def _must_trim(self, look: ImageMeasurements, name: str) -> bool:
        if self.trim is not None or self.facts is None or not look.is_plain or not look.fill:
            return bool(self.trim)
        is_clear = look.fill < CLEARLY_EMPTY * self.facts.fill
        if look.fill < EMPTY * self.facts.fill:
            self._told["trimmed" if is_clear else "may be trimmed"].append(name)
        return is_clear
