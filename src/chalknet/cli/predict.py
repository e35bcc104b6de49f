"""`chalknet predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cloup

from chalknet.cli.command import command
from chalknet.cli.options import (
    FIT_TEXT,
    IMAGE_FITS,
    csv_option,
    json_option,
    out_option,
    parse_table_options,
    print_notes,
    quiet_option,
    table_file_options,
)
from chalknet.cli.output import echo
from chalknet.cli.parameters import COUNT, FILE, Choice
from chalknet.errors import ConfigError


@command()
@cloup.argument("model", type=FILE, metavar="MODEL", help="A model file or the folder of a run.")
@cloup.argument(
    "inputs",
    type=FILE,
    metavar="INPUT...",
    nargs=-1,
    required=True,
    help="Image files, folders of images, or data files: .npz, .npy, IDX, CSV, TSV, Parquet, Arrow, Excel, JSON Lines.",
)
@cloup.option_group(
    "Output",
    out_option(
        "File for the predictions: .csv, .json or .txt. An existing file is replaced.  [default: print a table]", "FILE"
    ),
    csv_option("Print CSV with the probabilities of all classes."),
    json_option("Print JSON with the probabilities of all classes."),
    cloup.option(
        "--top", type=COUNT, metavar="N", help="Number of classes to show per sample, in a table.  [default: 2]"
    ),
    quiet_option("Show no notes on how inputs were read."),
)
@cloup.option_group(
    "Reading images",
    cloup.option("--invert/--no-invert", default=None, help="Exchange black and white.  [default: if clearly needed]"),
    cloup.option("--trim/--no-trim", default=None, help="Cut off empty margins.  [default: if clearly needed]"),
    cloup.option(
        "--image-fit",
        type=Choice(IMAGE_FITS),
        help=f"{FIT_TEXT}  [default: as the training images, else stretch; trimmed images: pad]",
    ),
    cloup.option(
        "--white",
        type=float,
        metavar="X",
        help="Value of white in the training data, such as 1. Needed only if the pixels there were not 0 to 255.",
    ),
)
@cloup.option_group(
    "Reading tables",
    cloup.option(
        "--label-column", metavar="NAME|N", help="Name or number of the column with labels, which is ignored."
    ),
    cloup.option("--id", "id_column", metavar="NAME", help="Column with the names of the rows, which are printed."),
    table_file_options("as in training", "always, besides those of the model"),
)
def predict(
    model: str,
    inputs: tuple[str, ...],
    top: int | None,
    as_csv: bool,
    as_json: bool,
    out: str | None,
    invert: bool | None,
    trim: bool | None,
    image_fit: str | None,
    white: float | None,
    label_column: str | None,
    id_column: str | None,
    quiet: bool,
    **table: Any,
) -> int:
    """Predict classes for images or table rows.

    Image files can be PNG, JPEG, GIF, BMP, TIFF, WebP or PPM, up to 134 million pixels and 256 MiB.
    They are converted to the color (gray or RGB) and the size of the training images. Images whose
    background or margins clearly differ from the training images are inverted or trimmed, and a
    note says so. In unclear cases, a note says which option to use. A folder stands for the images in
    it and in all its subfolders, and each is named by its path.

    A file that cannot be read is reported on standard error and skipped. The exit code is then 1.

    Examples:
        chalknet predict runs/first letter.png photo.jpg
        chalknet predict runs/first scans --invert --out predictions.csv
        chalknet predict runs/first/model.safetensors measured.csv --json
    """
    kind = _kind(as_csv, as_json, out)
    if top is not None and kind != "table":
        raise ConfigError(
            f"--top works only for tables, and {kind} always has the probabilities of all classes. Leave out --top."
        )

    from chalknet.formatting import count_of, printable
    from chalknet.serving.loaded_model import resolve_model
    from chalknet.serving.prediction_tables import conversion_lines
    from chalknet.workflows.predict import format_predictions, write_predictions
    from chalknet.workflows.predict import predict as run_predict

    loaded = resolve_model(model)
    predictions = run_predict(
        loaded,
        inputs,
        invert=invert,
        trim=trim,
        image_fit=image_fit,
        white=white,
        label_column=label_column,
        id_column=id_column,
        **parse_table_options(table).changed,
    )
    print_notes((*conversion_lines(predictions), *map(printable, predictions.notes)), quiet)
    text = format_predictions(predictions, loaded, kind, 2 if top is None else top)
    if out is None:
        echo(text, nl=False)
    else:
        write_predictions(Path(out), text)
        echo(f"{count_of(len(predictions), 'prediction')} written to {out}")
    for message in predictions.unreadable:
        echo(f"chalknet: {printable(message)}", err=True)
    return 1 if predictions.unreadable else 0


def _kind(as_csv: bool, as_json: bool, out: str | None) -> str:
    """Return the format of the predictions: by the flags, else by the file name, else a table."""
    if as_csv and as_json:
        raise ConfigError("--csv and --json are two formats of the predictions. Give only one of them.")
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
