"""The pages of a server in Chromium: uploads of images and tables, the token, and the documentation."""

import csv
import io

import numpy as np
import pytest
from conftest import image_bytes, needs
from PIL import Image
from running_servers import running, save_small_models
from small_models import LETTERS, row_model

from chalknet.artifacts.model_file import save_model
from chalknet.cli.main import main
from chalknet.data.preprocess import Scaling
from chalknet.network.architecture import Architecture
from chalknet.network.initializers import initial_parameters
from chalknet.network.model import Network
from chalknet.serving.server.access import Access
from chalknet.workflows.predict import predict

pytestmark = pytest.mark.extras

TOKEN = "a-token-that-nobody-guesses"
# Drops files on the area for uploads, as a browser does when a user drags them from a file manager.
DROP = """
([area, files]) => {
  const transfer = new DataTransfer();
  for (const [name, type, bytes] of files) transfer.items.add(new File([new Uint8Array(bytes)], name, { type }));
  for (const kind of ["dragenter", "dragover", "drop"])
    area.dispatchEvent(new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true }));
}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("page")
    save_small_models(place)
    (place / "images").mkdir()
    rng = np.random.default_rng(0)
    for at in range(4):
        content = image_bytes(Image.fromarray(rng.integers(0, 256, (12, 10), np.uint8)))
        (place / "images" / f"{at} <b>.png").write_bytes(content)
    (place / "images" / "bad.png").write_bytes(b"junk")
    (place / "images" / "readme.md").write_text("no image")
    (place / "table.csv").write_text("x,y,z\n1,2,3\n-4,5,6\n")
    return place


@pytest.fixture(scope="module")
def server(folder):
    with running(folder / "letters.safetensors", folder / "rows.safetensors") as client:
        yield client


@pytest.fixture
def open_refused(chromium):
    """As `open_page`, for tests of refused requests, each of which Chromium reports on its console."""
    contexts, faults = [], []

    def opened(address):
        contexts.append(chromium.new_context())
        page = contexts[-1].new_page()
        page.on("console", lambda said: "Failed to load resource" in said.text or faults.append(said.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert faults == []


def ready(page):
    page.wait_for_selector("html[data-ready]")
    return page


def cells(page):
    return [row.split("\t") for row in page.locator("tbody tr").all_inner_texts()]


def downloaded(page):
    with page.expect_download() as download:
        page.click(".upload-download")
    return list(csv.reader(io.StringIO(download.value.path().read_text())))


def test_a_folder_of_images_is_predicted(server, folder, open_page):
    page = ready(open_page(str(server.base_url)))
    page.set_input_files(".upload-folder", folder / "images")
    page.wait_for_selector("table")
    names = sorted((folder / "images").glob("*b*.png"), key=lambda path: path.name)
    expected = predict(folder / "letters.safetensors", [path for path in names if path.name != "bad.png"])
    rows = downloaded(page)
    assert rows[0] == ["name", "label", "probability", *(f"p_{name}" for name in LETTERS)]
    assert [row[0] for row in rows[1:]] == [f"{at} <b>.png" for at in range(4)]
    np.testing.assert_allclose(np.array([row[3:] for row in rows[1:]], float), expected.probabilities, rtol=1e-5)
    assert [row[1] for row in rows[1:]] == expected.labels
    assert [row[2] for row in cells(page)] == expected.labels
    assert "bad.png: is no image" in page.inner_text(".upload-results")
    assert " was skipped: only images and CSV tables are read." in page.inner_text(".upload-results")
    assert page.locator("tbody img").count() == 4
    assert "--" not in page.inner_text(".upload-results .soft")  # notes name the options of the page


def test_a_dropped_table_is_predicted(server, folder, open_page):
    page = ready(open_page(str(server.base_url)))
    page.select_option("select", "rows")
    content = (folder / "table.csv").read_bytes()
    area = page.locator(".upload-area").element_handle()
    page.evaluate(DROP, [area, [["table.csv", "text/csv", list(content)]]])
    page.wait_for_selector("table")
    expected = predict(folder / "rows.safetensors", folder / "table.csv")
    assert [row[0] for row in cells(page)] == ["table.csv[0]", "table.csv[1]"]
    assert [row[1] for row in cells(page)] == expected.labels
    np.testing.assert_array_equal(
        np.array([row[3:] for row in downloaded(page)[1:]], float), row_model().predict_proba([[1.0, 2, 3], [-4, 5, 6]])
    )


def test_a_table_is_read_with_the_chosen_options(server, open_page):
    page = ready(open_page(str(server.base_url)))
    page.select_option("select", "rows")
    page.click("summary")
    page.select_option("[name=delimiter]", ";")
    area = page.locator(".upload-area").element_handle()
    contents = [[f"{name}.csv", "text/csv", list(b"x;y;z\n1.5;2;3\n")] for name in "ab"]
    page.evaluate(DROP, [area, contents])
    page.wait_for_selector("table")
    rows = downloaded(page)[1:]
    assert [row[0] for row in rows] == ["a.csv[0]", "b.csv[0]"]
    expected = row_model().predict_proba([[1.5, 2, 3]])[0]
    np.testing.assert_array_equal(np.array([row[3:] for row in rows], float), [expected] * 2)


def test_a_refused_table_shows_why(server, open_refused):
    page = ready(open_refused(str(server.base_url)))
    page.select_option("select", "rows")
    area = page.locator(".upload-area").element_handle()
    page.evaluate(DROP, [area, [["table.csv", "text/csv", list(b"x,y\n1,2\n")]]])
    page.wait_for_selector(".upload-results .problem")
    assert "has 2 columns; expected 3" in page.inner_text(".upload-results")
    assert page.locator("table").count() == 0


def test_dropped_images_are_predicted_with_the_options(server, folder, open_page):
    page = ready(open_page(str(server.base_url)))
    page.click("summary")
    page.select_option("[name=invert]", "true")
    path = folder / "images" / "0 <b>.png"
    area = page.locator(".upload-area").element_handle()
    page.evaluate(DROP, [area, [["0 <b>.png", "image/png", list(path.read_bytes())]]])
    page.wait_for_selector("table")
    expected = predict(folder / "letters.safetensors", path, invert=True)
    np.testing.assert_allclose(np.array([downloaded(page)[1][3:]], float), expected.probabilities, rtol=1e-5)


def test_the_page_asks_for_the_token(folder, open_refused):
    with running(folder / "letters.safetensors", access=Access(token=TOKEN)) as client:
        page = open_refused(str(client.base_url))
        page.wait_for_selector("form.token")
        page.fill("[name=token]", "wrong")
        page.keyboard.press("Enter")
        page.wait_for_selector("text=did not accept the token")
        page.fill("[name=token]", TOKEN)
        page.keyboard.press("Enter")
        ready(page)
        assert "Model letters reads images" in page.inner_text("main")
        page.goto(f"{client.base_url}/docs")
        ready(page)
        page.wait_for_selector(".opblock")
        assert "Authorize" in page.inner_text("#swagger-ui")


def test_the_documentation_asks_nothing_outside(server, open_page):
    page = ready(open_page(f"{server.base_url}/docs"))
    page.wait_for_selector(".opblock-post")
    text = page.inner_text("#swagger-ui")
    assert "/v1/models/{name}/predict" in text
    assert "Models and predictions" in text
    assert "Authorize" not in text  # this server needs no token
    assert "OAS3" not in text
    page.click(".opblock-post button")
    page.wait_for_selector(".opblock-body")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible_and_fits_every_width(server, folder, open_page, scheme):
    axe = needs("axe_playwright_python.sync_playwright").Axe()
    page = ready(open_page(str(server.base_url), color_scheme=scheme))
    page.set_input_files(".upload-folder", folder / "images")
    page.wait_for_selector("table")
    page.click("summary")
    for width in (390, 768, 1280, 1920):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    found = axe.run(page).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []


def test_names_of_classes_are_text(tmp_path, open_page):
    names = ("<img src=x onerror=document.title='hit'>", "=1+1", 'a "b", c')
    architecture = Architecture(30, (4,), 3)
    network = Network(architecture, initial_parameters(architecture, 0), names, Scaling(255.0), (6, 5))
    save_model(network, tmp_path / "m.safetensors")
    with running(tmp_path / "m.safetensors") as client:
        page = ready(open_page(str(client.base_url)))
        content = image_bytes(Image.fromarray(np.zeros((6, 5), np.uint8)))
        (tmp_path / "=2.png").write_bytes(content)
        page.set_input_files(".upload-files", tmp_path / "=2.png")
        page.wait_for_selector("table")
        rows = downloaded(page)
        assert rows[0] == ["name", "label", "probability", *(f"p_{name}" for name in names)]
        assert rows[1][0] == "'=2.png"
        assert page.title() == "m"
        assert names[0] in page.inner_text("main")


def test_the_page_of_one_model_has_a_tab_for_uploads(folder, open_page):
    axe = needs("axe_playwright_python.sync_playwright").Axe()
    with running(folder / "letters.safetensors") as client:
        page = ready(open_page(str(client.base_url)))
        assert page.locator("[role=tab]").first.inner_text() == "Upload"
        page.set_input_files(".upload-files", folder / "images" / "0 <b>.png")
        page.wait_for_selector("tbody")
        expected = predict(folder / "letters.safetensors", folder / "images" / "0 <b>.png")
        assert [row[2] for row in cells(page)] == expected.labels
        assert [(one["id"], one["nodes"][0]["html"]) for one in axe.run(page).response["violations"]] == []
        page.click("[role=tab] >> text=Draw")
        page.wait_for_selector("canvas")
        answer = client.get("/")
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert "unsafe-inline" not in answer.headers["content-security-policy"]
        assert str(folder) not in answer.text


def test_each_of_several_models_has_an_interactive_page(server, open_page):
    page = ready(open_page(str(server.base_url)))
    page.click("text=look into the network")
    ready(page)
    assert page.url.endswith("/explore/letters")
    assert page.locator("[role=tab]").first.inner_text() == "Upload"
    assert "Model letters reads images" in page.inner_text("main")
    assert server.get("/explore/rows").status_code == 200
    assert server.get("/explore/other").status_code == 404


def test_a_model_of_mixed_columns_has_fields_and_uploads(tmp_path, open_page):
    (tmp_path / "t.csv").write_text("color,label\n" + "red,a\nblue,b\n" * 30)
    settings = ["--recipe", "strong-rows", "--hidden", "2", "--epochs", "1", "--quiet"]
    assert main(["train", "--data", str(tmp_path / "t.csv"), *settings, "--out", str(tmp_path / "run")]) == 0
    with running(tmp_path / "run") as client:
        page = ready(open_page(str(client.base_url)))
        assert page.locator("[role=tab]").all_inner_texts()[:2] == ["Upload", "Predict"]
        assert "Model run reads rows of 1 value with the column color" in page.inner_text("main")
        assert page.locator("[name=decimal], [name=missing]").count() == 2
