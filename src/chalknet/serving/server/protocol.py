"""The HTTP protocol of uvicorn with limits on slow clients, large heads and the number of connections."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from chalknet.serving.server.guard import Limits

MAX_EXCESS = 64  # connections above the limit that get an answer
MAX_RAW = 2  # times the size of a body, for chunks and trailers
STATUS_LINES = {400: "400 Bad Request", 408: "408 Request Timeout", 431: "431 Request Header Fields Too Large"}
STATUS_LINES |= {503: "503 Service Unavailable"}


class LimitedProtocol(HttpToolsProtocol):  # type: ignore[misc]  # follow_imports = "skip"
    """One connection of a client.

    `check_time` of every connection is called about once a second, which costs less than a timer for each request.
    """

    limits: ClassVar[Limits] = Limits()

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin to count the time of the first request."""
        super().connection_made(transport)
        self._head_since: float | None = time.monotonic()
        self._head_bytes, self._raw_bytes, self._is_in_head = 0, 0, True
        self._linger_since: float | None = None
        self._closing_since: float | None = None
        self._paused_since: float | None = None
        self._is_excess = len(self.connections) > self.limits.connections
        if len(self.connections) > self.limits.connections + MAX_EXCESS:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """Pass data to the parser, unless the head of the request is too large."""
        if self.transport.is_closing():
            return
        if self._is_in_head:
            if self._head_since is None:
                self._head_since = time.monotonic()
            self._head_bytes += len(data)
        if self._is_excess:  # refused now, because a client may discard an answer that comes before its request
            self._refuse(503, "too many connections. Ask again later.")
            return
        self._raw_bytes += len(data)
        super().data_received(data)
        if self._is_in_head and self._head_bytes > self.limits.head_bytes:
            self._refuse(431, f"the headers have more than {self.limits.head_bytes:,} bytes.")
        elif self._raw_bytes > MAX_RAW * self.limits.body_bytes + self.limits.head_bytes:
            self.transport.abort()

    def on_headers_complete(self) -> None:
        """Start the request."""
        self._is_in_head, self._head_since, self._head_bytes, self._raw_bytes = False, None, 0, 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Wait for the head of the next request."""
        super().on_message_complete()
        self._is_in_head, self._linger_since = True, None

    def on_response_complete(self) -> None:
        """Read the rest of a body whose request has been answered."""
        super().on_response_complete()
        if not self._is_in_head:
            self._linger_since = time.monotonic()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP."""
        del msg
        self._refuse(400, "this is not a valid HTTP request.")

    def check_time(self, now: float) -> None:
        """Close the connection if its client is too slow."""
        limits = self.limits
        if self.transport.is_closing():  # it is closed when the client has read the rest, or now
            self._closing_since = self._closing_since or now
            if now - self._closing_since > limits.write_seconds:
                self.transport.abort()
            return
        self._paused_since = (self._paused_since or now) if self.flow.write_paused else None
        if self._paused_since is not None and now - self._paused_since > limits.write_seconds:
            self.transport.abort()
        elif self._linger_since is not None and now - self._linger_since > limits.linger_seconds:
            self.transport.close()
        elif self._head_since is not None and now - self._head_since > limits.head_seconds:
            if self.cycle is not None and not self.cycle.response_complete:
                return  # the head of the next request, while this one is answered
            if not self._head_bytes:  # browsers open connections that they may not need
                self.transport.close()
                return
            self._refuse(408, f"the request did not arrive within {limits.head_seconds:g} seconds.")

    def _refuse(self, status: int, message: str) -> None:
        """Answer without the application, and close the connection."""
        body = json.dumps({"error": message}).encode()
        head = [f"HTTP/1.1 {STATUS_LINES[status]}", "content-type: application/json", f"content-length: {len(body)}"]
        more = ["retry-after: 5"] if status == 503 else []
        self.transport.write("\r\n".join([*head, *more, "connection: close", "", ""]).encode() + body)
        self.transport.close()


def limited_protocol(limits: Limits) -> Any:
    """Return the class of connections with these limits."""
    return type("LimitedProtocol", (LimitedProtocol,), {"limits": limits})
