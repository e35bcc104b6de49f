"""Write a document: its HTML and its PDF, and every table and figure in it as plain data."""

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

OWN_PAGE = re.compile(rb"by chalknet \d")  # in the subtitle of every document of chalknet


@dataclass(frozen=True, eq=False)
class WrittenDocument:
    """A document that has been written.

    Attributes:
        folder: where it is.
        results: the study that it is about; a run is a study with one configuration.
        document: the document as plain data.
        stem: file name of the HTML and the PDF without its ending.
    """

    folder: Path
    results: StudyResults
    document: Document
    stem: str

    def __repr__(self) -> str:
        """Return the path of the HTML and a summary of the results."""
        return f"<{type(self).__name__} {self.html}: {self.results!r}>"

    @property
    def html(self) -> Path:
        """Path of the HTML file."""
        return self.folder / f"{self.stem}.html"

    @property
    def pdf(self) -> Path:
        """Path of the PDF."""
        return self.folder / f"{self.stem}.pdf"


def refuse_foreign(folder: Path, stem: str, overwrite: bool = False) -> None:
    """Check that a new document replaces no file that chalknet did not write.

    The HTML file says whether chalknet wrote it. A PDF belongs to the HTML file beside it.

    Args:
        folder: where the document will be written; it may not exist yet.
        stem: file name of the HTML and the PDF without its ending.
        overwrite: whether such files may be replaced.

    Raises:
        OutputError: STEM.html or STEM.pdf exists and chalknet did not write it, or it cannot be
            read.
    """
    page, paper = folder / f"{stem}.html", folder / f"{stem}.pdf"
    if overwrite or _is_own_page(page):
        return
    for path in (page, paper):
        if path.exists():
            raise OutputError(
                f"{path}: exists, but chalknet did not write it. Choose another out (--out), or give overwrite=True "
                "(--overwrite)."
            )


def flags_of_title(title: str | None, author: str | None, date: str | None) -> list[str]:
    """Return the flags that give a document this title, author and date."""
    given = {"--title": title, "--author": author, "--date": date}
    return [f"{flag}={value}" for flag, value in given.items() if value is not None]


def repeat_folder(folder: Path) -> Path:
    """Return the folder that a document proposes for its repetition: a new one next to its own."""
    named = folder if folder.name not in ("", "..") else folder.resolve()
    return named.with_name(f"{named.name}-repeated")


def _is_own_page(page: Path) -> bool:
    """Return whether this file is an HTML document of chalknet."""
    try:
        return page.is_file() and OWN_PAGE.search(page.read_bytes()) is not None
    except OSError as error:
        raise OutputError(f"{page}: cannot be read: {error.strerror or error}.") from error


def document_files(document: Document, stem: str = "writeup") -> dict[str, bytes]:
    """Return the files of a document: name relative to its folder, with "/", -> content.

    The files are STEM.html, STEM.pdf, tables/NAME.csv, figures/NAME.json and figures/NAME.svg or
    .png.

    Args:
        document: what to write.
        stem: file name of the HTML and the PDF without its ending.
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
    """Write all files of a document into a folder, which is created if it is missing.

    HTML and PDF are written last, so that the files they belong with are there.

    Args:
        document: what to write.
        folder: where to write it.
        stem: file name of the HTML and the PDF without its ending.

    Returns:
        The paths of the files.

    Raises:
        OutputError: the folder cannot be written.
    """
    return write_document_files(document_files(document, stem), folder)


def write_document_files(files: dict[str, bytes], folder: Path) -> tuple[Path, ...]:
    """Write the result of `document_files`; each file is written completely or not at all."""
    by_folder: defaultdict[str, dict[str, bytes]] = defaultdict(dict)
    for name, content in files.items():
        path = PurePosixPath(name)
        by_folder[path.parent.as_posix()][path.name] = content
    for name in sorted(by_folder, key=lambda name: name == "."):
        if name != ".":
            refuse_link(folder / name)
        with new_folder(folder / name) as place:
            write_files(place, by_folder[name])
    return tuple(folder / name for name in sorted(files))
