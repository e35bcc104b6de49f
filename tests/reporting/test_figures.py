"""Figures as plain data, and their drawings."""

import json
import math
import re

import pytest
from demonstration import demonstration
from hypothesis import given
from hypothesis import strategies as st

from chalknet.reporting.document import Document, FigureBlock, Section
from chalknet.reporting.document_view import draw_pictures
from chalknet.reporting.drawings.curves import draw
from chalknet.reporting.drawings.picture import default_settings, drawing_bytes
from chalknet.reporting.drawings.theme import DARK, LIGHT, TEMPLATE, paint
from chalknet.reporting.figures import Curve, Figure, HeatMap, Mark, Matrix, Panel

X = (1.0, 2.0, 3.0)
FIGURES = {block.name: block.figure for block in demonstration().blocks() if isinstance(block, FigureBlock)}


def one_panel(*curves, **settings):
    return Figure("", (Panel("", "x", "y", curves, **settings),))


def tuples(value):
    return tuple(map(tuples, value)) if isinstance(value, list) else value


@pytest.mark.parametrize("name", FIGURES)
def test_the_json_of_a_figure_has_everything_of_it(name):
    kinds = {"panel": Panel, "matrix": Matrix, "heatmap": HeatMap, "curves": Curve, "marks": Mark}

    def made(plain):
        """A figure, or a part of it, of the values that its JSON holds."""
        found = {key: tuples(value) for key, value in plain.items() if key not in ("kind", "format")}
        for key in found.keys() & {"panels", "curves", "marks"}:
            found[key] = tuple(kinds[part.get("kind", key)](**made(part)) for part in plain[key])
        return found

    plain = json.loads(FIGURES[name].json())
    assert plain["format"] == 1
    assert Figure(**made(plain)) == FIGURES[name]


@given(st.lists(st.floats(), min_size=1), st.text())
def test_any_values_and_names_are_json(values, name):
    curve = Curve(name, tuple(range(len(values))), tuple(values))
    plain = json.loads(one_panel(curve).json(), parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))
    again = plain["panels"][0]["curves"][0]
    assert again["label"] == name
    assert again["y"] == [value if math.isfinite(value) else None for value in values]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"low": X}, "low goes with high"),
        ({"low": X, "high": X[:2]}, "one length"),
        ({"style": "bars"}, "line, points or joined"),
    ],
)
def test_an_invalid_curve_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Curve("a", X, X, **settings)


def test_a_label_has_one_color_in_all_panels():
    a, b, c = (Curve(name, X, X) for name in "abc")
    left, right = draw(Figure("", (Panel("", "", "", (a, b)), Panel("", "", "", (c, b))))).axes
    assert [line.get_color() for line in left.lines] == [LIGHT.curves[0], LIGHT.curves[1]]
    assert [line.get_color() for line in right.lines] == [LIGHT.curves[2], LIGHT.curves[1]]


def test_every_curve_is_drawn_however_many_there_are():
    drawing = draw(one_panel(*(Curve(f"{k}", X, X) for k in range(12))))
    styles = {(line.get_color(), line.get_linestyle()) for line in drawing.axes[0].lines}
    assert len(styles) == 12


def test_bands_and_error_bars_span_low_to_high():
    low, high = (0.5, 1.0, 1.5), (1.5, 3.0, 4.5)
    band = draw(one_panel(Curve("a", X, X, low, high))).axes[0].collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == (0.5, 4.5)
    bars = draw(one_panel(Curve("a", X, X, low, high, "points"))).axes[0].containers[0][2][0].get_segments()
    assert [(segment[0][1], segment[1][1]) for segment in bars] == list(zip(low, high, strict=True))


def test_panels_fill_the_grid_row_by_row():
    panel = Panel("", "", "y", (Curve("a", X, X),))
    axes = draw(Figure("", (panel,) * 3, columns=2, legend="shared")).axes
    assert [ax.axison for ax in axes] == [True, True, True, False]
    assert all(ax.get_legend() is None for ax in axes)


def test_a_shared_legend_names_everything_once_in_order():
    mark, seeds = Mark(2.0, "stop", 1.5, 2.5), Curve("", X, X, style="points")
    panels = tuple(Panel("", "", "", (Curve(name, X, X, X, X, "points"), seeds), marks=(mark,)) for name in "ab")
    (legend,) = draw(Figure("", panels, legend="shared")).legends
    assert [text.get_text() for text in legend.get_texts()] == ["a", "stop", "b"]


def test_panels_of_one_range_share_it_and_name_it_once():
    panels = tuple(Panel("", "", "loss", (Curve("a", X, (0.0, top, 1.0)),)) for top in (1.0, 9.0))
    left, right = draw(Figure("", panels, same_y=True)).axes
    assert left.get_ylim() == right.get_ylim()
    assert (left.get_ylabel(), right.get_ylabel()) == ("loss", "")


def test_the_lowest_panel_of_each_column_keeps_its_axis():
    panel = Panel("", "epoch", "loss", (Curve("a", X, X),))
    first, *lowest, free = draw(Figure("", (panel,) * 3, columns=2, same_x=True, same_y=True)).axes
    assert first.get_xlabel() == ""
    assert not free.axison
    for axes in lowest:
        assert axes.get_xlabel() == "epoch"
        assert axes.xaxis.get_tick_params()["labelbottom"]


def test_marks_of_different_labels_have_different_dashes():
    marks = (Mark(1.5, "stopping point"), Mark(2.5, "kept epoch"))
    _, stop, kept = draw(one_panel(Curve("a", X, X), marks=marks)).axes[0].lines
    assert stop.get_dash_capstyle() == kept.get_dash_capstyle()
    assert stop._unscaled_dash_pattern != kept._unscaled_dash_pattern


def test_a_heat_map_shows_every_value_in_percent():
    panel = HeatMap("", "learning rate", "hidden units", ("5", "9"), ("0.1", "0.2"), ((0.5, 0.75), (None, 1.0)))
    axes = draw(Figure("", (panel,))).axes[0]
    assert [text.get_text() for text in axes.texts] == ["50.0", "75.0", "–", "100.0"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["5", "9"]


def test_few_points_have_a_tick_each():
    axes = draw(one_panel(Curve("a", (100.0, 500.0, 1000.0), X, style="points"))).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["100", "500", "1000"]


def test_few_values_on_a_log_axis_have_a_tick_each():
    axes = draw(one_panel(Curve("a", (100.0, 500.0, 2000.0), X), x_scale="log", y_scale="log")).axes[0]
    assert axes.get_xscale() == axes.get_yscale() == "log"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["100", "500", "2000"]
    assert axes.yaxis.get_major_formatter()(0.01) == "0.01"


def test_a_dark_drawing_has_light_letters_and_no_background():
    drawing = draw(FIGURES["widths"], DARK)
    assert not drawing.patch.get_visible()
    assert drawing.axes[0].xaxis.label.get_color() == DARK.ink


@pytest.mark.parametrize("theme", [LIGHT, DARK])
@pytest.mark.parametrize("name", ["widths", "nasty"])
def test_a_painted_drawing_has_the_colors_of_the_theme(theme, name):
    def colors(svg):
        return [color for color in re.findall(rb"(?:fill|stroke): (#\w{6})", svg) if color != b"#000000"]

    painted = paint(drawing_bytes(draw(FIGURES[name], TEMPLATE, 6.5), "svg"), theme)
    directly = drawing_bytes(draw(FIGURES[name], theme, 6.5), "svg")
    assert set(colors(painted)) == set(colors(directly))
    assert b"#fe00" not in painted


def contrast(first, second):
    """Of two colors, by WCAG 2: 1 to 21."""

    def luminance(color):
        parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    darker, lighter = sorted((luminance(first), luminance(second)))
    return (lighter + 0.05) / (darker + 0.05)


def test_the_first_three_colors_stand_out_on_their_page():
    """3 to 1 is what WCAG asks of parts of a drawing; the write-up's figures have three curves."""
    for theme in (LIGHT, DARK):
        assert min(contrast(color, theme.legend) for color in theme.curves[:3]) >= 3
        assert contrast(theme.ink, theme.legend) >= 7


def test_a_matrix_shows_every_count():
    matrix = Matrix("", "predicted", "true", ("a", "b"), ("a", "b"), ((120, 0), (3, 99)))
    texts = [text.get_text() for text in draw(Figure("", (matrix,))).axes[0].texts]
    assert texts == ["120", "·", "3", "99"]


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_equal_figures_are_equal_bytes(theme):
    first, second = (drawing_bytes(draw(FIGURES["nasty"], theme, 6.5), "svg") for _ in range(2))
    assert first == second


def test_user_settings_do_not_change_a_documents_drawing(pictures):
    import matplotlib

    block = next(block for block in demonstration().blocks() if getattr(block, "name", "") == "widths")
    document = Document("", sections=(Section("1", "", (block,)),))
    with matplotlib.rc_context({"font.size": 30, "text.color": "red", "lines.linewidth": 9, "savefig.bbox": "tight"}):
        assert draw_pictures(document)["widths"] == pictures["widths"]


def test_drawing_leaves_user_settings_unchanged():
    import matplotlib

    before = dict(matplotlib.rcParams)
    with default_settings():
        draw(FIGURES["widths"], DARK, 6.5)
    assert dict(matplotlib.rcParams) == before
