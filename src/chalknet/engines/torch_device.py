"""Where torch computes: the device, its settings while it does, and work that a GPU records once and replays."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from chalknet.engines.scores import ScoreAccumulator
from chalknet.engines.torch_tile import Tensors
from chalknet.engines.torch_weights import Weights
from chalknet.errors import ConfigError
from chalknet.records import Scores

ONE_AT_A_TIME = threading.Lock()
Learn = Callable[[Tensor | None, Tensor], None]  # an update's positions, None where none are handed over, and numbers


def usable_device(device: str, precision: str) -> Any:
    """The torch device that a recipe means.

    Raises:
        ConfigError: CUDA is asked for, by name or by tf32, and there is none.
    """
    present = torch.cuda.is_available()
    if not present and (device == "cuda" or precision == "tf32"):
        asked = "device cuda" if device == "cuda" else "precision tf32"
        raise ConfigError(
            f"{asked} needs a CUDA device, and PyTorch {torch.__version__} finds none (see chalknet doctor). "
            "Give --device cpu with --precision float32 or bfloat16, or install a PyTorch for CUDA."
        )
    return torch.device("cuda" if present and device != "cpu" else "cpu")


def free_bytes(device: Any) -> int:
    """Memory that is free on a GPU; 0 of a processor, whose memory is not asked for."""
    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else 0


@contextmanager
def running(threads: int, tf32: bool) -> Iterator[None]:
    """Without autograd, on so many threads, with TF32 only where it was asked for."""
    before = torch.get_num_threads(), torch.backends.cuda.matmul.allow_tf32
    reduced = torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction
    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False  # sums of products in float32
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(before[0])
        torch.backends.cuda.matmul.allow_tf32 = before[1]
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = reduced


class Recorded:
    """Work on a device that never differs but in what tensors of fixed place hold; a GPU records it and replays it.

    The first call does the work, so that all that is made once is there; the second records it, and later ones replay.
    Work is handed over at each call, and not kept, so that who holds this and does the work is freed with its last use.
    """

    def __init__(self, device: Any) -> None:
        self._device, self._calls = device, 0
        self._graph: Any = None

    def __call__(self, work: Callable[[], None]) -> None:
        self._calls += 1
        if self._device.type != "cuda" or self._calls == 1:
            work()
            return
        if self._graph is None:
            graph = torch.cuda.CUDAGraph()
            with _recording(), torch.cuda.graph(graph, capture_error_mode="thread_local"):
                work()
            self._graph = graph
        self._graph.replay()


@contextmanager
def _recording() -> Iterator[None]:
    """One thread at a time, without garbage collection: an older graph that is freed meanwhile spoils the recording."""
    with ONE_AT_A_TIME:
        was_on = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if was_on:
                gc.enable()


class Steps:
    """Updates of one kind whose numbers and positions lie on the device, each run taking the next ones."""

    def __init__(self, device: Any) -> None:
        self._next = torch.zeros(1, dtype=torch.int64, device=device)
        self._numbers: Any = None
        self._positions: Any = None
        self._recorded = Recorded(device)

    def run(self, learn: Learn, numbers: Tensor, positions: Tensor | None) -> None:
        """All updates, one after the other, an update's along the first axis; every call has the same shapes."""
        self._numbers = self._put(self._numbers, numbers)
        if positions is not None:
            self._positions = self._put(self._positions, positions)
        if len(numbers) > 1:
            self._next.zero_()
        for _ in range(len(numbers)):
            self._recorded(lambda: self._step(learn))

    def _put(self, room: Any, values: Tensor) -> Any:
        """Values in their fixed place on the device."""
        if room is None:
            room = torch.empty_like(values, device=self._next.device)
        return room.copy_(values)

    def _step(self, learn: Learn) -> None:
        if len(self._numbers) == 1:  # nothing to look up, nor to count: operations that a GPU would have to begin
            learn(None if self._positions is None else self._positions[0], self._numbers[0])
            return
        numbers = self._numbers.index_select(0, self._next)[0]
        positions = None if self._positions is None else self._positions.index_select(0, self._next)[0]
        learn(positions, numbers)
        self._next.add_(1)


def scores_of(sums: Sequence[float], n: int) -> Scores:
    """The scores of n samples from the sums of `Judged`."""
    total = ScoreAccumulator()
    total.add(n, [(sums[0], sums[1], sums[2])])
    return total.scores()


def on_processor(weights: Tensors) -> Weights:
    """The same in NumPy's arrays."""
    return Weights(*([value.cpu().numpy() for value in group] for group in weights.groups))


def copied(weights: Tensors) -> Tensors:
    """The same values in other tensors."""
    return Weights(*([value.clone() for value in group] for group in weights.groups))
