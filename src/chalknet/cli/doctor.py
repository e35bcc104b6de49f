"""`chalknet doctor`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from chalknet.cli.command import command
from chalknet.cli.options import json_option
from chalknet.cli.output import echo
from chalknet.formatting import count_of

if TYPE_CHECKING:
    from chalknet.machine.doctor import Diagnosis


@command()
@json_option()
def doctor(as_json: bool) -> None:
    """Measure this machine and suggest how to make training faster.

    This measures how fast each set of OpenBLAS kernels multiplies matrices. It takes a few seconds.
    The result is stored, and commands that train use the fastest set from then on. To prevent this,
    set the environment variable CHALKNET_BLAS=keep, or OPENBLAS_CORETYPE to the name of a kernel
    set.
    """
    from chalknet.machine.doctor import examine

    found = examine()
    echo(json.dumps(found.as_dict(), indent=2) if as_json else "\n".join(lines(found)))


def lines(found: Diagnosis) -> list[str]:
    """Return the diagnosis as lines of aligned text."""
    processor, facts = found.processor, found.facts
    caches = ", ".join(f"{level} {size // 1024:,} KiB" for level, size in processor.cache_bytes.items())
    rows = [
        ("processor", f"{processor.name}, {processor.cores} cores"),
        ("vector units", ", ".join(processor.vector_units) or "unknown"),
        ("caches", caches or "unknown"),
        ("memory", f"{processor.memory_bytes / 2**30:.1f} GiB"),
        ("python", f"{facts['python']}, NumPy {facts['numpy']}"),
        (
            "BLAS",
            f"{facts['blas'] or 'unknown'} {facts['blas_version']}, {facts['blas_kernels']} kernels in this process",
        ),
        ("extras", ", ".join(f"{name} {version}" for name, version in found.extras.items()) or "none"),
    ]
    if found.torch:
        rows.append(("torch", torch_line(found.torch)))
    rows.append(("torch engine", found.torch_engine))
    text = [f"{name:<14}{value}" for name, value in rows]
    if found.choice.rates:
        text += ["", "products, all cores    float32      float64"]
        for number, rate in enumerate(found.choice.rates):
            name = rate.kernels + (" (own choice)" if number == 0 else "")
            text.append(f"{name:<24}{rate.float32 / 1e9:>6,.0f}       {rate.float64 / 1e9:>6,.0f}   GFLOP/s")
    return [*text, "", *(found.advice or ("There is nothing to change.",))]


def torch_line(facts: dict[str, Any]) -> str:
    """Return version, threads and device of PyTorch, or why they are not known."""
    if "error" in facts:
        return f"failed to start: {facts['error']}"
    device = facts["device"] if facts["cuda"] else "no CUDA device"
    return f"{facts['version']}, {count_of(facts['threads'], 'thread')}, {device}"
