"""`chalknet.compare` and `chalknet compare`: the statistics of a study for models of any library."""

from __future__ import annotations

import json

import numpy as np
import pytest
from study_factory import make_report_data

import chalknet
from chalknet.cli.main import main
from chalknet.errors import ConfigError, DataError, OutputError, ShapeError
from chalknet.studies.compare import compare_configurations
from chalknet.studies.findings import comparison_findings


def predictions(rate, n_seeds, seed, n_samples=400):
    """Return labels of three classes, and predictions that are right this often."""
    labels = np.random.default_rng(0).integers(0, 3, n_samples)
    is_right = np.random.default_rng(seed).random((n_seeds, n_samples)) < rate
    return labels, np.where(is_right, labels, (labels + 1) % 3)


@pytest.fixture
def models():
    return {name: predictions(rate, n, n)[1] for name, rate, n in (("a", 0.7, 3), ("b", 0.9, 4), ("c", 0.88, 1))}


LABELS = predictions(1.0, 1, 0)[0]


def write(path, predicted, order=None):
    order = np.arange(len(LABELS)) if order is None else order
    heads = ["sample", "label", *(f"seed {s}" for s in range(len(predicted)))]
    lines = [[f"s{m}", LABELS[m], *predicted[:, m]] for m in order]
    path.write_text("\n".join(",".join(map(str, line)) for line in [heads, *lines]) + "\n")


def test_a_study_and_compare_say_the_same():
    data = make_report_data("hidden=5,9,13", seeds=3)
    found = chalknet.compare(data.results.correct("valid"))
    names = {f"hidden={n}": f"{n} hidden units" for n in (5, 9, 13)}
    for mine, of_study in zip(found.comparison.configurations, data.comparison.configurations, strict=True):
        assert (names[mine.label], mine.low, mine.high) == (of_study.label, of_study.low, of_study.high)
    for mine, of_study in zip(found.comparison.pairs, data.comparison.pairs, strict=True):
        assert (mine.holm_p, mine.difference.low) == (of_study.holm_p, of_study.difference.low)
    kinds = [one.kind for one in found.findings]
    assert kinds == [one.kind for one in comparison_findings(data.comparison)]


def test_predictions_with_labels_are_compared(models):
    correct = {name: predicted == LABELS for name, predicted in models.items()}
    found = chalknet.compare(models, labels=LABELS)
    assert found.json() == chalknet.compare(correct).json()
    assert repr(found.comparison) == repr(compare_configurations(correct))
    assert "higher with c and b than with a" in str(found)


def test_classes_can_be_texts():
    found = chalknet.compare({"a": ["cat", "dog"], "b": ["cat", "cat"]}, labels=["cat", "dog"])
    assert [one.accuracy for one in found.comparison.configurations] == [1.0, 0.5]


def test_sentences_speak_of_models_and_samples(models):
    text = chalknet.compare({"b": models["b"], "c": models["c"]}, labels=LABELS).text()
    assert "No significant difference in accuracy was found between c and b." in text
    assert not any(word in text for word in ("configuration", "image"))


def test_one_run_each_is_compared_by_mcnemar(models, tmp_path):
    found = chalknet.compare({"a": models["a"][0], "b": models["b"][0]}, labels=LABELS, out=tmp_path)
    page = found.html.read_text(encoding="utf-8")
    assert "McNemar" in page
    assert "the interval covers the samples but not the seeds" in found.findings[0].sentence


def test_paired_seeds_need_equal_numbers(models):
    with pytest.raises(ShapeError, match="paired seeds need the same number"):
        chalknet.compare(models, labels=LABELS, paired_seeds=True)
    two = {"a": models["a"], "b": models["b"][:3]}
    paired = chalknet.compare(two, labels=LABELS, paired_seeds=True)
    assert paired.comparison != chalknet.compare(two, labels=LABELS).comparison


def test_the_report_is_written_with_its_data(models, tmp_path):
    found = chalknet.compare(models, labels=LABELS, out=tmp_path, title="Three <models>")
    page = found.html.read_text(encoding="utf-8")
    assert "Three &lt;models&gt;" in page
    assert all(one.sentence.split(" (")[0][:40] in page for one in found.findings)
    assert found.pdf.read_bytes().startswith(b"%PDF")
    assert (tmp_path / "tables" / "pairs.csv").read_text().count("\n") == 4
    chalknet.compare(models, labels=LABELS, out=tmp_path)  # its own report is replaced


def test_a_file_of_someone_else_is_kept(models, tmp_path):
    (tmp_path / "comparison.html").write_text("mine")
    with pytest.raises(OutputError, match="chalknet did not write it"):
        chalknet.compare(models, labels=LABELS, out=tmp_path)


def test_files_and_arrays_say_the_same(models, tmp_path):
    for at, (name, predicted) in enumerate(models.items()):
        write(tmp_path / f"{name}.csv", predicted, np.random.default_rng(at).permutation(len(LABELS)))
    found = chalknet.compare([tmp_path / f"{name}.csv" for name in models])
    expected = chalknet.compare(models, labels=LABELS)
    assert found.text() == expected.text()
    assert found.notes == ()


def test_rows_without_names_get_a_note(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.csv").write_text("run\n1\n0\n1\n")
    assert "matched by their position" in chalknet.compare([tmp_path / "a.csv", tmp_path / "b.csv"]).notes[0]


def test_the_command_prints_what_python_returns(models, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.csv", models["a"])
    write(tmp_path / "b.csv", models["b"])
    assert main(["compare", "a.csv", "other=b.csv", "--out", "out", "--author", "Ada"]) == 0
    printed = capsys.readouterr()
    found = chalknet.compare({"a": "a.csv", "other": "b.csv"})
    assert printed.out.startswith(found.text())
    assert printed.err == ""
    assert (
        "chalknet compare a=a.csv other=b.csv --out=out --author=Ada"
        in (tmp_path / "out" / "comparison.html").read_text()
    )
    assert main(["compare", "a.csv", "b.csv", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["models"][0]["label"] == "b"
    assert content["pairs"][0]["difference"]["difference"] == found.comparison.pairs[0].difference.difference


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"models": {}}, ShapeError, "at least one model"),
        ({"models": {"a": [1, 0], "b": [1, 0, 1]}}, ShapeError, "every model must be scored on the same samples"),
        ({"models": {"a": [1, 2]}}, DataError, "model 'a' must be bool or numbers"),
        ({"models": {"a": [1, 2, 3]}, "labels": [1, 2]}, ShapeError, r"model 'a': with labels.*\(3,\) for \(2,\)"),
        ({"models": ["x/a.csv", "y/a.csv"]}, ConfigError, "two files are named 'a'"),
        ({"models": "a.csv"}, ConfigError, "a mapping of names to arrays, or a list of files"),
        ({"models": ["a.csv"], "labels": [1, 2]}, ConfigError, "labels belong to arrays"),
    ],
)
def test_what_is_no_comparison_is_refused(arguments, error, said):
    with pytest.raises(error, match=said):
        chalknet.compare(**arguments)
