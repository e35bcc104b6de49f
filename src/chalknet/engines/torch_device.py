"""The device that torch computes on: its settings, the dtypes in use, and captured CUDA graphs.

A GPU needs some microseconds to start each operation, and an update of a small network consists of
many short ones. A captured CUDA graph starts all of them at once. It replays exactly what was
captured: the same operations on the same addresses. So everything that differs between replays, such
as positions and learning rates, must lie in tensors that stay in place, and no buffer may be
allocated anew.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from chalknet.errors import ConfigError
from chalknet.machine.shared_setting import SharedSetting

# Held while a graph is captured: what another thread starts on the device meanwhile could spoil it.
CAPTURE_LOCK = threading.Lock()
# Types of device that get the memory layouts and products that are fastest on a GPU.
GPU_FORMS_ON = ("cuda",)
# A GPU's products take several times as long if a size is not a multiple of this.
ALIGNED = 8
# A function that makes one update, from positions (None if the batch is a fixed slice), scalars and
# random numbers.
StepFunction = Callable[[Tensor | None, Tensor, Mapping[Any, Tensor]], None]


class TensorTypes(NamedTuple):
    """The dtypes and the device of an engine's tensors.

    Attributes:
        values: dtype of weights, sums and statistics.
        operands: dtype of the operands of products and of the values of layers; bfloat16 if the
            recipe says so, otherwise that of `values`.
        device: the torch device.
    """

    values: Any
    operands: Any
    device: Any

    @property
    def differ(self) -> bool:
        """Whether operands have another dtype, so that products need copies of the weights."""
        return bool(self.values != self.operands)

    @property
    def gpu_forms(self) -> bool:
        """Whether to use GPU forms: padded sizes, fused bias and relu, logits by class."""
        return self.device.type in GPU_FORMS_ON

    def aligned(self, n: int) -> int:
        """Return n, padded for the products of a GPU; the values beyond n are 0."""
        return -(-n // ALIGNED) * ALIGNED if self.gpu_forms else n


def usable_device(device: str, precision: str) -> Any:
    """Return the torch device for the settings of a recipe.

    Args:
        device: "auto", "cpu" or "cuda"; "auto" is a GPU if there is one.
        precision: "float32", "bfloat16" or "tf32".

    Raises:
        ConfigError: device or precision needs a CUDA device, and there is none.
    """
    present = torch.cuda.is_available()
    if not present and (device == "cuda" or precision == "tf32"):
        asked = "device cuda" if device == "cuda" else "precision tf32"
        raise ConfigError(
            f"{asked} needs a CUDA device, and PyTorch {torch.__version__} finds none (see chalknet doctor). "
            "Give device='cpu' (--device cpu) and a precision (--precision) of 'float32' or 'bfloat16', or install a "
            "PyTorch for CUDA."
        )
    return torch.device("cuda" if present and device != "cpu" else "cpu")


def free_bytes(device: Any) -> int:
    """Return the free memory of a GPU in bytes; 0 for a CPU, whose memory is not queried."""
    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else 0


@contextmanager
def running(threads: int, tf32: bool) -> Iterator[None]:
    """Set torch up for the engine while the context lasts: no autograd, and these settings.

    Args:
        threads: number of threads on a CPU.
        tf32: whether float32 products on a GPU may use TF32.
    """
    # False: bfloat16 products are summed in float32.
    with _SETTINGS.set_to((threads, tf32, False)), torch.inference_mode():
        yield


def _settings() -> tuple[int, bool, bool]:
    """Return torch's settings of the whole process: threads, TF32, reduced bfloat16 sums."""
    products = torch.backends.cuda.matmul
    return torch.get_num_threads(), products.allow_tf32, products.allow_bf16_reduced_precision_reduction


def _set(settings: tuple[int, bool, bool]) -> None:
    """Set what `_settings` returns."""
    threads, tf32, reduced = settings
    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = reduced


_SETTINGS = SharedSetting(_settings, _set)


class CapturedWork:
    """Work that a GPU captures as a CUDA graph and then replays; on a CPU it is called each time.

    Between calls only the values in tensors may differ, never the tensors themselves. The first call
    does the work directly, so that everything that is allocated once exists. The second call
    captures it, and this and all later calls replay the graph.

    The work is an argument of each call and is not stored. Stored, it would form a cycle with the
    engine that owns this object, and the graph's memory on the GPU would be freed only by the
    garbage collector.

    Args:
        device: the torch device.
    """

    def __init__(self, device: Any) -> None:
        """Create an object without a captured graph."""
        self._device, self._calls = device, 0
        self._graph: Any = None

    def __call__(self, work: Callable[[], None]) -> None:
        """Do the work, or replay it; every call must get the same work."""
        self._calls += 1
        if self._device.type != "cuda" or self._calls == 1:
            work()
            return
        if self._graph is None:
            graph = torch.cuda.CUDAGraph()
            with _capturing(), torch.cuda.graph(graph, capture_error_mode="thread_local"):
                work()
            self._graph = graph
        self._graph.replay()


@contextmanager
def _capturing() -> Iterator[None]:
    """Let one thread at a time capture, without garbage collection.

    The collector could free an older graph, which is an operation on the device and would make the
    capture fail.
    """
    with CAPTURE_LOCK:
        was_on = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if was_on:
                gc.enable()


class CapturedSteps:
    """Updates that differ only in positions, scalars and random numbers, captured as one CUDA graph.

    `run` copies those of all updates to the device at once. The captured update reads those of the
    current update, at a counter that it increments itself, so replays need nothing from the CPU.

    Args:
        device: the torch device.
        captures: whether a GPU captures the update; otherwise it is called each time.
    """

    def __init__(self, device: Any, captures: bool = True) -> None:
        """Create an object without a captured graph."""
        self._next = torch.zeros(1, dtype=torch.int64, device=device)
        self._kept: dict[Any, Tensor] = {}
        self._work = CapturedWork(device if captures else torch.device("cpu"))

    def run(
        self, step: StepFunction, scalars: Tensor, positions: Tensor | None, draws: Mapping[Any, Tensor] | None = None
    ) -> None:
        """Make all updates; the arguments must have the same shapes in every call.

        Args:
            step: makes one update from positions, scalars and random numbers.
            scalars: (updates, M, count) the scalars of each update and network.
            positions: (updates, orders, n) positions in the training split, or None for a slice.
            draws: random numbers by key; their first axis is the update.
        """
        given = {"scalars": scalars, **({} if positions is None else {"positions": positions})}
        for key, values in [*given.items(), *(draws or {}).items()]:
            self._put(key, values)
        if len(scalars) > 1:
            self._next.zero_()
        for _ in range(len(scalars)):
            self._work(lambda: self._step(step, draws or {}))

    def _put(self, key: Any, values: Tensor) -> None:
        """Copy values to the tensor on the device that the graph reads.

        The first call allocates it.
        """
        if key not in self._kept:
            self._kept[key] = torch.empty_like(values, device=self._next.device)
        self._kept[key].copy_(values)

    def _step(self, step: StepFunction, draws: Container[Any]) -> None:
        """Make the update at the counter, and increment the counter."""
        # A single update needs no counter, which would be three more operations on the device.
        is_single = len(self._kept["scalars"]) == 1
        now = {key: one[0] if is_single else one.index_select(0, self._next)[0] for key, one in self._kept.items()}
        step(now.get("positions"), now["scalars"], {key: one for key, one in now.items() if key in draws})
        if not is_single:
            self._next.add_(1)
