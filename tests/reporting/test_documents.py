"""The write-up and the report of every kind of study: they come out whole, and say only what the numbers carry."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from study_factory import make_report_data, texts

import chalknet
from chalknet.artifacts.run_folder import read_run
from chalknet.config import Recipe
from chalknet.formatting import DASH, p_value, percent
from chalknet.network.dense import Dense
from chalknet.network.dropout import Dropout
from chalknet.reporting.document import Code, FigureBlock, Findings, Note, Paragraph, TableBlock
from chalknet.reporting.document_view import Picture, document_view
from chalknet.reporting.documents import report_document, with_title_page, writeup_document
from chalknet.reporting.markup import parse_markup
from chalknet.reporting.sections.conclusion import summary_text
from chalknet.reporting.sections.curves import curve_sentences, curve_table
from chalknet.reporting.sections.original import ORIGINAL, differences, intervals_table
from chalknet.reporting.sections.stopping import stopping_sentences
from chalknet.studies.curve_findings import Curves, curve_findings
from chalknet.studies.intervals import Interval
from chalknet.workflows.report import report

SMALL = Recipe().with_settings(train_size=160, valid_size=40, epochs=30)
NAMED = {"no penalty": {}, "L2 *0.1*": {"l2": 0.1}, "two layers": {"hidden": [5, 4], "momentum": 0.5}}
STUDIES = {
    "widths": lambda: make_report_data("hidden=5,9,20"),
    "one seed": lambda: make_report_data("hidden=5,9,20", seeds=1),
    "many seeds": lambda: make_report_data("hidden=5,9", seeds=8),
    "one configuration": lambda: make_report_data("hidden=5"),
    "nothing varied": lambda: make_report_data(),
    "words": lambda: make_report_data("reduction=sum,mean"),
    "two fields": lambda: make_report_data("hidden=5,9", "learning_rate=1e-6:1e-4:log3"),
    "many configurations": lambda: make_report_data("learning_rate=1e-6:1e-4:log15", seeds=2),
    "named": lambda: make_report_data(configurations=NAMED),
    "resplit": lambda: make_report_data("hidden=5,9", seeds_vary=("init", "order", "split")),
    "no validation": lambda: make_report_data(
        "hidden=5,9", sizes={"train": 200, "valid": 0, "test": 40}, recipe=SMALL.with_settings(valid_size=0)
    ),
    "no test": lambda: make_report_data("hidden=5,9", sizes={"train": 200, "valid": 40, "test": 0}),
    "stopped early": lambda: make_report_data(
        "hidden=5,9", recipe=SMALL.with_settings(stop_early=True), lengths={0: 12, 1: 20, 2: 15}
    ),
    "rows": lambda: make_report_data("hidden=5,9", shape=(7,)),
    "failed and missing": lambda: make_report_data(
        "hidden=5,9,20",
        statuses={(2, 1): "failed", (1, 2): "todo", (1, 1): "running"},
        errors={},
    ),
    "nothing done": lambda: make_report_data(
        "hidden=5,9", statuses={(c, s): "failed" for c in (0, 1) for s in range(3)}
    ),
    "one epoch": lambda: make_report_data("hidden=5,9", recipe=SMALL.with_settings(epochs=1)),
}


def test_named_configurations_are_called_by_their_names():
    document = report_document(make_report_data(configurations=NAMED))
    assert document.title == "A comparison of 3 configurations"
    (table,) = [b.table for b in document.blocks() if isinstance(b, TableBlock) and b.name == "configurations"]
    assert (table.columns[0], *[row[0] for row in table.rows]) == ("configuration", *NAMED)
    (figure,) = [b.figure for b in document.blocks() if isinstance(b, FigureBlock) and b.name == "accuracy"]
    assert figure.panels[0].x_names == tuple(NAMED)
    words = " ".join(texts(document))
    assert r"The configurations are: no penalty, L2 \*0.1\* and two layers." in words
    assert "the configuration with two layers" in words


@pytest.fixture(params=STUDIES, scope="module")
def study(request):
    return STUDIES[request.param]()


@pytest.mark.parametrize("make", [report_document, writeup_document], ids=["report", "writeup"])
def test_the_document_of_any_study_is_whole_and_well_worded(study, make):
    document = make(study)
    pictures = {name.partition(":")[2]: Picture(b"<svg>", None) for name in document.numbers()}
    # A reference, formula or symbol that leads nowhere stands in the text as it is typed.
    assert not re.search(r"\[(?:figure|table|section):|\$\S", str(document_view(document, pictures)))
    code = {block.text for block in document.blocks() if isinstance(block, Code)}
    words = "\n".join(text for text in texts(document) if text not in code)
    for bad in (
        r"-0\.0+(?!\d)",
        r"\b1 (?:seeds|configurations|trainings|epochs|samples|times|pairs)\b",
        r"\b(?:nan|inf|None)\b",
    ):
        found = re.search(f".*{bad}.*", words)
        assert found is None, found[0]
    for block in document.blocks():
        if isinstance(block, TableBlock):
            assert block.table.rows, block.name
        elif isinstance(block, FigureBlock):
            assert block.figure.panels, block.name
        elif isinstance(block, Findings):
            assert block.items


@pytest.mark.parametrize("make", [report_document, writeup_document], ids=["report", "writeup"])
def test_a_formula_that_a_document_cites_is_in_it(study, make):
    document = make(study)
    running = [block.text for block in document.blocks() if isinstance(block, Paragraph | Note)]
    cited = {span.text for text in running for span in parse_markup(text) if span.kind == "formula"}
    assert cited <= document.formulas()


def test_a_study_of_two_factors_says_what_each_does():
    report_data = make_report_data("hidden=5,9", "momentum=0.5,0.9")
    said = words_of(report_data)
    low, high = (
        percent(
            np.mean(
                [runs.mean("valid", "accuracy") for runs in report_data.complete if width in runs.configuration.label]
            )
        )
        for width in ("hidden=5", "hidden=9")
    )
    assert f"validation accuracy is {low} with 5 hidden units and {high} with 9 hidden units" in said
    assert "points with momentum 0.5 and" in said
    assert "each factor" not in words_of(
        make_report_data("hidden=5,9", "momentum=0.5,0.9", statuses={(3, 0): "failed"})
    )
    assert "each factor" not in words_of(make_report_data("hidden=5,9"))


def test_only_the_writeup_lists_code():
    assert ("B", "The code") in [(s.number, s.title) for s in writeup_document(make_report_data("hidden=5")).sections]
    assert "B" not in [section.number for section in report_document(make_report_data("hidden=5")).sections]


def test_a_writeup_shows_its_own_widths_beside_those_of_the_original():
    tables = {b.name: b for b in writeup_document(make_report_data("hidden=100,200")).blocks() if hasattr(b, "table")}
    assert [row[0] for row in tables["original_times"].table.rows] == ["100", "200"]
    assert tables["original"].table.rows[3][0] == "200, training"
    assert tables["original"].table.rows[3][1] == "–"
    assert "The original also has 500, 1,000 and 2,000 hidden units." in tables["original"].caption


def test_title_author_and_date_replace_what_a_document_has():
    document = report_document(make_report_data("hidden=5,9"))
    titled = with_title_page(document, "Two widths", "Ada B.", None)
    assert (titled.title, titled.author, titled.date) == ("Two widths", "Ada B.", "")
    assert titled.sections == document.sections
    assert with_title_page(document, None, None, None) == document


def words_of(report_data, make=report_document):
    return "\n".join(texts(make(report_data)))


def test_a_reports_test_figures_are_those_of_the_chosen_configuration_and_stand_once():
    report_data = make_report_data("hidden=5,9,20")
    words = words_of(report_data)
    assert words.count("**Test accuracy:") == 1
    for runs in report_data.complete:
        for value in runs.values("test", "accuracy"):
            shown = f"({percent(value)}"
            assert (shown in words) <= (runs is report_data.chosen)
    tables = [block for block in report_document(report_data).blocks() if isinstance(block, TableBlock)]
    assert not [
        b.name for b in tables if b.name not in ("data", "classes") and any("test" in c for c in b.table.columns)
    ]


def test_the_choice_has_the_highest_validation_accuracy_and_its_bias():
    report_data = make_report_data("hidden=5,9,20")
    means = {runs.name: runs.mean("valid", "accuracy") for runs in report_data.complete}
    assert report_data.chosen.name == max(means, key=means.get) == report_data.optimism.chosen
    assert "The accuracy by which a configuration is chosen is too high on average" in words_of(report_data)


def test_an_epoch_that_validation_chose_is_said_to_bias_scores():
    early = SMALL.with_settings(stop_early=True)
    one = words_of(make_report_data(recipe=early, lengths={0: 12, 1: 20, 2: 15}))
    assert "nothing was chosen" not in one
    assert "each run keeps the weights of the epoch at which the validation loss was best" in one
    assert "Validation scores are therefore too good on average; test scores are not affected." in one
    several = words_of(STUDIES["stopped early"]())
    assert "too good on average, in addition to the bias of the choice above; test scores" in several
    last = words_of(make_report_data(recipe=early.with_settings(restore_best=False)))
    assert "ended when the validation loss had stopped improving" in last
    some = words_of(make_report_data("stop_early=false,true", recipe=SMALL.with_settings(monitor="valid_accuracy")))
    assert "each run that could stop early keeps the weights of the epoch at which the validation accuracy" in some
    assert "**The epoch was chosen" not in words_of(make_report_data("hidden=5,9"))
    assert "so nothing was chosen" in words_of(make_report_data())


def curve_rows(report_data):
    document = report_document(report_data)
    (table,) = [b.table for b in document.blocks() if isinstance(b, TableBlock) and b.name == "curve_findings"]
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def test_the_curve_table_has_the_shown_rise_beside_the_corrected_one():
    report_data = make_report_data("hidden=5,9")
    for row, runs in zip(curve_rows(report_data), report_data.complete, strict=True):
        mean = np.mean([[record.valid.loss for record in history] for history in runs.histories], axis=0)
        assert row["lowest loss"] == str(mean.argmin() + 1)
        assert row["rise"] == f"{100 * (mean[-1] / mean.min() - 1):.0f} %"
        assert row["corrected rise"] != row["rise"]


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [(-17.92, 14.17, "too uncertain"), (-0.7, 0.6, "50 % (−70 to 60 %)"), (3.0, 9.0, "50 % (300 to 900 %)")],
)
def test_a_rise_with_a_very_wide_interval_is_called_too_uncertain(low, high, shown):
    report_data = make_report_data("hidden=5,9")
    found = [
        (runs, replace(runs.curves, loss=replace(runs.curves.loss, rise=Interval(0.5, low, high, 0.95))))
        for runs in report_data.complete
    ]
    table = curve_table(report_data, found)
    cells = dict(zip(table.columns, table.rows[0], strict=True))
    assert cells["corrected rise"].replace("-", "−") == shown
    assert (cells["rise"] == DASH) == (shown == "too uncertain")


def test_curves_are_one_table_and_a_sentence_for_what_differs():
    report_data = make_report_data("hidden=5,9,20,30")
    document = report_document(report_data)
    items = [item for block in document.blocks() if isinstance(block, Findings) for item in block.items]
    assert len(curve_rows(report_data)) == 4
    assert len([item for item in items if "overfit" in item]) == 1


@pytest.mark.parametrize(
    ("make", "covered"),
    [
        (lambda: make_report_data("hidden=5,9"), "they account for the seeds and the finite number of samples."),
        (lambda: STUDIES["resplit"](), "they account for the seeds only."),
        (lambda: make_report_data("hidden=5", seeds=1), "they account for the finite number of samples only."),
    ],
)
def test_the_caption_of_the_curve_table_says_what_intervals_cover(make, covered):
    assert covered in words_of(make())


TABLE = "age,city,sex,day,bought\n" + "".join(
    f"{'' if i % 8 == 0 else 20 + i % 50},{'' if i % 33 == 1 else ('Rome', 'Oslo', 'Lima')[i % 3]},{'mf'[i // 3 % 2]},"
    f"2020-{1 + i % 12:02}-{1 + i % 28:02},{'yes' if (7 * i) % 5 > 1 else 'no'}\n"
    for i in range(400)
)


def test_the_report_of_a_table_says_what_its_columns_are(tmp_path):
    (tmp_path / "t.csv").write_text(TABLE, encoding="utf-8")
    run = chalknet.train(tmp_path / "t.csv", "strong-rows", label_column="bought", out=tmp_path / "run", epochs=2)
    document = report(run.folder).document
    words = "\n".join(texts(document))
    (table,) = [b.table for b in document.blocks() if isinstance(b, TableBlock) and b.name == "columns"]
    assert [row[:3] for row in table.rows] == [
        ("age", "number", "50"),
        ("city", "category", "13"),
        ("sex", "category", "0"),
        ("day", "date", "0"),
    ]
    assert re.search(r"400 rows with 4 columns, encoded as \d+ inputs, in 2 classes", words)
    assert "Missing values: 50 in `age` and 13 in `city`. The class is in column `bought`." in words
    assert "scaled to mean 0 and standard deviation 1 on the training samples" in words
    assert "float64" not in [row[1][:7] for b in document.blocks() if isinstance(b, TableBlock) for row in b.table.rows]
    assert "With only 40 validation samples the best epoch cannot be chosen." in words
    said = words[: words.index("Every table of this document is a CSV file")]
    for bad in ("blank", "gray", "groups", "images", "printed loss", "study", "seeds", "etworks", "test scores"):
        assert bad not in said, bad
    assert "Weights of the first layer" not in [section.title for section in document.sections]


def test_the_report_tells_the_table_from_a_separate_test_table(tmp_path):
    head, *rows = TABLE.splitlines(keepends=True)
    (tmp_path / "t.csv").write_text(head + "".join(rows[:300]), encoding="utf-8")
    (tmp_path / "last.csv").write_text(head + "".join(rows[300:]), encoding="utf-8")
    settings = {"label_column": "bought", "test": tmp_path / "last.csv", "out": tmp_path / "run", "epochs": 2}
    run = chalknet.train(tmp_path / "t.csv", "strong-rows", **settings)
    document = report(run.folder).document
    words = "\n".join(texts(document))
    tables = {block.name: block.table.rows for block in document.blocks() if isinstance(block, TableBlock)}
    columns = [("age", "number", "38"), ("city", "category", "10"), ("sex", "category", "0"), ("day", "date", "0")]
    assert [row[:3] for row in tables["columns"]] == columns
    assert re.search(r"t.csv` holds 300 rows with 4 columns, encoded as \d+ inputs, in 2 classes", words)
    assert "`last.csv` holds the 100 test samples. The other samples are split at random with seed" in words
    assert dict(tables["data"])["test"] == "100 from last.csv"
    data = json.loads((run.folder / "summary.json").read_text(encoding="utf-8"))["data"]
    assert (data["samples"], data["test_samples"]) == (300, 100)
    assert read_run(run.folder).summary.n_samples == 400


@pytest.mark.slow
def test_the_report_of_a_bag_names_its_folds_and_scaling(tmp_path):
    (tmp_path / "t.csv").write_text(TABLE, encoding="utf-8")
    run = chalknet.train(tmp_path / "t.csv", label_column="bought", out=tmp_path / "run", epochs=2)
    words = "\n".join(texts(report(run.folder).document))
    assert "scaled by the median and the quartiles of the training samples" in words
    assert "samples are divided at random with seed 0 into 5 folds with the same class proportions" in words
    assert f"The logits are divided by the temperature {run.temperature:.3g}" in words


NOISY = {"input_dropout": 0.2, "schedule": "one_cycle", "optimizer": "adamw", "batch_size": 40}


def with_train_losses(report_data, losses):
    """Return the same with other training losses of the one run."""
    (runs,) = report_data.configurations
    curves = runs.curves
    rows = np.array([losses])
    found = curve_findings(Curves(rows, rows, rows, rows), has_noisy_training=curves.has_noisy_training)
    judged = {name: getattr(found, name) for name in ("loss_settled", "jumps", "is_finite")}
    runs = replace(runs, curves=replace(curves, **judged))
    return replace(report_data, configurations=(runs,), chosen=runs)


@pytest.mark.parametrize(
    ("noise", "said"),
    [
        ({"layers": [Dense(5), "relu", Dropout(0.2)]}, "measured with dropout, which"),
        ({"dropout": 0.2}, "measured with dropout, which"),
        ({"layers": [Dense(5), "relu"], "shift_pixels": 2.0}, "random changes of the inputs or of the network, which"),
        (
            {"layers": [Dense(5), Dropout(0.2)], "input_dropout": 0.1},
            "random changes of the inputs or of the network, which",
        ),
    ],
)
def test_what_makes_training_scores_noisy_is_named_for_networks_in_any_form(noise, said):
    recipe = SMALL.with_settings(**noise)
    assert said in words_of(make_report_data(seeds=1, recipe=recipe))


def test_a_training_loss_with_dropout_is_not_said_to_be_unstable_or_unsettled():
    # The training loss of 40 epochs with 20 % input dropout on 320 rows: noise around a flat curve.
    flat = [0.4599, 0.4458, 0.4091, 0.4404, 0.4269, 0.4247, 0.4507, 0.4078, 0.4146, 0.3844, 0.4299, 0.3938, 0.4144]
    losses = [1.2983, 1.3181, 1.0863, 0.8109, 0.6111, 0.49, 0.4691, *flat, *flat, 0.3844, 0.4299, 0.3938, 0.41, 0.387]
    plain = words_of(with_train_losses(make_report_data(seeds=1), losses))
    assert "Training is unstable: " in plain
    assert "was still changing in the last tenth of the epochs" in plain
    noisy = words_of(with_train_losses(make_report_data(seeds=1, recipe=SMALL.with_settings(**NOISY)), losses))
    assert "Training is unstable" not in noisy
    assert "still changing" not in noisy
    assert "whether the training loss settles or jumps is not judged" in noisy
    assert "the gap is too small and can miss overfitting" in noisy


def test_sentences_count_unstable_seeds_and_name_networks_once():
    report_data = make_report_data("hidden=5,9,20")
    n_epochs, n_seeds = report_data.recipe.training.epochs, report_data.n_seeds
    high, low = Interval(0.05, 0.04, 0.06, 0.95), Interval(0.0, -0.01, 0.01, 0.95)
    found = [
        (runs, replace(runs.curves, gap=gap, loss=replace(runs.curves.loss, rise=low), jumps=jumps))
        for runs, gap, jumps in zip(
            report_data.complete,
            (high, low, high),
            (((n_epochs,), *((),) * (n_seeds - 1)), ((),) * n_seeds, ((),) * n_seeds),
            strict=True,
        )
    ]
    said = curve_sentences(found)
    assert said[0] == (
        "2 of 3 configurations overfit: 5 and 20 hidden units. At the end, their training accuracy exceeds their "
        "validation accuracy by 5.0 percentage points."
    )
    assert any(f"with 5 hidden units: the training loss of 1 of {n_seeds} seeds still jumps" in one for one in said)


def test_longer_training_is_proposed_only_where_the_rate_does_not_fall():
    falling = np.linspace(2, 1, 30)
    constant = words_of(with_train_losses(make_report_data(seeds=1), falling))
    assert "(after epoch 27). Longer training may change its final value." in constant
    decayed = words_of(
        with_train_losses(make_report_data(seeds=1, recipe=SMALL.with_settings(schedule="cosine")), falling)
    )
    assert "(after epoch 27)." in decayed
    assert "Longer training" not in decayed


def test_a_curve_that_has_not_settled_is_called_so_in_table_and_text():
    report_data = make_report_data("hidden=5,9")
    found = [(runs, replace(runs.curves, n_epochs=80, loss_settled=(70, 74, 78))) for runs in report_data.complete]
    table = curve_table(report_data, found)
    assert [row[table.columns.index("loss settled")] for row in table.rows] == ["not settled", "not settled"]
    (sentence,) = [one for one in curve_sentences(found) if "last tenth" in one]
    assert sentence.startswith(
        "For most seeds the training loss was still changing in the last tenth of the epochs (after"
    )
    assert "(after epoch 72)" in sentence


def test_eight_epochs_show_no_settling():
    words = words_of(make_report_data("hidden=5,9", recipe=SMALL.with_settings(epochs=8)))
    assert "settled" not in words


def test_the_report_of_one_run_speaks_of_no_seeds():
    words = words_of(make_report_data(seeds=1))
    section = words[words.index("*What do the learning curves show?*") :]
    section = section[: section.index("Confusion matrix")]
    for bad in ("Seeds", "seeds", "each seed", "mean curve", "mean validation loss", "images alone", "These networks"):
        assert bad not in section, bad


def test_no_overfitting_is_said_with_the_limits_of_its_rules():
    report_data = make_report_data("hidden=5,9,20,30")
    wide = Interval(0.005, -0.1, 0.2, 0.95)

    def sentence(gap, rise, **more):
        found = [
            (runs, replace(runs.curves, gap=gap, loss=replace(runs.curves.loss, rise=rise), **more))
            for runs in report_data.complete
        ]
        return curve_sentences(found)[0]

    limits = "for every configuration, the intervals of the gap and of the corrected rise reach below their limits"
    assert sentence(wide, wide) == f"These rules find no overfitting: {limits} (1 point and 2 %)."
    rises = sentence(wide, Interval(0.1, 0.05, 0.2, 0.95), training_continues=False)
    assert rises.endswith("reaches below its limit (2 %) or the training loss rises as well.")
    unsure = sentence(Interval(0.045, 0.002, 0.087, 0.95), wide)
    assert unsure.startswith("These rules do not decide whether there is overfitting: for every configuration, the")
    assert unsure.endswith(
        " The gaps are 4.5 percentage points. That is more than the limit, but there are too few seeds or samples to "
        "be sure."
    )
    few = sentence(wide, Interval(-1.87, -17.9, 14.2, 0.95))
    assert few.endswith(
        f"{limits} (1 point and 2 %). But there are too few seeds or samples to tell whether the loss rises."
    )
    unknown = sentence(wide, Interval(0.1, np.nan, np.nan, 0.95))
    assert unknown.endswith("no interval lies above its limit. Without an interval, a rule is not applied.")


def test_a_section_about_one_run_states_nothing_about_the_others():
    document = writeup_document(make_report_data("hidden=5,9"))
    (section,) = [section for section in document.sections if section.title == "Learning"]
    assert not [block for block in section.blocks if isinstance(block, Findings)]
    (said,) = [block.text for block in section.blocks if getattr(block, "text", "").startswith("In this run")]
    assert "lowest after epoch 20 " in said


def test_training_scores_are_described_as_they_are_computed():
    full = words_of(make_report_data())
    assert "Training scores are those before an epoch's update" in full
    batches = words_of(make_report_data(recipe=SMALL.with_settings(batch_size=20)))
    assert "Training scores are means over the batches of an epoch, each computed before the update" in batches
    assert "before an epoch's update" not in batches


def test_runs_that_stopped_early_are_not_said_to_be_trained_to_the_end():
    words = words_of(STUDIES["stopped early"]())
    assert "trained for all" not in words
    assert "it stopped early" in words
    single = words_of(make_report_data(recipe=SMALL.with_settings(stop_early=True), lengths={0: 12, 1: 20, 2: 15}))
    assert "Training stopped early, after epoch 12." in single


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (
            0.0004,
            0.013,
            "raises validation accuracy significantly (+0.5 percentage points, 95 % interval 0.0 to +1.3, ",
        ),
        (
            -0.0132,
            -0.0021,
            "lowers validation accuracy significantly (+0.5 percentage points, 95 % interval -1.3 to -0.2)",
        ),
        (
            -0.004,
            0.013,
            "does not change validation accuracy significantly (+0.5 percentage points, 95 % interval -0.4 to",
        ),
    ],
)
def test_a_change_after_the_best_epoch_is_judged_by_its_interval(low, high, said):
    report_data = make_report_data("hidden=5,9")
    point = replace(report_data.complete[0].stopping, valid_gain=Interval(0.005, low, high, 0.95))
    (sentence,) = stopping_sentences([(report_data.complete[0], point)])[1:]
    assert said in sentence
    assert ("which just excludes 0" in sentence) == (low == 0.0004)


def test_a_stopping_point_is_by_what_training_watches():
    watched = SMALL.with_settings(stop_early=True, monitor="valid_accuracy", patience=30)
    report_data = make_report_data("hidden=5,9", recipe=watched)
    assert [runs.stopping.monitor for runs in report_data.configurations] == ["valid_accuracy"] * 2
    words = words_of(report_data)
    assert "the mean validation accuracy is highest (of equal epochs, the one with the lowest validation loss)" in words
    assert "the one at which the mean validation loss is lowest. For" not in words
    assert "Validation accuracy of each seed after each epoch. The vertical line is the best epoch" in words
    assert "the one at which the mean validation loss is lowest. For" in words_of(make_report_data("hidden=5,9"))


def test_without_validation_nothing_is_chosen():
    words = words_of(STUDIES["no validation"]())
    assert "no choice is made here" in words
    assert "[table:configurations] compares the configurations on the 40 test samples" in words


def test_seeds_with_splits_of_their_own_get_no_interval():
    report_data = STUDIES["resplit"]()
    words = words_of(report_data)
    assert report_data.comparison is None
    assert "Each seed has its own split, so the validation samples of the seeds differ and overlap." in words
    assert "[table:pairs]" not in words


def test_what_is_not_done_is_said_at_the_top_and_left_out_of_the_comparison():
    report_data = STUDIES["failed and missing"]()
    document = report_document(report_data)
    assert "**Incomplete:** 6 of 9 runs are finished, 1 failed." in document.notes[0].text
    assert [runs.name for runs in report_data.complete] == ["5 hidden units"]
    assert any("*Failed:* 20 hidden units, seed 1." in text for text in texts(document))
    # A run that is "todo" may have begun before its worker crashed or was stopped.
    assert any("1 to do" in text for text in texts(document))
    assert not any("not started" in text for text in texts(document))


def test_samples_that_are_gone_are_said_and_cost_the_pictures_alone():
    document = report_document(make_report_data("hidden=5,9"))
    notes = [block.text for block in document.blocks() if isinstance(block, Note)]
    assert any("could not be read again" in text and "no sample images" in text for text in notes)
    assert any(isinstance(block, FigureBlock) and block.name == "confusion" for block in document.blocks())


def test_every_finding_of_the_comparison_is_in_the_document():
    report_data = make_report_data("hidden=5,9,20")
    items = [
        item for block in report_document(report_data).blocks() if isinstance(block, Findings) for item in block.items
    ]
    assert report_data.findings
    assert set(report_data.findings) <= set(items)
    assert all("hidden units" in finding for finding in report_data.findings)


def test_pairs_have_both_p_values_and_say_why_corrected_ones_are_equal():
    report_data = make_report_data("hidden=5,9,20")
    (table,) = [
        b.table for b in report_document(report_data).blocks() if isinstance(b, TableBlock) and b.name == "pairs"
    ]
    assert table.columns[3:5] == ("p", "p (Holm)")
    for row, pair in zip(table.rows, report_data.comparison.pairs, strict=True):
        assert row[3:5] == (p_value(pair.difference.p_value), p_value(pair.holm_p))
    words = words_of(report_data)
    assert "It can give several pairs the same corrected p-value." in words
    assert "docs/statistics.md" not in words[: words.index("Every table of this document")]
    one = words_of(make_report_data("hidden=5,9"))
    assert "The difference is significant if p < 0.05" in one
    assert "p (Holm)" not in one


def test_scores_of_kept_epochs_are_said_to_be_so():
    # 71.7 % at the kept epochs, 73.0 % at the end
    assert "all at the epoch that each run kept" in words_of(STUDIES["stopped early"]())
    assert "that each run kept" not in words_of(make_report_data("hidden=5,9"))


def test_a_document_names_one_number_of_seeds_for_one_pair():
    sizes, more = {"train": 160, "valid": 120, "test": 40}, {"command_with_seeds": "chalknet study --seeds {}".format}
    report_data = make_report_data("hidden=5,6", seeds=2, sizes=sizes, more=more)
    found = re.search(r"a study needs about (\d+) seeds per configuration", words_of(report_data))
    assert found is not None
    assert f"About {found[1]} seeds per width would show" in words_of(report_data)
    assert f"chalknet study --seeds {found[1]}" in words_of(report_data)


def test_no_configuration_of_two_settings_is_written_with_a_slash():
    recipe = SMALL.with_settings(epochs=8)
    report_data = make_report_data("hidden=16,32", "learning_rate=0.001,0.01", recipe=recipe)
    document = report_document(report_data)
    words = "\n".join(text for text in texts(document) if "def " not in text)
    assert "hidden units / " not in words
    assert "32 hidden units, learning rate 0.01" in words
    chosen = report_data.chosen.name.replace(", ", " and ")
    assert f"We take {chosen}, which gave" in words
    assert re.search(r"16 hidden units \(learning rate 0\.0+1\)", words)


def test_labels_of_which_one_begins_another_are_told_apart_in_findings():
    report_data = make_report_data("hidden=5,50,500")
    assert not [finding for finding in report_data.findings if "=" in finding.replace("p = ", "")]


def test_findings_about_validation_figures_ask_for_validation_images():
    findings = "\n".join("\n".join(make_report_data("hidden=5,9,20", seeds=seeds).findings) for seeds in (2, 3, 4, 5))
    assert "test images" not in findings


def test_equal_means_are_said_to_be_equal_and_the_first_is_chosen():
    report_data = make_report_data("hidden=5,9,20")
    first, second, _ = report_data.configurations
    equal = replace(second, histories=first.histories, kept_epochs=first.kept_epochs)
    both = replace(report_data, configurations=(first, equal), chosen=first)
    assert both.tied == (equal,)
    assert "The network with 9 hidden units has the same mean; the first one listed is taken." in words_of(both)
    assert "The mean with 9 hidden units is the same." in summary_text(both)


def test_losses_with_a_spike_have_a_logarithmic_axis_and_are_all_shown():
    report_data = make_report_data("hidden=5,9")
    runs, other = report_data.configurations
    history = list(runs.histories[0])
    history[5] = replace(history[5], train=replace(history[5].train, loss=50.0))
    spiked = replace(
        report_data, configurations=(replace(runs, histories=(tuple(history), *runs.histories[1:])), other)
    )
    (figure,) = [b for b in report_document(spiked).blocks() if isinstance(b, FigureBlock) and b.name == "curves-loss"]
    assert {panel.y_scale for panel in figure.figure.panels} == {"log"}
    assert "cut off" not in figure.caption


def test_what_varies_is_told_from_all_configurations_and_not_from_the_finished_ones_alone():
    report_data = make_report_data(
        "hidden=5,9", "momentum=0.5,0.9", statuses={(c, s): "failed" for c in (1, 3) for s in range(3)}
    )
    assert report_data.varied == ("hidden", "momentum")
    assert "momentum (varied)" in words_of(report_data)


def test_the_quick_form_is_marked_and_the_full_form_is_not():
    quick = writeup_document(make_report_data("hidden=5,9", more={"is_quick": True}))
    assert quick.banner == "Quick form: 30 epochs, 3 seeds"
    assert "100, 500, 1000 and 2000 hidden units, 200 epochs, 3 seeds" in quick.notes[0].text
    assert writeup_document(make_report_data("hidden=5,9")).banner == ""


def test_other_data_than_the_originals_are_said_to_differ():
    report_data = make_report_data("hidden=100,500")
    assert differences(report_data)[0].startswith("the data are `made.npz`, 240 samples of 6 × 5 values, instead of")
    assert "**Because the data differ, the results below are not a repetition:**" in words_of(
        report_data, writeup_document
    )


def test_the_originals_figures_are_those_it_printed_and_carry_the_intervals_of_their_number_of_images():
    assert ORIGINAL[2000].losses == (0.2303, 3.3766, 3.8814)
    assert ORIGINAL[100].accuracies == (0.9231, 0.898, 0.8946)
    half_widths = {row[0]: (row[3], row[6]) for row in intervals_table().rows}
    assert half_widths == {
        "100": ("1.9", "1.2"),
        "500": ("1.7", "1.1"),
        "1,000": ("1.6", "1.0"),
        "2,000": ("1.6", "1.0"),
    }


def test_the_writeup_puts_printed_loss_beside_printed_loss():
    report_data = make_report_data("hidden=100,500")
    (table,) = [
        b.table for b in writeup_document(report_data).blocks() if isinstance(b, TableBlock) and b.name == "original"
    ]
    row = next(row for row in table.rows if row[0] == "500, test")
    runs = next(runs for runs in report_data.complete if runs.name == "500 hidden units")
    assert row[1] == "4.1808"
    assert row[2] == f"{np.mean(runs.values('test', 'printed_loss')):.4f}"
    assert row[5] == f"{np.mean(runs.values('test', 'loss')):.4f}"
