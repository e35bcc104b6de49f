"""The course write-up, made again: data, gradient check, and the run with its curves and statistics."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import chalknet
from chalknet.artifacts.atomic import new_folder, write_files
from chalknet.artifacts.run_folder import refuse_finished
from chalknet.config import Recipe
from chalknet.data.dataset import Dataset
from chalknet.data.splits import Splits
from chalknet.errors import ConfigError
from chalknet.machine.facts import machine_facts
from chalknet.network.gradcheck import GradientCheck
from chalknet.report.tables import Table, data_table, gradient_table, statistics_table
from chalknet.training.trainer import Observer, Run
from chalknet.workflows.gradcheck import check_recipe
from chalknet.workflows.train import train_run

SUMMARY_FILE = "summary.txt"
SHEET_SEED = 521


@dataclass(frozen=True, eq=False)
class Writeup:
    """Sections 0 to 1.3: the tables that the terminal and the files share, and the run."""

    data: Table
    checks: tuple[GradientCheck, ...]
    run: Run
    run_name: str
    folder: Path

    def text(self) -> str:
        """The summary that the terminal shows and summary.txt holds."""
        facts = machine_facts()
        setup = (
            f"0    Set-up: chalknet {chalknet.__version__}, Python {facts['python']}, NumPy {facts['numpy']} with "
            f"{facts['blas'] or 'an unknown BLAS'} {facts['blas_kernels']} on {facts['blas_threads']} threads, "
            f"{facts['processor']}, {facts['cores']} cores"
        )
        sections = [
            setup,
            f"0.1  {self.data.text()}\nsample sheet: figures/samples.png",
            f"1.2  {gradient_table(self.checks).text()}",
            f"1.3  {self.statistics().text()}\ncurves: {self.run_name}/curves.png",
        ]
        return "\n\n".join(sections) + "\n"

    def statistics(self) -> Table:
        return statistics_table(self.run)


def write_writeup(
    data: Dataset,
    splits: Splits,
    recipe: Recipe,
    out: Path,
    *,
    numbered: bool = False,
    overwrite: bool = False,
    observe: Observer | None = None,
) -> Writeup:
    """Makes the write-up's sections 0 to 1.3 as a folder of files.

    tables/data.csv, tables/gradient_check.csv, tables/statistics.csv, figures/samples.png and .svg, the run folder
    hidden-N/, and summary.txt, written last. With numbered, out is only the first of the names that are tried.

    Raises:
        ConfigError, DataError, DivergenceError, OutputError: as `chalknet.train`; an empty folder is removed.
    """
    if not data.is_images:
        raise ConfigError(f"{data.source}: the write-up is about images, and these are rows. Use chalknet train.")
    if not numbered:
        refuse_finished(out, overwrite, SUMMARY_FILE)
    run_name = "hidden-" + "x".join(str(width) for width in recipe.network.hidden)
    with new_folder(out, numbered=numbered) as folder:
        table = data_table(data, splits)
        checks = check_recipe(data, recipe)
        run = train_run(data, splits, recipe, out=folder / run_name, overwrite=overwrite, observe=observe)
        writeup = Writeup(table, checks, run, run_name, folder)
        _write(writeup, data, splits)
    return writeup


def _write(writeup: Writeup, data: Dataset, splits: Splits) -> None:
    from chalknet.report.drawings.images import show_images
    from chalknet.report.drawings.picture import drawing_bytes

    tables = {
        "data.csv": writeup.data,
        "gradient_check.csv": gradient_table(writeup.checks),
        "statistics.csv": writeup.statistics(),
    }
    sheet = show_images(data, indices=splits.train, seed=SHEET_SEED)
    with new_folder(writeup.folder / "tables") as folder:
        write_files(folder, {name: table.csv().encode() for name, table in tables.items()})
    with new_folder(writeup.folder / "figures") as folder:
        write_files(folder, {f"samples.{kind}": drawing_bytes(sheet, kind) for kind in ("png", "svg")})
    write_files(writeup.folder, {SUMMARY_FILE: writeup.text().encode()})
