"""Check each request before an application sees it, and answer errors in one line of JSON.

The types are those of ASGI: `scope` describes a request, `receive` returns its body in parts, and `send`
takes the parts of the answer.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from chalknet.errors import ChalknetError
from chalknet.formatting import printable
from chalknet.serving.server.access import Access, host_name

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]

LOGGER = logging.getLogger("chalknet.server")
JSON = b"application/json"
# Headers of all answers. An application adds those for pages itself, see `page_headers`.
ANSWER_HEADERS = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))
SINGLE_HEADERS = (b"host", b"authorization", b"content-length", b"content-type", b"origin")
MAX_QUERY_BYTES = 4_096
CLOSE = ((b"connection", b"close"),)
BUSY = ((b"retry-after", b"1"),)  # of answers with status 503
CORS_SECONDS = b"600"  # for which a browser remembers what a server allows


@dataclass(frozen=True)
class Limits:
    """What one request may cost.

    Attributes:
        body_bytes: size of a body.
        body_seconds: time until a body has arrived.
        head_seconds: time until the line and the headers of a request have arrived.
        head_bytes: size of the line and the headers.
        idle_seconds: time that a connection may stay open between two requests.
        write_seconds: time that an answer waits for a client that does not read.
        linger_seconds: time for which the rest of a refused body is read and discarded.
        stop_seconds: time that requests have to finish after the server was told to stop.
        connections: connections at a time.
        too_large: what a client with a larger body is told; "" for the size alone.
    """

    body_bytes: int = 64 * 2**20
    body_seconds: float = 30.0
    head_seconds: float = 10.0
    head_bytes: int = 2**16
    idle_seconds: float = 30.0
    write_seconds: float = 30.0
    linger_seconds: float = 5.0
    stop_seconds: float = 10.0
    connections: int = 512
    too_large: str = ""

    @property
    def too_large_message(self) -> str:
        """What a client with a larger body is told."""
        return self.too_large or f"the body is larger than {self.body_bytes:,} bytes. Send less at a time."


class RequestError(ChalknetError):
    """Raised when a request is refused; has the status of the answer.

    Args:
        status: the HTTP status.
        message: what was expected, what came and what to do, in one line.
        headers: further headers of the answer.
    """

    def __init__(self, status: int, message: str, headers: Headers = ()) -> None:
        """Create the error."""
        super().__init__(message)
        self.status: int = status
        self.headers: tuple[tuple[bytes, bytes], ...] = tuple(headers)


class Guard:
    """An ASGI application that checks requests and passes the good ones to another application.

    It checks the Host header, the Origin header of requests that send data, the token, and the stated size of the
    body. It adds `ANSWER_HEADERS`, and headers for `cors_origins`, to every answer. An error of the application
    becomes an answer in one line, without a traceback; unexpected ones are logged.

    Args:
        app: the application.
        access: who may ask.
        limits: what a request may cost.
        open_paths: paths that need no token.
        open_prefixes: beginnings of paths that need no token, such as "/assets/".
    """

    def __init__(
        self,
        app: App,
        access: Access,
        limits: Limits,
        open_paths: Collection[str] = (),
        open_prefixes: tuple[str, ...] = (),
    ) -> None:
        """Create the guard."""
        self.app: App = app
        self.access: Access = access
        self.limits: Limits = limits
        self._open_paths, self._open_prefixes = frozenset(open_paths), open_prefixes
        self._known_hosts = set[bytes]()  # that were accepted before

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":  # the events of starting and stopping
            await self.app(scope, receive, send)
            return
        answer = _Answer(send)
        refuse = partial(self._refuse, scope, receive, answer)
        try:
            headers = self._checked_headers(scope)
            answer.more = self._cors_headers(headers)
            if scope["method"] == "OPTIONS" and b"access-control-request-method" in headers and answer.more:
                await send_answer(answer.send, 204, b"", JSON, self._preflight_headers())
                return
            self._check_token(scope, headers)
            scope["header_map"] = headers
            await self.app(scope, receive, answer.send)
        except RequestError as error:
            await refuse(error.status, str(error), error.headers)
        except ChalknetError as error:
            await refuse(422, str(error))
        except asyncio.CancelledError:  # the time for stopping is over
            await refuse(503, "the server is stopping. Ask again later.", [(b"retry-after", b"5")])
        except MemoryError:
            LOGGER.error("%s %s: out of memory", scope["method"], printable(scope["path"]))
            await refuse(503, "the request needs more memory than there is. Send less.", [(b"retry-after", b"5")])
        except Exception:
            LOGGER.exception("%s %s failed", scope["method"], printable(scope["path"]))
            await refuse(500, "an error of the server, which its log describes. Please report it.")

    async def _refuse(
        self, scope: Scope, receive: Receive, answer: _Answer, status: int, message: str, headers: Headers = ()
    ) -> None:
        """Send an error, unless an answer has begun, which then stays incomplete.

        A client that is still sending its body may be unable to read the answer when the connection is closed, so
        the rest of the body is read and discarded for a while before the answer ends.
        """
        if answer.has_begun:
            raise ConnectionAbortedError(message)
        body = json.dumps({"error": message}).encode()
        has_body = any(
            name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
            for name, value in scope["headers"]
        )
        if status in (408, 503) or not has_body or scope.get("body_was_read"):
            await send_answer(answer.send, status, body, JSON, headers)
            return
        await send_answer(answer.send, status, body, JSON, headers, more=True)
        with suppress(RequestError):
            discard = replace(
                self.limits, body_bytes=2 * self.limits.body_bytes, body_seconds=self.limits.linger_seconds
            )
            await read_body(scope, receive, discard, keep=False)
        await answer.send({"type": "http.response.body", "body": b""})

    def _checked_headers(self, scope: Scope) -> dict[bytes, bytes]:
        """Return the headers by name after checking those that say where a request comes from and goes to."""
        headers = dict[bytes, bytes](scope["headers"])
        if len(headers) < len(scope["headers"]):
            names = [name for name, _ in scope["headers"]]
            twice = next((name for name in SINGLE_HEADERS if names.count(name) > 1), None)
            if twice is not None:
                raise RequestError(400, f"the request has two headers {twice.decode()}. Send one.")
        host = headers.get(b"host")
        if host is None and scope["http_version"] == "1.1":
            raise RequestError(400, "the request has no Host header.")
        if host is not None and host not in self._known_hosts:
            self._check_host(host)
        origin = headers.get(b"origin")
        is_reading = scope["method"] in ("GET", "HEAD", "OPTIONS")
        if origin is not None and not is_reading and not self.access.accepts_origin(origin.decode("latin-1").lower()):
            raise RequestError(
                403,
                f"pages of {origin.decode('latin-1')[:100]!r} may not send data here. To allow it, start the server "
                "with this origin among cors_origins (--cors-origin).",
            )
        if len(scope["query_string"]) > MAX_QUERY_BYTES:
            raise RequestError(414, f"the query has more than {MAX_QUERY_BYTES:,} bytes.")
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or len(length) > 18 or int(length) > self.limits.body_bytes:
            raise _too_large(self.limits)
        return headers

    def _check_host(self, host: bytes) -> None:
        text = host.decode("latin-1")
        if not self.access.accepts_host(text):
            name = host_name(text) or text
            raise RequestError(
                421,
                f"the Host header names {name[:100]!r}, which is not a name of this server. If it is one, start the "
                f"server with allow_hosts (--allow-host) {printable(name)[:100]}.",
            )
        if len(self._known_hosts) < 64:
            self._known_hosts.add(host)

    def _check_token(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        """Raise RequestError unless the request has the token or needs none; mark it as authorized if so."""
        is_authorized = self.access.token is None or self.access.accepts_token(
            headers.get(b"authorization", b"").decode("latin-1")
        )
        scope["is_authorized"] = is_authorized
        path = scope["path"]
        if not is_authorized and path not in self._open_paths and not path.startswith(self._open_prefixes):
            has_token = headers.get(b"authorization", b"").lower().startswith(b"bearer ")
            message = "the token is not the one of this server." if has_token else "a token is needed."
            raise RequestError(
                401, f"{message} Send the header Authorization: Bearer TOKEN.", [(b"www-authenticate", b"Bearer")]
            )

    def _cors_headers(self, headers: dict[bytes, bytes]) -> list[tuple[bytes, bytes]]:
        """Return the headers that let a page of another origin read the answer; none if it may not."""
        if not self.access.cors_origins:
            return []
        origin = headers.get(b"origin", b"")
        vary = [(b"vary", b"Origin")]
        if origin.decode("latin-1").lower() not in self.access.cors_origins:
            return vary
        exposed = (b"access-control-expose-headers", b"retry-after, x-chalknet-notes, x-chalknet-unreadable")
        return [*vary, (b"access-control-allow-origin", origin), exposed]

    def _preflight_headers(self) -> Headers:
        return (
            (b"access-control-allow-methods", b"GET, POST"),
            (b"access-control-allow-headers", b"authorization, content-type"),
            (b"access-control-max-age", CORS_SECONDS),
        )


class _Answer:
    """The answer to one request: adds headers, and knows whether it has begun."""

    def __init__(self, send: Send) -> None:
        """Create an answer that has not begun."""
        self._send, self.has_begun = send, False
        self.more: list[tuple[bytes, bytes]] = []

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Send a part of the answer."""
        if message["type"] == "http.response.start":
            self.has_begun = True
            message["headers"] = [*message.get("headers", ()), *self.more, *ANSWER_HEADERS]
        await self._send(message)


async def send_answer(
    send: Send, status: int, body: bytes, content_type: bytes = JSON, headers: Headers = (), *, more: bool = False
) -> None:
    """Send a whole answer.

    Args:
        send: the function of ASGI.
        status: the HTTP status.
        body: the content.
        content_type: its media type.
        headers: further headers.
        more: whether the caller will send a last, empty part.
    """
    size = (b"content-length", str(len(body)).encode())
    start = {
        "type": "http.response.start",
        "status": status,
        "headers": [(b"content-type", content_type), *([] if status == 204 else [size]), *headers],
    }
    await send(start)
    await send({"type": "http.response.body", "body": body, "more_body": more})


class BytePool:
    """The memory for the bodies that arrive at the same time.

    Attributes:
        max_bytes: how much there is.
        n_bytes: how much is in use.
    """

    def __init__(self, max_bytes: int) -> None:
        """Create a pool of which nothing is in use."""
        self.max_bytes: int = max_bytes
        self.n_bytes: int = 0

    def take(self, n_bytes: int) -> None:
        """Use some of it.

        Raises:
            RequestError: there is not so much left (503).
        """
        if self.n_bytes + n_bytes > self.max_bytes:
            raise RequestError(503, "too many large requests arrive at once. Ask again in a second.", BUSY)
        self.n_bytes += n_bytes

    def give(self, n_bytes: int) -> None:
        """Give some of it back."""
        self.n_bytes -= n_bytes


async def read_body(
    scope: Scope, receive: Receive, limits: Limits, *, keep: bool = True, pool: BytePool | None = None
) -> bytes:
    """Return the body of a request.

    Args:
        scope: the request.
        receive: the function of ASGI.
        limits: the size and the time that it may take.
        keep: False to discard it.
        pool: the memory that bodies share while they arrive, unless they come in one part.

    Raises:
        RequestError: the body is too large (413), does not arrive in time (408), or finds no memory (503).
        ClientGoneError: the client has closed the connection.
    """
    parts, size, taken = list[bytes](), 0, 0
    try:
        async with asyncio.timeout(limits.body_seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGoneError("the client has closed the connection.")
                part = message.get("body", b"")
                size += len(part)
                if size > limits.body_bytes:
                    raise _too_large(limits)
                has_more = message.get("more_body", False)
                if keep and pool is not None and (has_more or taken):
                    pool.take(len(part))
                    taken += len(part)
                if keep:
                    parts.append(part)
                if not has_more:
                    scope["body_was_read"] = True
                    return parts[0] if len(parts) == 1 else b"".join(parts)
    except TimeoutError:
        raise RequestError(408, f"the body did not arrive within {limits.body_seconds:g} seconds.", CLOSE) from None
    finally:
        if pool is not None:
            pool.give(taken)


class ClientGoneError(RequestError):
    """Raised when the client has closed the connection before its request was complete."""

    def __init__(self, message: str) -> None:
        """Create the error."""
        super().__init__(400, message)


def page_headers(policy: str) -> list[tuple[bytes, bytes]]:
    """Return the headers of an HTML page.

    Args:
        policy: its Content-Security-Policy.
    """
    return [
        (b"content-security-policy", policy.encode()),
        (b"referrer-policy", b"no-referrer"),
        (b"x-frame-options", b"DENY"),
        (b"cross-origin-opener-policy", b"same-origin"),
        (b"cross-origin-resource-policy", b"same-origin"),
        (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    ]


def _too_large(limits: Limits) -> RequestError:
    return RequestError(413, limits.too_large_message)
