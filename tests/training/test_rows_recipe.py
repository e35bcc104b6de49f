import pytest

from chalknet.config import Recipe
from chalknet.network.architecture import architecture_for
from chalknet.training.rows_recipe import MAX_EMBEDDED, PLANS, estimated_seconds

DEFAULT, FAST = PLANS["default"], PLANS["fast"]


@pytest.mark.parametrize(
    ("plan", "n_rows", "batch_size", "epochs"),
    [
        (DEFAULT, 100, 128, 600),  # 80 rows train a network: one update per epoch, and at least 600 updates
        (DEFAULT, 1_000, 128, 86),  # 7 updates per epoch
        (DEFAULT, 10_000, 128, 40),  # 63 updates per epoch
        (DEFAULT, 50_000, 256, 19),  # 157 updates per epoch, and at most 3,000 updates
        (FAST, 1_000_000, 1_024, 1),  # 782 updates per epoch, and at most 1,000
        (FAST, 10_000_000, 1_024, 1),  # one epoch even if it has more updates
    ],
)
def test_small_tables_train_for_more_epochs_and_large_ones_for_fewer(plan, n_rows, batch_size, epochs):
    found = plan.settings(n_rows, 10, 10)
    assert (found["batch_size"], found["epochs"], found["patience"]) == (batch_size, epochs, epochs)


@pytest.mark.parametrize(
    ("n_inputs", "n_numbers", "columns"),
    [(9, 9, 0), (9, 4, 4), (9, 0, None), (MAX_EMBEDDED + 1, MAX_EMBEDDED + 1, None), (200, MAX_EMBEDDED, 64)],
)
def test_numbers_are_embedded_unless_there_are_too_many(n_inputs, n_numbers, columns):
    layers = DEFAULT.settings(1_000, n_inputs, n_numbers)["layers"]
    embeddings = [layer for layer in layers if not isinstance(layer, str) and layer["type"] == "periodic_embedding"]
    assert [layer["columns"] for layer in embeddings] == ([] if columns is None else [columns])
    architecture = architecture_for(Recipe().with_settings(layers=layers), n_inputs, 3)
    assert architecture.n_classes == 3


@pytest.mark.parametrize("n_rows", [100, 3_000, 200_000])
def test_a_larger_budget_takes_longer(n_rows):
    seconds = [estimated_seconds(PLANS[name], n_rows, 20, 12, 3) for name in ("fast", "default", "best")]
    assert seconds[0] < seconds[1] < seconds[2]
