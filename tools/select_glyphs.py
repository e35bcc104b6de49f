"""Select the fonts of the built-in letters, and write the manifest (docs/glyphs.md).

    apt-get download texlive-fonts-extra fonts-aenigma
    for p in texlive-fonts-extra fonts-aenigma; do dpkg-deb -x ${p}_*.deb fonts/$p; done
    python tools/select_glyphs.py fonts --out src/chalknet/data/builtin/manifest.csv.gz
    chalknet data build fonts --pinned src/chalknet/data/builtin/manifest.csv.gz -o
    src/chalknet/data/builtin/glyphs.npz

Requires fontTools (license notices) and scikit-learn (letter check) besides chalknet.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import math
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from fontTools.ttLib import TTFont
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from chalknet.data.glyph_builder.choice import Choice, choose_images
from chalknet.data.glyph_builder.deduplication import drop_near_identical_faces
from chalknet.data.glyph_builder.faces import Face
from chalknet.data.glyph_builder.families import family_groups as builder_groups
from chalknet.data.glyph_builder.families import joined_groups
from chalknet.data.glyph_builder.fonts import find_fonts
from chalknet.data.glyph_builder.letters import expand_letters
from chalknet.data.glyph_builder.manifest import face_records
from chalknet.data.glyph_builder.scanning import scan_fonts

LETTERS = expand_letters("A-J")
PER_LETTER = (1873,) * 4 + (1872,) * 6  # 18,724 together: the write-up's 15,000 / 1,000 / 2,724
MIN_AGREEMENT = 2  # of ten letters that a classifier must recognize; otherwise the face is taken for symbols
TEX_LIVE = "texlive-fonts-extra"
COLUMNS = (
    *("face_id", "family_group", "family", "face", "license", "license_evidence", "source", "package", "version"),
    *("subpackage", "file", "index", "sha256", "copyright", "letters"),
)

# ---------------------------------------------------------------- licenses

# In order of preference if several are named. Fonts under other licenses, such as GPL with or without
# exceptions, are excluded.
ACCEPTED = (
    *("OFL-1.1", "Apache-2.0", "GUST", "Bitstream-Vera", "ParaType", "MIT", "BSD", "CC0-1.0", "Unlicense", "PD"),
    *("LPPL", "Aenigma"),
)
COPYLEFT = ("GPL", "LGPL", "AGPL", "CC-BY-SA", "CC-BY")

# Patterns for the license and copyright fields of a font.
NOTICES = {
    "OFL-1.1": r"open font licen[sc]e|\bofl\b|scripts\.sil\.org",
    "Apache-2.0": r"apache licen[sc]e|apache\.org/licenses",
    "GUST": r"gust font|\bgfl\b|\bgfsl\b",
    "Bitstream-Vera": r"bitstream vera|bitstream, inc.*dejavu",
    "ParaType": r"paratype free font|paratype .*licen[sc]e",
    "MIT": r"\bmit licen[sc]e|\bexpat\b|\bx11 licen[sc]e",
    "BSD": r"\bbsd\b|bsd-style",
    "CC0-1.0": r"\bcc0\b",
    "Unlicense": r"\bunlicense\b",
    "PD": r"public domain",
    "LPPL": r"\blppl\b|latex project public",
    "AGPL": r"\bagpl\b|affero",
    "LGPL": r"\blgpl\b|lesser general public",
    "GPL": r"\bgpl|gnu general public|gnu public",
    "CC-BY-SA": r"cc.by.sa|attribution.share.?alike",
    "CC-BY": r"cc.by(?!.sa)|creative commons attribution(?!.share)",
}

# Terms of TeX Live's Licenses file, without version numbers.
WORDS = {
    "ofl": "OFL-1.1",
    "apache": "Apache-2.0",
    "gfl": "GUST",
    "gfsl": "GUST",
    "lppl": "LPPL",
    "mit": "MIT",
    "x": "MIT",  # x11
    "bsd": "BSD",
    "cc0": "CC0-1.0",
    "pd": "PD",
    "gpl": "GPL",
    "lgpl": "LGPL",
    "agpl": "AGPL",
    "cc-by": "CC-BY",
    "cc-by-sa": "CC-BY-SA",
}

# TeX Live only says "other-free" for these packages; their licenses were read by hand.
BY_HAND = {"paratype": "ParaType", "gofonts": "BSD", "arev": "Bitstream-Vera", "bera": "Bitstream-Vera"}


@dataclass(frozen=True)
class Notice:
    """The license and copyright fields of a font file."""

    copyright: str = ""
    license: str = ""


def read_notice(path: Path) -> Notice:
    """Return the copyright and license fields of a font; empty if they cannot be read."""
    try:
        return _type1_notice(path) if path.suffix.lower() in (".pfb", ".t1", ".pfa") else _sfnt_notice(path)
    except Exception:  # a damaged table is no reason to exclude a font; the record of the package then decides
        return Notice()


def _sfnt_notice(path: Path) -> Notice:
    with TTFont(path, lazy=True, fontNumber=0) as font:
        name = font["name"]
        copyright_, license_, url = (name.getDebugName(i) or "" for i in (0, 13, 14))
        return Notice(_one_line(copyright_), _one_line(f"{license_} {url}"))


def _type1_notice(path: Path) -> Notice:
    head = path.read_bytes()[:20_000].decode("latin-1")
    found = [re.search(rf"/{key}\s*\(((?:[^()\\]|\\.|\([^()]*\))*)\)", head) for key in ("Notice", "Copyright")]
    return Notice(_one_line(" ".join(match[1] for match in found if match)))


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


@dataclass(frozen=True)
class Verdict:
    """A license and its evidence, or None and the reason to exclude the font."""

    license: str | None
    evidence: str


def judge(notice: Notice, words: Sequence[str], subpackage: str) -> Verdict:
    """Return the license by the font's notice, else as read by hand, else by the package's record."""
    text = f"{notice.license} {notice.copyright}".lower()
    own = [name for name, pattern in NOTICES.items() if re.search(pattern, text)]
    package = [WORDS.get(re.sub(r"-?[\d.]+[a-z]?\+?$", "", word), word) for word in words]
    if own:
        return _judge_own(own, package)
    if subpackage in BY_HAND:
        return Verdict(BY_HAND[subpackage], "by hand")
    free = [name for name in ACCEPTED if name in package]
    foreign = [name for name in package if name not in ACCEPTED]
    # "ofl gpl" is an OFL font with GPL macros. With other licenses, an unaccepted term may apply to the font.
    if free and (not foreign or free[0] == "OFL-1.1"):
        return Verdict(free[0], "package")
    return Verdict(None, "package: " + (" ".join(words) or "unknown"))


def _judge_own(own: Sequence[str], package: Sequence[str]) -> Verdict:
    free = [name for name in ACCEPTED if name in own]
    copyleft = [name for name in COPYLEFT if name in own]
    if free and (not copyleft or free[0] in ("OFL-1.1", "LPPL")):  # with these, a second license is an alternative
        return Verdict(free[0], "font")
    if copyleft == ["GPL"] and "OFL-1.1" in package:
        return Verdict("OFL-1.1", "font and package")
    return Verdict(None, "font: " + " ".join(own))


# ---------------------------------------------------------------- packages


@dataclass(frozen=True)
class Package:
    """An unpacked Debian package with license terms, by folder for TeX Live, else for all files."""

    name: str
    version: str
    folder: Path
    by_folder: dict[str, tuple[str, tuple[str, ...]]]

    def subpackage(self, file: str) -> tuple[str, tuple[str, ...]]:
        """Return the TeX Live package of a file and its license terms."""
        folder = Path(file).parent
        while folder.parts:
            if folder.as_posix() in self.by_folder:
                return self.by_folder[folder.as_posix()]
            folder = folder.parent
        return self.by_folder.get("", ("", ()))


def read_package(folder: Path) -> Package:
    name = folder.name
    docs = folder / "usr/share/doc" / name
    version = re.search(r"\(([^)]+)\)", gzip.decompress((docs / "changelog.Debian.gz").read_bytes()).decode())
    assert version is not None, f"{docs}: the changelog names no version"
    if name == TEX_LIVE:
        text = gzip.decompress((docs / "Licenses.gz").read_bytes()).decode("utf-8", "replace")
        return Package(name, version[1], folder, dict(_tex_live_folders(text)))
    if name == "fonts-aenigma":
        return Package(name, version[1], folder, {"": (name, ("Aenigma",))})
    raise SystemExit(f"{name}: no rule for the licenses of this package")


def _tex_live_folders(licenses: str) -> Iterator[tuple[str, tuple[str, tuple[str, ...]]]]:
    """Return the font folders of TeX Live's Licenses file with package and license terms."""
    package, words = "", ()
    for line in licenses.splitlines():
        heading = re.match(r"([^/\s]+):\s*(.*)$", line)
        if heading:
            package, words = heading[1], tuple(heading[2].split())
        elif re.match(r"texmf-dist/fonts/(opentype|truetype|type1)/", line):
            yield "usr/share/texlive/" + line.rstrip("*").rstrip("/"), (package, words)


# ---------------------------------------------------------------- the deny list

# TeX Live packages of symbols, frames, or other scripts in place of capitals.
# fmt: off
DENIED_PACKAGES = {
    "academicons", "adforn", "adfsymbols", "allrunes", "archaic", "ccicons", "cmll", "cookingsymbols",
    "countriesofeurope", "cryst", "dictsym", "dozenal", "esstix", "esvect", "fdsymbol", "fge", "fontawesome",
    "fontawesome5", "fontmfizz", "fonts-dseg", "frimurer", "hamnosys", "lineara", "mathabx-type1", "mdsymbol",
    "mnsymbol", "niceframe-type1", "ocherokee", "oinuit", "old-arrows", "phaistos", "pigpen", "semaphor",
    "simpleicons", "starfont", "staves", "svrsymbols", "tfrupee", "typicons",
}
# fmt: on
DENIED_NAMES = re.compile(
    r"drmsym|drmgrk|drmmi|drmsy|drminf|drmfigs|drmdoz|fourier ?orns|fell ?flowers|d050000l|ding ?b[ai]ts?|symbol"
    r"|qtgreece|ellhnikh|ssmsam|ssmsbm|math.?extension|ornament|90 stars|binary|bit blocks|entangled layer|faux snow"
    r"|head-ding|line dings|qbicle|^symmetry|vertigo|db layer|lcmex|mathx|icons?\b|emoji|braille|barcode",
    re.IGNORECASE,
)


def is_denied(face: Face, subpackage: str) -> bool:
    return subpackage in DENIED_PACKAGES or bool(DENIED_NAMES.search(f"{face.name} {Path(face.file).stem}"))


# ---------------------------------------------------------------- families

# TeX Live packages with many unrelated families; every other package is one family.
MIXED_PACKAGES = {"aurical", "boondox", "fonts-aenigma", "imfellenglish", "initials", "newtx", "nimbus15", "qualitype"}
MIXED_PACKAGES |= {"yfonts-otf", "yfonts-t1", "yinit-otf"}


def group_families(candidates: Sequence[Candidate], links: Iterable[tuple[int, int]]) -> NDArray[np.int64]:
    """Return the groups of the builder, joined by package unless a package is known to be mixed."""
    groups = builder_groups([c.face.family for c in candidates], links)
    first: dict[str, int] = {}
    joins = []
    for i, candidate in enumerate(candidates):
        joins.append((first.setdefault(f"group {groups[i]}", i), i))
        if candidate.subpackage not in MIXED_PACKAGES:
            joins.append((first.setdefault(f"package {candidate.subpackage}", i), i))
    return joined_groups(len(candidates), joins)


# ---------------------------------------------------------------- the steps


@dataclass(frozen=True, eq=False)
class Candidate:
    """A face that has all letters, with its origin and license."""

    face: Face
    package: Package
    subpackage: str
    notice: Notice
    verdict: Verdict


def read_candidates(package: Package, counts: dict[str, object]) -> list[Candidate]:
    fonts = find_fonts([package.folder])
    faces, drops = scan_fonts(fonts, LETTERS)
    counts[f"{package.name}: font files"] = len(fonts)
    counts[f"{package.name}: faces with all letters"] = len(faces)
    counts[f"{package.name}: left out"] = dict(Counter(drop.kind for drop in drops))
    candidates = []
    for face in faces:
        notice = read_notice(package.folder / face.file)
        subpackage, words = package.subpackage(face.file)
        verdict = Verdict("Aenigma", "package") if words == ("Aenigma",) else judge(notice, words, subpackage)
        candidates.append(Candidate(face, package, subpackage, notice, verdict))
    return candidates


def keep_usable(candidates: Sequence[Candidate], counts: dict[str, object]) -> list[Candidate]:
    """Return the candidates with an accepted license that are not on the deny list."""
    free = [c for c in candidates if c.verdict.license is not None]
    counts["faces without an accepted license"] = dict(
        Counter(c.verdict.evidence for c in candidates if c.verdict.license is None).most_common()
    )
    usable = [c for c in free if not is_denied(c.face, c.subpackage)]
    counts["faces on the deny list"] = len(free) - len(usable)
    counts["faces with accepted license, not denied"] = len(usable)
    return usable


def drop_near_duplicates(
    candidates: Sequence[Candidate], counts: dict[str, object]
) -> tuple[list[Candidate], NDArray[np.int64]]:
    """Return one of each set of near-identical faces, and the family groups."""
    kept, links, _ = drop_near_identical_faces([c.face for c in candidates])
    groups = group_families(candidates, links)[kept]
    counts["faces after removing near-identical ones"] = len(kept)
    return [candidates[i] for i in kept], groups


def letters_read(images: NDArray[np.uint8], groups: NDArray[np.int64], folds: int = 5) -> NDArray[np.int64]:
    """Return (F,) the letters of each face that a network recognizes without its family in training."""
    from sklearn.neural_network import MLPClassifier

    fold = np.random.RandomState(0).randint(folds, size=groups.max() + 1)[groups]
    rows = images.reshape(*images.shape[:2], -1).astype(np.float32) / 255
    labels = np.tile(np.arange(images.shape[1]), (len(images), 1))
    right = np.zeros(len(images), np.int64)
    for k in range(folds):
        seen, unseen = fold != k, fold == k
        network = MLPClassifier((200,), alpha=1e-3, batch_size=200, max_iter=10, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # ten epochs are enough here, although they do not converge
            network.fit(rows[seen].reshape(-1, rows.shape[2]), labels[seen].ravel())
        guess = network.predict(rows[unseen].reshape(-1, rows.shape[2])).reshape(-1, images.shape[1])
        right[unseen] = (guess == labels[unseen]).sum(axis=1)
    return right


def farthest_first(images: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Return an order of the faces: the most central one, then the farthest from all before."""
    rows = images.reshape(len(images), -1).astype(np.float64)
    norms = (rows * rows).sum(axis=1)
    squares = np.maximum(norms[:, None] + norms[None, :] - 2 * rows @ rows.T, 0)
    order = [int(np.sqrt(squares).sum(axis=1).argmin())]
    nearest = squares[order[0]].copy()
    while len(order) < len(rows):
        nearest[order[-1]] = -1
        order.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, squares[order[-1]])
        nearest[order] = -1
    return np.array(order)


def select(candidates: Sequence[Candidate], counts: dict[str, object]) -> Selection:
    """Return the faces of the set with their letters, after all steps except licenses."""
    kept, groups = drop_near_duplicates(keep_usable(candidates, counts), counts)
    images = np.stack([c.face.images for c in kept])
    read = letters_read(images, groups)
    good = np.flatnonzero(read >= MIN_AGREEMENT)
    counts["faces after the letter check"] = len(good)
    counts["family groups"] = len(set(groups[good].tolist()))
    chosen = choose_images(images[good], farthest_first(images[good]), PER_LETTER)
    counts["distinct images a letter"] = {
        letter: len(chosen.faces[k]) + chosen.capped[k] for k, letter in enumerate(LETTERS)
    }
    counts["exact copies of another letter"] = dict(zip(LETTERS, chosen.copies, strict=True))
    return Selection([kept[i] for i in good], groups[good], read[good], chosen)


@dataclass(frozen=True, eq=False)
class Selection:
    """The selected faces: family groups, numbers of recognized letters, and chosen images."""

    candidates: list[Candidate]
    groups: NDArray[np.int64]
    read: NDArray[np.int64]
    chosen: Choice


# ---------------------------------------------------------------- output


def manifest_rows(selection: Selection) -> list[dict[str, object]]:
    faces = [c.face for c in selection.candidates]
    records, used = face_records(faces, selection.groups, selection.chosen, LETTERS)
    rows = []
    for record, position in zip(records, used, strict=True):
        c = selection.candidates[position]
        rows.append(
            asdict(record)
            | {"license": c.verdict.license, "license_evidence": c.verdict.evidence, "source": "Debian"}
            | {"package": c.package.name, "version": c.package.version, "subpackage": c.subpackage}
            | {"copyright": c.notice.copyright[:160]}
        )
    return rows


def manifest_bytes(rows: Sequence[dict[str, object]]) -> bytes:
    """Return gzipped CSV without a time stamp, so that equal rows give equal bytes."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return gzip.compress(text.getvalue().encode(), mtime=0)


def write_sheets(selection: Selection, folder: Path) -> None:
    """Write pictures of every tenth face, and of faces with at most half of the letters recognized."""
    folder.mkdir(parents=True, exist_ok=True)
    everyone = range(len(selection.candidates))
    for name, chosen in {
        "tenth": [i for i in everyone if i % 10 == 0],
        "doubtful": sorted((i for i in everyone if selection.read[i] <= 5), key=lambda i: selection.read[i]),
    }.items():
        for page in range(0, len(chosen), 60):
            sheet = _sheet([selection.candidates[i] for i in chosen[page : page + 60]])
            sheet.save(folder / f"{name}_{page // 60}.png")


def _sheet(candidates: Sequence[Candidate]) -> Image.Image:
    """Draw faces in three columns, each with its ten letters and name."""
    cell, line, column = 30, 44, 320
    sheet = Image.new("L", (3 * column, line * math.ceil(len(candidates) / 3)), 90)
    draw = ImageDraw.Draw(sheet)
    for i, candidate in enumerate(candidates):
        x, y = column * (i % 3), line * (i // 3)
        for k, image in enumerate(candidate.face.images):
            sheet.paste(Image.fromarray(image), (x + cell * k, y))
        draw.text((x, y + 29), f"{candidate.subpackage[:14]} {candidate.face.name[:40]}", fill=255)
    return sheet


def summarize(rows: Sequence[dict[str, object]], counts: dict[str, object]) -> None:
    images, faces = Counter[str](), Counter[str]()
    for row in rows:
        images[str(row["license"])] += len(str(row["letters"]))
        faces[str(row["license_evidence"])] += 1
    counts["images"] = sum(images.values())
    counts["faces used"] = len(rows)
    counts["family groups used"] = len({row["family_group"] for row in rows})
    counts["images by license"] = dict(images.most_common())
    counts["faces by evidence"] = dict(faces.most_common())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fonts", type=Path, help="folder with one folder per package")
    parser.add_argument("--out", type=Path, required=True, help="manifest to write (gzipped CSV)")
    parser.add_argument("--sheets", type=Path, help="folder for pictures of every tenth face and of the doubtful ones")
    parser.add_argument("--without", nargs="*", default=[], help="packages to leave out, to measure their benefit")
    arguments = parser.parse_args()
    counts: dict[str, object] = {}
    folders = [f for f in sorted(arguments.fonts.iterdir()) if f.is_dir() and f.name not in arguments.without]
    candidates = [c for folder in folders for c in read_candidates(read_package(folder), counts)]
    selection = select(candidates, counts)
    rows = manifest_rows(selection)
    summarize(rows, counts)
    arguments.out.write_bytes(manifest_bytes(rows))
    if arguments.sheets:
        write_sheets(selection, arguments.sheets)
    print(json.dumps(counts, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
