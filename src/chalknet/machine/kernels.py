"""Which kernel set of OpenBLAS is the fastest on this machine, and how a program uses it.

When OpenBLAS is loaded, it chooses a set of kernels for the processor, and not always the best one:
several releases choose the AVX2 kernels on AVX-512 processors that they do not know (OpenBLAS issue
6029). The environment variable OPENBLAS_CORETYPE makes it use another set, if it is set before NumPy
is imported. chalknet measures each set in a process of its own, because a set cannot be changed after
loading and an unsuitable one may crash. The choice is saved in the user's cache folder, one file per
processor and NumPy version.
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
# For each kernel set the processor flags that its instructions need. Of sets that are equally fast,
# the first is chosen.
REQUIRED_FLAGS = {
    "SkylakeX": {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd"},
    "Haswell": {"avx2", "fma"},
    "Zen": {"avx2", "fma"},
    "Sandybridge": {"avx"},
    "Nehalem": {"sse4_2"},
}
# A user of the library is warned if another set is more than this many times as fast.
WORTH_WARNING = 1.3
# OpenBLAS's own choice is kept below this gain, because measurements differ by as much.
WORTH_CHANGING = 1.1
# How often to repeat all measurements before another set than OpenBLAS's own is chosen.
CONFIRMATIONS = 2
TIMEOUT_SECONDS = 60
FORMAT = 1
MAX_CACHE_BYTES = 100_000


@dataclass(frozen=True)
class KernelRate:
    """The measured product rates of one kernel set, with all cores busy.

    Attributes:
        asked: the value of OPENBLAS_CORETYPE; "" for OpenBLAS's own choice.
        kernels: the set that OpenBLAS used.
        float32: product rate in FLOP per second.
        float64: product rate in FLOP per second.
    """

    asked: str
    kernels: str
    float32: float
    float64: float


@dataclass(frozen=True)
class KernelChoice:
    """The measured kernel sets, and the one to use.

    Attributes:
        rates: OpenBLAS's own choice first.
        best: the value to set OPENBLAS_CORETYPE to; "" to leave it alone.
        gain: how many times as fast the best set is in float32.
    """

    rates: tuple[KernelRate, ...]
    best: str
    gain: float


def use_best_kernels(environment: Mapping[str, str] | None = None) -> KernelChoice | None:
    """Make this process use the fastest kernel set; for programs, before NumPy is imported.

    Nothing happens if the user has set OPENBLAS_CORETYPE or CHALKNET_BLAS=keep, if NumPy is already
    loaded, or if NumPy's BLAS is not OpenBLAS.

    Args:
        environment: the environment variables to look at; by default those of this process.

    Returns:
        The choice, or None if there was nothing to choose.
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
    """Warn once per process if another kernel set is known to be much faster.

    As a library, chalknet does not change the environment. It warns if a saved measurement shows a
    gain above `WORTH_WARNING`, or, without a measurement, if OpenBLAS uses AVX2 kernels on a processor
    with AVX-512. If the user has chosen a set, there is no warning.
    """
    if CORETYPE in os.environ or os.environ.get(KEEP_VARIABLE) == KEEP:
        return
    message = _slow_kernels()
    if message:
        warnings.warn(f"{message} Set {CORETYPE} before NumPy is imported. See `chalknet doctor`.", stacklevel=4)


@cache
def _slow_kernels() -> str:
    """Return what is slow about the kernel set in use, as one sentence; "" if nothing is known."""
    from chalknet.machine.facts import blas_facts

    facts = blas_facts()
    if facts["blas"] != "openblas":
        return ""
    choice, kernels = load_choice(), facts["blas_kernels"]
    if choice is not None and choice.rates and choice.rates[0].kernels == kernels and choice.gain > WORTH_WARNING:
        return f"OpenBLAS uses its {kernels} kernels, but {choice.best} is {choice.gain:.1f} times as fast here."
    if choice is None and kernels in ("Haswell", "Zen") and "SkylakeX" in candidates(this_processor()):
        return f"OpenBLAS uses its {kernels} kernels, but this processor has AVX-512, which can be twice as fast."
    return ""


def candidates(processor: Processor) -> list[str]:
    """Return the kernel sets that the processor can run, the preferred first."""
    return [name for name, needed in REQUIRED_FLAGS.items() if needed <= processor.flags]


def measure_kernels(names: Sequence[str] | None = None, seconds: float = 0.2) -> tuple[KernelRate, ...]:
    """Measure OpenBLAS's own choice and other kernel sets.

    If another set seems faster than OpenBLAS's own, all are measured twice more, and the best
    measurement of each set counts. A set is left out if OpenBLAS does not have it or uses another
    instead, if it crashes, or if its products are wrong.

    Args:
        names: the other sets; by default the two preferred ones that the processor can run.
        seconds: duration of each measurement.

    Returns:
        The rates, OpenBLAS's own choice first; nothing if NumPy's BLAS is not OpenBLAS.
    """
    rates = _measured_once(names, seconds)
    for _ in range(CONFIRMATIONS if choose_kernels(rates).best else 0):
        # Other work on the machine makes a set seem slower, never faster, so its best measurement
        # counts.
        again = {rate.asked: rate for rate in _measured_once(names, seconds)}
        rates = tuple(max(rate, again.get(rate.asked, rate), key=lambda one: one.float32) for rate in rates)
    return rates


def _measured_once(names: Sequence[str] | None, seconds: float) -> tuple[KernelRate, ...]:
    """Measure each set once."""
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
    """Choose the set that is fastest in float32.

    OpenBLAS's own choice is kept unless another set gains `WORTH_CHANGING`.
    """
    if not rates:
        return KernelChoice((), "", 1.0)
    own, fastest = rates[0], max(rates, key=lambda rate: rate.float32)
    gain = fastest.float32 / own.float32
    if gain < WORTH_CHANGING:
        return KernelChoice(tuple(rates), "", 1.0)
    # Of sets that are equal to within the noise, the preferred one is chosen, so that a repetition
    # chooses the same.
    equals = {rate.asked for rate in rates if rate.float32 * WORTH_CHANGING >= fastest.float32}
    best = next((name for name in REQUIRED_FLAGS if name in equals), fastest.asked)
    return KernelChoice(tuple(rates), best, gain)


def load_choice() -> KernelChoice | None:
    """Return the saved choice for this processor and NumPy.

    Returns:
        The choice, or None if there is no file that can be read.
    """
    path = _cache_file()
    if path is None:
        return None
    try:
        stored = read_json(path, MAX_CACHE_BYTES)
        rates = tuple(checked(list[KernelRate], stored["rates"]))
        best, gain = checked(str, stored["best"]), checked(float, stored["gain"])
    except (OSError, ValueError, KeyError):
        return None
    # The value goes to an environment variable, so it must be a set that this processor can run.
    return KernelChoice(rates, best, gain) if best in ("", *candidates(this_processor())) else None


def save_choice(choice: KernelChoice) -> None:
    """Save a choice in the cache folder. Without such a folder, the next program measures again."""
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
    """Return the file for the choice on this processor, Python and NumPy.

    Returns:
        The path, or None without a home folder.
    """
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
    """Measure one set in a process of its own; None if that fails."""
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
        return None  # a set that this processor cannot run kills the process
    if found["blas"] != "openblas" or not found["correct"]:
        return None
    return KernelRate(name, found["blas_kernels"], found["rates"]["float32"], found["rates"]["float64"])
