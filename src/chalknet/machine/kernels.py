"""Which of OpenBLAS's kernel sets is fastest here, and how a program comes to use it.

OpenBLAS looks at the processor when it is loaded and takes a set of kernels, not always the best that the processor can
run: several releases take the AVX2 kernels on AVX-512 processors that they do not know (OpenBLAS issue 6029). The
variable OPENBLAS_CORETYPE, set before NumPy is imported, makes it take another. Each set is measured in a process of
its own; the choice is remembered in the user's cache folder, once a processor and NumPy version.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from chalknet.checked import checked, read_json
from chalknet.machine.processor import Processor, this_processor

CORETYPE = "OPENBLAS_CORETYPE"
KEEP_VARIABLE, KEEP = "CHALKNET_BLAS", "keep"
# Kernel set -> the processor flags without which its instructions are illegal. In order of preference among equals.
REQUIRED_FLAGS = {
    "SkylakeX": {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd"},
    "Haswell": {"avx2", "fma"},
    "Zen": {"avx2", "fma"},
    "Sandybridge": {"avx"},
    "Nehalem": {"sse4_2"},
}
WORTH_WARNING = 1.3  # a gain from which on a library user is told
WORTH_CHANGING = 1.1  # a gain below which the set that OpenBLAS took is kept: measurements differ by that much
CONFIRMATIONS = 2  # further turns before another set than OpenBLAS's own is taken
TIMEOUT_SECONDS = 60
FORMAT = 1
MAX_CACHE_BYTES = 100_000


@dataclass(frozen=True)
class KernelRate:
    """One kernel set as measured in a process of its own, all cores busy; rates of products in FLOP a second."""

    asked: str  # for what OPENBLAS_CORETYPE said; "" for OpenBLAS's own choice
    kernels: str  # what OpenBLAS then took
    float32: float
    float64: float


@dataclass(frozen=True)
class KernelChoice:
    """The kernel sets that were measured, OpenBLAS's own choice first, and the one to use.

    Attributes:
        best: what OPENBLAS_CORETYPE should say, "" where it should be left alone.
        gain: how many times as fast that is in float32.
    """

    rates: tuple[KernelRate, ...]
    best: str
    gain: float


def use_best_kernels(environment: Mapping[str, str] | None = None) -> KernelChoice | None:
    """Makes this process use the fastest kernel set; for programs, before NumPy is imported.

    Nothing is done where the user has set OPENBLAS_CORETYPE or CHALKNET_BLAS=keep, where NumPy is already loaded, or
    where NumPy's BLAS is not OpenBLAS.

    Returns:
        the choice, or None where nothing was to choose.
    """
    environment = os.environ if environment is None else environment
    if CORETYPE in environment or environment.get(KEEP_VARIABLE) == KEEP or "numpy" in sys.modules:
        return None
    choice = load_choice()
    if choice is None:
        choice = choose_kernels(measure_kernels())
        if choice.rates:
            save_choice(choice)
    if choice.best:
        os.environ[CORETYPE] = choice.best
    return choice


def warn_of_slow_kernels() -> None:
    """Tells a library user, once a process, that another kernel set would be faster by more than `WORTH_WARNING`.

    As a library chalknet changes no environment. What is known is a measurement that is remembered; without one, that
    AVX2 kernels on an AVX-512 processor reach about half its product rate. Silent where the user has chosen.
    """
    if CORETYPE in os.environ or os.environ.get(KEEP_VARIABLE) == KEEP:
        return
    message = _slow_kernels()
    if message:
        warnings.warn(f"{message} Set {CORETYPE} before NumPy is imported; `chalknet doctor` says more.", stacklevel=4)


@cache
def _slow_kernels() -> str:
    from chalknet.machine.facts import blas_facts

    facts = blas_facts()
    if facts["blas"] != "openblas":
        return ""
    choice, kernels = load_choice(), facts["blas_kernels"]
    if choice is not None and choice.rates and choice.rates[0].kernels == kernels and choice.gain > WORTH_WARNING:
        return f"OpenBLAS took its {kernels} kernels; {choice.best} is {choice.gain:.1f} times as fast here."
    if choice is None and kernels in ("Haswell", "Zen") and "SkylakeX" in candidates(this_processor()):
        return f"OpenBLAS took its {kernels} kernels on a processor with AVX-512, which can be twice as fast."
    return ""


def candidates(processor: Processor) -> list[str]:
    """The kernel sets whose instructions the processor has, by preference."""
    return [name for name, needed in REQUIRED_FLAGS.items() if needed <= processor.flags]


def measure_kernels(names: Sequence[str] | None = None, seconds: float = 0.2) -> tuple[KernelRate, ...]:
    """Measures OpenBLAS's own choice and then each named set, by default the two best that the processor can run.

    Where another set seems faster than OpenBLAS's own, all are measured twice more, and each has the best of its turns.
    A set that OpenBLAS does not have, that it answers with another, that crashes or computes wrongly is left out; so is
    everything where NumPy's BLAS is not OpenBLAS.
    """
    rates = _measured_once(names, seconds)
    for _ in range(CONFIRMATIONS if choose_kernels(rates).best else 0):
        # Other work on the machine slows what is measured meanwhile; the best of several turns is each set's own.
        again = {rate.asked: rate for rate in _measured_once(names, seconds)}
        rates = tuple(max(rate, again.get(rate.asked, rate), key=lambda one: one.float32) for rate in rates)
    return rates


def _measured_once(names: Sequence[str] | None, seconds: float) -> tuple[KernelRate, ...]:
    own = _measure("", seconds)
    if own is None:
        return ()
    measured = [own]
    for name in candidates(this_processor())[:2] if names is None else names:
        if name.lower() != own.kernels.lower():
            rate = _measure(name, seconds)
            if rate is not None and rate.kernels.lower() == name.lower():
                measured.append(rate)
    return tuple(measured)


def choose_kernels(rates: Sequence[KernelRate]) -> KernelChoice:
    """The fastest set in float32, and OpenBLAS's own where no other is faster by `WORTH_CHANGING`."""
    if not rates:
        return KernelChoice((), "", 1.0)
    own, fastest = rates[0], max(rates, key=lambda rate: rate.float32)
    gain = fastest.float32 / own.float32
    if gain < WORTH_CHANGING:
        return KernelChoice(tuple(rates), "", 1.0)
    # Of sets that are equal to within the noise the preferred one is taken, so that a repetition takes the same.
    equals = {rate.asked for rate in rates if rate.float32 * WORTH_CHANGING >= fastest.float32}
    best = next((name for name in REQUIRED_FLAGS if name in equals), fastest.asked)
    return KernelChoice(tuple(rates), best, gain)


def load_choice() -> KernelChoice | None:
    """What was chosen earlier on this processor with this NumPy; None where nothing was, or it cannot be read."""
    path = _cache_file()
    if path is None:
        return None
    try:
        stored = read_json(path, MAX_CACHE_BYTES)
        rates = tuple(checked(list[KernelRate], stored["rates"]))
        best, gain = checked(str, stored["best"]), checked(float, stored["gain"])
    except (OSError, ValueError, KeyError):
        return None
    # The file is data: what it names must be a set that this processor can run.
    return KernelChoice(rates, best, gain) if best in ("", *candidates(this_processor())) else None


def save_choice(choice: KernelChoice) -> None:
    """Stores a choice in the cache folder; where there is none, the next program measures again."""
    path = _cache_file()
    if path is None:
        return
    stored = {"format": FORMAT, "best": choice.best, "gain": choice.gain, "rates": [asdict(r) for r in choice.rates]}
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(json.dumps(stored, indent=2), encoding="utf-8")
        temporary.replace(path)


def _cache_file() -> Path | None:
    """Where the choice for this processor, Python and NumPy is kept; None without a home directory."""
    try:
        from platformdirs import user_cache_path

        folder = user_cache_path("chalknet")
    except (RuntimeError, KeyError, OSError):
        return None
    processor = this_processor()
    identity = [FORMAT, processor.name, sorted(processor.flags), processor.cores, version("numpy"), sys.prefix]
    digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]
    return folder / f"kernels-{digest}.json"


def _measure(name: str, seconds: float) -> KernelRate | None:
    environment = {key: value for key, value in os.environ.items() if key != CORETYPE} | (
        {CORETYPE: name} if name else {}
    )
    command = [sys.executable, "-m", "chalknet.machine.product_rate", str(this_processor().cores), str(seconds)]
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=True
        )
        found: dict[str, Any] = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None  # a set that this processor cannot run ends the process that tries it
    if found["blas"] != "openblas" or not found["correct"]:
        return None
    return KernelRate(name, found["blas_kernels"], found["rates"]["float32"], found["rates"]["float64"])
