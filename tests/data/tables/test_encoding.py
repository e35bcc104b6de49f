"""Tables of mixed columns: what each column becomes, in training and in prediction, from files and frames."""

from __future__ import annotations

import datetime
import json

import numpy as np
import polars as pl
import pytest
from conftest import npz_bytes

import chalknet
from chalknet.artifacts.export_numpy import numpy_bytes
from chalknet.config import TableOptions
from chalknet.data.dataset import dataset_from_arrays
from chalknet.data.load import load_data, load_inputs
from chalknet.data.preprocess import fit_scaling
from chalknet.data.tables.columns import Column
from chalknet.data.tables.encoding import TableEncoding, encoding_from_table, find_encoding
from chalknet.data.tables.texts import parsed_numbers
from chalknet.errors import ConfigError, DataError
from chalknet.formatting import flags_in_messages

N = 24
TABLE = {
    "age": [None if at % 8 == 0 else 20 + at for at in range(N)],
    "city": [None if at % 6 == 0 else ["Oslo", "Rome", "Lima"][at % 3] for at in range(N)],
    "sex": ["male" if at % 2 else "female" for at in range(N)],
    "day": [datetime.date(2020, 1, 1) + datetime.timedelta(days=37 * at) for at in range(N)],
    "label": ["yes" if at % 3 else "no" for at in range(N)],
}
NAMES = (
    "age",
    "day in days",
    "age: missing",
    "city: Lima",
    "city: Oslo",
    "city: Rome",
    "city: missing",
    "sex: male",
    "day: sine of time of year",
    "day: cosine of time of year",
    "day: sine of day of week",
    "day: cosine of day of week",
)


def frame(**columns):
    return pl.DataFrame({**TABLE, **columns})


def retold_rows():
    """Return the inputs of TABLE, computed value by value."""
    rows = []
    for age, city, sex, day in zip(*(TABLE[name] for name in ("age", "city", "sex", "day")), strict=True):
        days = (day - datetime.date(1970, 1, 1)).days
        year, week = (2 * np.pi * turns for turns in (days / 365.2425, day.weekday() / 7))
        week += 2 * np.pi * (0 if day.weekday() < 7 else 1)
        rows.append(
            [
                np.nan if age is None else age,
                days,
                float(age is None),
                *(float(city == name) for name in ("Lima", "Oslo", "Rome", None)),
                1.0 if sex == "male" else -1.0,
                *(np.sin(year), np.cos(year), np.sin(week), np.cos(week)),
            ]
        )
    return np.array(rows)


def test_every_kind_of_column_becomes_its_inputs():
    data = load_data(frame())
    assert data.input_names == NAMES
    np.testing.assert_allclose(data.inputs, retold_rows(), atol=1e-9)
    assert data.class_names == ("no", "yes")
    assert data.notes == ()
    assert data.encoding.n_numbers == 2


def write_csv(path, table):
    path.write_text(table.write_csv(date_format="%Y-%m-%d"))


WRITERS = {
    "t.csv": write_csv,
    "t.tsv": lambda path, table: path.write_text(table.write_csv(separator="\t")),
    "t.parquet": lambda path, table: table.write_parquet(path),
    "t.arrow": lambda path, table: table.write_ipc(path, compression="uncompressed"),
    "t.jsonl": lambda path, table: path.write_text(table.with_columns(pl.col("day").cast(pl.String)).write_ndjson()),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_samples(name, tmp_path):
    WRITERS[name](tmp_path / name, frame())
    data = load_data(tmp_path / name)
    np.testing.assert_array_equal(data.inputs, load_data(frame()).inputs)
    assert (data.input_names, data.class_names) == (NAMES, ("no", "yes"))


def test_a_dict_of_columns_is_a_table():
    np.testing.assert_array_equal(load_data(TABLE).inputs, load_data(frame()).inputs)


def test_columns_are_found_by_name_in_any_order_and_others_are_noted():
    encoding = load_data(frame()).encoding
    other = frame(extra=[1] * N).select(["extra", "sex", "day", "city", "age", "label"]).sample(N, shuffle=True, seed=1)
    rows, notes = encoding.encode(other, "other")
    order = [TABLE["day"].index(day) for day in other["day"]]
    np.testing.assert_array_equal(rows, load_data(frame()).inputs[order])
    assert notes == ("1 column that the model does not know is ignored: 'extra'.",)
    with pytest.raises(DataError, match=r"^other: has no columns 'age', 'sex'; its columns are 'city', 'day'"):
        encoding.encode(other.select(["city", "day"]), "other")


def test_categories_that_training_did_not_have_are_zero_and_counted():
    encoding = load_data(frame()).encoding
    rows, notes = encoding.encode(frame(city=["Bern"] * N, sex=["other"] * 2 + ["male"] * (N - 2)), "other")
    assert not rows[:, 3:7].any()
    assert rows[:3, 7].tolist() == [0, 0, 1]
    assert notes == (
        f"Column 'city' has {N} values of categories that training did not have.",
        "Column 'sex' has 2 values of categories that training did not have.",
    )


def test_values_that_are_missing_only_in_prediction_are_noted():
    encoding = load_data(frame(age=list(range(20, 20 + N)), keep=[1.5] * N), keep=["age"]).encoding
    rows, notes = encoding.encode(frame(age=[None] * N, keep=[1.5] * N, sex=[None] * N), "other")
    assert np.isnan(rows[:, 0]).all()
    assert notes == (
        f"Column 'age' has {N} missing values, and training had none. They get the median of the training samples.",
        f"Column 'sex' has {N} missing values, and training had none. They are encoded as unknown.",
    )


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("age", ["x"] * N, r"row 0 \(from 0\), column 'age': 'x' is not a number, as the column was in training"),
        ("age", [1.0] * 3 + [np.inf] * (N - 3), r"row 3 \(from 0\), column 'age': inf is not a finite number"),
        ("day", ["soon"] * N, r"row 0 \(from 0\), column 'day': 'soon' is not a date"),
    ],
)
def test_values_of_another_kind_are_refused_by_row_and_column(name, values, message):
    with pytest.raises(DataError, match=message):
        load_data(frame()).encoding.encode(frame(**{name: values}), "other")


def test_values_of_another_kind_in_a_csv_file_are_refused_by_line(tmp_path):
    train = load_data({"x": [1.5, None, 3.0, 5.0] * 10, "label": ["p", "q"] * 20})
    for text in ("x\n1\n\nsoon\n", "\nx\n\nsoon\n", "x\n1\n\ninf\n", "x,label\n1,p\n\nsoon,q\n"):
        (tmp_path / "t.csv").write_text(text)
        with pytest.raises(DataError, match=r"t\.csv: line 4, column 'x': (soon|'soon'|'inf'|inf) is not a"):
            load_inputs(tmp_path / "t.csv", train.n_inputs, encoding=train.encoding)
    with pytest.raises(DataError, match=r"t\.csv: line 4, column 'x': 'soon' is not a"):
        load_data(tmp_path / "t.csv", like=train)


def test_a_column_of_numbers_cannot_be_made_of_words():
    with pytest.raises(DataError, match=r"'city' holds no numbers, but values such as 'Rome'\. Take it out of numeric"):
        load_data(frame(), numeric=["city"])


def test_an_encoding_is_stored_and_read():
    encoding = load_data(frame()).encoding
    table = json.loads(json.dumps(encoding.as_table()))
    assert encoding_from_table(table) == encoding


@pytest.mark.parametrize(
    "change",
    [
        {"columns": []},
        {"columns": 5},
        {"decimal": ";"},
        {"columns": [{"name": "a"}]},
        {"label": None},
    ],
)
def test_a_damaged_encoding_is_refused(change):
    table = json.loads(json.dumps(load_data(frame()).encoding.as_table())) | change
    with pytest.raises(DataError, match=r"its encoding|its decimal mark|label|columns|name"):
        encoding_from_table(table)


@pytest.mark.parametrize(
    "change",
    [{"kind": "text"}, {"categories": []}, {"categories": ["a", "a"]}, {"date_format": "%c"}, {"name": "a\x1b"}],
)
def test_a_damaged_column_is_refused(change):
    column = {"name": "a", "kind": "category", "categories": ["x", "y"], "has_missing": False} | {
        "date_format": "",
        "has_time": False,
    }
    table = {"columns": [column | change], "ignored": [], "label": "", "missing": [], "decimal": "."}
    with pytest.raises(DataError):
        encoding_from_table(table)


# ---- what a column holds --------------------------------------------------------------------------------------------


def kinds(table, **options):
    data = load_data({**table, "label": [at % 2 for at in range(len(next(iter(table.values()))))]}, **options)
    return {one.name: one.kind for one in data.columns}, data


def test_identities_numbers_of_rows_and_free_texts_are_left_out_with_a_note():
    table = {
        "a": [at % 5 for at in range(60)],
        "row": list(range(60)),
        "customer_id": [at * at + 7 for at in range(60)],
        "name": [f"person {at}" for at in range(60)],
        "remark": [f"remark {at % 45}" for at in range(60)],
        "only": ["x"] * 60,
        "empty": [None] * 60,
    }
    found, data = kinds(table)
    assert found == {
        "a": "number",
        "row": "id",
        "customer_id": "id",
        "name": "id",
        "remark": "text",
        "only": "constant",
        "empty": "constant",
    }
    assert data.input_names == ("a", "only: x")
    assert [note.split(" ")[1] for note in data.notes] == ["'row'", "'customer_id'", "'name'", "'remark'"]
    found, data = kinds(table, keep=["row", "remark"], drop=["a"], categorical=["customer_id"])
    assert (found["row"], found["remark"], found["customer_id"], found["a"]) == (
        "number",
        "category",
        "category",
        "column",
    )


def test_texts_among_numbers_that_mean_missing_are_missing():
    values = [str(at) for at in range(20)] + ["-", "none"]
    found, data = kinds({"a": values})
    assert found == {"a": "number"}
    assert data.notes == ("Column 'a': '-', 'none' (2 values) among numbers is read as missing.",)
    assert np.isnan(data.inputs[-2:, 0]).all()


MARKED = {
    "$1,234.50": 1234.5,
    "-$5": -5.0,
    "$-5": -5.0,
    "12 €": 12.0,
    "USD 1,000": 1000.0,
    "1,234,567": 1234567.0,
    "58 %": 58.0,
    "+.5%": 0.5,
    "14:30": 52_200.0,
    "0:00:01.5": 1.5,
    "2:30 PM": 52_200.0,
    "12:05 a.m.": 300.0,
}
NOT_MARKED = ("1,23 $", "$", "5 %%", "24:00", "13:00 pm", "0:30 am", "12 km", "1.5.2", "$1,23", "1e5 $", "a 5 %")
COMMA_MARKED = {"1.234,50 €": 1234.5, "12,5 %": 12.5, "14:30": 52_200.0}
NOT_COMMA_MARKED = ("1,234.5 €", "12.5 %")


@pytest.mark.parametrize(
    ("decimal", "marked", "others"), [(".", MARKED, NOT_MARKED), (",", COMMA_MARKED, NOT_COMMA_MARKED)]
)
def test_currencies_percent_signs_and_times_of_day_are_numbers(decimal, marked, others):
    texts = pl.Series("a", [*marked, *others, None, "7"])
    assert parsed_numbers(texts, decimal).to_list() == [*marked.values(), *[None] * len(others), None, 7.0]
    # A file that is exported without chalknet reads texts in the same way.
    table = {"a": [text for text in [*marked, "7"] for _ in range(4)], "label": list("xy") * 2 * (len(marked) + 1)}
    data = load_data(table, decimal=decimal)
    network = chalknet.train(data, "strong-rows", hidden=[2], epochs=1).network
    file = {"__name__": "predictor"}
    exec(compile(numpy_bytes(network), "predictor.py", "exec"), file)
    np.testing.assert_array_equal(file["encode"](table), data.inputs)
    for text in others:
        with pytest.raises(ValueError, match="is not a number"):
            file["encode"]({"a": [text]})
        with pytest.raises(DataError, match=r"is not a (number|time of day)"):
            data.encoding.encode(pl.DataFrame({"a": [text]}), "t")
    for text, message in {"25:10": "is not a time of day such as 13:45", "1,23": "if it separates thousands"}.items():
        if decimal == ".":
            with pytest.raises(DataError, match=message):
                data.encoding.encode(pl.DataFrame({"a": [text]}), "t")


@pytest.mark.parametrize(
    ("columns", "texts"),
    [
        ("x", {"x\n1\n\n3\n": 3, "x\n\n1\n \n3\n\n\n": 6, "\nx\r\n1\r\n\r\n3": 3, 'x\n1\n""\n3\n\n': 4}),
        ("xc", {"x,c\n1,a\n,\n3,b\n\n": 3, "\nx,c\n1,a\n\n , \n3,b\n,\n": 4, 'x;c\n"";\n\n1;"a\n\n"\n': 2}),
    ],
)
def test_the_exported_file_reads_empty_rows_as_the_package_does(columns, texts, tmp_path):
    table = {"x": [1.5, None, 3.0, 5.0] * 10, "c": ["a", "b", None, "b"] * 10}
    data = load_data({**{name: table[name] for name in columns}, "label": ["p", "q"] * 20})
    file = {"__name__": "predictor"}
    exec(compile(numpy_bytes(chalknet.train(data, hidden=[2], epochs=1).network), "predictor.py", "exec"), file)
    for text, n in texts.items():
        (tmp_path / "t.csv").write_bytes(text.encode())
        inputs = load_inputs(tmp_path / "t.csv", data.n_inputs, encoding=data.encoding).inputs
        assert len(inputs) == n
        np.testing.assert_array_equal(file["encode"](file["read_table"](tmp_path / "t.csv")), inputs, text)
    (tmp_path / "t.csv").write_text(",".join(columns))
    with pytest.raises(ValueError, match="the table has a header and no rows"):
        file["read_table"](tmp_path / "t.csv")


def test_marks_of_numbers_are_noted_and_can_be_categories():
    values = [f"${at},000" for at in range(1, 41)]
    found, data = kinds({"price": values, "share": [f"{at % 5} %" for at in range(40)]})
    assert found == {"price": "number", "share": "number"}
    assert data.notes[0] == (
        "Column 'price': '$1,000' is read as the number 1000, and its other values likewise. If these are "
        "categories, give categorical=['price']."
    )
    assert data.inputs[3].tolist() == [4000.0, 3.0]
    found, _ = kinds({"share": [f"{at % 5} %" for at in range(40)]}, categorical=["share"])
    assert found == {"share": "category"}
    with pytest.raises(DataError, match="decimal comma, give decimal=','"):
        kinds({"share": [f"{at},5 %" for at in range(40)]})


@pytest.mark.parametrize(
    ("mark", "text", "ends"),
    [
        (".", "107,0", ' separates thousands. If its comma is a decimal comma, give --decimal ",".'),
        (".", "1,23", ' separates thousands. If its comma is a decimal comma, give --decimal ",".'),
        (".", "a,b", " Leave out the comma if it separates thousands."),
        (".", "many", " Correct the value, or leave it empty."),
        (",", "1.5", ' or leave it empty. If its point is a decimal point, give --decimal ".".'),
    ],
)
def test_another_decimal_mark_than_in_training_is_asked_for(tmp_path, mark, text, ends):
    def table(*cells):
        return "price;kind;label\n" + "".join(f"{cell};{'ab'[at % 2]};{at % 2}\n" for at, cell in enumerate(cells))

    (tmp_path / "t.csv").write_text(table(*(f"{at}{mark}5" for at in range(30))))
    (tmp_path / "new.csv").write_text(table(text, f"2{mark}5 %"))
    train = load_data(tmp_path / "t.csv", decimal=mark)
    with pytest.raises(DataError) as raised:
        load_data(tmp_path / "new.csv", like=train)
    with flags_in_messages():
        assert str(raised.value).endswith(ends)
    with pytest.raises(DataError) as raised:  # a frame is not read with a decimal mark
        train.encoding.encode(pl.DataFrame({"price": [text], "kind": ["a"]}), "t")
    assert "decimal" not in str(raised.value)


def test_a_decimal_comma_is_read_if_it_is_given(tmp_path):
    rows = "".join(f"{at},{at % 10};{'ab'[at % 2]};{at % 2}\n" for at in range(30))
    (tmp_path / "t.csv").write_text("price;kind;label\n" + rows)
    data = load_data(tmp_path / "t.csv", decimal=",")
    assert data.inputs[11, 0] == 11.1
    with pytest.raises(DataError, match=r"give decimal=','"):
        load_data(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("text", "date_format"),
    [
        ("2021-03-{:02d}", "%Y-%m-%d"),
        ("{:02d}.03.2021", "%d.%m.%Y"),
        ("03/{:02d}/2021", "%m/%d/%Y"),
        ("{:02d}/03/2021", "%d/%m/%Y"),
        ("2021-03-{:02d} 10:30", "%Y-%m-%d %H:%M"),
    ],
)
def test_dates_are_recognized_by_their_texts(text, date_format):
    _, data = kinds({"when": [text.format(at % 28 + 1) for at in range(60)]})
    assert data.encoding.columns == (Column("when", "date", date_format=date_format),)
    assert np.ptp(data.inputs[:, 0]) == 27
    assert data.columns[0].values == "2021-03-01 to 2021-03-28"


def test_dates_that_can_be_read_in_two_ways_are_noted():
    _, data = kinds({"when": [f"{at % 12 + 1:02d}/{at % 11 + 1:02d}/2021" for at in range(60)]})
    assert data.notes[0].startswith("Column 'when': dates such as 01/01/2021 are read as month/day/year.")


def test_only_the_most_frequent_categories_are_columns():
    values = [f"k{at % 400}" for at in range(1200)] + ["k7"] * 100
    _, data = kinds({"a": values})
    assert len(data.encoding.columns[0].categories) == 256
    assert "k7" in data.encoding.columns[0].categories
    assert "400 categories. The 256 most frequent ones are used" in data.notes[0]


def test_equal_tables_give_equal_encodings_whatever_the_order():
    one, other = load_data(frame()), load_data(frame().sample(N, shuffle=True, seed=2))
    assert one.encoding == other.encoding


def test_points_of_a_table_with_decimal_commas_separate_thousands_only(tmp_path):
    rows = "".join(f"{at % 28 + 1:02d}.12.2020;1.{at:03d},5;1.3.{at};{at % 2}\n" for at in range(40))
    (tmp_path / "t.csv").write_text("day;price;version;label\n" + rows)
    data = load_data(tmp_path / "t.csv", decimal=",", keep=["version"])
    assert {one.name: one.kind for one in data.columns} == {"day": "date", "price": "number", "version": "category"}
    assert data.inputs[7, data.input_names.index("price")] == 1007.5
    with pytest.raises(DataError, match=r"row 0 \(from 0\), column 'price': '0\.838' is not a number"):
        data.encoding.encode(pl.DataFrame({"day": ["01.12.2020"], "price": ["0.838"], "version": ["1"]}), "new")


def test_the_advice_for_thousands_says_what_else_the_comma_can_be():
    values = ["1,234", "12,500", "900"] * 8
    with pytest.raises(DataError, match=r"give decimal=','\. If it separates thousands, remove it\."):
        kinds({"a": values})


def test_types_of_a_frame_say_what_a_column_holds():
    times = [datetime.time(at % 24, 30) for at in range(30)]
    spans = [datetime.timedelta(hours=at) for at in range(30)]
    codes = pl.Series([str(at % 4) for at in range(30)]).cast(pl.Categorical)
    found, data = kinds({"time": times, "span": spans, "code": codes, "lists": [[at] for at in range(30)]})
    assert found == {"time": "number", "span": "number", "code": "category", "lists": "other"}
    assert data.notes == ("Column 'lists' holds lists, records or bytes and is left out.",)
    assert data.inputs[3, :2].tolist() == [3.5 * 3600, 3 * 3600]


def test_true_and_false_are_one_category_however_they_are_written():
    encoding = load_data({"flag": ["True", "False"] * 10, "label": [0, 1] * 10}).encoding
    wanted, notes = encoding.encode(pl.DataFrame({"flag": [True, False]}), "frame")
    assert notes == ()
    np.testing.assert_array_equal(encoding.encode(pl.DataFrame({"flag": ["TRUE", "false"]}), "texts")[0], wanted)


@pytest.mark.parametrize(
    "text",
    [
        "2021-03-{:02d}T10:05:00",
        "2021-03-{:02d}T10:05:00.250000",
        "2021-03-{:02d}T10:05:00Z",
        "2021-03-{:02d}T10:05",
        "{:02d}-Mar-2021",
    ],
)
def test_time_stamps_are_dates(text):
    found, data = kinds({"when": [text.format(at % 28 + 1) for at in range(60)]})
    assert found == {"when": "date"}
    assert data.notes == ()  # only the order of day and month can be in doubt
    assert np.ptp(data.inputs[:, 0]) == pytest.approx(27)


def test_a_dict_may_hold_nan_among_texts():
    data = load_data({"city": ["Oslo", float("nan"), "Rome", None] * 5, "label": [0, 1] * 10})
    assert data.encoding.columns == (Column("city", "category", ("Oslo", "Rome"), has_missing=True),)


def test_an_empty_table_says_so():
    with pytest.raises(DataError, match=r"no samples; the table has no rows"):
        load_data(pl.DataFrame({"a": [], "label": []}))


# ---- labels ---------------------------------------------------------------------------------------------------------


def test_labels_can_be_texts_numbers_and_booleans():
    assert load_data({"a": [1, 2, 3], "y": [True, False, True]}).class_names == ("false", "true")
    assert load_data({"a": [1, 2, 3], "y": [3.0, 5.0, 3.0]}).class_names == ("3", "5")
    data = dataset_from_arrays(np.eye(3), np.array(["b", "a", "b"]))
    assert (data.class_names, data.labels.tolist()) == (("a", "b"), [1, 0, 1])


@pytest.mark.parametrize("labels", [["a", None, "b"], ["a", float("nan"), "b"], ["a", " ", "b"]])
def test_missing_labels_are_refused(labels):
    with pytest.raises(DataError, match=r"is missing|label is empty"):
        dataset_from_arrays(np.eye(3), np.array(labels, object))
    with pytest.raises(DataError, match=r"the label is (empty|'NaN')"):
        load_data(pl.DataFrame({"a": [1, 2, 3], "y": pl.Series(labels, strict=False, dtype=pl.String)}))


def test_a_table_without_a_label_says_how_to_name_it():
    with pytest.raises(DataError, match=r"no column is named label, class, target or y; the columns are 'a', 'b'"):
        load_data({"a": [1, 2], "b": [3, 4]})
    assert load_data({"a": [1, 2], "b": [3, 4]}, label_column="B").class_names == ("3", "4")
    assert load_data({"a": [1, 2], "b": [3, 4]}, label_column=0).class_names == ("1", "2")


# ---- files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.parquet", b"PAR1" + bytes(40), "cannot be read as Parquet"),
        ("t.arrow", b"ARROW1" + bytes(40), "cannot be read as Arrow"),
        ("t.jsonl", b'{"a": 1,\n', "line 1 is not JSON"),
        ("t.xlsx", npz_bytes(x=np.zeros(2)), "cannot be read as Excel"),
    ],
)
def test_a_damaged_file_of_a_table_is_one_line(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        load_data(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_options_of_tables_are_refused_for_other_sources(tmp_path):
    (tmp_path / "a.npz").write_bytes(npz_bytes(images=np.zeros((4, 2, 2), np.uint8), labels=np.array([0, 1, 0, 1])))
    with pytest.raises(ConfigError, match=r"drop has no meaning for an \.npz file"):
        load_data(tmp_path / "a.npz", drop=["a"])
    frame().write_parquet(tmp_path / "t.parquet")
    with pytest.raises(ConfigError, match="decimal has no meaning for a table"):
        load_data(tmp_path / "t.parquet", decimal=",")


@pytest.mark.parametrize(
    "options",
    [{"drop": "a"}, {"decimal": "x"}, {"delimiter": "ab"}, {"header": "yes"}, {"missing": [5]}],
)
def test_invalid_options_are_refused(options):
    with pytest.raises(ConfigError):
        TableOptions(**options)


def test_samples_for_prediction_need_no_label(tmp_path):
    encoding = load_data(frame()).encoding
    write_csv(tmp_path / "t.csv", frame().drop("label"))
    frame().drop("label").write_parquet(tmp_path / "t.parquet")
    for name in ("t.csv", "t.parquet"):
        samples = load_inputs(tmp_path / name, encoding.n_inputs, encoding=encoding)
        np.testing.assert_array_equal(samples.inputs, load_data(frame()).inputs)
    with pytest.raises(DataError, match="has 4 columns; expected 3, or 4 with a label"):
        load_inputs(tmp_path / "t.parquet", 3)


def test_validation_samples_are_encoded_like_the_training_samples():
    train = load_data(frame())
    other = frame(city=["Bern"] * N)
    assert load_data(other, like=train).encoding == train.encoding
    assert load_data(other).encoding != train.encoding


# ---- missing values -------------------------------------------------------------------------------------------------


def test_missing_values_become_the_median_of_the_training_samples():
    rows = np.array([[1.0, np.nan], [3.0, 5.0], [10.0, np.nan], [np.nan, 7.0], [1e6, 1e6]])
    scaling = fit_scaling("standard", rows, np.arange(4), False, may_be_missing=True)
    np.testing.assert_array_equal(scaling.fill, [3.0, 6.0])
    full = np.where(np.isnan(rows), scaling.fill, rows)
    np.testing.assert_allclose(scaling(rows, np.float64), (full - full[:4].mean(0)) / full[:4].std(0))


def test_a_weight_of_two_is_a_sample_given_twice():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(30, 4))
    rows[rng.random(rows.shape) < 0.3] = np.nan
    times = rng.integers(1, 4, 30)
    twice = np.repeat(rows, times, axis=0)
    one = fit_scaling("standard", rows, np.arange(30), False, times.astype(float), True)
    other = fit_scaling("standard", twice, np.arange(len(twice)), False, None, True)
    for name in ("fill", "shift", "scale"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-12)


def test_a_column_that_is_always_missing_in_training_is_ignored():
    rows = np.array([[np.nan, 1.0], [np.nan, 2.0], [5.0, 3.0]])
    scaling = fit_scaling("standard", rows, np.arange(2), False, may_be_missing=True)
    assert scaling.ignored == [0]
    assert abs(scaling(rows, np.float64)[2, 0]) < 1e-20


def test_plain_numbers_in_a_frame_need_no_encoding():
    assert find_encoding(pl.DataFrame({"a": [1, 2], "b": [0.5, 1.5]})) == (None, ())
    assert find_encoding(np.zeros((3, 2))) == (None, ())
    assert isinstance(find_encoding(frame().drop("label"))[0], TableEncoding)


def test_codes_that_begin_with_0_are_categories(tmp_path):
    codes = ["01234", "98765", "01234", "55555"]
    lines = "\n".join(f"{code},{at},{'ab'[at % 2]}" for at, code in enumerate(codes * 5))
    (tmp_path / "t.csv").write_text(f"zip,n,label\n{lines}\n")
    data = load_data(tmp_path / "t.csv", keep=["n"])
    assert data.encoding.columns[0].categories == ("01234", "55555", "98765")
    assert "give numeric=['zip']" in "".join(data.notes)
    again = load_data(tmp_path / "t.csv", like=data)
    assert np.array_equal(again.inputs, data.inputs)
    numbers = load_data(tmp_path / "t.csv", numeric=["zip"], keep=["n"])
    assert numbers.inputs[:2, 0].tolist() == [1234.0, 98765.0]


@pytest.mark.parametrize("mark", ["", "NA", "?"])
def test_codes_are_categories_although_some_are_missing(tmp_path, mark):
    lines = "\n".join(f"{code},{'ab'[at % 2]}" for at, code in enumerate(["01234", mark, "98765"] * 5))
    (tmp_path / "t.csv").write_text(f"zip,label\n{lines}\n")
    column = load_data(tmp_path / "t.csv").encoding.columns[0]
    assert (column.categories, column.has_missing) == (("01234", "98765"), True)


@pytest.mark.parametrize("codes", [["12345", "98765"], ["012", "98765"], ["1.50", "0.25"], ["0", "1"]])
def test_other_numbers_are_no_codes(tmp_path, codes):
    lines = "\n".join(f"{codes[at % 2]},{at % 5},{'ab'[at % 2]}" for at in range(12))
    (tmp_path / "t.csv").write_text(f"c,n,label\n{lines}\n")
    data = load_data(tmp_path / "t.csv")
    assert data.encoding is None
    assert data.inputs[:2, 0].tolist() == [float(code) for code in codes]


@pytest.mark.parametrize("is_file", [True, False])
def test_names_that_differ_only_in_case_are_named(tmp_path, is_file):
    def given(head):
        rows = [[f"{at}.5", "uv"[at % 2], "pq"[at // 2 % 2]] for at in range(20)]
        if not is_file:
            return dict(zip(head, zip(*rows, strict=True), strict=True))
        (tmp_path / "t.csv").write_text("\n".join(map(",".join, [head, *rows])))
        return tmp_path / "t.csv"

    train = load_data(given(["Age", "Job", "label"]))
    assert train.notes == ()
    advice = r"Only upper and lower case differ for {}\. Write these names as in the training table\."
    with pytest.raises(DataError, match="has no column 'Age'.*" + advice.format("'age'")):
        load_data(given(["age", "Job", "label"]), like=train)
    with pytest.raises(DataError, match="has no .*'Age', 'Job'.*" + advice.format("'age', 'JOB'")):
        load_data(given(["age", "JOB", "LABEL"]), like=train)
    with pytest.raises(DataError) as raised:
        load_data(given(["years", "Job", "label"]), like=train)
    assert "case differ" not in str(raised.value)
    notes = load_data(given(["Age", "Job", "Label"]), like=train).notes
    assert notes == ("Column 'Label' is read as the label, which was 'label' in the training table.",)
    notes = load_data(given(["Age", "Job", "Label"]), label_column="label").notes
    assert notes == ("Column 'Label' is read as the label 'label': only upper and lower case differ.",)
    assert load_data(given(["Age", "Job", "Label"])).notes == ()
