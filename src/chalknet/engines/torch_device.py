"""The device that torch computes on: its settings, the dtypes in use, and work that a GPU records and replays."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from chalknet.errors import ConfigError
from chalknet.machine.shared_setting import SharedSetting

RECORDING = threading.Lock()
GPU_FORMS_ON = ("cuda",)  # kinds of device that are given products in the forms that suit a GPU
ALIGNED = 8  # a GPU's products take several times as long where sizes are not a multiple of this
# One update, from its positions (None where the work knows them) and its numbers.
StepFunction = Callable[[Tensor | None, Tensor], None]


class TensorTypes(NamedTuple):
    """The dtypes and the device of an engine's tensors.

    Attributes:
        values: dtype of weights, sums and statistics.
        operands: dtype of the operands of products, and of the values of layers.
        device: torch device.
    """

    values: Any
    operands: Any
    device: Any

    @property
    def differ(self) -> bool:
        """Whether operands are copies of weights."""
        return bool(self.values != self.operands)

    @property
    def gpu_forms(self) -> bool:
        """Whether sizes are filled up, bias and relu are part of a product where possible, and classes come first."""
        return self.device.type in GPU_FORMS_ON

    def aligned(self, n: int) -> int:
        """Return the size that products are given where n is needed; the values beyond n are 0."""
        return -(-n // ALIGNED) * ALIGNED if self.gpu_forms else n


def usable_device(device: str, precision: str) -> Any:
    """Return the torch device that a recipe means.

    Raises:
        ConfigError: there is no CUDA device, and device or precision needs one.
    """
    present = torch.cuda.is_available()
    if not present and (device == "cuda" or precision == "tf32"):
        asked = "device cuda" if device == "cuda" else "precision tf32"
        raise ConfigError(
            f"{asked} needs a CUDA device, and PyTorch {torch.__version__} finds none (see chalknet doctor). "
            "Give device='cpu' (--device cpu) and precision 'float32' or 'bfloat16' (--precision), or install a "
            "PyTorch for CUDA."
        )
    return torch.device("cuda" if present and device != "cpu" else "cpu")


def free_bytes(device: Any) -> int:
    """Return the free memory of a GPU; 0 for a processor, whose memory is not looked at."""
    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else 0


@contextmanager
def running(threads: int, tf32: bool) -> Iterator[None]:
    """Compute without autograd, on this many threads, and with TF32 only if tf32."""
    with _SETTINGS.of((threads, tf32, False)), torch.inference_mode():  # False: sums of products in float32
        yield


def _settings() -> tuple[int, bool, bool]:
    products = torch.backends.cuda.matmul
    return torch.get_num_threads(), products.allow_tf32, products.allow_bf16_reduced_precision_reduction


def _set(settings: tuple[int, bool, bool]) -> None:
    threads, tf32, reduced = settings
    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = reduced


_SETTINGS = SharedSetting(_settings, _set)


class Recorded:
    """Work on a device that a GPU records once and then replays.

    From call to call nothing may differ but the values in tensors that stay in place. The first call does the work, so
    that everything that is made once exists; the second call records it, and later calls replay it. The work is an
    argument of each call and is not kept, so that its owner is freed with its last use.
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
    """Let one thread at a time record, without garbage collection: freeing an older graph would spoil the recording."""
    with RECORDING:
        was_on = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if was_on:
                gc.enable()


class RecordedSteps:
    """Updates of one kind. Their numbers and positions lie on the device, and each run takes the next ones."""

    def __init__(self, device: Any) -> None:
        self._next = torch.zeros(1, dtype=torch.int64, device=device)
        self._numbers: Any = None
        self._positions: Any = None
        self._recorded = Recorded(device)

    def run(self, step: StepFunction, numbers: Tensor, positions: Tensor | None) -> None:
        """Make all updates, which lie along the first axis; every call must have the same shapes."""
        self._numbers = self._put(self._numbers, numbers)
        if positions is not None:
            self._positions = self._put(self._positions, positions)
        if len(numbers) > 1:
            self._next.zero_()
        for _ in range(len(numbers)):
            self._recorded(lambda: self._step(step))

    def _put(self, kept: Any, values: Tensor) -> Any:
        """Copy values to their place on the device, which stays the same."""
        if kept is None:
            kept = torch.empty_like(values, device=self._next.device)
        return kept.copy_(values)

    def _step(self, step: StepFunction) -> None:
        if len(self._numbers) == 1:  # without looking up and counting, which are operations that a GPU has to begin
            step(None if self._positions is None else self._positions[0], self._numbers[0])
            return
        numbers = self._numbers.index_select(0, self._next)[0]
        positions = None if self._positions is None else self._positions.index_select(0, self._next)[0]
        step(positions, numbers)
        self._next.add_(1)
