"""The specification of a study: what users type, what is stored, what is refused."""

import os
import re
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from chalknet.checked import MAX_TOML_BYTES
from chalknet.config import SECTION_OF_FIELD, DataConfig, Recipe
from chalknet.errors import ConfigError
from chalknet.studies.spec import (
    NOT_VARIED,
    SEARCH_FIELDS,
    STUDY_FIELDS,
    Range,
    SearchConfig,
    StudySpec,
    parse_vary,
    read_spec,
    spec_from_tables,
    spec_tables,
    value_list,
)


def values_of(text):
    name, values = parse_vary(text)
    spec = StudySpec(vary=((name, values),))
    return value_list(name, spec.vary[0][1], spec.recipe)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("hidden=100,500,512x256", ((100,), (500,), (512, 256))),
        ("learning_rate=1e-6:1e-4:log5", (1e-6, 3.1623e-6, 1e-5, 3.1623e-5, 1e-4)),
        ("momentum=0:0.9:lin4", (0.0, 0.3, 0.6, 0.9)),
        ("epochs=1:3:lin9", (1, 2, 3)),  # rounded, doubles dropped
        ("batch-size=16:128:log4", (16, 32, 64, 128)),
        ("batch_size=full,32", ("full", 32)),
        ("hidden=10:1000:log3", ((10,), (100,), (1000,))),
        ("train_size=100:300:lin3", (100, 200, 300)),
        ("train_size=0.1:0.3:lin3", (0.1, 0.2, 0.3)),
        ("dtype=float32,float64", ("float32", "float64")),
        ("bias_momentum=true,false", (True, False)),
        ("stop_early=False,True", (False, True)),
        ("momentum=0.9990:0.9999:lin4", (0.999, 0.9993, 0.9996, 0.9999)),
    ],
)
def test_what_is_typed_is_what_varies(text, values):
    assert values_of(text) == values


@given(st.floats(1e-9, 1e3), st.floats(1.001, 1e6), st.sampled_from(["lin", "log"]), st.integers(2, 50), st.booleans())
def test_a_range_has_its_ends_exactly_goes_up_and_is_even(low, factor, kind, count, is_whole):
    low, high = (round(low) + 1, round(low * factor) + 2) if is_whole else (low, low * factor)
    points = Range(float(low), float(high), kind, count).points()
    assert (points[0], points[-1], len(points)) == (low, high, count)
    assert all(b > a for a, b in pairwise(points))
    for i, point in enumerate(points):
        t = i / (count - 1)
        exact = low * (high / low) ** t if kind == "log" else low + (high - low) * t
        # a thousandth of the smallest distance is at most a thousandth of the mean one
        assert abs(point - exact) <= (high - low) / (count - 1) / 1000 + 1e-12 * high


specs = st.builds(
    lambda rate, hidden, batch, rest: StudySpec(vary=(("learning_rate", rate), *hidden, *batch), **rest),
    st.one_of(
        st.lists(st.floats(1e-9, 1.0), min_size=1, max_size=4, unique=True).map(tuple),
        st.builds(
            Range, st.floats(1e-9, 1e-4), st.floats(1e-3, 1.0), st.sampled_from(["lin", "log"]), st.integers(2, 9)
        ),
    ),
    st.lists(st.lists(st.integers(1, 99), min_size=1, max_size=3).map(tuple), min_size=1, max_size=3, unique=True).map(
        lambda values: [("hidden", tuple(values))]
    ),
    st.sampled_from([[], [("batch_size", ("full", 16))], [("bias_momentum", (True, False))]]),
    st.fixed_dictionaries(
        {
            "seeds": st.integers(1, 99),
            "first_seed": st.integers(0, 2**31),
            "seeds_vary": st.sampled_from([("init",), ("init", "order"), ("init", "order", "split"), ("split",)]),
            "data": st.builds(DataConfig, source=st.text(max_size=9), class_names=st.just(("a", "b"))),
            "recipe": st.builds(lambda n: Recipe().with_settings(epochs=n), st.integers(1, 99)),
        },
        optional={"sample": st.integers(1, 9), "search": st.none()},
    ),
)


@given(specs, st.booleans())
def test_a_specification_written_reads_back_the_same(spec, with_search):
    if with_search and spec.sample is None:
        spec = StudySpec(**{**vars(spec), "search": SearchConfig(trials=7, objective="valid_loss")})
    assert spec_from_tables(tomllib.loads(tomli_w.dumps(spec_tables(spec))), "study.toml") == spec


SMALL_LAYERS = ["flatten", {"type": "dense", "units": 4, "l2": 0.02}, "relu"]


def test_named_configurations_survive_the_file(tmp_path):
    named = {"no penalty": {}, "L2 0.01": {"layers": SMALL_LAYERS}, "faster": {"learning_rate": 1e-3, "hidden": [7]}}
    spec = StudySpec(configurations=named, seeds=2)
    (tmp_path / "study.toml").write_text(tomli_w.dumps(spec_tables(spec)))
    again = read_spec(tmp_path / "study.toml")
    assert again == spec
    assert [name for name, _ in again.configurations] == list(named)
    assert dict(again.configurations)["faster"] == (("learning_rate", 1e-3), ("hidden", (7,)))
    assert again.n_runs == 6
    assert again.values("learning_rate") == (1e-5, 1e-3)


@pytest.mark.parametrize(
    ("configurations", "message"),
    [
        ({"a": {}, "b": {"epochs": 200}}, "configuration 'b' stands with the settings of 'a' in the study."),
        ((("a", {}), ("a", {"epochs": 3})), "configuration 'a' stands a second time in the study."),
        ({" ": {}}, "a configuration must have a name of 1 to 60 characters, got ' '."),
        ({"a\nb": {}}, "a configuration must have a name of 1 to 60 characters"),
        ({"a": {"seed": 3}}, "seed cannot vary"),
        ({"a": {"hidden": 0}}, "hidden must be one or more integers from 1 to 1000000, got 0 (configuration 'a')."),
    ],
)
def test_wrong_named_configurations_are_one_line(configurations, message):
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}"):
        StudySpec(configurations=configurations)


def test_names_and_a_grid_do_not_go_together():
    with pytest.raises(ConfigError, match=r"^a study trains either named configurations or what vary"):
        StudySpec(vary=(("hidden", (5, 6)),), configurations={"a": {}})


def test_the_order_of_the_fields_survives_the_file(tmp_path):
    spec = StudySpec(vary=tuple(map(parse_vary, ["momentum=0,0.5", "hidden=3,2", "dtype=float64"])))
    (tmp_path / "study.toml").write_text(tomli_w.dumps(spec_tables(spec)))
    assert [name for name, _ in read_spec(tmp_path / "study.toml").vary] == ["momentum", "hidden", "dtype"]


@pytest.mark.parametrize("name", sorted(set(SECTION_OF_FIELD) - set(NOT_VARIED)))
def test_any_field_can_vary_except_those_with_a_reason(name):
    recipe = Recipe()
    own = getattr(getattr(recipe, SECTION_OF_FIELD[name]), name)
    assert StudySpec(vary=((name, (own,)),)).vary == ((name, (own,)),)


COUNT = "a range must have 2 to 10,000 values, such as 1e-6:1e-4:log5 or 0:0.9:lin4, got "


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        (["hidden"], "vary must be FIELD=VALUES such as hidden=100,500 or momentum=0:0.9:lin4, got 'hidden'."),
        (["hiden=3"], "unknown field 'hiden' to vary. Did you mean 'hidden'?"),
        (
            ["layers=dense:5,dense:9"],
            "layers cannot vary: its values are lists. Name configurations in study.toml",
        ),
        (
            ["seed=1,2"],
            "seed cannot vary: every configuration is trained with several seeds. Set seeds and first_seed.",
        ),
        (["hidden=0"], "hidden must be one or more integers from 1 to 1000000, got [0]."),
        (["hidden=5,5"], "hidden must vary over different values, got 5 twice."),
        (["momentum=0:1:lin3"], "momentum must be a number >= 0 and < 1, got 1.0."),
        (["learning_rate=0:1:log3"], "a log range must begin above 0, got learning_rate=0:1:log3."),
        (["learning_rate=1:0.1:lin3"], "a range must go up between two numbers, such as 1e-6:1e-4:log5"),
        (["learning_rate=1:2:log0"], f"{COUNT}learning_rate=1:2:log0."),
        (["learning_rate=1e-6:1e-4:log01"], f"{COUNT}learning_rate=1e-6:1e-4:log01."),
        (["learning_rate=1:2:lin1"], "a range must have 2 to 10,000 values, such as 1e-6:1e-4:log5"),
        (["learning_rate=1:2:exp3"], "a range must be a:b:linN or a:b:logN, such as 1e-6:1e-4:log5, got"),
        (["learning_rate=nan:2:lin3"], "a range must go up between two numbers"),
        (["momentum=0:0.9:lin"], "momentum=0:0.9:lin must say how many values, such as 0:0.9:lin5, unless a search"),
        (["dtype=0:1:lin3"], "dtype must vary over a list: one of float32, float64; it has no range 0:1:lin3."),
        (["hidden=1,2", "hidden=3"], "hidden is varied twice. Put all its values into one list."),
        (
            ["epochs=1:9999:lin9999", "patience=1:99:lin99"],
            "a study must have at most 100,000 configurations, got 989,901.",
        ),
    ],
)
def test_what_cannot_vary_is_told_in_one_line(vary, message):
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}"):
        StudySpec(vary=tuple(map(parse_vary, vary)))


@pytest.mark.parametrize("name", ["split", "split_seed", "valid_size"])
def test_fields_that_change_the_scored_images_cannot_vary(name):
    with pytest.raises(ConfigError, match=f"^{name} cannot vary: configurations are compared image by image"):
        parse_vary(f"{name}=1,2")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": 0}, "seeds must be an integer from 1 to 10000, got 0."),
        ({"seeds": True}, "seeds must be an integer from 1 to 10000, got True."),
        ({"first_seed": 2**32 - 1}, "the last seed must be an integer from 0 to 4294967295, got 4294967297."),
        ({"seeds_vary": ()}, "seeds_vary must be one or more of init, order, split, got ()."),
        (
            {"seeds_vary": ("init", "luck")},
            "seeds_vary must be one or more of init, order, split, got ('init', 'luck').",
        ),
        ({"seeds_vary": ("order",)}, "the seeds vary the order of mini-batches alone, but a full batch has none."),
        ({"recipe": Recipe().with_settings(seed=7)}, "seed is what the seeds count, so it cannot be set to 7."),
        ({"recipe": Recipe().with_settings(batch_seed=7)}, "batch_seed 7 fixes the batch order, which the seeds vary."),
        ({"recipe": Recipe().with_settings(split="custom")}, "a study cannot use split 'custom'"),
        ({"sample": 3, "search": SearchConfig()}, "a search and a sample of the grid both choose the configurations."),
        (
            {"vary": (), "search": SearchConfig()},
            "a search needs something to choose: name at least one field in vary.",
        ),
    ],
)
def test_contradictory_specification_is_one_line(changes, message):
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}"):
        StudySpec(**{"vary": (("hidden", (5, 6)),), **changes})


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"studdy": {}}, "unknown section 'studdy' in x.toml. Did you mean 'study'?"),
        ({"study": {"seed": 3}}, "unknown key 'seed' (x.toml, [study]). Did you mean 'seeds'?"),
        ({"study": 3}, "x.toml, [study] must be a section of keys, got 3."),
        ({"study": {"seeds": 0}}, "seeds must be an integer from 1 to 10000, got 0 (x.toml)."),
        (
            {"vary": {"hidden": 5}},
            "hidden must vary over a list of values or a range such as 1:9:lin5, got 5 (x.toml).",
        ),
        ({"vary": {"hidden": []}}, "hidden must vary over at least one value, got none (x.toml)."),
        ({"vary": [1]}, "x.toml, [vary] must be a section of fields, got [1]."),
        ({"search": {"sampler": "grid"}}, "sampler must be one of tpe, got 'grid' (x.toml, [search])."),
        ({"training": {"epochs": 0}}, "epochs must be an integer >= 1, got 0 (x.toml, [training])."),
        ({"format": 9}, "x.toml: format is 9, but this chalknet reads up to 5. Install a newer one."),
    ],
)
def test_a_wrong_file_is_named_with_its_section(tables, message):
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        spec_from_tables(tables, "x.toml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff", "is not TOML"),
        (b"a = " + b"[" * 100_000, "is not TOML"),
        (b"#" * (MAX_TOML_BYTES + 1), "cannot be read: it has 1,048,577 bytes, and at most 1,048,576 are read"),
        (None, "cannot be read: it is a pipe, a socket or a device and not a file"),
    ],
)
def test_a_file_that_is_no_study_toml_is_refused_at_once(tmp_path, content, message):
    path = tmp_path / "study.toml"
    os.mkfifo(path) if content is None else path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_spec(path)


@pytest.mark.parametrize("name", [*STUDY_FIELDS, *SEARCH_FIELDS])
def test_every_field_is_documented(name):
    assert f"`{name}`" in (Path(__file__).parents[2] / "docs" / "file_formats.md").read_text(encoding="utf-8")
