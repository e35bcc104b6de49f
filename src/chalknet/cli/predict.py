"""`chalknet predict`."""

from __future__ import annotations

from pathlib import Path

import click

from chalknet.cli.options import named_place, say_notes
from chalknet.cli.output import echo
from chalknet.errors import ConfigError


@click.command()
@click.argument("model", metavar="MODEL")
@click.argument("inputs", metavar="INPUT...", nargs=-1, required=True)
@click.option("--top", type=click.IntRange(min=1), metavar="K", help="Classes to show of each sample.  [default: 2]")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, with the probabilities of all classes.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the probabilities of all classes.")
@click.option(
    "--out",
    type=named_place,
    metavar="FILE",
    help="Write the predictions here: .csv, .json or .txt. A file of that name is replaced.",
)
@click.option(
    "--invert/--no-invert", default=None, help="Exchange black and white in image files.  [default: where it is clear]"
)
@click.option(
    "--trim/--no-trim", default=None, help="Cut off empty margins of image files.  [default: where it is clear]"
)
@click.option("--fit", metavar="NAME", help="Other proportions: stretch, crop or pad.  [default: stretch]")
@click.option(
    "--white",
    type=float,
    metavar="X",
    help="What a white pixel is in the training samples, where the model was not trained on pixels of 0..255.",
)
@click.option("--label-column", metavar="NAME|N", help="Column of a table that is to be left out.")
@click.option("--quiet", is_flag=True, help="No notes on how images and files were read.")
def predict(
    model: str,
    inputs: tuple[str, ...],
    top: int | None,
    as_csv: bool,
    as_json: bool,
    out: str | None,
    invert: bool | None,
    trim: bool | None,
    fit: str | None,
    white: float | None,
    label_column: str | None,
    quiet: bool,
) -> int:
    """Say what a model takes images or rows for.

    MODEL is a model file or a run's folder. INPUT is an image file (PNG, JPEG, GIF, BMP, TIFF, WebP, PPM; up to 134
    million pixels and 256 MiB), a folder of images, or a data file: .npz, .npy, IDX or CSV, with labels or without.
    Images are made gray and resized as those of a folder are when training. Those that clearly differ from the training
    images in background or margins are inverted or trimmed, with a note; where it is not clear, a note says what to do.

    Notes on standard error say how images were read. A file that cannot be read is named there too, the others are
    answered, and the exit code is 1.

    \b
    chalknet predict runs/first letter.png photo.jpg
    chalknet predict runs/first scans --invert --out predictions.csv
    chalknet predict runs/first/model.safetensors measured.csv --json
    """
    kind = _kind(as_csv, as_json, out)
    if top is not None and kind != "table":
        raise ConfigError(f"--top is for tables; as {kind} the probabilities of all classes are given.")

    from chalknet.formatting import printable
    from chalknet.serving.loaded_model import resolve_model
    from chalknet.serving.prediction_tables import conversion_lines
    from chalknet.workflows.predict import format_predictions, write_predictions
    from chalknet.workflows.predict import predict as run_predict

    loaded = resolve_model(model)
    predictions = run_predict(loaded, inputs, invert=invert, trim=trim, fit=fit, white=white, label_column=label_column)
    say_notes((*conversion_lines(predictions), *map(printable, predictions.notes)), quiet)
    text = format_predictions(predictions, loaded, kind, 2 if top is None else top)
    if out is None:
        echo(text, nl=False)
    else:
        write_predictions(Path(out), text)
        echo(f"{len(predictions):,} predictions written to {out}")
    for message in predictions.unreadable:
        echo(f"chalknet: {printable(message)}", err=True)
    return 1 if predictions.unreadable else 0


def _kind(as_csv: bool, as_json: bool, out: str | None) -> str:
    """The form of the predictions: from the flags, else from the name of the file that they go to."""
    if as_csv and as_json:
        raise ConfigError("--csv and --json are two formats of the predictions. Give one.")
    asked = "csv" if as_csv else "json" if as_json else None
    if out is None:
        return asked or "table"

    from chalknet.workflows.predict import output_format

    named = output_format(Path(out))
    if asked is not None and named not in (asked, "table"):
        raise ConfigError(
            f"--{asked} and --out {out} are two formats of the predictions. Leave --{asked} out, or name .{asked}."
        )
    return asked or named
