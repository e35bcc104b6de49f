"""The diagnosis of `chalknet doctor`: what this machine is, how fast it multiplies, and advice."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any

from chalknet.machine.facts import machine_facts
from chalknet.machine.kernels import (
    CORETYPE,
    WORTH_CHANGING,
    KernelChoice,
    candidates,
    choose_kernels,
    measure_kernels,
    save_choice,
)
from chalknet.machine.processor import Processor, this_processor
from chalknet.machine.torch_facts import ask_torch
from chalknet.version import install_command

# For each extra: the module that it installs, and the distributions that may contain it.
EXTRAS: dict[str, tuple[str, ...]] = {
    "excel": ("fastexcel", "fastexcel"),
    "fast": ("numba", "numba"),
    "mlflow": ("mlflow", "mlflow-skinny", "mlflow"),
    "onnx": ("onnx", "onnx"),
    "ray": ("ray", "ray"),
    "search": ("optuna", "optuna"),
    "serve": ("uvicorn", "uvicorn"),
    "sklearn": ("sklearn", "scikit-learn"),
    "tensorboard": ("tensorboardX", "tensorboardX"),
    "torch": ("torch", "torch"),
}
# Flags of processors with bfloat16 products, the fastest first.
BFLOAT16_FLAGS = ("amx_bf16", "avx512_bf16", "bf16")


@dataclass(frozen=True)
class Diagnosis:
    """Facts about the machine, measured kernel sets, and advice.

    Attributes:
        processor: the processor.
        facts: versions, and the BLAS of this process.
        choice: the measured kernel sets; without rates if NumPy's BLAS is not OpenBLAS.
        set_by_user: the value of OPENBLAS_CORETYPE, or "".
        extras: the installed extras, with the versions of their packages.
        torch: facts about PyTorch, or {"error": ...}; empty if it is not installed.
        advice: sentences on what would make chalknet faster.
    """

    processor: Processor
    facts: dict[str, Any]
    choice: KernelChoice
    set_by_user: str
    extras: dict[str, str]
    torch: dict[str, Any]
    advice: tuple[str, ...]

    @property
    def torch_engine(self) -> str:
        """Whether and where `--engine torch` can be used, and whether bfloat16 is faster there."""
        if not self.torch:
            return f"not installed: {install_command('torch')}"
        if "error" in self.torch:
            return "cannot be used"
        if self.torch["cuda"]:
            has = "" if self.torch["device_bfloat16"] else "out"
            return f"on CUDA ({self.torch['device']}), with{has} bfloat16"
        present = [flag for flag in BFLOAT16_FLAGS if flag in self.processor.flags]
        gain = f"which multiplies bfloat16 ({present[0]})" if present else "where bfloat16 gains nothing"
        return f"on the processor, {gain}"

    def as_dict(self) -> dict[str, Any]:
        """Return the diagnosis, ready for JSON."""
        processor = {**asdict(self.processor), "flags": sorted(self.processor.flags)}
        return {
            "processor": {**processor, "vector_units": list(self.processor.vector_units)},
            "facts": self.facts,
            "kernels": asdict(self.choice),
            "set_by_user": self.set_by_user,
            "extras": self.extras,
            "torch": self.torch,
            "torch_engine": self.torch_engine,
            "advice": list(self.advice),
        }


def examine(seconds: float = 0.3) -> Diagnosis:
    """Measure all kernel sets that the processor can run, and save the choice of the best.

    Args:
        seconds: duration of each measurement. There are two per kernel set, float32 and float64.
    """
    processor = this_processor()
    facts = machine_facts()
    choice = choose_kernels(measure_kernels(candidates(processor), seconds))
    if choice.rates:
        save_choice(choice)
    set_by_user = os.environ.get(CORETYPE, "")
    extras = {name: _extra(*parts) for name, (module, *parts) in EXTRAS.items() if find_spec(module) is not None}
    torch = ask_torch() if "torch" in extras else {}
    return Diagnosis(processor, facts, choice, set_by_user, extras, torch, advice_on(facts, choice, set_by_user))


def advice_on(facts: dict[str, Any], choice: KernelChoice, set_by_user: str) -> tuple[str, ...]:
    """Return what to change and what it would gain; nothing if nothing would be faster."""
    if not choice.rates:
        return (f"NumPy's BLAS is {facts['blas'] or 'unknown'}. Its kernels cannot be chosen.",)
    own, best = choice.rates[0], max(choice.rates, key=lambda rate: rate.float32)
    if set_by_user:
        used = next((rate for rate in choice.rates if rate.kernels.lower() == set_by_user.lower()), own)
        gain = best.float32 / used.float32
        if gain >= WORTH_CHANGING:
            return (
                f"{CORETYPE}={set_by_user} is set, but {best.kernels} kernels are {gain:.1f} times as fast. "
                "Unset it, and chalknet's commands use the fastest kernels.",
            )
        return ()
    if choice.best:
        return (
            f"OpenBLAS uses its {own.kernels} kernels here, but its {choice.best} kernels are {choice.gain:.1f} times "
            f"as fast. chalknet's commands use them; for other programs set {CORETYPE}={choice.best}.",
        )
    return ()


def _extra(*distributions: str) -> str:
    """Return the version of an optional package without importing it."""
    from importlib.metadata import PackageNotFoundError, version

    for name in distributions:
        with suppress(PackageNotFoundError):
            return version(name)
    return "of unknown version"
