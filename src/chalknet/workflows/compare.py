"""Compare models of any library by which samples they classify correctly."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chalknet.data.dataset import check_labels_present
from chalknet.errors import ConfigError, ShapeError
from chalknet.formatting import json_ready
from chalknet.notebook_view import table, text, view
from chalknet.reporting.document import Document
from chalknet.reporting.documents import with_title_page
from chalknet.reporting.files import flags_of_title, refuse_foreign, write_document
from chalknet.reporting.model_comparison import comparison_document, model_differences_table, model_table
from chalknet.studies.compare import Comparison, compare_configurations
from chalknet.studies.correctness import FloatArray, checked_configurations
from chalknet.studies.correctness_files import CorrectnessFile, read_correctness_files
from chalknet.studies.findings import Finding, comparison_findings

FORMAT = 1  # format version of the JSON
STEM = "comparison"


@dataclass(frozen=True, eq=False)
class ModelComparison:
    """A comparison of models.

    Attributes:
        comparison: the accuracy of each model and the difference of each pair, with intervals.
        findings: what it shows, as sentences with their numbers.
        notes: remarks on the samples.
        document: the report as plain data.
        folder: where the report was written, or None.
    """

    comparison: Comparison
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    document: Document
    folder: Path | None

    def __repr__(self) -> str:
        """Return the models with their accuracies."""
        models = ", ".join(f"{one.label} {100 * one.accuracy:.1f} %" for one in self.comparison.configurations)
        return f"<ModelComparison {models}>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the tables and the findings."""
        tables = [model_table(self.comparison)]
        tables += [model_differences_table(self.comparison)] if self.comparison.pairs else []
        return view(
            tables[0].title,
            *(table(one.columns, one.rows, "pair") for one in tables),
            *(text(one.sentence) for one in self.findings),
            next_step="comparison.json()",
        )

    def __str__(self) -> str:
        """Return the tables and the findings as text."""
        return self.text()

    @property
    def html(self) -> Path | None:
        """Path of the report as HTML, or None if it was not written."""
        return None if self.folder is None else self.folder / f"{STEM}.html"

    @property
    def pdf(self) -> Path | None:
        """Path of the report as PDF, or None if it was not written."""
        return None if self.folder is None else self.folder / f"{STEM}.pdf"

    def text(self, width: int | None = None) -> str:
        """Return the tables and the findings as text.

        Args:
            width: columns of the terminal; None for tables of any width.
        """
        tables = [model_table(self.comparison)]
        if self.comparison.pairs:
            tables.append(model_differences_table(self.comparison))
        sentences = "\n".join(one.sentence for one in self.findings)
        return "\n\n".join(filter(None, [*(table.text(width) for table in tables), sentences]))

    def json(self) -> str:
        """Return accuracies, differences and findings as JSON."""
        comparison = asdict(self.comparison)
        content = {"format": FORMAT, "models": comparison.pop("configurations"), **comparison}
        content["findings"] = [asdict(one) for one in self.findings]
        return json.dumps(json_ready(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def compare(
    models: Mapping[str, Any] | Sequence[str | Path],
    *,
    labels: Any = None,
    paired_seeds: bool = False,
    id_column: str | None = None,
    label_column: str | None = None,
    out: str | Path | None = None,
    title: str | None = None,
    author: str | None = None,
    date: str | None = None,
    overwrite: bool = False,
) -> ModelComparison:
    """Compare models of any library, with the intervals, tests and sentences of a study.

    Example:
        compare({"forest": forest_predictions, "network": network_predictions}, labels=y_test)

    Args:
        models: name of a model -> (S, M) array, S seeds by M samples, or (M,) for one run. True is a correct
            prediction; numbers in [0, 1] are scores; with labels, the arrays are predicted classes. All models need
            the same samples in the same order, but not the same number of seeds. Instead of an array, the path of a
            CSV file (docs/guide/compare.md); or a sequence of paths, whose models are named after the files.
        labels: (M,) true classes, if the arrays are predicted classes.
        paired_seeds: whether seed s of every model shares something with seed s of the others that affects the
            accuracy, such as the training samples of a fold.
        id_column: name of the column that names the samples in CSV files, by default "sample", "id" or "index".
        label_column: name of the column of true classes in CSV files, by default "label", "class", "target" or "y".
        out: folder for comparison.html, comparison.pdf, tables/ and figures/; None writes nothing.
        title: title of the report.
        author: names below the title.
        date: free text beside the author.
        overwrite: whether a comparison.html or comparison.pdf that chalknet did not write may be replaced.

    Returns:
        The `ModelComparison`; print it for its tables and findings.

    Raises:
        ShapeError: an array is not (S, M), the numbers of samples differ, or paired seeds differ in number.
        DataError: a value is not in [0, 1], or a file cannot be read or has other samples.
        ConfigError: two files have the same name, or labels are given for files.
        OutputError: out cannot be written, or has a file that chalknet did not write.

    Source:
        docs/statistics.md.
    """
    target = None if out is None else Path(out)
    if target is not None:
        refuse_foreign(target, STEM, overwrite)
    columns = {"id_column": id_column, "label_column": label_column}
    values, files = _read_models(models, labels, columns)
    comparison = compare_configurations(values, paired_seeds=paired_seeds)
    findings = comparison_findings(comparison, split="", noun="model")
    flags = columns | {"out": None if target is None else str(target)}
    command = (
        _command(files, flags, paired_seeds, flags_of_title(title, author, date)) if len(files) == len(values) else ""
    )
    document = comparison_document(
        comparison,
        findings,
        n_single=sum(len(one) == 1 and bool(np.isin(one, (0.0, 1.0)).all()) for one in values.values()),
        remarks=("Seed s of each model is paired with seed s of the others.",) if paired_seeds else (),
        command=command,
    )
    document = with_title_page(document, title, author, date)
    if target is not None:
        write_document(document, target, STEM)
    return ModelComparison(comparison, findings, _notes(list(files.values())), document, target)


def _command(
    files: Mapping[str, CorrectnessFile], given: Mapping[str, str | None], paired_seeds: bool, title_flags: list[str]
) -> str:
    """Return the line that compares files again; arrays of Python cannot be named on a command line."""
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in given.items() if value is not None]
    words = [f"{name}={file.source}" for name, file in files.items()]
    return shlex.join(["chalknet", "compare", *words, *flags, *["--paired-seeds"] * paired_seeds, *title_flags])


def _read_models(
    models: Mapping[str, Any] | Sequence[str | Path], labels: Any, columns: Mapping[str, str | None]
) -> tuple[dict[str, FloatArray], dict[str, CorrectnessFile]]:
    """Return the (S, M) arrays of all models by name, and the files of those that are in one."""
    named = dict(models) if isinstance(models, Mapping) else _named_paths(models)
    paths = {name: value for name, value in named.items() if isinstance(value, str | Path)}
    if paths and labels is not None:
        raise ConfigError("labels belong to arrays. In CSV files, the true classes are a column (label_column).")
    files = dict(zip(paths, read_correctness_files(list(paths.values()), **columns), strict=True)) if paths else {}
    correct = {name: files[name].correct if name in files else value for name, value in named.items()}
    if labels is not None:
        check_labels_present(labels, "labels")
        correct = {name: _is_correct(value, labels, name) for name, value in correct.items()}
    return checked_configurations(correct, "model"), files


def _named_paths(paths: Sequence[str | Path]) -> dict[str, str | Path]:
    """Return files by the names of their models, which are the names of the files without ending."""
    if isinstance(paths, str | Path):
        raise ConfigError(f"models must be a mapping of names to arrays, or a list of files, got {str(paths)!r}.")
    names = [Path(path).stem for path in paths]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(
            f"two files are named {twice!r}. Name the models: NAME=FILE on the command line, or in Python a mapping of "
            "names to files."
        )
    return dict(zip(names, paths, strict=True))


def _is_correct(predictions: Any, labels: Any, name: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return which predictions equal the labels.

    Raises:
        ShapeError: predictions are not (S, M) or (M,) for M labels.
    """
    found, true = np.asarray(predictions), np.asarray(labels)
    if true.ndim != 1 or found.ndim not in (1, 2) or found.shape[-1] != len(true):
        raise ShapeError(
            f"model {name!r}: with labels, predictions must be (S, M) or (M,) for (M,) labels, got {found.shape} for "
            f"{true.shape}."
        )
    return np.asarray(found == true)


def _notes(files: Sequence[CorrectnessFile]) -> tuple[str, ...]:
    """Return a note if nothing shows that the rows of files are the same samples."""
    if len(files) < 2 or files[0].samples or all(file.labels for file in files):
        return ()
    return (
        "Rows are matched by their position, because the files do not name their samples. A column 'sample' with a "
        "name for each makes sure that they are the same.",
    )
