import xml.etree.ElementTree as ET

import pytest

from chalknet.errors import ConfigError
from chalknet.records import EpochRecord, Scores
from chalknet.reporting.drawings.curves import draw, plot_curves
from chalknet.reporting.drawings.picture import drawing_bytes
from chalknet.reporting.figures import Curve, Figure, Matrix, Panel, learning_curves

HISTORY = [
    EpochRecord(1, Scores(2.3, 0.1, 41.0), Scores(2.2, 0.15, 40.0), None, 0.1),
    EpochRecord(2, Scores(1.3, 0.6, 20.0), Scores(1.2, 0.65, 19.0), None, 0.1),
]


def test_learning_curves_have_a_curve_per_split():
    loss, accuracy = learning_curves(HISTORY).panels
    assert [curve.label for curve in loss.curves] == ["training", "validation"]
    assert loss.curves[0].x == (1.0, 2.0)
    assert loss.curves[0].y == (2.3, 1.3)
    assert accuracy.curves[1].y == (0.15, 0.65)


def test_a_drawing_has_all_points_grid_legend_and_labels():
    drawing = plot_curves(HISTORY, title="a run")
    figure = learning_curves(HISTORY)
    for axes, panel in zip(drawing.axes, figure.panels, strict=True):
        assert [tuple(line.get_ydata()) for line in axes.lines] == [curve.y for curve in panel.curves]
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["training", "validation"]
        assert (axes.get_xlabel(), axes.get_ylabel()) == (panel.x_label, panel.y_label)
        assert axes.xaxis.get_gridlines()[0].get_visible()


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_equal_histories_give_equal_bytes(kind):
    assert drawing_bytes(plot_curves(HISTORY), kind) == drawing_bytes(plot_curves(HISTORY), kind)


def test_the_ending_of_the_path_decides_the_kind_of_picture(tmp_path):
    plot_curves(HISTORY, tmp_path / "curves.svg")
    assert ET.parse(tmp_path / "curves.svg").getroot().tag.endswith("svg")
    plot_curves(HISTORY, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_an_unknown_kind_of_picture_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"curves.docx: a picture's name must end in .png, .svg, .pdf"):
        plot_curves(HISTORY, tmp_path / "curves.docx")


def test_joined_points_and_their_error_bars_lie_within_the_axes():
    x, y = (16.0, 32.0), (0.91, 0.94)
    curves = (Curve("a", x, y, (0.9, 0.93), (0.92, 0.95), style="joined"), Curve("b", x, y, style="joined"))
    (axes,) = draw(Figure("", (Panel("", "width", "validation accuracy", curves),))).axes
    low, high = axes.get_ylim()
    assert 0.85 < low < 0.9
    assert 0.95 < high < 1
    assert axes.get_xlim()[0] < 16 < 32 < axes.get_xlim()[1]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["16", "32"]


def test_an_accuracy_axis_is_in_percent():
    drawing = plot_curves(HISTORY)
    loss, accuracy = ([tick.get_text() for tick in axes.get_yticklabels()] for axes in drawing.axes)
    assert all(text.endswith(" %") for text in accuracy)
    assert not any(text.endswith("%") for text in loss)


def test_two_classes_have_shades_in_proportion_to_their_counts():
    names = ("no", "yes")
    (axes,) = draw(Figure("", (Matrix("", "", "", names, names, ((13, 7), (0, 20))),), legend="none")).axes
    assert axes.images[0].get_array().ravel().tolist() == pytest.approx([0.65, 0.35, 0, 1])


def test_a_long_title_of_a_panel_is_broken_into_lines_of_similar_length():
    panels = tuple(Panel("16 hidden units, learning rate 0.001: epoch 8", "", "", ()) for _ in range(3))
    axes = draw(Figure("", panels), width=6.5).axes[0]
    first, *_, last = axes.get_title().splitlines()
    assert len(last) > 0.5 * len(first)
