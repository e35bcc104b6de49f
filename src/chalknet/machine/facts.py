"""The facts about this machine on which a timing or a last digit may depend."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import PurePath
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
    found = blas_of_numpy([pool for pool in threadpool_info() if pool.get("user_api") == "blas"])
    return {
        "blas": found.get("internal_api", ""),
        "blas_version": found.get("version") or "",
        "blas_kernels": found.get("architecture", ""),
        "blas_threads": found.get("num_threads", 0),
    }


def blas_of_numpy(pools: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the entry of `threadpool_info` that is NumPy's BLAS, or {} if there is none.

    The wheels of SciPy and other packages contain a BLAS of their own, which may come first. The BLAS
    of NumPy's wheel is in the folder numpy.libs, or in numpy/.dylibs on macOS. Otherwise NumPy uses
    the BLAS of the system, and the first entry is taken.
    """
    folders = [PurePath(pool.get("filepath", "")).parent for pool in pools]
    of_numpy = (
        pool
        for pool, folder in zip(pools, folders, strict=True)
        if folder.name == "numpy.libs" or folder.parts[-2:] == ("numpy", ".dylibs")
    )
    return next(of_numpy, pools[0] if pools else {})
