"""The facts about this machine that a timing or a last digit may depend on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any


def machine_facts() -> dict[str, Any]:
    """Processor, cores, system, versions and the BLAS that NumPy uses, as JSON-ready values; unknown ones are ""."""
    return {
        "processor": processor_name(),
        "cores": available_cores(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": version("numpy"),
        **blas_facts(),
    }


def processor_name() -> str:
    """The processor's marketing name where the system tells it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def available_cores() -> int:
    """Cores that this process may run on, which a container or taskset can make fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def blas_facts() -> dict[str, Any]:
    """Name, version, kernel set and threads of the BLAS that NumPy has loaded."""
    import numpy as np  # loads the BLAS that is asked about
    from threadpoolctl import threadpool_info  # type: ignore[import-untyped]

    del np
    pools = [pool for pool in threadpool_info() if pool.get("user_api") == "blas"]
    first: dict[str, Any] = pools[0] if pools else {}
    return {
        "blas": first.get("internal_api", ""),
        "blas_version": first.get("version") or "",
        "blas_kernels": first.get("architecture", ""),
        "blas_threads": first.get("num_threads", 0),
    }
