"""A server stops in a bounded time, bounds the memory of bodies, and answers what takes too long with an error."""

import asyncio
import json
import threading
import time

import numpy as np
import pytest
from running_servers import running, save_small_models
from small_models import row_model

from chalknet.artifacts.model_file import save_model
from chalknet.serving.server import application, batcher
from chalknet.serving.server.guard import BytePool, Limits, RequestError, read_body
from chalknet.serving.server.limits import ServeLimits
from chalknet.serving.server.workers import Workers


def in_own_loop(coroutine):
    """Run a coroutine in a thread, because Playwright keeps a loop running in the thread of the tests."""
    results = []
    thread = threading.Thread(target=lambda: results.append(asyncio.run(coroutine)))
    thread.start()
    thread.join(30)
    assert len(results) == 1
    return results[0]


def test_bodies_that_arrive_at_once_share_memory():
    pool, waiting = BytePool(1_000), asyncio.Event()

    def receiver(parts):
        parts = list(parts)

        async def receive():
            if not parts:
                await waiting.wait()
            return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

        return receive

    async def three():
        hanging = receiver([b"x" * 600])

        async def never_ends():
            message = await hanging()
            return message | {"more_body": True}

        held = asyncio.create_task(read_body({}, never_ends, Limits(), pool=pool))
        await asyncio.sleep(0.01)
        assert pool.n_bytes == 600
        with pytest.raises(RequestError, match="too many large requests") as refused:
            await read_body({}, receiver([b"x" * 500, b""]), Limits(), pool=pool)
        assert refused.value.status == 503
        assert await read_body({}, receiver([b"x" * 300, b"y"]), Limits(), pool=pool) == b"x" * 300 + b"y"
        held.cancel()
        with pytest.raises(asyncio.CancelledError):
            await held
        assert pool.n_bytes == 0

    in_own_loop(three())


def test_workers_return_results_and_errors_and_end():
    workers = Workers(2)
    assert workers.submit(lambda: 3).result(5) == 3
    with pytest.raises(ZeroDivisionError):
        workers.submit(lambda: 1 // 0).result(5)
    assert workers.submit(lambda: 4).result(5) == 4
    workers.stop()
    for thread in workers._threads:
        thread.join(5)
        assert not thread.is_alive()


@pytest.mark.extras
def test_what_takes_too_long_is_a_504_and_does_not_delay_the_end(tmp_path, monkeypatch):
    models = save_small_models(tmp_path)
    with running(*models, limits=ServeLimits(max_seconds=1, stop_seconds=1)) as client:
        monkeypatch.setattr(application, "_rows_answer", lambda *_: time.sleep(60))
        answer = client.post("/v1/models/rows/predict", json={"rows": [[1, 2, 3]] * 2})
        assert (answer.status_code, answer.json()["error"]) == (
            504,
            "the prediction took more than 1 seconds. Send less at once.",
        )
        assert client.post("/v1/models/rows/predict", json={"rows": [[1, 2, 3]]}).status_code == 200
        monkeypatch.setattr(batcher, "_predict", lambda batch: time.sleep(4) or [None] * len(batch))
        assert client.post("/v1/models/rows/predict", json={"rows": [[1, 2, 3]]}).status_code == 504
        start = time.monotonic()
    assert time.monotonic() - start < 10


@pytest.mark.extras
def test_a_full_queue_is_a_503_that_says_when_to_come_again(tmp_path, monkeypatch):
    save_model(row_model(), tmp_path / "m.safetensors")
    with running(tmp_path / "m.safetensors", limits=ServeLimits(max_waiting=1, stop_seconds=2)) as client:
        import httpx

        slow = batcher._predict
        monkeypatch.setattr(batcher, "_predict", lambda batch: time.sleep(1) or slow(batch))

        async def ask(n):
            async with httpx.AsyncClient(base_url=client.base_url, timeout=20, trust_env=False) as many:
                posts = [many.post("/v1/models/m/predict", json={"rows": [[1, 2, at]]}) for at in range(n)]
                return await asyncio.gather(*posts)

        answers = in_own_loop(ask(20))
        refused = [one for one in answers if one.status_code == 503]
        assert refused
        assert all(one.headers["retry-after"] == "1" for one in refused)
        good = [json.loads(one.text)["predictions"][0]["probabilities"] for one in answers if one.status_code == 200]
        assert len(good) + len(refused) == 20
        assert all(np.isclose(sum(one.values()), 1) for one in good)
