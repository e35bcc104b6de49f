"""`chalknet export`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from chalknet.cli.options import named_place
from chalknet.cli.output import echo

if TYPE_CHECKING:
    from chalknet.workflows.export import Export


@click.command()
@click.argument("model", metavar="MODEL|RUN")
@click.option(
    "-o", "--output", required=True, type=named_place, metavar="FILE", help="The file to write: FILE.onnx, or FILE.py."
)
@click.option("--numpy-only", is_flag=True, help="Write a Python file that needs NumPy alone, not ONNX.")
@click.option("--overwrite", is_flag=True, help="Replace FILE if it exists.")
@click.option("--quiet", is_flag=True, help="Do not say what was written.")
def export(model: str, output: str, numpy_only: bool, overwrite: bool, quiet: bool) -> None:
    """Write a trained model as a file that predicts without chalknet.

    ONNX (pip install "chalknet[onnx]") for onnxruntime and what else reads it, or one Python file with the weights in
    it. Raw samples go in, probabilities and class numbers come out: scaling and all members of an ensemble are in the
    file. MODEL is a model.safetensors or a run's folder.

    ONNX reads rows as float32, of seven digits: columns such as timestamps, which differ in later digits only, need the
    Python file.

    \b
    chalknet export runs/first -o letters.onnx
    chalknet export model.safetensors --numpy-only -o predictor.py
    """
    from chalknet.workflows.export import export_model

    done = export_model(model, output, "numpy" if numpy_only else "onnx", overwrite=overwrite)
    if not quiet:
        echo("\n".join(_lines(done)))


def _lines(done: Export) -> list[str]:
    model = done.model
    n_members = len(model.members)
    members = f"{n_members} networks " if n_members > 1 else "network "
    shape = ", ".join(map(str, model.image_shape or (model.architecture.n_inputs,)))
    use = {
        "onnx": f"samples (N, {shape}) -> probabilities (N, {len(model.class_names)}), label (N,)",
        "numpy": f"python {done.path} samples.npy prints the class of each sample",
    }
    return [f"written to {done.path}: {members}{model.architecture}, {done.size_bytes:,} bytes", use[done.kind]]
