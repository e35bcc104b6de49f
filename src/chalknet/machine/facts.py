"""The facts about this machine on which a timing or a last digit may depend."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Any

from chalknet.machine.processor import this_processor


def machine_facts() -> dict[str, Any]:
    """Return processor, cores, system, versions and BLAS, ready for JSON; what is unknown is ""."""
    processor = this_processor()
    return {
        "processor": processor.name,
        "cores": processor.cores,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": version("numpy"),
        **blas_facts(),
    }


def blas_facts() -> dict[str, Any]:
    """Return name, version, kernel set and threads of the BLAS that NumPy has loaded."""
    import numpy as np  # loads the BLAS
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
