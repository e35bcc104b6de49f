"""The baselines: chalknet and other libraries, each with its fastest settings.

There is one file per library. Only `harness.worker` imports it, in the process of that baseline.

    chalknet       the numpy engine, float32
    formulas       the write-up's formulas in plain NumPy, float64, all BLAS threads
    scikit-learn   MLPClassifier with its own loop, float32 input, solver sgd, no penalty
    torch          Linear, ReLU, Linear in float32, SGD with momentum; gradients set to 0 in place, not to None
    torch-compile  the same through torch.compile
    torch-bf16     the same in bfloat16, weights included
    jax            one jitted update in float32
    onnxruntime    prediction only
    roofline       time of the products of a full epoch at the product rate, measured in the same rounds

The following compute with less precision, and are measured only if they are named, as
benchmarks/torch_engine.py does:
    chalknet-bf16  the torch engine with bfloat16 products
    products-bf16  nothing but the products of a full epoch, each in its own shape, in bfloat16
    roofline-bf16  the roofline at torch's bfloat16 product rate
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

from harness.workloads import Run, Workload

# A function of the workload and the number of threads (0: the baseline's own choice) that returns a
# run, or None if the baseline does not support the workload.
Prepare = Callable[[Workload, int], Run | None]


@dataclass(frozen=True)
class Baseline:
    """A library with certain settings that runs the workloads.

    Attributes:
        name: its name in tables and options.
        function: "file:function" in `harness.baselines`.
        needs: modules that must be installed.
        on_numpy: whether its products are NumPy's, so that it depends on the kernels of NumPy's BLAS.
        own: whether it is chalknet's. Then it uses the kernels that chalknet's commands choose.
        by_name_only: whether it is measured only if it is named.
    """

    name: str
    function: str
    needs: tuple[str, ...] = ()
    on_numpy: bool = False
    own: bool = False
    by_name_only: bool = False

    def is_installed(self) -> bool:
        """Return whether all modules that it needs are installed."""
        return all(find_spec(module) is not None for module in self.needs)

    def prepare_function(self) -> Prepare:
        """Import and return the function that prepares a workload."""
        file, _, function = self.function.partition(":")
        prepare: Prepare = getattr(import_module(f"harness.baselines.{file}"), function)
        return prepare


BASELINES = {
    baseline.name: baseline
    for baseline in (
        Baseline("chalknet", "own:numpy_engine", on_numpy=True, own=True),
        Baseline("formulas", "formulas:formulas", on_numpy=True),
        Baseline("scikit-learn", "scikit_learn:scikit_learn", ("sklearn",), on_numpy=True),
        Baseline("torch", "torch_module:torch_float32", ("torch",)),
        Baseline("torch-compile", "torch_module:torch_compiled", ("torch",)),
        Baseline("torch-bf16", "torch_module:torch_bfloat16", ("torch",)),
        Baseline("jax", "jax_update:jax_update", ("jax",)),
        Baseline("onnxruntime", "onnx_runtime:onnx_runtime", ("onnx", "onnxruntime")),
        Baseline("chalknet-bf16", "own:torch_engine", ("torch",), by_name_only=True),
        Baseline("products-bf16", "roofline:products_bfloat16", ("torch",), by_name_only=True),
        Baseline("roofline-bf16", "roofline:roofline_bfloat16", ("torch",), by_name_only=True),
        Baseline("roofline", "roofline:roofline", on_numpy=True, own=True),
    )
}
