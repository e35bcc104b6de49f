"""`chalknet export`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cloup

from chalknet.cli.command import command
from chalknet.cli.options import out_option, overwrite_option, quiet_option
from chalknet.cli.output import echo
from chalknet.cli.parameters import FILE

if TYPE_CHECKING:
    from chalknet.workflows.export import Export


@command()
@cloup.argument("model", type=FILE, metavar="MODEL", help="A model file or the folder of a run.")
@out_option("File to write: FILE.onnx or, with --numpy-only, FILE.py.", "FILE", required=True)
@cloup.option("--numpy-only", is_flag=True, help="Write a Python file that needs only NumPy, instead of ONNX.")
@overwrite_option("Replace FILE if it exists.")
@quiet_option("Do not print what was written.")
def export(model: str, out: str, numpy_only: bool, overwrite: bool, quiet: bool) -> None:
    """Write a model as ONNX or as a Python file.

    The file predicts without chalknet. It takes raw samples and returns probabilities and class
    numbers. Input scaling and all networks of an ensemble are included. Run an ONNX file with
    onnxruntime, and a Python file with `python FILE.py samples.npy`. ONNX needs an extra:
    pip install "chalknet[onnx]".

    ONNX reads table rows as float32, which keeps seven digits. Use --numpy-only for columns that
    need more, such as timestamps.

    Examples:
        chalknet export runs/first -o letters.onnx
        chalknet export model.safetensors --numpy-only -o predictor.py
    """
    from chalknet.workflows.export import export_model

    done = export_model(model, out, "numpy" if numpy_only else "onnx", overwrite=overwrite)
    if not quiet:
        echo("\n".join(_lines(done)))


def _lines(done: Export) -> list[str]:
    """Return what was written and how to use it, one line each."""
    model = done.model
    n_members = len(model.members)
    members = f"{n_members} networks " if n_members > 1 else "network "
    shape = ", ".join(map(str, model.image_shape or (model.architecture.n_inputs,)))
    use = {
        "onnx": f"samples (N, {shape}) -> probabilities (N, {len(model.class_names)}), label (N,)",
        "numpy": f"python {done.path} samples.npy prints the class of each sample",
    }
    return [f"written to {done.path}: {members}{model.architecture}, {done.size_bytes:,} bytes", use[done.kind]]
