"""Valid and hostile requests to a model server, sent at the same time by several threads."""

from __future__ import annotations

import io
import json
import random
import re
import socket
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import numpy as np
from conftest import image_bytes, lying_png
from PIL import Image
from small_models import LETTERS, image_model, row_model

from chalknet.serving.inputs import InputOptions
from chalknet.serving.predictions import predict_files

STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")
BOUNDARY = "b0und"
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"
ROWS, IMAGES = "/v1/models/rows/predict", "/v1/models/letters/predict"


@dataclass
class Report:
    """What happened: answers by kind of request and status, and what must not happen."""

    answers: Counter = field(default_factory=Counter)
    faults: list = field(default_factory=list)
    n_compared: int = 0


class Load:
    """Sends requests to a server on this machine until its time is over.

    The server has the models letters and rows of `small_models`.
    """

    def __init__(self, port: int, folder: Path, seconds: float) -> None:
        self.place, self.folder = ("127.0.0.1", port), folder
        self.report, self._end, self._numbers = Report(), time.monotonic() + seconds, count()
        self._bomb = image_bytes(Image.new("L", (5_700, 5_700)))  # 32 million pixels in 32 kB
        self._picture = image_bytes(Image.fromarray(np.arange(900, dtype=np.uint8).reshape(30, 30)))

    def run(self, n_threads: int = 6) -> Report:
        threads = [threading.Thread(target=self._work, args=(seed,)) for seed in range(n_threads)]
        threads.append(threading.Thread(target=self._slow_clients))
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        return self.report

    def _work(self, seed: int) -> None:
        rng = random.Random(seed)
        kinds = [getattr(self, name) for name in dir(self) if name.startswith(("valid_", "hostile_"))]
        while time.monotonic() < self._end:
            kind = rng.choice(kinds)
            try:
                kind(rng)
            except (ConnectionError, TimeoutError) as error:
                # The server may close the connection of a client that sends what it has refused.
                if kind.__name__.startswith("valid_"):
                    self.report.faults.append(f"{kind.__name__}: {error!r}")
                self.report.answers[kind.__name__, type(error).__name__] += 1
            except Exception as error:
                self.report.faults.append(f"{kind.__name__}: {error!r}")

    # How requests are sent

    def send(self, kind: str, raw: bytes, wait: float = 40.0) -> tuple[int, bytes]:
        """Send bytes on a connection of their own, and return status and body of the answer."""
        with socket.create_connection(self.place, timeout=wait) as connection:
            connection.sendall(raw)
            content = b""
            while part := connection.recv(65_536):
                content += part
        found = STATUS.match(content)
        status = int(found[1]) if found else 0
        self.report.answers[kind, status] += 1
        head, _, body = content.partition(b"\r\n\r\n")
        if status >= 500 and status != 503:
            self.report.faults.append(f"{kind}: {head[:200]!r} {body[:300]!r}")
        if status >= 400:
            found = json.loads(body)
            if list(found) != ["error"] or "\n" in found["error"] or str(self.folder) in found["error"]:
                self.report.faults.append(f"{kind}: {body[:300]!r}")
        return status, body

    def post(self, kind: str, path: str, body: bytes, media_type: str, *more: str) -> tuple[int, bytes]:
        lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Type: {media_type}", "Connection: close", *more]
        if not any(line.lower().startswith(("content-length", "transfer-encoding")) for line in more):
            lines.append(f"Content-Length: {len(body)}")
        return self.send(kind, "\r\n".join([*lines, "", ""]).encode() + body)

    def compare(self, kind: str, answer: tuple[int, bytes], expected: np.ndarray) -> None:
        status, body = answer
        if status == 503:  # the server may be busy
            return
        if status != 200:
            self.report.faults.append(f"{kind}: {status} {body[:300]!r}")
            return
        found = [[one["probabilities"][name] for name in LETTERS] for one in json.loads(body)["predictions"]]
        written = [[float(str(value)) for value in row] for row in expected]
        if found != written:
            self.report.faults.append(f"{kind}: {found} and not {written}")
        self.report.n_compared += 1

    def upload(self, kind: str, *files: tuple[str, bytes], path: str = IMAGES) -> tuple[int, bytes]:
        return self.post(kind, path, form(*files), MULTIPART)

    # Valid requests, whose answers are compared with `chalknet predict`

    def valid_row(self, rng: random.Random) -> None:
        row = [rng.gauss(0, 5) for _ in range(3)]
        answer = self.post("valid_row", ROWS, json.dumps({"rows": [row]}).encode(), "application/json")
        self.compare("valid_row", answer, row_model().predict_proba(np.array([row])))

    valid_row_again = valid_row

    def valid_table(self, rng: random.Random) -> None:
        text = "x,y,z\n" + "".join(f"{rng.random()},{rng.random()},{rng.random()}\n" for _ in range(rng.randint(1, 50)))
        path = self.folder / f"table-{next(self._numbers)}.csv"
        path.write_text(text)
        answer = self.post("valid_table", ROWS, text.encode(), "text/csv")
        self.compare("valid_table", answer, predict_files(row_model(), [path], InputOptions()).probabilities)

    def valid_image(self, rng: random.Random) -> None:
        pixels = np.random.default_rng(rng.getrandbits(32)).integers(0, 256, (rng.randint(5, 40), rng.randint(5, 40)))
        content = image_bytes(Image.fromarray(pixels.astype(np.uint8)))
        path = self.folder / f"image-{next(self._numbers)}.png"
        path.write_bytes(content)
        answer = self.upload("valid_image", ("a.png", content))
        self.compare("valid_image", answer, predict_files(image_model(), [path], InputOptions()).probabilities)

    # Hostile requests

    def hostile_truncated_image(self, rng: random.Random) -> None:
        cut = self._picture[: rng.randint(1, len(self._picture) - 1)]
        self.upload("truncated image", ("a.png", cut))

    def hostile_bomb(self, rng: random.Random) -> None:
        bombs = [self._bomb, lying_png(65_000, 65_000), lying_png(5_000, 5_000)]
        self.upload("bomb", *[(f"{at}.png", rng.choice(bombs)) for at in range(rng.randint(1, 3))])

    def hostile_packed_table(self, rng: random.Random) -> None:
        del rng
        packer = zlib.compressobj(9, wbits=31)
        self.post("packed table", ROWS, packer.compress(b"1,2,3\n" * 100_000) + packer.flush(), "text/csv")

    def hostile_claim(self, rng: random.Random) -> None:
        size = rng.choice(["1000000000", "99999999999999999999", "-1", "1e3", "0x10", " 2", ""])
        self.post("claim", ROWS, b"{}", "application/json", f"Content-Length: {size}")

    def hostile_json(self, rng: random.Random) -> None:
        text = rng.choice(
            [
                '{"rows": ' + "[" * 100_000,
                '{"rows": [[NaN, 1, 2]]}',
                '{"rows": [[1e400, 1, 2]]}',
                '{"rows": [[' + "9" * 10_000 + ", 1, 2]]}",
                '{"rows": [[1e308, -1e308, 1e308]]}',
                '{"rows": [[' + "[],[]," * 200_000 + "[]]]}",
                '{"rows": [' + "{}," * 9_000 + "{}]}",
                '{"rows": [' + ",".join(f'{{"k{at}": {at}}}' for at in range(3_000)) + "]}",
                '{"rows": [[1, 2, "' + "\\u0000" * 1_000 + '"]]}',
                '{"rows": [["\\ud800", 1, 2]]}',
                '{"rows": [[true, false, null]]}',
                '{"rows": null}',
                "\x00" * 1_000,
                '"' + "a" * 1_000_000,
            ]
        )
        self.post("json", rng.choice([ROWS, IMAGES]), text.encode(), "application/json")

    def hostile_table(self, rng: random.Random) -> None:
        text = rng.choice(
            [
                "a," * 500_000,
                "1,2,3\n" * 20_000,
                '"' * 100_001,
                "1,2,3\r" * 5_000,
                "x,y,z\n" + "1e400,nan,inf\n" * 10,
                "\ufeff1;2;3\n",
                "1,2\n3,4,5\n6\n",
                "x,y,z\n1,2," + "9" * 100_000,
            ]
        )
        self.post("table", rng.choice([ROWS, IMAGES]), text.encode(), "text/csv")

    def hostile_type(self, rng: random.Random) -> None:
        kinds = ["", "application/pdf", "text/html", "multipart/mixed", "image/svg+xml", "application/json; charset=x"]
        self.post(
            "type", ROWS, rng.randbytes(200), rng.choice([*kinds, MULTIPART, "text/csv", "image/png", "a" * 3_000])
        )

    def hostile_form(self, rng: random.Random) -> None:
        names = ["\u202e\u00e9\U0001f600.png", "../../etc/passwd", "", "a" * 2_000, "<script>", "%00", "a\0b"]
        files = [(rng.choice(names), rng.choice([self._picture, b"junk"])) for _ in range(rng.choice([1, 2, 30]))]
        body = form(*files)
        body = rng.choice([body, body[: len(body) // 2], body.replace(b"files", b"file"), body + b"more", body[1:]])
        self.post("form", IMAGES, body, MULTIPART)

    def hostile_thousands_of_files(self, rng: random.Random) -> None:
        self.upload("thousands of files", *[("a.png", b"x")] * rng.choice([2_000, 12_000]))

    def hostile_http(self, rng: random.Random) -> None:
        raw = rng.choice(
            [
                b"GET / HTTP/1.1\r\n\r\n",
                b"GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
                b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
                b"GET /assets/..%2f..%2fregistry.py HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
                b"\x16\x03\x01" + rng.randbytes(300) + b"\r\n\r\n",
                b"GET /" + b"a" * 100_000,
                b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 400_000,
                b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nzz\r\n",
                b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
                b"BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n",
                b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
                b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
                b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n\r\n",
            ]
        )
        if b"\r\n\r\n" not in raw or b"close" not in raw:
            with socket.create_connection(self.place, timeout=1) as connection:
                connection.sendall(raw)
                found = STATUS.match(connection.recv(65_536))
                self.report.answers["http", int(found[1]) if found else 0] += 1
            return
        self.send("http", raw)

    def hostile_hang_up(self, rng: random.Random) -> None:
        """Close the connection in the middle of the request, or before the answer."""
        body = form(*[("a.png", self._picture)] * 20)
        head = f"POST {IMAGES} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {MULTIPART}\r\n"
        head += f"Content-Length: {len(body)}\r\n\r\n"
        with socket.create_connection(self.place, timeout=5) as connection:
            connection.sendall((head.encode() + body)[: rng.choice([10, 300, 5_000, 10**9])])

    def _slow_clients(self) -> None:
        """Hold connections open, and send a byte now and then."""
        starts = [
            b"GET / HTTP/1.1\r\nHost: loc",
            b"POST /v1/models/rows/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\n{",
        ]
        held: list[socket.socket] = []
        while time.monotonic() < self._end:
            if len(held) < 60:
                one = socket.create_connection(self.place, timeout=5)
                one.sendall(starts[len(held) % 2])
                held.append(one)
            for one in list(held):
                try:
                    one.sendall(b"x")
                except OSError:
                    self.report.answers["slow client", "closed"] += 1
                    held.remove(one)
                    one.close()
            time.sleep(0.3)
        for one in held:
            one.close()


def follow_document(port: int, seconds: float, n: int = 20) -> list[str]:
    """Send requests that Schemathesis makes of the OpenAPI document, until the time is over or a fault is found.

    Args:
        port: the port of the server.
        seconds: how long.
        n: requests to an address before the next one is taken.

    Returns:
        What is wrong with answers, which must follow the document.
    """
    import hypothesis
    import schemathesis
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    end = time.monotonic() + seconds
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{port}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    health = list(hypothesis.HealthCheck)
    while time.monotonic() < end:
        for operation in operations:

            @hypothesis.given(case=operation.as_strategy())
            @hypothesis.settings(max_examples=n, deadline=None, database=None, suppress_health_check=health)
            def check(case: schemathesis.Case) -> None:
                answer = case.call()
                if answer.status_code != 503:  # the document does not say how many values the rows of a model have
                    case.validate_response(answer, excluded_checks=[positive_data_acceptance])

            try:
                check()
            except (Exception, BaseExceptionGroup) as error:
                return [f"{operation.label}: {error}"]
    return []


@contextmanager
def peak_memory(process: int) -> Iterator[list[int]]:
    """Yield a list that grows with the memory of a process in bytes, measured ten times a second."""
    peaks, has_ended = [resident_bytes(process)], threading.Event()

    def watch() -> None:
        while not has_ended.wait(0.1):
            peaks.append(resident_bytes(process))

    thread = threading.Thread(target=watch)
    thread.start()
    yield peaks
    has_ended.set()
    thread.join()


def form(*files: tuple[str, bytes]) -> bytes:
    """Return the body of an upload."""
    body = io.BytesIO()
    for name, content in files:
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
        body.write(head.encode() + content + b"\r\n")
    body.write(f"--{BOUNDARY}--\r\n".encode())
    return body.getvalue()


def resident_bytes(process: int) -> int:
    """Return the memory that a process has in use."""
    with open(f"/proc/{process}/statm") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * 4_096
