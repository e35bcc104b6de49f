"""Prepare image files to look like the training images: background, margins and size."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from chalknet.data.image_facts import ImageFacts, ImageMeasurements, background_of, measure_image
from chalknet.data.readers.image import DEFAULT_FIT, FITS, Pixels, border_level, fitted, is_stretched
from chalknet.errors import ConfigError
from chalknet.formatting import count_of, quoted

# An image whose content fills less than this fraction of what it fills in the training images is trimmed
# (CLEARLY_EMPTY) or mentioned in a note (EMPTY).
CLEARLY_EMPTY, EMPTY = 0.6, 0.85
MIN_MANY = 5  # images with another background from which on one note speaks of all of them
FILLED = 0.95  # content that fills this fraction of both sides was stretched to fill the image

FIT_DONE = {"stretch": "stretched", "crop": "cropped", "pad": "padded"}
# Notes on images, with the option that changes the behavior unless it is that of the training.
NOTES = {
    "inverted": "inverted because the training images have a {background} background. "
    "invert=False (--no-invert) leaves them as they are",
    "may be inverted": "that may have to be inverted, because the training images have a {background} "
    "background. If so, give invert=True (--invert)",
    "trimmed": "trimmed because the training images have narrower margins. trim=False (--no-trim) leaves them",
    "may be trimmed": "with wider margins than the training images. trim=True (--trim) cuts them off",
    **{fit: f"{done} to the proportions of the training images, as in training" for fit, done in FIT_DONE.items()},
    "unknown fit": "stretched to the proportions of the training images. How those were resized is not known. If they "
    "were cropped or padded, give image_fit='crop' (--image-fit crop), or pad",
}


@dataclass
class ImagePreparation:
    """Prepares image files for one model, and collects notes on what it did.

    Attributes:
        shape: (H, W) of the training images.
        facts: what the training images look like, or None if unknown.
        invert: whether to invert brightness; None to do so if the background clearly differs.
        trim: whether to cut off empty margins; None to do so if they are clearly wider.
        image_fit: how other proportions are handled: "stretch", "crop" or "pad"; None for trained_fit,
            with a note that gives advice only if that is unknown.
        trained_fit: how the training images were resized; None if unknown, which means "stretch".
    """

    shape: tuple[int, int]
    facts: ImageFacts | None
    invert: bool | None = None
    trim: bool | None = None
    image_fit: str | None = None
    trained_fit: str | None = None
    _affected: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    _found: Counter[str] = field(default_factory=Counter)  # images with each background

    def __post_init__(self) -> None:
        """Check image_fit."""
        if self.image_fit not in (None, *FITS):
            raise ConfigError(f"image_fit must be one of {', '.join(FITS)}, got {self.image_fit!r}.")

    def __call__(self, pixels: Pixels, name: str) -> tuple[Pixels, str]:
        """Return the prepared image, and a text with what was done besides resizing.

        Args:
            pixels: (h, w) or (h, w, 3) uint8 image.
            name: the name of the file, for notes.
        """
        look, done = measure_image(pixels), list[str]()
        level = border_level(pixels) if pixels.ndim == 3 else int(np.clip(round(255 * look.border), 0, 255))
        must_invert = self._must_invert(look, name)
        if must_invert:
            done.append("inverted")
        default = self.trained_fit or DEFAULT_FIT
        fit, fill = self.image_fit, 1.0
        if self._must_trim(look, name):
            top, bottom, left, right = look.box
            pixels = pixels[top:bottom, left:right]
            done.append(f"trimmed to {right - left}x{bottom - top}")
            facts = self.facts
            if fit is None and facts is not None:
                is_filled = min(facts.usual_height, facts.usual_width) >= FILLED
                fit, fill = (default, 1.0) if is_filled else ("pad", facts.usual_fill)
        if fit is None and is_stretched(pixels.shape, self.shape):
            self._affected[self.trained_fit or "unknown fit"].append(name)
            done.append(FIT_DONE[default])
        pixels = fitted(pixels, self.shape, fit or default, fill, level)
        return 255 - pixels if must_invert else pixels, "".join(f", {what}" for what in done)

    def notes(self) -> list[str]:
        """Return one sentence per kind of change or doubt, with the names of the images."""
        background = self.facts.background if self.facts is not None else ""
        notes = [
            f"{count_of(len(paths), 'image')} {NOTES[kind].format(background=background)}: "
            f"{quoted((Path(path).name for path in paths), 3)}."
            for kind, paths in self._affected.items()
        ]
        others = self._found.total() - self._found[background]
        if others >= MIN_MANY and others > 3 * self._found[background] and len(self._affected["inverted"]) < others / 2:
            notes.insert(
                0,
                f"{others} of {self._found.total()} images do not have the {background} background of the training "
                "images. If none of them should, give invert=True (--invert).",
            )
        return notes

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
            self._affected["inverted" if look.is_plain else "may be inverted"].append(name)
        return look.is_plain

    def _must_trim(self, look: ImageMeasurements, name: str) -> bool:
        if self.trim is not None or self.facts is None or not look.is_plain or not look.fill:
            return bool(self.trim)
        is_clear = look.fill < CLEARLY_EMPTY * self.facts.fill
        if look.fill < EMPTY * self.facts.fill:
            self._affected["trimmed" if is_clear else "may be trimmed"].append(name)
        return is_clear
