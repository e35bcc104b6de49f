"""A document as files: both documents, and every table and figure in them as plain data."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from chalknet.artifacts.atomic import new_folder, refuse_link, write_files
from chalknet.errors import OutputError
from chalknet.reporting.document import Document, FigureBlock, TableBlock
from chalknet.reporting.document_view import draw_pictures, encode_utf8
from chalknet.reporting.html import document_html
from chalknet.reporting.typst import document_pdf
from chalknet.studies.results import StudyResults

OWN_PAGE = re.compile(rb"by chalknet \d")  # stands in the subtitle of every document


@dataclass(frozen=True, eq=False)
class WrittenDocument:
    """A document in its folder.

    Attributes:
        folder: where it is; `html` and `pdf` are the documents in it.
        results: the study that it is about, or the run as a study of one training.
        document: as plain data.
        stem: of the names of the two documents.
    """

    folder: Path
    results: StudyResults
    document: Document
    stem: str

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.html}: {self.results!r}>"

    @property
    def html(self) -> Path:
        return self.folder / f"{self.stem}.html"

    @property
    def pdf(self) -> Path:
        return self.folder / f"{self.stem}.pdf"


def refuse_foreign(folder: Path, stem: str, overwrite: bool = False) -> None:
    """Makes sure that STEM.html and STEM.pdf are free, or chalknet's own, which a new document replaces.

    A page says by whom it was made; a PDF belongs to the page beside it.

    Args:
        folder: where the document is to go; need not exist.
        overwrite: whether another's files may be replaced too.
    Raises:
        OutputError: one of them is another's, or the page cannot be read.
    """
    page, paper = folder / f"{stem}.html", folder / f"{stem}.pdf"
    if overwrite or _is_own_page(page):
        return
    what = {page: "is not a document of chalknet's", paper: f"has no {page.name} of chalknet's beside it"}
    for path, why in what.items():
        if path.exists():
            raise OutputError(f"{path}: {why}. Choose another out (--out), or give overwrite=True (--overwrite).")


def _is_own_page(page: Path) -> bool:
    try:
        return page.is_file() and OWN_PAGE.search(page.read_bytes()) is not None
    except OSError as error:
        raise OutputError(f"{page}: cannot be read: {error.strerror or error}.") from error


def document_files(document: Document, stem: str = "writeup") -> dict[str, bytes]:
    """Name -> content: STEM.html, STEM.pdf, tables/NAME.csv, figures/NAME.json and figures/NAME.svg or .png.

    Names have "/" between folder and file; `write_document` puts them on disk.
    """
    pictures = draw_pictures(document)
    files = {f"figures/{name}.{picture.kind}": picture.light for name, picture in pictures.items()}
    for block in document.blocks():
        if isinstance(block, TableBlock):
            files[f"tables/{block.name}.csv"] = encode_utf8(block.table.csv())
        elif isinstance(block, FigureBlock):
            files[f"figures/{block.name}.json"] = encode_utf8(block.figure.json())
    files[f"{stem}.html"] = document_html(document, pictures)
    files[f"{stem}.pdf"] = document_pdf(document, pictures)
    return files


def write_document(document: Document, folder: Path, stem: str = "writeup") -> tuple[Path, ...]:
    """Writes `document_files` into a folder, which is made where it is missing; the documents come last.

    Returns:
        the files' paths.
    Raises:
        OutputError: the folder cannot be written.
    """
    return write_document_files(document_files(document, stem), folder)


def write_document_files(files: dict[str, bytes], folder: Path) -> tuple[Path, ...]:
    """Writes what `document_files` gave; every file is there whole or not at all."""
    by_folder: defaultdict[str, dict[str, bytes]] = defaultdict(dict)
    for name, content in files.items():
        path = PurePosixPath(name)
        by_folder[path.parent.as_posix()][path.name] = content
    for part in sorted(by_folder, key=lambda part: part == "."):
        if part != ".":
            refuse_link(folder / part)
        with new_folder(folder / part) as place:
            write_files(place, by_folder[part])
    return tuple(folder / name for name in sorted(files))
