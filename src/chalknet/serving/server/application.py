"""The ASGI application of `chalknet serve`: its routes, and how a request becomes predictions."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from chalknet.data.color import images_text
from chalknet.formatting import count_of, printable, quoted
from chalknet.machine.blas import one_blas_thread
from chalknet.serving.prediction_tables import predictions_csv
from chalknet.serving.predictions import Predictions
from chalknet.serving.server.answers import csv_headers, predictions_answer, record, to_json
from chalknet.serving.server.batcher import RowBatcher, too_slow
from chalknet.serving.server.bodies import Body, json_rows, predict_body, predict_rows, single_row
from chalknet.serving.server.guard import (
    BUSY,
    JSON,
    LOGGER,
    BytePool,
    Headers,
    Receive,
    RequestError,
    Scope,
    Send,
    page_headers,
    read_body,
    send_answer,
)
from chalknet.serving.server.limits import ServeLimits
from chalknet.serving.server.metrics import CONTENT_TYPE, Metrics
from chalknet.serving.server.openapi import openapi_document
from chalknet.serving.server.registry import ModelEntry, Registry, ServedModel
from chalknet.serving.server.web import HTML, PAGE_POLICY, PageMaker, UnknownAssetError, WebFiles
from chalknet.serving.server.workers import Workers

T = TypeVar("T")
Route = Callable[[Scope], Awaitable["Answer"]]
Answer = tuple[int, bytes, bytes, Headers]  # status, content, media type, further headers
Predicted = tuple[bytes, bytes, int, Headers]  # content, media type, number of samples, further headers

OPEN_PATHS = ("/", "/docs", "/healthz", "/readyz")  # without a token; /docs and / then show no facts
OPEN_PREFIXES = ("/assets/", "/docs/")
PREDICT, MODELS, EXPLORE = "/predict", "/v1/models/", "/explore/"
RELOAD_SECONDS = 1.0  # between two looks at the model files
LARGE_JSON_BYTES = 2**18  # larger bodies are parsed in a thread
MAX_JOBS = 256  # requests that a thread works at or that wait for one
HELD_BODIES = 8  # memory of all bodies that arrive, and of all that wait for a thread, in bodies of the largest size
CSV = "text/csv"


class Application:
    """Answers requests with the models of a registry.

    Single rows of numbers are predicted together by a `RowBatcher`. All other bodies are read and predicted by a few
    threads, so that a large image does not delay small requests.

    Args:
        registry: the models.
        limits: what a request may cost.
        make_page: returns the interactive page of a model, or None if it has none. Its second argument is the path
            from the page to the root of the server.
        needs_token: whether requests must have a token; only the documentation of the addresses says so.
    """

    def __init__(
        self,
        registry: Registry,
        limits: ServeLimits,
        make_page: PageMaker = lambda *_: None,
        needs_token: bool = False,
    ) -> None:
        """Create the application; its threads start when the server does."""
        self.registry: Registry = registry
        self.limits: ServeLimits = limits
        self.needs_token: bool = needs_token
        self._guard_limits = limits.of_requests
        self._web = WebFiles(make_page)
        self._n_threads = max(2, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2)
        self._n_jobs = 0
        self._arriving, self._held = (BytePool(HELD_BODIES * self._guard_limits.body_bytes) for _ in range(2))
        self.metrics: Metrics = Metrics(lambda: self._n_jobs + self._batcher.n_waiting)
        for entry in registry:
            self.metrics.set_current(entry.name, True)
        self._routes: dict[str, Route] = {
            "/": self._page,
            "/docs": self._docs,
            "/openapi.json": self._openapi,
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/metrics": self._metrics,
            "/v1/models": self._models,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or start and stop with the server."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        path: str = scope["path"]
        if path.endswith("/") and path != "/":
            raise RequestError(404, "there is nothing at this address. Leave out its last slash.")
        if path.startswith(MODELS) and path.endswith(PREDICT):
            await self._predict(path[len(MODELS) : -len(PREDICT)], scope, receive, send)
            return
        if scope["method"] not in ("GET", "HEAD"):
            raise RequestError(405, f"{scope['method']} is not possible here. Use GET.", [(b"allow", b"GET, HEAD")])
        status, content, media_type, headers = await self._route(path)(scope)
        await send_answer(send, status, content, media_type, headers)

    async def _live(self, receive: Receive, send: Send) -> None:
        """Start the threads, look at the model files until the server stops, and end the threads."""
        await receive()
        with one_blas_thread():
            self._batcher = RowBatcher(self.limits.max_waiting, self.metrics.count_batch)
            self._workers = Workers(self._n_threads)
            watching = asyncio.create_task(self._watch_files())
            await send({"type": "lifespan.startup.complete"})
            try:
                await receive()
            finally:
                watching.cancel()
                self._workers.stop()
                self._batcher.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _watch_files(self) -> None:
        """Load changed model files again, and end requests whose time is over."""
        reloading: asyncio.Task[None] | None = None
        while True:
            await asyncio.sleep(RELOAD_SECONDS)
            self._batcher.expire(self.limits.max_seconds)
            if reloading is None or reloading.done():
                reloading = asyncio.create_task(asyncio.to_thread(self.registry.reload_changed, self._report_reload))

    def _report_reload(self, entry: ModelEntry) -> None:
        self.metrics.count_reload(entry.name, not entry.error)
        if entry.error:
            LOGGER.error(
                "model %s: its changed file %s was not loaded; the earlier model stays. %s",
                entry.name,
                printable(str(entry.path)),
                entry.error,
            )
        else:
            LOGGER.info("model %s: loaded again, because its file has changed", entry.name)

    def _route(self, path: str) -> Route:
        route = self._routes.get(path)
        if route is not None:
            return route
        if path.startswith(OPEN_PREFIXES):
            return self._asset
        if path.startswith(MODELS):
            return self._model
        if path.startswith(EXPLORE):
            return self._explore
        addresses = ", ".join([*self._routes, f"{MODELS}NAME", f"{MODELS}NAME{PREDICT}"])
        raise RequestError(404, f"there is nothing at this address. Addresses: {addresses}.")

    # Predictions

    async def _predict(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for predictions, and count it."""
        start, status, n = time.perf_counter(), 500, 0
        entry = self.registry.entries.get(name)
        if entry is None:
            raise self._unknown(name)
        try:
            if scope["method"] != "POST":
                raise RequestError(405, f"{scope['method']} is not possible here. Use POST.", [(b"allow", b"POST")])
            content = await read_body(scope, receive, self._guard_limits, pool=self._arriving)
            answer, media_type, n, headers = await self._predictions(entry.model, scope, content)
            status = 200
            await send_answer(send, status, answer, media_type, headers)
        except RequestError as error:
            status = error.status
            raise
        except ValueError:  # those of `chalknet.errors`
            status = 422
            raise
        finally:
            self.metrics.count_request(name, status, time.perf_counter() - start, n)

    async def _predictions(self, model: ServedModel, scope: Scope, content: bytes) -> Predicted:
        """Return the content of the answer, its media type, the number of samples, and further headers."""
        headers, n_bytes = scope["header_map"], len(content)
        header = headers.get(b"content-type", b"").decode("latin-1")
        media_type = header.partition(";")[0].strip().lower()
        wants_csv = CSV.encode() in headers.get(b"accept", b"")
        if headers.get(b"content-encoding", b"identity") != b"identity":
            raise RequestError(415, "the body is compressed. Send it uncompressed.")
        query = scope["query_string"].decode("latin-1")
        body = Body(content, media_type, header, query)
        if media_type == "application/json" or media_type.endswith("+json"):
            is_large = n_bytes > LARGE_JSON_BYTES
            rows = (
                await self._in_thread(n_bytes, json_rows, content, self.limits)
                if is_large
                else json_rows(content, self.limits)
            )
            values = None if query or wants_csv else single_row(rows, model.classifier)
            if values is not None:
                label, row, notes = await self._batcher.submit(model, values)
                return (
                    to_json({"predictions": [record(model.classifier.class_names, label, row)], "notes": notes}),
                    JSON,
                    1,
                    (),
                )
            return await self._in_thread(n_bytes, _rows_answer, model, body, rows, self.limits, wants_csv)
        return await self._in_thread(n_bytes, _body_answer, model, body, self.limits, wants_csv)

    async def _in_thread(self, n_bytes: int, work: Callable[..., T], *arguments: Any) -> T:
        """Run a function in one of the threads.

        Args:
            n_bytes: the size of the body that it works at.
            work: the function.
            arguments: its arguments.

        Raises:
            RequestError: too many requests, or too large ones, wait for a thread (503); or the time is over (504).
        """
        if self._n_jobs >= MAX_JOBS:
            raise RequestError(503, "too many requests wait for a thread. Ask again in a second.", BUSY)
        self._held.take(n_bytes)
        loop = asyncio.get_running_loop()
        self._n_jobs += 1
        job = self._workers.submit(partial(work, *arguments))

        def end(_: object) -> None:
            with suppress(RuntimeError):  # the server has stopped meanwhile
                loop.call_soon_threadsafe(self._end_job, n_bytes)

        job.add_done_callback(end)  # a request whose time is over leaves its job behind, which counts until it ends
        try:
            return await asyncio.wait_for(asyncio.wrap_future(job), self.limits.max_seconds)
        except TimeoutError:
            raise too_slow(self.limits.max_seconds) from None

    def _end_job(self, n_bytes: int) -> None:
        self._n_jobs -= 1
        self._held.give(n_bytes)

    def _unknown(self, name: str) -> RequestError:
        return RequestError(404, f"there is no model {name[:100]!r}. Models: {quoted(self.registry.entries)}.")

    # Facts and pages

    async def _models(self, scope: Scope) -> Answer:
        del scope
        return 200, to_json({"models": [entry.model.facts for entry in self.registry]}), JSON, ()

    async def _model(self, scope: Scope) -> Answer:
        name = scope["path"].removeprefix(MODELS)
        entry = self.registry.entries.get(name)
        if entry is None:
            raise self._unknown(name)
        return 200, to_json(entry.model.facts), JSON, ()

    async def _healthz(self, scope: Scope) -> Answer:
        del scope
        return 200, to_json({"status": "ok"}), JSON, ()

    async def _readyz(self, scope: Scope) -> Answer:
        """Answer 200 as long as every model can predict; say which files could not be loaded."""
        stale = {entry.name: entry.error for entry in self.registry if entry.error}
        answer: dict[str, Any] = {"status": "ready" if not stale else "ready with earlier models"}
        if scope["is_authorized"]:
            answer["models"] = [
                {"name": entry.name, "loads": entry.n_loads, "is_current": not entry.error}
                | ({"error": entry.error} if entry.error else {})
                for entry in self.registry
            ]
        elif stale:
            answer["stale_models"] = len(stale)
        return 200, to_json(answer), JSON, ()

    async def _metrics(self, scope: Scope) -> Answer:
        del scope
        return 200, self.metrics.text(), CONTENT_TYPE, ()

    async def _openapi(self, scope: Scope) -> Answer:
        del scope
        models = [entry.model for entry in self.registry]
        return 200, to_json(openapi_document(models, self.limits, needs_token=self.needs_token)), JSON, ()

    async def _docs(self, scope: Scope) -> Answer:
        """Answer with the documentation, which asks for the token; the status says whether it was there."""
        content, policy = self._web.docs()
        return 200 if scope["is_authorized"] else 401, content, HTML, page_headers(policy)

    async def _page(self, scope: Scope) -> Answer:
        """Answer with the interactive page of the only model, or with the page for uploads.

        Without the token, this is the page for uploads, which asks for it.
        """
        if len(self.registry.entries) == 1 and scope["is_authorized"]:
            (entry,) = self.registry
            made = await self._in_thread(0, self._web.interactive_page, entry.model, "")
            if made is not None:
                return 200, made[0], HTML, page_headers(made[1])
        return 200, self._web.page(), HTML, page_headers(PAGE_POLICY)

    async def _explore(self, scope: Scope) -> Answer:
        """Answer with the interactive page of a model."""
        name = scope["path"].removeprefix(EXPLORE)
        entry = self.registry.entries.get(name)
        if entry is None:
            raise self._unknown(name)
        if len(self.registry.entries) == 1:
            raise RequestError(404, "the page of the only model is at /.")
        made = await self._in_thread(0, self._web.interactive_page, entry.model, "../")
        if made is None:
            raise RequestError(404, f"model {name!r} has no interactive page. Its predictions are at /.")
        return 200, made[0], HTML, page_headers(made[1])

    async def _asset(self, scope: Scope) -> Answer:
        try:
            content, media_type = self._web.asset(scope["path"])
        except UnknownAssetError:
            raise RequestError(404, "there is no such file.") from None
        return 200, content, media_type, ()


def _rows_answer(model: ServedModel, body: Body, rows: list[Any], limits: ServeLimits, wants_csv: bool) -> Predicted:
    """Return the answer to rows in JSON; see `Application._predictions`."""
    return _formatted(predict_rows(model, body, rows, limits), "id_column" in body.query, wants_csv)


def _body_answer(model: ServedModel, body: Body, limits: ServeLimits, wants_csv: bool) -> Predicted:
    """Return the answer to another body; see `Application._predictions`."""
    return _formatted(*predict_body(model, body, limits), wants_csv)


def _formatted(predictions: Predictions, has_names: bool, wants_csv: bool) -> Predicted:
    if wants_csv:
        content = predictions_csv(predictions).encode()
        return content, b"text/csv; charset=utf-8", len(predictions), csv_headers(predictions)
    return to_json(predictions_answer(predictions, has_names)), JSON, len(predictions), ()


def describe_models(registry: Registry) -> list[str]:
    """Return one line for each model: its name, what it reads and what it predicts."""
    lines = []
    for entry in registry:
        facts = entry.model.facts
        shape = facts.get("image_shape")
        values = count_of(facts.get("values_per_row", 0), "value")
        reads = images_text(tuple(shape)) if shape else f"rows of {values}"
        lines.append(f"{entry.name}: reads {reads}, predicts {count_of(len(facts['classes']), 'class', 'classes')}")
    return lines
