"""Answer the browsers that follow a study or a training: the page, and its content as JSON with an ETag."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from functools import cache
from importlib.resources import files

from chalknet.errors import ChalknetError
from chalknet.reporting.drawings.theme import DARK, LIGHT, Theme
from chalknet.reporting.html import document_css
from chalknet.serving.server.guard import JSON, Receive, RequestError, Scope, Send, page_headers, send_answer
from chalknet.serving.watch.sources import Source, error_page

ASSETS = files("chalknet.serving.watch").joinpath("assets")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
HTML, CSS, SCRIPT = b"text/html; charset=utf-8", b"text/css; charset=utf-8", b"text/javascript; charset=utf-8"
# Paths of files and what they hold. All of them are needed before a browser can ask for a token.
PAGE_FILES = {
    "/": ("watch.html", HTML),
    "/watch.js": ("watch.js", SCRIPT),
    "/blocks.js": ("blocks.js", SCRIPT),
    "/drawing.js": ("drawing.js", SCRIPT),
    "/watch.css": ("watch.css", CSS),
    "/document.css": ("", CSS),
}
STATE_PATH = "/state"
MIN_SECONDS = 0.5  # between two reads of what is watched, however many browsers ask
RECENT_SECONDS = 6.0  # a browser that has asked so recently is still there


class WatchApp:
    """An ASGI application that shows one source. Several browsers share what is read once.

    Args:
        source: what the page shows.
    """

    def __init__(self, source: Source) -> None:
        """Create the application; nothing is read yet."""
        self._source, self._lock = source, threading.Lock()
        self._read_at, self._page, self._body, self._tag = -MIN_SECONDS, object(), b"", b""
        self._asked_at, self._last_sent = -RECENT_SECONDS, b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        del receive
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])  # uvicorn then starts without these events
        if scope["method"] not in ("GET", "HEAD"):
            raise RequestError(405, "this page is only read. Use GET.", [(b"allow", b"GET, HEAD")])
        if scope["path"] == STATE_PATH:
            await self._send_state(scope, send)
        elif scope["path"] in PAGE_FILES:
            content, kind = page_file(scope["path"])
            await send_answer(send, 200, content, kind, page_headers(POLICY))
        else:
            raise RequestError(404, "there is no such page here. The page is at /.")

    async def _send_state(self, scope: Scope, send: Send) -> None:
        body, tag = await asyncio.to_thread(self.state)
        self._asked_at, self._last_sent = time.monotonic(), tag
        known = dict(scope["headers"]).get(b"if-none-match", b"")
        headers = [(b"etag", tag)]
        if tag in known:
            await send({"type": "http.response.start", "status": 304, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
        else:
            await send_answer(send, 200, body, JSON, headers)

    def state(self, *, at_once: bool = False) -> tuple[bytes, bytes]:
        """Return the content of the page as JSON, and its ETag.

        Args:
            at_once: whether to read even if the last read was a moment ago.
        """
        with self._lock:
            if at_once or time.monotonic() - self._read_at >= MIN_SECONDS:
                try:
                    page = self._source.page()
                except ChalknetError as error:
                    page = error_page(error)
                if page is not self._page:
                    self._body = page.json().encode(errors="replace")
                    self._tag = b'"' + hashlib.sha256(self._body).hexdigest()[:32].encode() + b'"'
                    self._page = page
                self._read_at = time.monotonic()
            return self._body, self._tag

    def wait_for_browsers(self, seconds: float) -> None:
        """Return when a browser that follows the page has got its present content, or after some time.

        Without such a browser, return at once.
        """
        end = time.monotonic() + seconds
        _, tag = self.state(at_once=True)
        while self._last_sent != tag and time.monotonic() < end:
            if time.monotonic() - self._asked_at > RECENT_SECONDS:
                return
            time.sleep(0.05)


@cache
def page_file(path: str) -> tuple[bytes, bytes]:
    """Return the content and the media type of a file of the page."""
    name, kind = PAGE_FILES[path]
    if name:
        return ASSETS.joinpath(name).read_bytes(), kind
    return f"{document_css()}\n{_curve_colors()}".encode(), kind


def _curve_colors() -> str:
    """Return the colors of curves as variables of CSS, which are those of drawings."""
    light, dark = map(_variables, (LIGHT, DARK))
    return f":root {{ {light} }}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"


def _variables(theme: Theme) -> str:
    named = {f"curve-{at}": color for at, color in enumerate(theme.curves)}
    named |= {"grid": theme.grid, "mark-line": theme.mark, "shade-1": theme.shades[1]}
    return " ".join(f"--{name}: {color};" for name, color in named.items())
