"""The course write-up: for each of its two parts a study, and the documents about it."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from chalknet.config import SECTION_OF_FIELD
from chalknet.data.audit import audit
from chalknet.data.dataset import Dataset
from chalknet.data.load import DataSource, load_data
from chalknet.errors import ConfigError
from chalknet.machine.facts import machine_facts
from chalknet.reporting.documents import part2_document, with_title_page, writeup_document
from chalknet.reporting.files import WrittenDocument, flags_of_title, refuse_foreign, repeat_folder, write_document
from chalknet.reporting.report_data import collect_report_data
from chalknet.reporting.sections.learning import learning_configuration
from chalknet.studies.configurations import value_text
from chalknet.studies.runner.scheduler import StudyProgress
from chalknet.studies.search_space import make_configuration, study_splits
from chalknet.studies.spec import StudySpec, value_list
from chalknet.studies.store import WRITEUP_STUDY
from chalknet.version import __version__
from chalknet.workflows.formula_checks import check_formulas
from chalknet.workflows.gradcheck import check_recipe
from chalknet.workflows.part2_checks import check_part2_formulas
from chalknet.workflows.part2_scores import double_softmax_scores
from chalknet.workflows.resolve_writeup import NO_REGULARIZATION, resolve_writeup
from chalknet.workflows.study import study

STEM = "writeup"
# Recipe fields that a write-up's command may change, with their flags.
FLAGS = {
    "split": "split",
    "train_size": "train",
    "valid_size": "valid",
    "split_seed": "split-seed",
    "learning_rate": "learning-rate",
    "momentum": "momentum",
    "epochs": "epochs",
    "batch_size": "batch-size",
    "engine": "engine",
    "device": "device",
    "precision": "precision",
    "dtype": "dtype",
}


@dataclass(frozen=True)
class WriteupProgress:
    """The current step, and the progress of the study while it runs.

    Attributes:
        step: "data", "study" or "document".
        study: the progress of the study, or None.
    """

    step: str
    study: StudyProgress | None = None


ProgressCallback = Callable[[WriteupProgress], None]


class Writeup(WrittenDocument):
    """A finished write-up."""


def writeup(
    data: Dataset | DataSource = "glyphs",
    *,
    out: str | Path,
    part: int = 1,
    seeds: int | None = None,
    quick: bool = False,
    jobs: int | None = None,
    title: str | None = None,
    author: str | None = None,
    date: str | None = None,
    overwrite: bool = False,
    on_progress: ProgressCallback | None = None,
    **settings: Any,
) -> Writeup:
    """Write the course write-up: a question about a network, answered with its certainty.

    Part 1 asks how many units a hidden layer needs, and when to stop. Part 2 asks what an L2 penalty and
    dropout change in a convolutional network.

    Args:
        data: images, as a `Dataset` or what `chalknet.load_data` takes.
        out: folder for writeup.html, writeup.pdf, tables/, figures/, and the study in study/. An
            interrupted write-up resumes.
        part: 1 or 2.
        seeds: training runs per configuration, 3 if not given, or 2 for the quick form of part 2.
        quick: whether to write a short form, marked as such: fewer configurations and epochs, in part 2
            also fewer seeds and training samples.
        jobs: number of processes, by default one per core.
        title: title of the document, by default one that describes its content.
        author: names below the title.
        date: free text beside the author.
        overwrite: whether a writeup.html or writeup.pdf that chalknet did not write may be replaced.
            Its own are always replaced.
        on_progress: called with a `WriteupProgress` whenever something has changed.
        **settings: recipe fields to change, such as train_size=4800; in part 1 hidden=[[100], [500]] for
            other widths.

    Returns:
        The `Writeup`: its folder, the results of its study and its document.

    Raises:
        ConfigError: samples that are not images, or an invalid setting; nothing is written.
        DataError: data that cannot be read or split, or differs from the data of the study in out.
        OutputError: out cannot be written; finished runs are kept. Or it holds a file that chalknet did
            not write; nothing is trained then.
        StoreError: out/study holds no study.
    """
    spec, folder = resolve_writeup(part=part, quick=quick, seeds=seeds, settings=settings), Path(out)
    data = data if isinstance(data, Dataset) else load_data(data)
    if not data.is_images:
        raise ConfigError(
            f"{data.source}: the write-up needs images, but these samples are rows. Use chalknet study and "
            "chalknet report."
        )
    refuse_foreign(folder, STEM, overwrite)
    notify: ProgressCallback = on_progress or (lambda _: None)
    notify(WriteupProgress("data"))
    splits = study_splits(data, make_configuration(spec, {}), spec.first_seed)
    found = audit(data, splits)
    results = study(
        data,
        spec,
        out=folder / WRITEUP_STUDY,
        jobs=jobs,
        on_progress=lambda progress: notify(WriteupProgress("study", progress)),
    )
    notify(WriteupProgress("document"))
    flags = [*(["--part", str(part)] if part != 1 else []), *(["--quick"] if quick else [])]
    flags += flags_of_title(title, author, date)
    report_data = collect_report_data(
        results,
        {"chalknet": __version__, **machine_facts()},
        data=data,
        splits=splits,
        audit=found,
        is_quick=quick,
        commands=_command(spec, data, repeat_folder(folder), flags, spec.seeds),
        command_with_seeds=lambda n: _command(spec, data, folder, flags, n),
    )
    # Check the derivatives of the network whose training the document shows in full, with its first seed. If
    # no training is finished, check those of the first configuration.
    runs = learning_configuration(report_data)
    recipe = (
        results.configurations[0].recipe_of(results.seeds[0])
        if runs is None
        else runs.configuration.recipe_of(runs.seeds[0])
    )
    checks = check_recipe(data, recipe, min(20, len(data)))
    if part == 1:
        document = writeup_document(replace(report_data, checks=checks, formula_errors=check_formulas(data, recipe)))
    else:
        errors, twice = check_part2_formulas(data, recipe), double_softmax_scores(results, data, splits)
        document = part2_document(
            replace(report_data, checks=checks, formula_errors=errors, double_softmax=twice), base=NO_REGULARIZATION
        )
    document = with_title_page(document, title, author, date)
    write_document(document, folder, STEM)
    return Writeup(folder, results, document, STEM)


def _command(spec: StudySpec, data: Dataset, folder: Path, flags: list[str], seeds: int) -> str:
    """Return the command of this write-up with so many seeds into a folder, without settings that are defaults."""
    part = 1 if not spec.configurations else 2
    usual = resolve_writeup(part=part, quick="--quick" in flags)
    words = ["chalknet", "writeup", "--data", data.source, "--seeds", str(seeds), *flags]
    if spec.vary != usual.vary:
        words += ["--hidden", ",".join(value_text(value) for value in value_list(*spec.vary[0], spec.recipe))]
    for name, flag in FLAGS.items():
        section = SECTION_OF_FIELD[name]
        value = getattr(getattr(spec.recipe, section), name)
        if value != getattr(getattr(usual.recipe, section), name):
            words += [f"--{flag}", value_text(value)]
    return shlex.join([*words, "--out", str(folder)])
