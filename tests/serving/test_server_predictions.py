"""What a server answers: the predictions of `chalknet predict`, and one line for what it cannot answer."""

import csv
import io
import json
import threading
import time

import numpy as np
import pytest
from conftest import image_bytes, lying_png
from PIL import Image
from running_servers import running, save_small_models
from small_models import LETTERS, image_model, row_model

from chalknet.artifacts.model_file import save_model
from chalknet.cli.main import main
from chalknet.data.dataset import UnlabeledSamples
from chalknet.serving.predictions import predict_samples
from chalknet.serving.server.access import Access
from chalknet.serving.server.limits import ServeLimits
from chalknet.workflows.predict import predict

pytestmark = pytest.mark.extras

TOKEN = "a-token-that-nobody-guesses"
HEADER = {"Authorization": f"Bearer {TOKEN}"}
LIMITS = ServeLimits(max_body=1, max_json=0.25, max_rows=40, max_pixels=10_000, stop_seconds=2)
TABLE = "age,color,day,label\n" + "".join(
    f"{20 + at * 7 % 30},{('red', 'green', 'blue')[at % 3]},2024-0{1 + at % 9}-11,{'yes' if at % 3 else 'no'}\n"
    for at in range(60)
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with two small models and the run of a table with categories and dates."""
    place = tmp_path_factory.mktemp("models")
    save_small_models(place)
    (place / "train.csv").write_text(TABLE)
    return place


@pytest.fixture(scope="module")
def client(folder):
    with running(folder / "letters.safetensors", folder / "rows.safetensors", limits=LIMITS) as found:
        yield found


def ask(client, name="rows", status=200, **request):
    answer = client.post(f"/v1/models/{name}/predict", **request)
    assert answer.status_code == status, answer.text
    found = answer.json()
    assert status == 200 or (list(found) == ["error"] and "\n" not in found["error"]), found
    return found if status == 200 else found["error"]


def matrix(found):
    """Return the probabilities of an answer, as float64."""
    return np.array([[one["probabilities"][name] for name in LETTERS] for one in found["predictions"]])


def as_written(probabilities):
    """Return probabilities as `chalknet predict --json` writes them."""
    return np.array([[float(str(value)) for value in row] for row in probabilities])


def test_one_row_has_the_prediction_of_the_model(client):
    row = [0.25, -3, 1e10]
    found = ask(client, json={"rows": [row]})
    expected = row_model().predict_proba(np.array([row]))
    np.testing.assert_array_equal(matrix(found), as_written(expected))
    assert found["predictions"][0]["label"] == LETTERS[expected[0].argmax()]
    assert found["notes"] == []


def test_rows_and_images_in_json_have_the_predictions_of_the_model(client):
    rows = np.random.default_rng(0).normal(size=(9, 3))
    np.testing.assert_array_equal(
        matrix(ask(client, json={"rows": rows.tolist()})), as_written(row_model().predict_proba(rows))
    )
    images = np.random.default_rng(0).integers(0, 256, (5, 6, 5))
    expected = predict_samples(image_model(), UnlabeledSamples(images.astype(np.uint8), "rows"))
    found = ask(client, "letters", json={"rows": images.tolist()})
    np.testing.assert_array_equal(matrix(found), as_written(expected.probabilities))


def test_many_requests_at_once_get_their_own_answers(client):
    rows = np.random.default_rng(1).normal(size=(60, 3))
    found = [None] * len(rows)

    def work(at):
        found[at] = matrix(ask(client, json={"rows": [rows[at].tolist()]}))[0]

    threads = [threading.Thread(target=work, args=(at,)) for at in range(len(rows))]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    alone = np.concatenate([row_model().predict_proba(row[None]) for row in rows])
    np.testing.assert_array_equal(np.array(found), as_written(alone))


def test_a_table_has_the_predictions_and_notes_of_predict(client, folder):
    text = "x;y;z\n" + "".join(f"{at}.5;{-at};{at / 4}\n" for at in range(7))
    (folder / "table.csv").write_text(text)
    expected = predict(folder / "rows.safetensors", folder / "table.csv")
    found = ask(client, content=text, headers={"Content-Type": "text/csv"})
    np.testing.assert_array_equal(matrix(found), as_written(expected.probabilities))
    assert [f"{folder / 'table.csv'}: {note}" for note in found["notes"]] == list(expected.notes)
    uploaded = ask(client, files={"files": ("table.csv", text, "text/csv")})
    np.testing.assert_array_equal(matrix(uploaded), matrix(found))
    assert [one["name"] for one in uploaded["predictions"]] == [f"table.csv[{at}]" for at in range(7)]
    assert uploaded["notes"] == [f"table.csv: {note}" for note in found["notes"]]
    assert "name" not in found["predictions"][0]


def test_images_have_the_predictions_and_notes_of_predict(client, folder):
    rng = np.random.default_rng(2)
    files = []
    for at, size in enumerate([(5, 6), (10, 12), (30, 9)]):
        content = image_bytes(Image.fromarray(rng.integers(0, 256, (*size[::-1], 3), np.uint8)))
        (folder / f"{at}.png").write_bytes(content)
        files.append(("files", (f"{at}.png", content)))
    (folder / "bad.png").write_bytes(b"junk")
    files.append(("files", ("bad.png", b"junk")))
    expected = predict(folder / "letters.safetensors", [folder / file[1][0] for file in files])
    found = ask(client, "letters", files=files)
    np.testing.assert_array_equal(matrix(found), as_written(expected.probabilities))
    assert [one["name"] for one in found["predictions"]] == ["0.png", "1.png", "2.png"]
    assert [one["read_as"] for one in found["predictions"]] == list(expected.read_as)
    assert tuple(found["notes"]) == expected.notes
    assert [f"{folder}/{message}" for message in found["unreadable"]] == list(expected.unreadable)
    one = ask(client, "letters", content=files[0][1][1], headers={"Content-Type": "image/png"})
    expected = predict(folder / "letters.safetensors", folder / "0.png")
    np.testing.assert_array_equal(matrix(one), as_written(expected.probabilities))
    inverted = ask(client, "letters", files=files[:1], params={"invert": "true"})
    expected = predict(folder / "letters.safetensors", folder / "0.png", invert=True)
    np.testing.assert_array_equal(matrix(inverted), as_written(expected.probabilities))


def test_csv_is_answered_if_it_is_wanted(client):
    answer = client.post(
        "/v1/models/rows/predict", json={"rows": [[1, 2, 3], [3, 4, 5]]}, headers={"Accept": "text/csv"}
    )
    rows = list(csv.reader(io.StringIO(answer.text)))
    assert rows[0] == ["name", "label", "probability", "p_A", "p_B", "p_C"]
    expected = row_model().predict_proba(np.array([[1.0, 2, 3], [3, 4, 5]]))
    np.testing.assert_array_equal(np.array([row[3:] for row in rows[1:]], float), expected)


def test_a_csv_answer_has_notes_and_unreadable_files_in_its_headers(client):
    good = image_bytes(Image.effect_noise((30, 9), 50))
    files = [("files", (name, content)) for name, content in [("a.png", good), ("bad\u2603.png", b"junk")]]
    found = ask(client, "letters", files=files)
    request = {"files": files, "headers": {"Accept": "text/csv"}}
    answer = client.post("/v1/models/letters/predict", **request)
    assert json.loads(answer.headers["x-chalknet-notes"]) == found["notes"] != []
    assert json.loads(answer.headers["x-chalknet-unreadable"]) == found["unreadable"]
    assert len(answer.text.splitlines()) == 2
    request["files"] = [*files, *[("files", (f"{at}{'x' * 250}.png", b"junk")) for at in range(30)]]
    answer = client.post("/v1/models/letters/predict", **request)
    assert "more; application/json has all" in json.loads(answer.headers["x-chalknet-unreadable"])[-1]


def test_rows_of_a_table_are_counted_exactly(client):
    for head, end in [("", ""), ("x,y,z\n", "\n"), ("x,y,z\n", "\n\n\n")]:
        allowed = head + "\n".join(["1,2,3"] * 40) + end
        assert len(ask(client, content=allowed, headers=CSV)["predictions"]) == 40
        for n in (41, 42, 60):
            message = ask(client, status=413, content=head + "\n".join(["1,2,3"] * n) + end, headers=CSV)
            assert f"at most 40 rows, got {n}. Send fewer, or start the server with a larger max_rows." in message


def test_a_table_of_another_kind_is_told_what_the_model_reads(client):
    message = ask(client, "letters", 422, files={"files": ("new.csv", "a,b\n1,2\n", "text/csv")})
    pixels = "sep=;\n" + ";".join(["7"] * 30) + "\n"
    assert len(ask(client, "letters", content=pixels, headers=CSV)["predictions"]) == 1
    assert message.startswith("new.csv is a table of 2 columns, but model letters reads images of 6 x 5. Send images")


JSON_FAULTS = {
    '{"rows": [[1, 2]]}': (422, "holds rows of 2 values, but the model reads rows of 3 values"),
    '{"rows": [[1, 2, 3], [1]]}': (422, "row 1 (from 0): expected a list of 3 values, got a list of 1"),
    '{"rows": [[1, 2, "x"]]}': (422, "row 0, value 2 (from 0): expected a number, got 'x'"),
    '{"rows": [[1, null, 3]]}': (422, "expected a number, got null"),
    '{"rows": [[1, [2], 3]]}': (422, "expected a number, got [2]"),
    '{"rows": [[NaN, 2, 3]]}': (400, "NaN and Infinity are not JSON. Write null for a missing value."),
    '{"rows": [[1, 2,-Infinity]]}': (400, "NaN and Infinity are not JSON."),
    "{'rows': [[1, 2, 3]]}": (400, "with texts in double quotes"),
    '{"rows": [[1e400, 2, 3]]}': (400, "is not JSON"),
    '{"rows": [[' + "9" * 400 + ", 2, 3]]}": (400, "is not JSON"),
    '{"rows": ' + "[" * 5_000: (400, "is not JSON"),
    '{"rows": []}': (422, "rows is an empty list"),
    '{"rows": [7, 8, 9]}': (422, "row 0 (from 0) is the number 7. Each row must be a list of 3 values"),
    '{"rows": {"x": 1}}': (400, 'rows must be a list, got an object. Send {"rows": [{...}]}.'),
    '{"rows": 7}': (400, 'rows must be a list, got 7. Send {"rows": [[...]]}.'),
    "[[1, 2, 3]]": (400, "must be an object with one key"),
    '{"rows": [[1, 2, 3]], "row": 1}': (400, "an object with 'rows', 'row'"),
    "": (400, 'the body is empty. Send {"rows": [[...], ...]}.'),
    '{"rows": [{"x": 1}]}': (422, "columns of the model have no names"),
    '{"rows": [[1.7e308, -1.7e308, 1.7e308]]}': (0, ""),
}


@pytest.mark.parametrize("text", JSON_FAULTS, ids=range(len(JSON_FAULTS)))
def test_json_that_cannot_be_answered_is_a_line(client, text):
    status, message = JSON_FAULTS[text]
    if not message:  # finite, but large
        assert client.post("/v1/models/rows/predict", content=text, headers=JSON).status_code in (200, 422)
        return
    assert message in ask(client, status=status, content=text, headers=JSON)


JSON = {"Content-Type": "application/json"}
CSV = {"Content-Type": "text/csv"}
FAULTS = [
    (413, "at most 0.25 MiB", {"content": b'{"rows": [' + b"1," * 200_000, "headers": JSON}),
    (
        413,
        "larger than 1 MiB (JSON: 0.25 MiB). Send fewer",
        {"content": b"x" * 1_100_000, "headers": CSV},
    ),
    (413, "at most 40 rows", {"json": {"rows": [[1, 2, 3]] * 41}}),
    (413, "at most 40 rows", {"content": "1,2,3\n" * 100, "headers": CSV}),
    (422, "the table is empty", {"content": " \n", "headers": CSV}),
    (422, "is not a text", {"content": b"a,b\0", "headers": CSV}),
    (422, "not UTF-8", {"content": b"a,b,\xff\n1,2,3\n", "headers": CSV}),
    (422, "has 2 columns; expected 3", {"content": "1,2\n3,4\n", "headers": CSV}),
    (415, "is compressed", {"content": b"\x1f\x8b\x08", "headers": CSV}),
    (415, "is compressed", {"content": "{}", "headers": JSON | {"Content-Encoding": "gzip"}}),
    (415, "Expected application/json", {"content": "x", "headers": {"Content-Type": "application/pdf"}}),
    (415, "Expected application/json", {"content": "x"}),
    (400, "has no boundary", {"content": "x", "headers": {"Content-Type": "multipart/form-data"}}),
    (400, "is damaged", {"content": "x", "headers": {"Content-Type": "multipart/form-data; boundary=b"}}),
    (
        400,
        "cut off",
        {
            "content": '--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\nx',
            "headers": {"Content-Type": "multipart/form-data; boundary=b"},
        },
    ),
    (400, "a field 'other'", {"files": {"other": ("a.png", b"x")}}),
    (400, "holds a value and no file", {"files": {"files": (None, b"x")}}),
    (413, "at most 40 files", {"files": [("files", (f"{at}.png", b"x")) for at in range(41)]}),
    (
        422,
        "a.png is an image, but model rows reads rows of 3 values. Send CSV or JSON rows.",
        {"files": {"files": ("a.png", image_bytes(Image.new("L", (5, 6))))}},
    ),
    (422, "unknown option 'invrt'. Did you mean 'invert'", {"json": {"rows": [[1, 2, 3]]}, "params": {"invrt": "1"}}),
    (422, "option invert does not apply", {"json": {"rows": [[1, 2, 3]]}, "params": {"invert": "true"}}),
    (422, "delimiter must be one ASCII", {"content": "1,2,3\n", "headers": CSV, "params": {"delimiter": "ab"}}),
    (422, "is there twice", {"content": "1,2,3\n", "headers": CSV, "params": [("decimal", "."), ("decimal", ",")]}),
    (422, "id_column needs a model", {"content": "1,2,3\n", "headers": CSV, "params": {"id_column": "a"}}),
]


@pytest.mark.parametrize("fault", FAULTS, ids=range(len(FAULTS)))
def test_what_cannot_be_answered_is_a_line(client, fault):
    status, message, request = fault
    assert message in ask(client, status=status, **request)


def test_images_are_bounded(client):
    def upload(*contents):
        return {"files": [("files", (f"{at}.png", content)) for at, content in enumerate(contents)]}

    bomb = image_bytes(Image.new("L", (101, 100)))
    message = ask(client, "letters", 422, **upload(bomb))
    assert "101 x 100 pixels, more than 10,000. Send a smaller image, or" in message
    assert message.endswith("start the server with a larger max_pixels.")
    assert ask(client, "letters", 422, **upload(b"")) == "0.png: the file is empty."
    assert "far more than 134,217,728 pixels" in ask(client, "letters", 422, **upload(lying_png(60_000, 60_000)))
    cut = image_bytes(Image.effect_noise((90, 90), 50))[:1_000]
    assert "0.png: is damaged" in ask(client, "letters", 422, **upload(cut))
    assert "none of 2 inputs can be read" in ask(client, "letters", 422, **upload(cut, b"junk"))
    twice = ask(client, "letters", files=[("files", ("same", image_bytes(Image.new("L", (5, 6)))))] * 2)
    assert [one["name"] for one in twice["predictions"]] == ["same", "same"]


def test_names_of_files_are_only_shown(client):
    content = image_bytes(Image.new("L", (5, 6)))
    names = ["../../etc/passwd", "\u202e\u00e9\U0001f600.png", "a" * 1_000, "<script>.png"]
    found = ask(client, "letters", files=[("files", (name, content)) for name in names])
    shown = [one["name"] for one in found["predictions"]]
    assert shown[0] == names[0]
    assert len(shown[2]) == 255
    assert all(map(str.isprintable, shown))


def test_a_table_of_mixed_columns_has_the_predictions_of_predict(tmp_path):
    (tmp_path / "train.csv").write_text(TABLE)
    run = tmp_path / "mixed"
    quick = ["--recipe", "strong-rows", "--hidden", "4", "--epochs", "2", "--quiet"]
    assert main(["train", "--data", str(tmp_path / "train.csv"), *quick, "--out", str(run)]) == 0

    text = "color,age,day,id\nred,31,2024-02-03,a\nviolet,,2024-05-06,b\n"
    (tmp_path / "new.csv").write_text(text)
    expected = predict(run, tmp_path / "new.csv", id_column="id")
    with running(run, limits=LIMITS) as client:
        found = ask(client, "mixed", content=text, headers=CSV, params={"id_column": "id"})
        assert [one["name"] for one in found["predictions"]] == ["a", "b"]
        for one, row in zip(found["predictions"], expected.probabilities, strict=True):
            assert list(one["probabilities"].values()) == [float(str(value)) for value in row]
        assert [f"{tmp_path / 'new.csv'}: {note}" for note in found["notes"]] == list(expected.notes)
        assert any("categories that training did not have" in note for note in found["notes"])
        lines = [
            {"color": "red", "age": 31, "day": "2024-02-03"},
            {"color": "violet", "age": None, "day": "2024-05-06"},
        ]
        (tmp_path / "new.jsonl").write_text("\n".join(map(json.dumps, lines)))
        expected = predict(run, tmp_path / "new.jsonl")
        objects = ask(client, "mixed", json={"rows": lines})
        lists = ask(
            client, "mixed", json={"rows": [[line[name] for name in ("age", "color", "day")] for line in lines]}
        )
        for one, row in zip(objects["predictions"], expected.probabilities, strict=True):
            assert list(one["probabilities"].values()) == [float(str(value)) for value in row]
        assert objects["predictions"] == lists["predictions"]
        doubled = '{"rows": [{"age": 1, "age": 2, "color": "red", "day": "2024-02-03"}]}'
        assert "'age' is there twice" in ask(client, "mixed", 422, content=doubled, headers=JSON)
        message = ask(client, "mixed", 422, json={"rows": [{"age": 1, "color": "red"}]})
        assert message == "column 'day' is missing in all rows. Send null for a missing value."
        message = ask(client, "mixed", 422, content="age\n1\n", headers=CSV)
        assert message.startswith("the table has no columns 'color', 'day'; its columns are 'age'.")
        message = ask(client, "mixed", 422, files={"files": ("a.png", image_bytes(Image.new("L", (5, 6))))})
        assert "model mixed reads tables with the columns 'age', 'color', 'day'. Send CSV or JSON rows." in message
        assert "expected a list of 3 values" in ask(client, "mixed", 422, json={"rows": [[1, 2]]})
        document = client.get("/openapi.json").json()
        content = document["paths"]["/v1/models/{name}/predict"]["post"]["requestBody"]["content"]
        examples = content["application/json"]["examples"].values()
        assert [type(one["value"]["rows"][0]) for one in examples] == [list, dict]
        for one in examples:
            assert ask(client, "mixed", json=one["value"])["predictions"]
        assert "security" not in document


def test_facts_are_public_and_paths_are_not(client, folder):
    pages = ["/v1/models", "/v1/models/letters", "/healthz", "/readyz", "/metrics", "/openapi.json", "/", "/docs"]
    for page in pages:
        answer = client.get(page)
        assert answer.status_code == 200, page
        assert str(folder) not in answer.text
        assert client.head(page).status_code == 200
        assert client.post(page).status_code == 405
    first, second = client.get("/v1/models").json()["models"]
    assert (first["name"], first["reads"], first["image_shape"]) == ("letters", "images", [6, 5])
    assert (second["name"], second["classes"], second["values_per_row"]) == ("rows", list(LETTERS), 3)
    ask(client, json={"rows": [[1, 2, 3]]})
    assert 'chalknet_requests_total{model="rows",status="200"}' in client.get("/metrics").text
    for path in ("/v1/models/other", "/nothing", "/assets/../registry.py", "/assets/%2e%2e/registry.py", "/docs/x"):
        assert client.get(path).status_code == 404, path
    for path in ("/v1/models/rows/predict/", "/v1/models/", "/docs/"):
        for method in ("GET", "POST"):
            answer = client.request(method, path)
            assert (answer.status_code, "Leave out its last slash" in answer.text) == (404, True), (method, path)
    assert "/v1/models/NAME/predict" in client.get("/nothing").text
    error = client.post("/v1/models/other/predict", json={}).json()["error"]
    assert error == "there is no model 'other'. Models: 'letters', 'rows'."
    assert client.get("/v1/models/rows/predict").status_code == 405


def test_all_but_the_shells_of_pages_need_the_token(folder):
    with running(*save_small_models(folder), access=Access(token=TOKEN)) as client:
        for path in ("/v1/models", "/v1/models/rows", "/metrics", "/openapi.json", "/docs"):
            assert client.get(path).status_code == 401, path
            assert client.get(path, headers=HEADER).status_code == 200, path
        assert ask(client, status=401, json={"rows": [[1, 2, 3]]})
        assert ask(client, json={"rows": [[1, 2, 3]]}, headers=HEADER)
        assert client.get("/healthz").json() == {"status": "ok"}
        assert client.get("/readyz").json() == {"status": "ready"}
        assert "letters" not in client.get("/").text + client.get("/docs").text


def eventually(condition, seconds=15):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_changed_file_is_loaded_and_a_broken_one_is_not(tmp_path):
    path = tmp_path / "m.safetensors"
    save_model(row_model(seed=0), path)
    row = np.array([[0.5, -1.0, 2.0]])
    with running(path) as client:

        def probabilities():
            return matrix(ask(client, "m", json={"rows": row.tolist()}))

        first = as_written(row_model(seed=0).predict_proba(row))
        np.testing.assert_array_equal(probabilities(), first)
        path.write_bytes(path.read_bytes()[:500])
        eventually(lambda: client.get("/readyz").json()["status"] == "ready with earlier models")
        (model,) = client.get("/readyz").json()["models"]
        assert "not a whole safetensors file" in model["error"]
        assert str(tmp_path) not in model["error"]
        np.testing.assert_array_equal(probabilities(), first)
        assert 'chalknet_model_reloads_total{model="m",result="failed"} 1.0' in client.get("/metrics").text
        assert 'chalknet_model_current{model="m"} 0.0' in client.get("/metrics").text
        save_model(row_model(seed=1), path)
        second = as_written(row_model(seed=1).predict_proba(row))
        eventually(lambda: np.array_equal(probabilities(), second))
        assert client.get("/readyz").json()["status"] == "ready"
        path.unlink()
        eventually(lambda: client.get("/readyz").json()["status"] != "ready")
        assert client.get("/readyz").json()["models"][0]["error"] == "The file was deleted or moved."
        np.testing.assert_array_equal(probabilities(), second)
