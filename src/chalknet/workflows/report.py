"""Write the report of a study or a run."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

from chalknet.artifacts.atomic import refuse_link
from chalknet.artifacts.model_file import load_model
from chalknet.artifacts.run_folder import MODEL_FILE, SUMMARY_FILE, read_run, unfinished_hint
from chalknet.config import CUSTOM_SPLIT, DataConfig, Recipe
from chalknet.data.audit import audit
from chalknet.data.folds import member_splits
from chalknet.data.open_data import open_data
from chalknet.data.readers.table import column_summaries
from chalknet.data.splits import split_by_recipe
from chalknet.errors import ChalknetError, StoreError
from chalknet.machine.facts import machine_facts
from chalknet.reporting.documents import report_document, with_title_page
from chalknet.reporting.files import WrittenDocument, flags_of_title, refuse_foreign, repeat_folder, write_document
from chalknet.reporting.markup import escape
from chalknet.reporting.report_data import ReportData, collect_report_data
from chalknet.studies.results_reader import read_results
from chalknet.studies.search_space import make_configuration, study_splits
from chalknet.studies.spec import StudySpec
from chalknet.studies.store import STORE_FILE, study_hint
from chalknet.studies.study_observer import StudyObserver
from chalknet.version import __version__
from chalknet.workflows.run_results import ensemble_result, results_of_run, spec_of_run

STEM = "report"
SPLITS_NOT_STORED = "The run's splits were given as index arrays, which its folder does not hold."


class Report(WrittenDocument):
    """A finished report of a study or a run."""


def report(
    folder: str | Path,
    *,
    out: str | Path | None = None,
    data: str | Path | None = None,
    title: str | None = None,
    author: str | None = None,
    date: str | None = None,
    overwrite: bool = False,
) -> Report:
    """Write a document about a study or a run, finished or not: HTML, PDF, tables and figures.

    Args:
        folder: the folder of a study or a run.
        out: folder for report.html, report.pdf, tables/ and figures/; by default the subfolder report.
        data: where the samples are now, if they have moved. They are used for pictures only, and their
            digest is checked. If they are missing, the report says so.
        title: title of the document, by default one that describes its content.
        author: names below the title.
        date: free text beside the author.
        overwrite: whether a report.html or report.pdf that chalknet did not write may be replaced. Its
            own are always replaced.

    Returns:
        The `Report`: its folder, the results and the document.

    Raises:
        StoreError: the folder holds neither a study nor a run, or is damaged.
        ModelFileError: the model file of a run is damaged.
        OutputError: out cannot be written, or has a file that chalknet did not write.
    """
    place = Path(folder)
    target = place / "report" if out is None else Path(out)
    if out is None:
        refuse_link(target)
    if not any((place / name).is_file() for name in (SUMMARY_FILE, STORE_FILE)):
        hint = unfinished_hint(place) or study_hint(place)
        raise StoreError(f"{place}: holds neither a finished run ({SUMMARY_FILE}) nor a study ({STORE_FILE}).{hint}")
    refuse_foreign(target, STEM, overwrite)
    title_flags = flags_of_title(title, author, date)
    report_data = _collect_report_data(place, None if data is None else str(data), title_flags)
    document = with_title_page(report_document(report_data), title, author, date)
    write_document(document, target, STEM)
    return Report(target, report_data.results, document, STEM)


def _collect_report_data(folder: Path, source: str | None, title_flags: list[str]) -> ReportData:
    """Return everything that the report of a folder shows."""
    machine = {"chalknet": __version__, **machine_facts()}
    if (folder / SUMMARY_FILE).is_file():
        run = read_run(folder)
        spec = spec_of_run(run)
        found: dict[str, Any] = {"data": None, "splits": None, "data_missing_reason": SPLITS_NOT_STORED}
        if run.recipe.split.split != CUSTOM_SPLIT:
            found = _samples(spec, run.data, source, run.recipe)
        whole = found.pop("whole", None)
        results = results_of_run(run, found["data"], whole)
        more: dict[str, Any] = {
            "recipe": run.recipe,
            "is_run": True,
            "temperature": run.summary.temperature,
            "ensemble": ensemble_result(run, results, found["data"], whole),
            "network": load_model(folder / MODEL_FILE),
            "commands": _commands(
                ["train", "--config", str(folder / "config.toml"), "--out", str(repeat_folder(folder))],
                ["report", str(repeat_folder(folder)), *title_flags],
            ),
        }
        return collect_report_data(results, machine, name=folder.resolve().name, **found, **more)
    state = StudyObserver(folder).state()
    results = read_results(folder) if state is None else state.results
    specification, repeated = str(folder / "study.toml"), str(repeat_folder(folder))
    return collect_report_data(
        results,
        machine,
        state=state,
        commands=_commands(["study", "--config", specification, "--out", repeated], ["report", repeated, *title_flags]),
        command_with_seeds=lambda n: _commands(
            ["study", "--config", specification, "--seeds", str(n), "--out", str(folder)],
            ["report", str(folder), *title_flags],
        ),
        **_samples(results.spec, results.spec.data, source),
    )


def _commands(*lines: list[str]) -> str:
    """Return chalknet commands as they are typed, one per line."""
    return "\n".join(shlex.join(["chalknet", *words]) for words in lines)


def _samples(spec: StudySpec, config: DataConfig, source: str | None, recipe: Recipe | None = None) -> dict[str, Any]:
    """Read the samples from their source and check their digest, or return why this failed.

    Args:
        spec: the study, or the run as one.
        config: how the samples were read.
        source: where they are now, or None.
        recipe: the recipe of a run, or None. The entry "whole" then has its splits, and "splits" those
            of its first network, which differ with folds.
    """
    asked = config if source is None else replace(config, source=source)
    try:
        data = open_data(asked)
        if recipe is None:
            splits, more = study_splits(data, make_configuration(spec, {}), spec.first_seed), {}
        else:
            more = {"whole": split_by_recipe(recipe, data)}
            splits = member_splits(data, more["whole"], recipe)[0]
        found = audit(data, splits)
        columns = column_summaries(data)
    except (ChalknetError, OSError) as error:
        gone = f"The samples could not be read again: {escape(str(error))}"
        return {"data": None, "splits": None, "data_missing_reason": gone}
    return {"data": data, "splits": splits, "audit": found, "columns": columns, **more}
