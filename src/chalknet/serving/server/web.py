"""The pages of a model server and their files, which come with chalknet and its extra `serve`."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from functools import cache
from importlib.resources import files

from chalknet.serving.server.registry import ServedModel

HTML = b"text/html; charset=utf-8"
ASSETS = files("chalknet.serving.server").joinpath("assets")
TYPES = {
    ".js": b"text/javascript; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".png": b"image/png",
    ".svg": b"image/svg+xml",
}
OWN_FILES = ("server.js", "upload.js", "upload.css", "page.js", "page.css", "docs.js", "docs.css", "icon.svg")
SWAGGER_FILES = ("swagger-ui-bundle.js", "swagger-ui.css")
COMMON = "default-src 'none'; script-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
PAGE_POLICY = f"{COMMON}style-src 'self'; img-src 'self' blob:; frame-ancestors 'none'"
# Swagger UI sets styles in its elements, and has its icons as data.
DOCS_POLICY = f"{COMMON}style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"


POLICY_OF_PAGE = re.compile(rb'<meta http-equiv="Content-Security-Policy" content="([^"]*)">')
PageMaker = Callable[[ServedModel, str], bytes | None]


class UnknownAssetError(LookupError):
    """Raised when there is no file of a name."""


class WebFiles:
    """The files of the pages.

    Args:
        make_page: returns the interactive page of a model, or None if it has none.
    """

    def __init__(self, make_page: PageMaker) -> None:
        """Create them; each is read when it is first asked for."""
        self._make_page = make_page
        self._interactive: dict[str, tuple[ServedModel, bytes | None]] = {}

    def interactive_page(self, model: ServedModel, base: str) -> tuple[bytes, str] | None:
        """Return the interactive page of a model and its policy, or None if it has none. This may take seconds.

        Args:
            model: the model.
            base: the path from the page to the root of the server.
        """
        made = self._interactive.get(model.name)
        if made is None or made[0] is not model:  # it was loaded again
            made = self._interactive[model.name] = (model, self._make_page(model, base))
        page = made[1]
        if page is None:
            return None
        found = POLICY_OF_PAGE.search(page)
        assert found is not None, "the page has a policy"
        return page, f"{html.unescape(found[1].decode())}; frame-ancestors 'none'"

    def page(self) -> bytes:
        """Return the page for uploads."""
        return _own("page.html")

    def docs(self) -> tuple[bytes, str]:
        """Return the page with the documentation of the addresses, and its policy."""
        return _own("docs.html"), DOCS_POLICY

    def asset(self, path: str) -> tuple[bytes, bytes]:
        """Return the content and the media type of a file.

        Args:
            path: its address, such as "/assets/upload.js". Only known names are looked up on the disk.

        Raises:
            UnknownAssetError: there is no such file.
        """
        folder, _, name = path.removeprefix("/").partition("/")
        if folder == "assets" and name in OWN_FILES:
            content = _own(name)
        elif folder == "docs" and name in SWAGGER_FILES:
            content = _swagger(name)
        else:
            raise UnknownAssetError(name)
        return content, TYPES["." + name.rsplit(".", 1)[-1]]


def upload_tab() -> tuple[tuple[str, ...], str]:
    """Return the scripts and the style of the tab for uploads in an interactive page."""
    scripts = tuple(_own(name).decode() for name in ("server.js", "upload.js", "upload_tab.js"))
    return scripts, _own("upload.css").decode()


@cache
def _own(name: str) -> bytes:
    return ASSETS.joinpath(name).read_bytes()


@cache
def _swagger(name: str) -> bytes:
    from swagger_ui_bundle import swagger_ui_path

    content: bytes = swagger_ui_path.joinpath(name).read_bytes()
    return content
