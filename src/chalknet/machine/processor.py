"""The processor: its name, cores, vector units and caches, and the memory of the machine."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

# Flags of /proc/cpuinfo that matter for matrix products, the widest vector unit first.
VECTOR_FLAGS = ("amx_tile", "avx512_bf16", "avx512f", "avx2", "fma", "avx", "sse4_2", "sve", "asimd")


@dataclass(frozen=True)
class Processor:
    """The processor on which this process runs. What the system does not tell is empty or 0.

    Attributes:
        name: the model name.
        cores: number of cores that this process may run on; a container or taskset may allow fewer
            than there are.
        flags: all instruction-set flags.
        cache_bytes: size of the caches that the first core uses, by level: "L1d", "L2", "L3".
        memory_bytes: memory of the machine.
    """

    name: str
    cores: int
    flags: frozenset[str]
    cache_bytes: dict[str, int]
    memory_bytes: int

    @property
    def vector_units(self) -> tuple[str, ...]:
        """The flags of vector units that products use, the widest first."""
        return tuple(flag for flag in VECTOR_FLAGS if flag in self.flags)


def this_processor() -> Processor:
    """Return the processor that runs this process."""
    fields = _cpuinfo()
    return Processor(
        name=fields.get("model name", "") or platform.processor() or platform.machine(),
        cores=available_cores(),
        flags=frozenset((fields.get("flags") or fields.get("Features") or "").split()),
        cache_bytes=_caches(),
        memory_bytes=_memory(),
    )


def available_cores() -> int:
    """Return the number of cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpuinfo() -> dict[str, str]:
    """Return the fields of the first processor in /proc/cpuinfo.

    Returns:
        The fields by name; nothing if there is no such file.
    """
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux
        return {}
    first = text.partition("\n\n")[0]
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}


def _caches() -> dict[str, int]:
    """Return the sizes of the first core's data caches in bytes, as Linux states them."""
    sizes = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            level, kind, size = ((folder / name).read_text().strip() for name in ("level", "type", "size"))
        except OSError:
            continue
        if kind != "Instruction":
            sizes[f"L{level}" + "d" * (kind == "Data")] = _size_bytes(size)
    return sizes


def _size_bytes(text: str) -> int:
    """Return "48K" or "32M" as a number of bytes; 0 for anything else."""
    found = re.fullmatch(r"(\d+)([KMG]?)", text)
    return int(found[1]) * {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}[found[2]] if found else 0


def _memory() -> int:
    """Return the memory of the machine in bytes, or 0 if unknown."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not POSIX
        return 0
