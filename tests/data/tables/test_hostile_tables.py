"""Tables that are damaged or lie: each is read, or refused in one line, within the budget of reading it."""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
import zipfile

import fuzz_files
import numpy as np
import polars as pl
import pytest

from chalknet.config import TableOptions
from chalknet.data.load import load_data
from chalknet.data.preprocess import fit_scaling
from chalknet.data.tables.encoding import TableEncoding, encoding_from_table
from chalknet.errors import ConfigError, DataError

N = 24
X = [at % 7 + 0.5 for at in range(N)]
LABELS = ["a" if at % 2 else "b" for at in range(N)]
WRITERS = {"t.parquet": pl.DataFrame.write_parquet, "t.arrow": pl.DataFrame.write_ipc}


def written(folder, name="t.parquet", **columns):
    """Write a table with X and LABELS, and return its path."""
    WRITERS[name](pl.DataFrame({"x": X, "label": LABELS} | columns), folder / name)
    return folder / name


def json_lines(folder, *lines):
    """Write lines of JSON, and return the path."""
    path = folder / "t.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def check_refused(path, message, **options):
    with pytest.raises(DataError, match=message) as caught:
        load_data(path, **options)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


UNREADABLE = {
    "list": pl.Series([[1, 2]] * N),
    "array": pl.Series([[1, 2]] * N, dtype=pl.Array(pl.Int64, 2)),
    "struct": pl.Series([{"a": at} for at in range(N)]),
    "binary": pl.Series([b"\xff\x1b[2J"] * N),
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("kind", UNREADABLE)
def test_columns_of_lists_records_and_bytes_are_left_out(tmp_path, name, kind):
    data = load_data(written(tmp_path, name, c=UNREADABLE[kind]))
    assert data.input_names == ("x",)
    assert any("'c' holds" in note and "left out" in note for note in data.notes)


@pytest.mark.parametrize("kind", UNREADABLE)
def test_labels_of_lists_records_and_bytes_are_refused(tmp_path, kind):
    check_refused(written(tmp_path, label=UNREADABLE[kind]), "cannot be labels")


@pytest.mark.parametrize(
    "dates",
    [
        pl.Series([2**30 + 3 * at for at in range(N)], dtype=pl.Int32).cast(pl.Date),
        pl.Series([2**61 + 3 * at for at in range(N)]).cast(pl.Datetime("ms")),
        pl.Series([-(2**61) - 3 * at for at in range(N)]).cast(pl.Datetime("ms", "Europe/Oslo")),
        pl.Series([2**61 + 3 * at for at in range(N)]).cast(pl.Duration("ms")),
    ],
    ids=["date", "datetime", "time zone", "duration"],
)
def test_dates_beyond_year_9999_are_refused(tmp_path, dates):
    check_refused(written(tmp_path, d=dates), "'d' holds a date outside of the years 1 to 9999")


def test_dates_of_the_years_2_to_9998_are_read(tmp_path):
    days = [datetime.date(2 if at % 2 else 9998, 12, 1 + at) for at in range(N)]
    assert load_data(written(tmp_path, d=days)).input_names[1] == "d in days"


@pytest.mark.parametrize("text", ["u\x1b[2J", "u\nv", "u\0", "\u202eu"])
def test_names_that_a_model_file_refuses_are_refused(tmp_path, text):
    check_refused(written(tmp_path, **{text: ["u", "v"] * 12}), "cannot be printed")
    check_refused(written(tmp_path, c=[text, "v"] * 12), "cannot be printed")
    # A column that is left out may have any name.
    data = load_data(written(tmp_path, **{text: ["u", "v"] * 12}), drop=[text])
    assert encoding_from_table(json.loads(json.dumps(data.encoding.as_table()))) == data.encoding


def test_a_name_longer_than_model_files_store_is_refused(tmp_path):
    check_refused(written(tmp_path, **{"n" * 1_001: ["u", "v"] * 12}), "1,001 characters")


def test_an_encoding_larger_than_a_header_is_refused(tmp_path):
    columns = {f"c{at}": [f"u{1000 + at}{k % 12}" * 140 for k in range(N)] for at in range(330)}
    check_refused(written(tmp_path, **columns), "a model file cannot store")


def test_a_point_in_a_decimal_comma_column_is_no_thousand(tmp_path):
    (tmp_path / "t.csv").write_text("x;label\n" + "".join(f"{at},5;{LABELS[at]}\n" for at in range(N)) + "1.5;a\n")
    check_refused(tmp_path / "t.csv", "'1.5' is not a number", decimal=",")
    (tmp_path / "t.csv").write_text("x;label\n" + "".join(f"{at % 9 + 1}.000,5;{LABELS[at]}\n" for at in range(N)))
    assert load_data(tmp_path / "t.csv", decimal=",").inputs[0, 0] == 1000.5


def test_years_of_two_digits_are_no_dates(tmp_path):
    rows = "".join(f"0{at % 8 + 1}.02.20,{LABELS[at]}\n" for at in range(N))
    (tmp_path / "t.csv").write_text("d,label\n" + rows)
    assert not any("days" in name for name in load_data(tmp_path / "t.csv").input_names)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (['{"x": 1, "x": 2, "label": "a"}'], "line 1 is not JSON .*'x' is there twice"),
        (['{"x": 1, "label": "a"}', "[1, 2]"], "line 2 is not a JSON object"),
        (["{" + '"a":{' * 50_000], "line 1 is not JSON .*nested too deeply"),
        (['{"\\ud800": 1, "label": "a"}'], "line 1 is not JSON"),
        (['{"x": 1, "label": "\\ud800"}'], "line 1 is not JSON"),
        (['{"x": 1e400, "label": "a"}', '{"x": 1, "label": "b"}'], "inf is not a finite number"),
        ([f'{{"x": 1{"0" * 400}, "label": "a"}}', '{"x": 1, "label": "b"}'], "inf is not a finite number"),
        ([json.dumps({f"{at}_{k}": k for k in range(50)}) for at in range(2_000)], "more than .* bytes of memory"),
        ([""], "no samples"),
    ],
    ids=["twice", "array", "deep", "surrogate", "label", "1e400", "10^400", "keys", "blank"],
)
def test_json_lines_that_cannot_be_read_are_one_line(tmp_path, lines, message):
    check_refused(json_lines(tmp_path, *lines), message)


def test_mixed_values_of_json_lines_are_texts(tmp_path):
    values = [1, "u", None, True]
    rows = (json.dumps({"x": X[at], "m": values[at % 4], "label": LABELS[at]}) for at in range(N))
    data = load_data(json_lines(tmp_path, *rows))
    assert data.encoding.columns[1].categories == ("1", "true", "u")


def test_lists_in_json_lines_are_left_out_however_deep(tmp_path):
    deep = "[" * 400 + "]" * 400
    rows = (f'{{"x": {X[at]}, "d": {deep}, "label": "{LABELS[at]}"}}' for at in range(N))
    assert load_data(json_lines(tmp_path, *rows)).input_names == ("x",)


def test_the_cells_between_two_cells_of_a_sheet_are_counted(tmp_path):
    with zipfile.ZipFile(tmp_path / "t.xlsx", "w") as archive:
        archive.writestr("xl/worksheets/sheet1.xml", '<c r="A1"/><c r="XFD1048576"/>')
    check_refused(tmp_path / "t.xlsx", "bytes of memory")


@pytest.mark.parametrize(
    "sheet",
    ["<row>" + "<c/>" * 16_000 + "</row>" + "<row/>" * 500_000, '<row><c r="ZZZ1"/></row><row r="900000"><c/></row>'],
)
def test_cells_of_a_sheet_without_places_are_counted(tmp_path, sheet):
    with zipfile.ZipFile(tmp_path / "t.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", f"<worksheet><sheetData>{sheet}</sheetData></worksheet>")
    check_refused(tmp_path / "t.xlsx", "bytes of memory")


def test_equal_names_of_columns_of_a_sheet_are_refused_at_once(tmp_path):
    rows = [["x", *["y"] * 5_000], ["a", *["1"] * 5_000]]
    cells = ["".join(f'<c t="inlineStr"><is><t>{text}</t></is></c>' for text in row) for row in rows]
    fuzz_files.make_xlsx(tmp_path)
    with zipfile.ZipFile(tmp_path / "d.xlsx") as plain, zipfile.ZipFile(tmp_path / "t.xlsx", "w") as archive:
        for name in plain.namelist():
            start, mark, _ = plain.read(name).partition(b"<sheetData>")
            sheet = "".join(f"<row>{row}</row>" for row in cells) + "</sheetData></worksheet>"
            archive.writestr(name, start + mark + sheet.encode() if mark else start)
    check_refused(tmp_path / "t.xlsx", "two columns are named 'y'. Rename one of them")


@pytest.mark.slow
def test_an_excel_file_that_unpacks_to_gigabytes_is_refused(tmp_path):
    with (
        zipfile.ZipFile(tmp_path / "t.xlsx", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("xl/a.xml", "w", force_zip64=True) as member,
    ):
        for _ in range(600):
            member.write(bytes(2**20))
    check_refused(tmp_path / "t.xlsx", "may take")


@pytest.mark.slow
def test_a_million_equal_rows_in_a_small_arrow_file_are_counted(tmp_path):
    frame = pl.DataFrame({"x": np.zeros(30_000_000), "label": np.zeros(30_000_000, np.int8)})
    frame.write_ipc(tmp_path / "t.arrow", compression="zstd")
    check_refused(tmp_path / "t.arrow", "bytes of memory")


def test_the_inputs_of_many_categories_take_little_memory(tmp_path):
    n = 600_000
    frame = pl.DataFrame({"c": [f"u{at % 250}" for at in range(n)], "label": [LABELS[at % N] for at in range(n)]})
    frame.write_parquet(tmp_path / "t.parquet")
    data = load_data(tmp_path / "t.parquet")
    assert data.inputs.shape == (n, 250)
    assert not isinstance(data.inputs, np.ndarray)  # the array would take more than a gigabyte
    assert np.array_equal(data.inputs[:3].argmax(axis=1), [0, 1, 112])  # in the order of the names


def test_the_report_of_a_panic_is_not_printed():
    code = """if True:
        import polars as pl
        from chalknet.data.readers.table_file import _quiet_panics
        try:
            with _quiet_panics():
                pl.Series([2**30], dtype=pl.Int32).cast(pl.Date).to_list()
        except BaseException as error:
            print(type(error).__name__)
        """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout == "PanicException\n"


def test_weights_times_a_thousand_give_the_same_median():
    random = np.random.default_rng(0)
    rows = random.integers(0, 9, (40, 30)).astype(float)
    weights = random.integers(1, 4, 40) / 10
    fills = [fit_scaling("standard", rows, np.arange(40), False, w, True).fill for w in (weights, 1_000 * weights)]
    assert fills[0].tobytes() == fills[1].tobytes()


@pytest.mark.parametrize("options", [{"header": 1}, {"header": 0}, {"delimiter": "\0"}, {"delimiter": "\n"}])
def test_options_of_a_wrong_type_are_refused(options):
    with pytest.raises(ConfigError):
        TableOptions(**options)


@pytest.mark.parametrize("field", ["ignored", "label"])
def test_an_encoding_with_an_escape_sequence_is_refused(tmp_path, field):
    table = load_data(written(tmp_path, c=["u", "v"] * 12)).encoding.as_table()
    table["columns"], table["ignored"], table["missing"] = (
        [{**one, "categories": list(one["categories"])} for one in table["columns"]],
        [],
        [],
    )
    assert isinstance(encoding_from_table(table), TableEncoding)
    table[field] = "\x1b[2J" if field == "label" else ["\x1b[2J"]
    with pytest.raises(DataError, match="cannot be printed"):
        encoding_from_table(table)
