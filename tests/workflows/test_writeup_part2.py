"""The second part of the write-up: its study, its sections, its numbers, and the whole document."""

import html
import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from conftest import made_images
from reporting.study_factory import MACHINE, make_results, texts

from chalknet.artifacts.dataset_files import npz_files
from chalknet.artifacts.model_file import load_model
from chalknet.errors import ConfigError
from chalknet.formatting import DASH
from chalknet.network.architecture import architecture_for
from chalknet.network.metrics import double_softmax_floor
from chalknet.reporting.document import Code, TableBlock
from chalknet.reporting.documents import part2_document
from chalknet.reporting.report_data import DoubleSoftmaxScores, collect_report_data
from chalknet.reporting.sections.conv_network import IN_CODE, layers_table
from chalknet.reporting.sections.data import data_section
from chalknet.reporting.sections.functions import CODE_CAPTION
from chalknet.reporting.sections.public_solution import REPORTED, reported_table, softmax_twice_table
from chalknet.reporting.sections.regularization import (
    effect_sentences,
    effects_of,
    effects_table,
    gaps_after_training,
)
from chalknet.reporting.sections.setup import seeds_text
from chalknet.reporting.sections.stopping import stopping_sentences
from chalknet.reporting.study_tables import stopping_table
from chalknet.studies.intervals import Interval
from chalknet.studies.search_space import grid_configurations, study_splits
from chalknet.training.recipes import recipe
from chalknet.workflows.part2_checks import check_part2_formulas
from chalknet.workflows.part2_scores import double_softmax_scores
from chalknet.workflows.report import report
from chalknet.workflows.resolve_writeup import NO_REGULARIZATION, layers_with_l2, resolve_writeup, writeup_folder
from chalknet.workflows.writeup import writeup

SMALL = recipe("part2").with_settings(train_size=160, valid_size=40, epochs=30)


def made_data(quick=False, **changes):
    """Return the data of a document about results without training; shape (6, 5), four classes."""
    spec = resolve_writeup(part=2, quick=quick, settings={"train_size": 160, "valid_size": 40, "epochs": 30})
    results = make_results(recipe=SMALL, configurations=dict(spec.configurations), **changes)
    twice = {
        config.label: {"valid": DoubleSoftmaxScores(0.2, 0.9, 0.95), "test": DoubleSoftmaxScores(0.3, 0.95, 0.9)}
        for config in results.configurations
    }
    return collect_report_data(results, MACHINE, data_missing_reason="gone", double_softmax=twice, is_quick=quick)


@pytest.fixture(scope="module")
def data():
    return made_data()


def test_the_full_study_is_that_of_the_assignment():
    spec = resolve_writeup(part=2)
    configs = {config.label: config for config in grid_configurations(spec)}
    assert list(configs) == list(REPORTED)
    training, optimizer = spec.recipe.training, spec.recipe.optimizer
    assert (optimizer.optimizer, optimizer.learning_rate, optimizer.reduction) == ("adam", 1e-4, "mean")
    assert (training.batch_size, training.epochs, spec.seeds) == (32, 50, 3)
    assert (spec.recipe.split.train_size, spec.recipe.split.valid_size, spec.recipe.split.split_seed) == (
        15000,
        1000,
        521,
    )
    for name, config in configs.items():
        shape = architecture_for(config.recipe, (28, 28), 10)
        assert str(shape) == "28x28x1-conv32-pool2-784-10"
        rates = [layer.rate for layer in shape.layers if layer.type == "dropout"]
        strengths = {key: one.l2 for key, one in shape.parameters.items() if one.l2}
        kind, _, value = name.rpartition(" ")
        assert rates == ([pytest.approx(1 - float(value))] if kind == "keep probability" else [])
        assert strengths == ({"hidden1.weight": float(value)} if kind == "L2" else {})


def test_the_quick_study_has_fewer_of_everything():
    full, quick = resolve_writeup(part=2), resolve_writeup(part=2, quick=True)
    assert set(dict(quick.configurations)) < set(dict(full.configurations))
    assert quick.recipe.training.epochs < full.recipe.training.epochs
    assert quick.seeds < full.seeds
    assert {config.recipe.split.train_size for config in grid_configurations(quick)} == {3000}
    given = resolve_writeup(part=2, quick=True, seeds=5, settings={"epochs": 7, "train_size": 400})
    assert (given.seeds, given.recipe.training.epochs) == (5, 7)
    assert {config.recipe.split.train_size for config in grid_configurations(given)} == {400}
    assert writeup_folder("", True, 2).as_posix() == "runs/part2-quick"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"part": 3}, r"part must be 1 or 2, got 3\."),
        ({"part": True}, r"part must be 1 or 2, got True\."),
        ({"part": 2, "settings": {"hidden": "5"}}, "hidden is a setting of part 1 of the write-up"),
        ({"part": 2, "settings": {"momentum": 0.5}}, "momentum is a setting of part 1 of the write-up"),
    ],
)
def test_what_a_part_does_not_have_is_refused(arguments, message):
    with pytest.raises(ConfigError, match=f"^{message}"):
        resolve_writeup(**arguments)


def test_each_formula_of_part_2_passes(small_images):
    errors = check_part2_formulas(small_images, SMALL, 8)
    assert set(errors) == {"L4", "A2", "A3", "A4", "D2", "R2", "Q2", "B4", "B5", "K3", "K4", "K5", "P2"}
    assert max(errors.values()) < 1e-6  # right formulas stay near 1e-9; a planted 0.1 % gives 1e-3


@pytest.mark.parametrize(("layer", "labels"), [("max_pool2d", {"Q2"}), ("dropout", {"D2"})])
def test_a_wrong_derivative_of_part_2_fails(small_images, monkeypatch, layer, labels):
    from chalknet.workflows import part2_checks

    right = getattr(part2_checks, layer)

    def wrong(*arguments):
        value, through = right(*arguments)
        return value, lambda grad: 1.001 * through(grad)

    monkeypatch.setattr(part2_checks, layer, wrong)
    errors = check_part2_formulas(small_images, SMALL, 8)
    found = {label for label, error in errors.items() if error > 1e-4}
    assert labels <= found
    assert not found & {"L4", "P2"}


def test_the_document_has_every_section_and_the_formulas_it_links(data):
    document = part2_document(data, NO_REGULARIZATION)
    numbers = [section.number for section in document.sections]
    assert numbers == [*("0", "0.1", "0.2", "2", "2.1", "2.2", "2.3", "2.4"), *(f"2.4.{n}" for n in range(1, 6)),
                       *("2.5", "2.6", "A", "B")]  # fmt: skip
    assert {"K1", "K3", "K5", "Q1", "Q2", "B1", "B5", "D2", "P1", "P2", "U5", "M9"} <= document.formulas()
    words = " ".join(texts(document))
    assert "1.461" in words
    assert "half* the sum of the squared weights" in words
    code = "\n".join(block.text for block in document.blocks() if isinstance(block, Code))
    for function in ("conv2d", "max_pool2d", "batch_norm", "dropout", "l2_penalty", "add_windows"):
        assert f"def {function}(" in code
    assert "class Adam(" in code


def test_reported_numbers_stand_beside_those_of_the_study(data):
    table = reported_table(data)
    rows = {row[0]: row[1:] for row in table.rows}
    assert len(rows) == 3 * len(REPORTED)
    for name, accuracies in REPORTED.items():
        runs = next(runs for runs in data.complete if runs.name == name)
        for split, words, accuracy in zip(
            ("train", "valid", "test"), ("training", "validation", "test"), accuracies, strict=True
        ):
            cells = rows[f"{name}, {words}"]
            assert cells[0] == f"{100 * accuracy:.1f} %"
            assert cells[2] == f"{100 * runs.mean(split, 'accuracy'):.1f} %"
            assert cells[3] == f"{runs.mean(split, 'loss'):.4f}"
    low, high = (float(word) for word in rows["L2 0.5, test"][1].removesuffix(" %").split(" to "))
    half = 100 * 1.96 * math.sqrt(0.898 * 0.102 / 2724)
    assert (high - low) / 2 == pytest.approx(half, abs=0.1)


def test_losses_with_softmax_twice_are_shown_above_their_floor(data):
    row = softmax_twice_table(data).rows[0]
    assert row[:3] == ("no regularization, validation", "0.2000", "0.9000")
    assert row[3] == f"{0.9 - double_softmax_floor(4):.4f}"


@pytest.mark.parametrize("name", [NO_REGULARIZATION, "keep probability 0.5"], ids=["worst", "best"])
def test_effects_are_signed_differences_from_the_base(data, name):
    effects = effects_of(data, name)
    assert [effect.runs.name for effect in effects] == [other for other in REPORTED if other != name]
    base = next(runs for runs in data.complete if runs.name == name)
    for effect in effects:
        change = effect.runs.mean("valid", "accuracy") - base.mean("valid", "accuracy")
        assert effect.change.value == pytest.approx(change)
        assert effect.change.low <= effect.change.value <= effect.change.high
    table = effects_table(base, effects)
    assert len({len(row) for row in (table.columns, *table.rows)}) == 1
    assert table.rows[0][0] == name


def test_sentences_about_effects_follow_the_tests(data):
    base = next(runs for runs in data.complete if runs.name == NO_REGULARIZATION)
    effects = effects_of(data, NO_REGULARIZATION)
    significant = [one for one in effects if one.is_significant]
    assert significant, "later configurations of the factory are better"
    assert all(one.change.value > 0 for one in significant)
    text = effect_sentences(base, effects)[0]
    assert text.startswith("Compared with no regularization, validation accuracy is significantly higher with ")
    assert "significantly lower" not in text
    assert "accuracy minus validation accuracy is" in effect_sentences(base, effects)[1]
    plain = [replace(one, pair=replace(one.pair, significantly_different=False)) for one in effects]
    assert "does not differ significantly with the other configurations" in effect_sentences(base, plain)[0]
    clear = [replace(one, pair=replace(one.pair, significantly_different=True)) for one in effects]
    assert "does not differ significantly with L2 0.01 (" in effect_sentences(base, [plain[0], *clear[1:]])[0]


def with_gap(runs, value):
    """Return runs whose training accuracy exceeds the validation accuracy by a value, almost without uncertainty."""
    return replace(runs, curves=replace(runs.curves, gap=Interval(value, value - 0.001, value + 0.001, 0.95)))


def test_a_gap_measured_with_dropout_is_not_called_smaller(data):
    base = with_gap(next(runs for runs in data.complete if runs.name == NO_REGULARIZATION), 0.05)
    effects = [replace(one, runs=with_gap(one.runs, 0.02)) for one in effects_of(data, NO_REGULARIZATION)]
    gaps = {NO_REGULARIZATION: 0.051} | {one.runs.name: 0.043 for one in effects}
    text = effect_sentences(base, effects, gaps)[1]
    assert "The gap is smaller with L2 0.01, 0.1 and 0.5 (2.0 points)." in text
    assert "With keep probability 0.9, 0.75 and 0.5 it is 2.0 points, which cannot be compared" in text
    assert "without dropout" in text
    assert "is 5.1 points with no regularization and 4.3 points with keep probability" in text
    assert "without dropout" not in effect_sentences(base, effects)[1]


def test_gaps_after_training_are_those_of_the_stored_networks(data):
    scores = {"train": DoubleSoftmaxScores(0.1, 0.8, 0.99), "valid": DoubleSoftmaxScores(0.2, 0.9, 0.95)}
    known = replace(data, double_softmax={"a": scores, "b": {"valid": scores["valid"]}})
    assert gaps_after_training(known) == {"a": pytest.approx(0.04)}


def test_the_appendix_shows_the_code_that_the_table_of_formulas_promises(data):
    document = part2_document(data, NO_REGULARIZATION)
    code = "\n".join(block.text for block in document.blocks() if isinstance(block, Code))
    assert "the layers, the loss, the network and the update" in CODE_CAPTION
    left_out = ("initial weights", "accuracy", "softmax twice")
    for what, _, _, function in IN_CODE:
        name = function.rpartition(".")[2]
        assert (f"def {name}(" in code or f"class {name}(" in code) == (what not in left_out), what


def test_a_best_epoch_that_is_the_last_has_no_change_after_it(data):
    runs = data.complete[0]
    point = replace(runs.stopping, epoch=Interval(30.0, 20.0, 30.0, 0.95), n_epochs=30)
    before = replace(point, epoch=Interval(29.0, 20.0, 30.0, 0.95))
    rows = stopping_table([("a", point), ("b", before)], ("valid",), with_change=True).rows
    assert rows[0][-1] == DASH != rows[1][-1]
    assert "lowest after epoch 29 or 30 of 30" in stopping_sentences([(runs, point), (runs, before)])[0]


def test_the_seeds_differ_in_the_draws_of_dropout(data):
    assert "the order of mini-batches and the random draws of training" in seeds_text(data)


def test_sizes_in_tables_are_written_as_in_the_text(data):
    rows = {row[0]: row[1] for row in layers_table(data).rows}
    assert rows["convolution with 32 filters of 3 × 3 pixels"] == "6 × 5 × 32"
    assert not [name for name in rows if " x " in name]


def test_the_quick_form_says_what_it_leaves_out():
    document = part2_document(made_data(quick=True, seeds=2), NO_REGULARIZATION)
    assert document.banner == "Quick form: 30 epochs, 2 seeds, 160 training samples"
    assert "3 configurations, 160 training samples, 30 epochs and 2 seeds" in document.notes[0].text
    assert "50 epochs and 3 seeds" in document.notes[0].text


def test_the_training_size_stands_where_the_sizes_of_the_data_do():
    def text_of(**configurations):
        results = make_results(recipe=SMALL, configurations=configurations)
        return data_section(collect_report_data(results, MACHINE, data_missing_reason="gone"), "0.1").blocks[0].text

    same = text_of(a={"train_size": 100}, b={"train_size": 100, "dropout": 0.5})
    assert "Every network is trained on the first 100 of the 160 training samples only." in same
    assert "count all 160." in same
    assert "Every network" not in text_of(a={}, b={"dropout": 0.5})
    assert "Every network" not in text_of(a={"train_size": 100}, b={"train_size": 120})


def test_only_data_whose_classes_are_letters_are_called_letters(data):
    assert part2_document(data, NO_REGULARIZATION).title == "Letters from a convolutional network"
    facts = replace(data.results.data, class_names=("cat", "dog", "cow", "hen"))
    photos = part2_document(replace(data, results=replace(data.results, data=facts)), NO_REGULARIZATION)
    assert photos.title == "Classes of images from a convolutional network"
    assert "letters" not in "\n".join(texts(photos)).lower()


def test_the_opening_says_why_there_is_no_section_1(data):
    opening = part2_document(data, NO_REGULARIZATION).sections[0].blocks[0]
    assert "part 1 is the subject of another document, so there is no section 1 here" in opening.text


def test_a_study_with_unfinished_runs_still_has_a_document():
    missing = {(place, seed): "todo" for place in range(7) for seed in range(3) if place != 4}
    document = part2_document(made_data(statuses=missing), NO_REGULARIZATION)
    assert "Incomplete" in document.notes[0].text
    tables = {block.name for block in document.blocks() if isinstance(block, TableBlock)}
    assert "effects" not in tables


def words_of(page):
    return html.unescape(re.sub(r"<[^>]+>", " ", page.read_text(encoding="utf-8"))).replace("\u00a0", " ")


@pytest.fixture(scope="module")
def paper(tmp_path_factory):
    folder = tmp_path_factory.mktemp("part2")
    ((_, content),) = npz_files(made_images(200, seed=0))
    (folder / "letters.npz").write_bytes(content)
    settings = {"train_size": 96, "valid_size": 40, "epochs": 2}
    arguments = {"out": folder / "paper", "part": 2, "quick": True, **settings}
    return writeup(folder / "letters.npz", **arguments), folder / "letters.npz", arguments


@pytest.mark.slow
def test_the_whole_quick_document_is_written(paper):
    result, _, _ = paper
    assert result.pdf.read_bytes().startswith(b"%PDF")
    words = words_of(result.html)
    assert "Quick form: 2 epochs, 2 seeds, 96 training samples" in words
    assert "so every derivative passes" in words
    tables = {path.stem for path in (result.folder / "tables").glob("*.csv")}
    assert {
        "layers",
        "gradient_check",
        "statistics",
        "configurations",
        "effects",
        "reported",
        "softmax_twice",
    } <= tables
    figures = {path.name for path in (result.folder / "figures").iterdir()}
    assert {"learning.json", "curves-loss.json", "filters.png", "feature_maps.png", "pixels.png"} <= figures
    (panel, *_) = json.loads((result.folder / "figures" / "learning.json").read_text(encoding="utf-8"))["panels"]
    assert [curve["label"] for curve in panel["curves"]] == ["training", "validation", "test"]
    repeated = [block.text for block in result.document.blocks() if isinstance(block, Code)]
    assert any(line.startswith("chalknet writeup") and "--part 2 --quick" in line for line in repeated)
    assert report(result.folder / "study").document.title == "A comparison of 3 configurations"


@pytest.mark.slow
def test_softmax_twice_is_computed_from_the_stored_networks(paper):
    result, letters, _ = paper
    import chalknet

    data = chalknet.load_data(letters)
    config = result.results.configurations[1]
    splits = study_splits(data, config, 0)
    scores = double_softmax_scores(result.results, data, splits)[config.label]["valid"]
    network = load_model(result.results.model_path(config))
    p = network.predict_proba(data.inputs[splits.valid]).astype(np.float64)
    labels = data.labels[splits.valid]
    assert scores.accuracy == pytest.approx(result.results.run(config, 0).valid.accuracy)
    second = np.exp(p) / np.exp(p).sum(axis=1, keepdims=True)
    assert scores.twice == pytest.approx(-np.log(second[np.arange(len(p)), labels]).mean(), abs=1e-6)


@pytest.mark.slow
def test_an_interrupted_part_2_trains_only_what_is_missing(paper, tmp_path):
    _, letters, arguments = paper
    ended = []

    def stop_after_two(progress):
        if progress.study is not None and progress.study.ended is not None:
            ended.append(progress.study.ended.run)
            if len(ended) == 2:
                raise KeyboardInterrupt

    arguments = {**arguments, "out": tmp_path / "paper", "jobs": 1}
    with pytest.raises(KeyboardInterrupt):
        writeup(letters, on_progress=stop_after_two, **arguments)
    assert not (tmp_path / "paper" / "writeup.html").exists()
    result = writeup(
        letters, on_progress=lambda p: p.study and p.study.ended and ended.append(p.study.ended.run), **arguments
    )
    assert len(ended) == len({(run.configuration.label, run.seed) for run in ended}) == 6
    assert result.html.exists()


@pytest.mark.slow
def test_a_repeated_part_2_trains_nothing_again(paper):
    result, letters, arguments = paper
    before = {path: path.read_bytes() for path in (result.folder / "tables").iterdir()}
    seen = []
    writeup(letters, on_progress=seen.append, **arguments)
    assert not [progress for progress in seen if progress.study is not None and progress.study.ended is not None]
    assert {path: path.read_bytes() for path in before} == before


def test_layers_with_a_penalty_keep_everything_else():
    layers = layers_with_l2(SMALL, 0.1)
    plain = SMALL.network.layers_below_output
    assert [dict(one) for one in layers if one["type"] != "dense"] == [
        dict(one) for one in plain if one["type"] != "dense"
    ]
    assert [dict(one) for one in layers if one["type"] == "dense"] == [{"type": "dense", "units": 784, "l2": 0.1}]
