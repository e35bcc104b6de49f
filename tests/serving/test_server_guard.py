"""Who may use a server, what a request may cost, and how a server starts and stops, over real sockets."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from conftest import needs

from chalknet.errors import ConfigError
from chalknet.serving.server.access import Access, is_loopback, resolve_access
from chalknet.serving.server.guard import Guard, Limits, RequestError, read_body, send_answer
from chalknet.serving.server.running import Server, address_of, bind_socket

TOKEN = "a-token-that-nobody-guesses"
QUICK = Limits(
    body_bytes=1_000, body_seconds=1.0, head_seconds=1.0, head_bytes=4_096, linger_seconds=0.5, stop_seconds=1.0
)


async def echo(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError("this application has no events of starting")
    if scope["path"] == "/fail":
        raise RuntimeError("secret detail")
    if scope["path"] == "/refuse":
        raise RequestError(422, "rows: two\nlines")
    body = await read_body(scope, receive, QUICK)
    await send_answer(send, 200, body or b"nothing", b"text/plain")


@pytest.mark.parametrize(
    ("name", "accepted"),
    [
        ("127.0.0.1:8000", True),
        ("localhost", True),
        ("LocalHost:1", True),
        ("localhost.:80", True),
        ("[::1]:8000", True),
        ("models.example.org", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example:8000", False),
        ("localhost:8000@evil.example", False),
        ("10.0.0.5", False),
        ("", False),
        ("[::1", False),
        ("localhost:port", False),
    ],
)
def test_only_known_names_are_hosts(name, accepted):
    assert resolve_access(host_names=["models.example.org"]).accepts_host(name) == accepted


def test_a_server_for_all_addresses_takes_addresses_but_not_names():
    access = Access("0.0.0.0", TOKEN)
    assert access.accepts_host("10.0.0.5:8000")
    assert not access.accepts_host("evil.example")


@pytest.mark.parametrize(("host", "expected"), [("127.0.0.1", True), ("localhost", True), ("::1", True), ("", False)])
def test_loopback_hosts(host, expected):
    assert is_loopback(host) == expected
    assert not is_loopback("0.0.0.0")


def test_a_server_for_other_machines_needs_a_token(monkeypatch, tmp_path):
    monkeypatch.delenv("CHALKNET_TOKEN", raising=False)
    with pytest.raises(ConfigError, match=r"token_file, or set CHALKNET_TOKEN"):
        resolve_access("0.0.0.0")
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    (tmp_path / "token").chmod(0o644)
    access = resolve_access("0.0.0.0", token_file=tmp_path / "token")
    assert (access.token, "chmod 600" in access.notes[0]) == (TOKEN, True)
    (tmp_path / "token").chmod(0o600)
    assert resolve_access("0.0.0.0", token_file=tmp_path / "token").notes == ()
    monkeypatch.setenv("CHALKNET_TOKEN", "short")
    access = resolve_access("0.0.0.0")
    assert "5 characters, which can be guessed" in access.notes[0]
    assert "short" not in repr(access)
    monkeypatch.setenv("CHALKNET_TOKEN", " ")
    with pytest.raises(ConfigError, match=r"CHALKNET_TOKEN is set, but empty\. Unset it"):
        resolve_access()


@pytest.mark.parametrize("origin", ["example.org", "https://example.org/page", "*", "ftp://example.org"])
def test_an_origin_is_scheme_and_host(origin):
    with pytest.raises(ConfigError, match="cors_origins must be origins"):
        resolve_access(cors_origins=[origin])


def test_a_port_in_use_is_one_line_that_says_what_to_do():
    with bind_socket("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert address_of(taken) == f"http://127.0.0.1:{port}"
        with pytest.raises(ConfigError, match=rf"port {port} of 127\.0\.0\.1 is in use .*port 0"):
            bind_socket("127.0.0.1", port)
    with pytest.raises(ConfigError, match="is not an address of this machine"):
        bind_socket("no.such.host.invalid", 0)


# What follows needs uvicorn.

extras = pytest.mark.extras


def started(access=None, limits=QUICK, **options):
    needs("uvicorn")
    bound = bind_socket("127.0.0.1", 0)
    return Server(Guard(echo, access or Access(), limits, **options), bound, limits), bound.getsockname()


def ask(place, text, wait=5.0):
    """Send bytes, and return all that the server sends until it closes the connection."""
    with socket.create_connection(place, timeout=wait) as connection:
        connection.sendall(text if isinstance(text, bytes) else text.replace("\n", "\r\n").encode())
        parts = []
        while part := connection.recv(65_536):
            parts.append(part)
    return b"".join(parts).decode()


def request(path="/", method="GET", body="", **headers):
    lines = {"host": "localhost", "connection": "close"} | {name.replace("_", "-"): v for name, v in headers.items()}
    if body:
        lines["content-length"] = str(len(body))
    return f"{method} {path} HTTP/1.1\n" + "".join(f"{k}: {v}\n" for k, v in lines.items() if v) + "\n" + body


@extras
def test_requests_are_checked_before_the_application_sees_them():
    server, place = started(Access(token=TOKEN, cors_origins=frozenset({"https://good.example"})), open_paths=["/open"])
    bearer = f"Bearer {TOKEN}"
    with server:
        cases = [
            (request("/open"), 200, "nothing"),
            (request(), 401, "Authorization: Bearer"),
            (request(authorization=f"Bearer {TOKEN}x"), 401, "the token is not the one of this server"),
            (request(authorization=f"Basic {TOKEN}"), 401, "token"),
            (request(authorization=bearer.replace("Bearer", "bearer")), 200, "nothing"),
            (request(method="POST", body="hello", authorization=bearer), 200, "hello"),
            (request(host="evil.example:8000", authorization=bearer), 421, "'evil.example', which is not a name"),
            (
                request(host="evil.example:8000", authorization=bearer),
                421,
                "server with allow_hosts evil.example.",
            ),
            (request(host=""), 400, "no Host header"),
            ("GET / HTTP/1.1\nHost: localhost\nHost: evil.example\nConnection: close\n\n", 400, "two headers host"),
            (request("/open", "POST", "x", origin="https://evil.example"), 403, "among cors_origins"),
            (request("/open", "POST", "x", origin="null"), 403, "'null'"),
            (request("/open", "POST", "x", origin="http://localhost:8000"), 200, "x"),
            (request("/open", "POST", "x" * 1_001), 413, "larger than 1,000 bytes"),
            (request("/open", "POST", content_length="1000000000"), 413, "larger than 1,000 bytes"),
            (request("/fail", authorization=bearer), 500, "which its log describes"),
            (request("/refuse", authorization=bearer), 422, r"rows: two\\nlines"),
            ("nonsense\n\n", 400, "not a valid HTTP request"),
        ]
        for text, status, part in cases:
            found = ask(place, text)
            assert found.startswith(f"HTTP/1.1 {status} "), (text, found)
            assert part in found
            assert "secret detail" not in found
            assert status == 200 or set(json.loads(found.partition("\r\n\r\n")[2])) == {"error"}
            assert status != 200 or "x-content-type-options: nosniff" in found


@extras
def test_only_named_origins_may_read_answers():
    server, place = started(Access(cors_origins=frozenset({"https://good.example"})))
    with server:
        good = ask(place, request(origin="https://good.example"))
        assert "access-control-allow-origin: https://good.example" in good
        assert "access-control-allow" not in ask(place, request(origin="https://evil.example"))
        asked = {"access_control_request_method": "POST", "origin": "https://good.example"}
        assert "access-control-allow-headers: authorization, content-type" in ask(
            place, request(method="OPTIONS", **asked)
        )


@extras
@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("GET / HTTP/1.1\nHost: loc", 408),
        (request(method="POST", content_length="9"), 408),
        (request(a="x" * 5_000).removesuffix("\n"), 431),
        (request(method="POST", transfer_encoding="chunked") + "1f4\n" + "x" * 500 + "\n1f5\n" + "x" * 501 + "\n", 413),
    ],
    ids=["head", "body", "large head", "large chunks"],
)
def test_slow_and_large_requests_end_in_time(text, status):
    server, place = started()
    with server:
        start = time.monotonic()
        assert ask(place, text, wait=20).startswith(f"HTTP/1.1 {status} ")
        assert time.monotonic() - start < 10
        assert "nothing" in ask(place, request())


@extras
def test_too_many_connections_are_told_to_come_later():
    server, place = started(limits=Limits(connections=2))
    with server:
        with socket.create_connection(place), socket.create_connection(place):
            time.sleep(0.2)
            found = ask(place, request())
        assert found.startswith("HTTP/1.1 503 ")
        assert "retry-after: 5" in found
        time.sleep(0.2)
        assert "nothing" in ask(place, request())


SCRIPT = """
import asyncio, sys
from chalknet.serving.server.guard import Limits, send_answer
from chalknet.serving.server.running import Server, bind_socket
async def app(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError("no events of starting")
    print("begun", flush=True)
    await asyncio.sleep(float(scope["path"][1:]))
    await send_answer(send, 200, b"done")
bound = bind_socket("127.0.0.1", 0)
print(bound.getsockname()[1], flush=True)
server = Server(app, bound, Limits(stop_seconds=3))
try:
    server.run()
except KeyboardInterrupt:
    sys.exit(130)
"""


@extras
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_a_signal_lets_requests_finish(number, code):
    needs("uvicorn")
    with subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, env=os.environ) as process:
        place = ("127.0.0.1", int(process.stdout.readline()))
        with socket.create_connection(place, timeout=30) as quick, socket.create_connection(place, timeout=30) as slow:
            quick.sendall(b"GET /1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            slow.sendall(b"GET /60 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert [process.stdout.readline() for _ in range(2)] == [b"begun\n"] * 2
            process.send_signal(number)
            assert quick.recv(1_000).startswith(b"HTTP/1.1 200 ")
            assert process.wait(30) == code
