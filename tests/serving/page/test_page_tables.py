"""Pages of models of tables with categories, dates and missing values, compared with the package."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from page_models import random_parameters

from chalknet.data.load import load_data
from chalknet.data.preprocess import fit_scaling
from chalknet.network.architecture import Architecture
from chalknet.network.model import Network
from chalknet.serving.page.embedded_model import embed_model
from chalknet.serving.page.embedded_samples import EmbeddedSamples
from chalknet.serving.page.page import PageContent, page_html

pytestmark = pytest.mark.extras

N = 60
TABLE = {
    "size": [None if k % 10 == 3 else 1.5 + 7 * k % 11 for k in range(N)],
    "color": [("red", "green", "blue", None)[k % 4] for k in range(N)],
    "smoker": [("yes", "no")[k % 2] for k in range(N)],
    "day": [f"2024-0{1 + k % 9}-1{k % 10}" for k in range(N)],
    "seen": [f"2023-0{1 + k % 9}-1{k % 10}T1{k % 10}:30:00" for k in range(N)],
    "count": [k % 7 for k in range(N)],
    "label": [("a", "b", "c")[k % 3] for k in range(N)],
}
UNSEEN = {
    "size": [None, 4.25],
    "color": ["violet", "blue"],
    "smoker": ["no", "maybe"],
    "day": ["1969-12-31", "2030-02-28"],
    "seen": ["2023-05-17T23:59:30", "1999-01-01T00:00:00"],
    "count": [3, -2],
}


@pytest.fixture(scope="module")
def data():
    return load_data(TABLE, label_column="label")


@pytest.fixture(scope="module")
def model(data):
    architecture = Architecture(data.n_inputs, (6,), 3)
    rows = np.arange(len(data))
    scaling = fit_scaling("standard", data.inputs, rows, are_images=False, may_be_missing=True)
    parameters = random_parameters(architecture)
    return Network(architecture, parameters, data.class_names, scaling, encoding=data.encoding)


@pytest.fixture
def page(open_page, tmp_path, data, model):
    samples = EmbeddedSamples(np.asarray(data.inputs[:20]), data.labels[:20], 10, 10)
    path = tmp_path / "page.html"
    path.write_bytes(page_html(PageContent("Table", embed_model(model), samples)))
    opened = open_page(path.as_uri())
    opened.wait_for_selector("html[data-ready]")
    return opened


def field_of(page, name):
    return page.locator(f".fields label:has(> span:text-is('{name}')) > :last-child")


def test_rows_are_decoded_and_encoded_again(page, data):
    found = page.evaluate(
        """() => { const { columns } = chalk.app.model.encoding;
        return Array.from({length: 20}, (_, k) => {
          const raw = chalk.app.samples.row(k);
          const again = chalk.encodedRow(columns, chalk.decodedRow(columns, raw));
          return [raw, again].map((row) => [...row].map(String)); }); }"""
    )
    given, again = (np.array([row[side] for row in found], np.float64) for side in (0, 1))
    np.testing.assert_allclose(again, given, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(given, data.inputs[:20])


def test_fields_predict_what_the_package_does(page, model):
    rounded = embed_model(model).classifier
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package warns of the unknown categories
        expected = rounded.predict_proba(UNSEEN)
    names = list(UNSEEN)
    for row in range(2):
        for name in names:
            value, field = UNSEEN[name][row], field_of(page, name)
            if name in ("color", "smoker"):
                known = field.locator("option").all_inner_texts()
                field.select_option(label=value if value in known else "(another value)")
            else:
                field.fill("" if value is None else str(value))
        found = page.evaluate("[...chalk.app.probabilities()]")
        np.testing.assert_allclose(found, expected[row], rtol=1e-9, err_msg=str(row))


def test_a_link_holds_a_row_with_a_missing_value(page, open_page):
    field_of(page, "size").fill("")
    field_of(page, "count").fill("5")
    page.evaluate("chalk.address.write(chalk.app.entries())")
    other = open_page(page.evaluate("location.href"))
    other.wait_for_selector("html[data-ready]")
    assert field_of(other, "size").input_value() == ""
    assert field_of(other, "count").input_value() == "5"
    assert other.evaluate("[...chalk.app.probabilities()]") == page.evaluate("[...chalk.app.probabilities()]")


def test_a_sample_fills_the_fields(page):
    page.evaluate("chalk.app.setSample(chalk.embeddedSample(chalk.app, 3))")
    names = ("size", "day", "seen", "count")
    shown = [field_of(page, name).input_value() for name in names]
    assert shown == ["", "2024-04-13", "2023-04-13T13:30", "3"]
    texts = [field_of(page, name).locator("option:checked").inner_text() for name in ("color", "smoker")]
    assert texts == ["(missing)", "no"]
