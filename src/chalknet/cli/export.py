"""`chalknet export`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import cloup

from chalknet.cli.command import command
from chalknet.cli.options import out_option, overwrite_option, quiet_option
from chalknet.cli.output import echo
from chalknet.cli.parameters import FILE, FOLDER

if TYPE_CHECKING:
    from chalknet.workflows.export import Export


@command()
@cloup.argument("model", type=FILE, metavar="MODEL", help="A model file or the folder of a run.")
@out_option("File to write: FILE.onnx or, with --numpy-only, FILE.py.", "FILE")
@cloup.option("--numpy-only", is_flag=True, help="Write a Python file that needs only NumPy, instead of ONNX.")
@cloup.option(
    "--html", "page", type=FILE, metavar="FILE", help="Write an interactive page instead: FILE.html, for any browser."
)
@cloup.option("--title", metavar="TEXT", help="Title of the page.  [default: name of the model]")
@cloup.option(
    "--data", type=FOLDER, metavar="PATH", help="Where the samples of the run are now, if they have moved; for --html."
)
@overwrite_option("Replace FILE if it exists.")
@quiet_option("Do not print what was written.")
def export(
    model: str,
    out: str | None,
    numpy_only: bool,
    page: str | None,
    title: str | None,
    data: str | None,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Write a model as ONNX, Python file or web page.

    The page (--html) shows how the network computes: draw an input, see every layer, follow one
    gradient. It needs no server and no network connection. Give the folder of a run, so that the
    page holds samples and states the accuracy.

    An ONNX or Python file predicts without chalknet. It takes raw samples and returns probabilities and class
    numbers. Input scaling and all networks of an ensemble are included. Run an ONNX file with
    onnxruntime, and a Python file with `python FILE.py samples.npy`. ONNX needs an extra:
    pip install "chalknet[onnx]", or ".[onnx]" in a clone.

    A table with categories, dates or missing values has one ONNX input (N, 1) for each column, by
    its name. Categories are texts, "" if missing. Numbers are float64, NaN if missing. Dates are
    days since 1970. The Python file reads such a table with `python FILE.py table.csv`.

    ONNX reads rows of plain numbers as float32, which keeps seven digits. Use --numpy-only for
    columns that need more, such as timestamps.

    Examples:
        chalknet export runs/first -o letters.onnx
        chalknet export model.safetensors --numpy-only -o predictor.py
        chalknet export runs/first --html letters.html
    """
    from chalknet.workflows.export import export_model

    if (out is None) == (page is None) or (page is not None and numpy_only):
        raise click.UsageError("give one file to write: -o FILE.onnx, --numpy-only -o FILE.py or --html FILE.html.")
    kind = "html" if page is not None else "numpy" if numpy_only else "onnx"
    done = export_model(model, page or out or "", kind, overwrite=overwrite, title=title, data=data)
    if not quiet:
        echo("\n".join(_lines(done)))


def _lines(done: Export) -> list[str]:
    """Return what was written and how to use it, one line each."""
    from chalknet.data.tables.columns import CATEGORY
    from chalknet.formatting import printable

    model = done.model
    n_members = len(model.members)
    members = f"{n_members} networks " if n_members > 1 else "network "
    shape = ", ".join(map(str, model.image_shape or (model.architecture.n_inputs,)))
    inputs, example = f"samples (N, {shape})", "samples.npy prints the class of each sample"
    if model.encoding is not None:
        types = [f"{one.name} ({'text' if one.kind == CATEGORY else 'float64'})" for one in model.encoding.columns]
        inputs = f"one input (N, 1) per column, {', '.join(map(printable, types))}"
        example = "table.csv prints the class of each row"
    use = {
        "onnx": f"{inputs} -> probabilities (N, {len(model.class_names)}), label (N,)",
        "numpy": f"python {done.path} {example}",
        "html": f"open {done.path} in a browser",
    }
    written = f"written to {done.path}: {members}{model.architecture}, {done.size_bytes:,} bytes"
    return [written, *map(printable, done.notes), use[done.kind]]
