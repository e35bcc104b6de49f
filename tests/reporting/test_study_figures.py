"""The figures of a study: what they show for each kind of study, as plain data."""

from dataclasses import replace

import pytest
from study_factory import make_report_data

from chalknet.records import EpochRecord, Scores
from chalknet.reporting.documents import report_document
from chalknet.reporting.figures import Figure, HeatMap, Mark, Panel
from chalknet.reporting.sections.comparison import cut_off
from chalknet.reporting.study_figures import (
    accuracy_figures,
    configuration_curves,
    epoch_marks,
    is_grid,
    marks_text,
    value_limits,
    value_scale,
)
from chalknet.studies.spec import SearchConfig

TWO_NUMBERS = ("hidden=5,9,20", "learning_rate=1e-6:1e-4:log3")


def searched(*vary):
    """A study whose configurations a sampler chose."""
    found = make_report_data(*vary)
    spec = replace(found.results.spec, search=SearchConfig(trials=4))
    return replace(found, results=replace(found.results, spec=spec))


@pytest.mark.parametrize(
    ("vary", "names"),
    [
        ((), []),
        (("hidden=5,9,20",), ["accuracy"]),
        (("activation=relu,tanh", "hidden=5,9"), ["accuracy"]),
        (TWO_NUMBERS, ["accuracy", "accuracy-map"]),
        (("hidden=5,9,20,30,40,50,60", "learning_rate=1e-6:1e-4:log7"), ["accuracy-map"]),
        ((*TWO_NUMBERS, "momentum=0.5,0.9"), ["trials"]),
    ],
)
def test_accuracy_is_drawn_by_factor(vary, names):
    figures = accuracy_figures(make_report_data(*vary))
    assert list(figures) == names
    for figure in figures.values():
        for panel in figure.panels:
            shown = [panel.x_label, *getattr(panel, "x_names", ()), *getattr(panel, "column_names", ())]
            assert not [text for text in shown if "=" in text], "a tick is a value, not a label such as hidden=5"


def test_no_legend_covers_an_interval():
    for vary in (("hidden=5,9,20",), ("activation=relu,tanh", "hidden=5,9"), (*TWO_NUMBERS, "momentum=0.5,0.9")):
        assert {figure.legend for figure in accuracy_figures(make_report_data(*vary)).values()} <= {"shared", "none"}


def test_two_factors_are_lines_per_value_of_the_second():
    found = make_report_data("activation=relu,tanh", "hidden=5,9,20")
    (panel,) = accuracy_figures(found)["accuracy"].panels
    assert panel.x_label == "hidden units"
    assert [curve.label for curve in panel.curves] == ["activation relu", "activation tanh"]
    means = {runs.configuration.label: runs.mean("valid", "accuracy") for runs in found.complete}
    relu = [mean for label, mean in means.items() if "activation=relu" in label]
    assert panel.curves[0].x == (5.0, 9.0, 20.0)
    assert panel.curves[0].y == tuple(relu)


def test_two_numeric_factors_are_a_heat_map_of_the_means():
    found = make_report_data(*TWO_NUMBERS, statuses={(8, 0): "failed"})
    (panel,) = accuracy_figures(found)["accuracy-map"].panels
    assert isinstance(panel, HeatMap)
    assert (panel.y_label, panel.row_names) == ("hidden units", ("5", "9", "20"))
    assert panel.column_names == ("1e-06", "1e-05", "0.0001")
    assert panel.values[0][0] == found.complete[0].mean("valid", "accuracy")
    assert panel.values[2][2] is None


def test_a_search_is_a_scatter_of_trials_without_a_grid():
    found = searched("hidden=5,9", "momentum=0.5,0.9")
    hidden, momentum = accuracy_figures(found)["trials"].panels
    assert (hidden.x_label, momentum.x_label) == ("hidden units", "momentum")
    points, best = hidden.curves
    assert len(points.x) + len(best.x) == len(found.complete)
    assert best.y == (found.chosen.mean("valid", "accuracy"),)
    assert not is_grid(found)
    assert "grid" not in {getattr(block, "name", "") for block in report_document(found).blocks()}


def test_curves_mark_the_best_epoch_of_all_seeds_or_of_one():
    runs = make_report_data("hidden=5,9").configurations[0]
    (best,) = epoch_marks(runs)
    assert (best.label, best.at, best.low) == ("best epoch", runs.stopping.epoch.value, runs.stopping.epoch.low)
    (own,) = epoch_marks(runs, seed=1)
    assert (own.at, own.low) == (runs.stopping.by_seed[1], None)


def test_a_kept_epoch_is_marked_only_where_it_says_something():
    runs = replace(make_report_data("hidden=5,9").configurations[0], stopping=None)
    assert epoch_marks(replace(runs, kept_epochs=(8, 8, 8))) == (Mark(8.0, "kept epoch"),)
    assert epoch_marks(replace(runs, kept_epochs=(12, 20, 15))) == ()  # their mean would be no epoch of any run
    assert epoch_marks(runs) == ()  # the last epoch


def test_a_caption_explains_the_marks_of_its_figure():
    found = make_report_data("hidden=5,9")
    assert "95 % interval" in marks_text(configuration_curves(found, "loss", ("train", "valid")))
    assert "interval" not in marks_text(Figure("", (Panel("", "", "", (), marks=(Mark(3, "best epoch"),)),)))
    assert marks_text(Figure("", (Panel("", "", "", ()),))) == ""


def test_positive_losses_with_a_spike_have_a_logarithmic_axis():
    losses = [1.0, 0.8, 90.0, 0.5, 0.4]
    spiked = [EpochRecord(n, Scores(value, 0.9, 1.0), None, None, 0.1) for n, value in enumerate(losses, 1)]
    assert value_scale([spiked], ("train",), "loss") == "log"
    assert value_limits([spiked], ("train",), "loss") is None
    zero = [*spiked, EpochRecord(6, Scores(0.0, 1.0, 1.0), None, None, 0.1)]
    assert value_scale([zero], ("train",), "loss") == "linear"
    assert value_limits([zero], ("train",), "loss") is not None
    assert value_scale([spiked[:2]], ("train",), "loss") == "linear"


def history(accuracies):
    return [EpochRecord(n, Scores(1.0, value, 1.0), None, None, 0.1) for n, value in enumerate(accuracies, 1)]


def test_an_accuracy_axis_leaves_out_the_first_epochs():
    accuracies = [0.1, 0.6, *(0.9 + 0.001 * n for n in range(18))]
    low, high = value_limits([history(accuracies)], ("train",), "accuracy")
    assert 0.85 < low < 0.9 < max(accuracies) < high <= 1.01
    assert value_limits([history([0.9, 0.91, 0.95])], ("train",), "accuracy") is None


def test_a_caption_says_where_values_are_cut_off():
    found = make_report_data("hidden=5,9")

    def steep(runs):
        """The same runs with a training accuracy that is low in the first epoch only, and the others near it."""
        return replace(
            runs,
            histories=tuple(
                tuple(
                    replace(one, train=score(0.9 + 0.001 * one.epoch * (one.epoch > 1), one), valid=None) for one in run
                )
                for run in runs.histories
            ),
        )

    def score(accuracy, record):
        return replace(record.train, accuracy=0.1 if record.epoch == 1 else accuracy)

    changed = [steep(runs) for runs in found.configurations]
    figure = configuration_curves(replace(found, configurations=tuple(changed)), "accuracy", ("train",))
    assert figure.cuts_off()
    assert "cut off" in cut_off(figure)
    assert cut_off(configuration_curves(found, "accuracy", ("train",))) == ""
