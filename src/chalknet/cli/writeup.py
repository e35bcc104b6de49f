"""`chalknet writeup`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cloup

from chalknet.cli.command import command
from chalknet.cli.kernels import choose_kernels
from chalknet.cli.options import (
    GLYPHS_DEFAULT,
    MACHINE_FIELDS,
    data_option,
    data_options,
    document_options,
    out_option,
    overwrite_option,
    parse_settings,
    parse_source,
    print_notes,
    quiet_option,
    recipe_options,
    section_fields,
)
from chalknet.cli.output import echo

STOPPED = 130  # The exit code after Ctrl-C.
# Defaults of part 2, beside those of part 1.
PART2_DEFAULTS = {
    "learning_rate": "in part 2: 0.0001",
    "epochs": "with --quick: 80; in part 2: 50, with --quick: 6",
    "batch_size": "in part 2: 32",
}


@command()
@cloup.option_group(
    "Start here",
    data_option(f"Images of letters.  {GLYPHS_DEFAULT}"),
    cloup.option(
        "--part",
        type=int,
        default=1,
        metavar="1|2",
        help="Question: 1 for the width of a hidden layer, 2 for L2 and dropout in a convolutional network.  "
        "[default: 1]",
    ),
    cloup.option(
        "--quick",
        is_flag=True,
        help="Write a short form with fewer configurations and epochs, and less data in part 2.",
    ),
    out_option(
        "Folder for the documents. An unfinished write-up in it is continued.  "
        "[default: runs/writeup or runs/part2, with -NAME for --data and -quick for --quick]"
    ),
)
@cloup.option_group("Data", recipe_options(*section_fields("split"), recipes=["writeup"]), data_options)
@cloup.option_group(
    "Network",
    cloup.option(
        "--hidden",
        metavar="N,N,...",
        help="Widths to compare, in part 1.  [default: 100,500,1000,2000; with --quick: 100,200]",
    ),
)
@cloup.option_group(
    "Optimizer",
    recipe_options(
        "learning_rate",
        "momentum",
        recipes=["writeup"],
        defaults=PART2_DEFAULTS,
        texts={"momentum": "Fraction of the previous step that is kept, in part 1."},
    ),
)
@cloup.option_group(
    "Training",
    recipe_options("epochs", "batch_size", recipes=["writeup"], defaults=PART2_DEFAULTS),
    cloup.option(
        "--seeds",
        type=int,
        metavar="N",
        help="Number of training runs per configuration.  [default: 3; with --quick in part 2: 2]",
    ),
)
@cloup.option_group(
    "Output",
    document_options,
    overwrite_option("Replace a writeup.html or writeup.pdf that chalknet did not write."),
    quiet_option("Show no progress, only the paths of the documents."),
)
@cloup.option_group(
    "Machines",
    recipe_options(*MACHINE_FIELDS[:-1], recipes=["writeup"]),
    cloup.option("--jobs", type=int, metavar="N", help="Number of processes.  [default: one per core, or 1 on a GPU]"),
)
def writeup(
    data: str | None,
    part: int,
    hidden: str | None,
    seeds: int | None,
    quick: bool,
    jobs: int | None,
    out: str | None,
    title: str | None,
    author: str | None,
    date: str | None,
    overwrite: bool,
    quiet: bool,
    **flags: Any,
) -> int:
    """Reproduce the course write-up.

    This trains networks with several seeds and writes writeup.html and writeup.pdf. Part 1 compares
    widths of a network with one hidden layer. Part 2 compares a convolutional network with an L2
    penalty and with dropout, and takes about 1.5 hours on two cores, or 2 minutes with --quick.
    Every table is also a file in tables/, and the data of every figure a file in figures/. If it is
    interrupted, run the same command again to continue.

    Examples:
        chalknet writeup
        chalknet writeup --quick
        chalknet writeup --part 2 --quick
        chalknet writeup --data notMNIST.npz --out runs/notmnist
    """
    from chalknet.workflows.resolve_writeup import resolve_writeup, writeup_folder

    source = parse_source(data, flags)
    settings = parse_settings(flags) | {"hidden": hidden}
    spec = resolve_writeup(part=part, quick=quick, seeds=seeds, settings=settings, data=source)
    folder = Path(out) if out else writeup_folder(source.source, quick, part)
    kernels = choose_kernels()  # This must happen before NumPy is imported.

    from chalknet.cli.writeup_progress import WriteupBar
    from chalknet.data.open_data import open_data
    from chalknet.workflows.writeup import writeup as run_writeup

    samples = open_data(spec.data)
    print_notes((*kernels, *samples.notes), quiet)
    try:
        with WriteupBar(quiet=quiet) as progress:
            result = run_writeup(
                samples,
                out=folder,
                part=part,
                seeds=seeds,
                quick=quick,
                jobs=jobs,
                title=title,
                author=author,
                date=date,
                overwrite=overwrite,
                on_progress=progress,
                **settings,
            )
    except KeyboardInterrupt:
        echo(
            f"chalknet: stopped. Finished runs are kept. To resume, run the same command again (--out {folder}).",
            err=True,
        )
        return STOPPED
    echo(f"written to {result.html} and {result.pdf}")
    if result.results.failed:
        shown = f"{len(result.results.failed)} of {len(result.results.runs)} runs failed"
        echo(f"chalknet: {shown}. The document lists them.", err=True)
        return 1
    return 0
