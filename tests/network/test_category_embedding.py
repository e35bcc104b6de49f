import numpy as np
import pytest
from conftest import needs
from differences import directional_gap
from hypothesis import given
from hypothesis import strategies as st
from oracles import loop_category_embedding
from strategies import seeds

from chalknet.config import Recipe
from chalknet.errors import ConfigError, ShapeError
from chalknet.network.architecture import Architecture, architecture_for
from chalknet.network.category_embedding import CategoryEmbedding, category_embedding
from chalknet.network.identity import Identity
from chalknet.network.initializers import initial_parameters
from chalknet.network.layer_types import layer_from_table

DENSE = {"type": "dense", "units": 3}


@st.composite
def batches(draw):
    """Draw x, weight, groups and a gradient of the value; x are any numbers, not only 0 and 1."""
    rng = np.random.default_rng(draw(seeds))
    groups, end = [], 0
    for _ in range(draw(st.integers(1, 3))):
        groups += [end + draw(st.integers(0, 2)), draw(st.integers(1, 4))]
        end = sum(groups[-2:])
    b, j, n_inputs = draw(st.integers(1, 6)), draw(st.integers(1, 3)), end + draw(st.integers(0, 2))
    n_grouped = sum(groups[1::2])
    width = n_inputs - n_grouped + len(groups) // 2 * j
    return (rng.normal(size=(b, n_inputs)), rng.normal(size=(j, n_grouped)), groups), rng.normal(size=(b, width))


def test_category_embedding_by_hand():
    # Inputs 1 to 3 are one column of categories, and input 4 is the only category of another.
    x = np.array([[7.0, 0, 1, 0, 1, 9], [8.0, 0, 0, 1, 0, 6], [5.0, 0, 0, 0, 0, 4]])
    weight = np.array([[1.0, 2, 3, 4], [10, 20, 30, 40]])
    value, backward = category_embedding(x, weight, (1, 3, 4, 1))
    np.testing.assert_array_equal(value, [[7, 9, 2, 20, 4, 40], [8, 6, 3, 30, 0, 0], [5, 4, 0, 0, 0, 0]])
    gradients = backward(np.array([[1.0, 2, 3, 4, 5, 6], [0] * 6, [0] * 6]))
    np.testing.assert_array_equal(gradients.grad_weight, [[0, 3, 0, 5], [0, 4, 0, 6]])
    np.testing.assert_array_equal(gradients.grad_x[0], [1, 3 + 40, 6 + 80, 9 + 120, 20 + 240, 2])


def test_a_product_with_a_category_is_its_vector():
    rng = np.random.default_rng(0)
    codes, weight = rng.integers(0, 40, 30), rng.normal(size=(8, 40)).astype(np.float32)
    value, _ = category_embedding(np.eye(40, dtype=np.float32)[codes], weight, (0, 40))
    np.testing.assert_array_equal(value, weight.T[codes])


@given(batches())
def test_it_equals_the_slow_loops(case):
    arguments, grad_value = case
    value, backward = category_embedding(*arguments)
    want, *gradients = loop_category_embedding(*arguments, grad_value)
    np.testing.assert_allclose(value, want, rtol=1e-10, atol=1e-12)
    for mine, theirs in zip(backward(grad_value), gradients, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-11)


@given(batches(), seeds)
def test_each_gradient_matches_differences(case, seed):
    (x, weight, groups), grad_value = case
    gradients = category_embedding(x, weight, groups)[1](grad_value)
    of_x = directional_gap(
        lambda changed: float((category_embedding(changed, weight, groups)[0] * grad_value).sum()),
        x,
        gradients[0],
        seed,
    )
    of_weight = directional_gap(
        lambda changed: float((category_embedding(x, changed, groups)[0] * grad_value).sum()),
        weight,
        gradients[1],
        seed,
    )
    assert max(of_x, of_weight) < 1e-6


def test_rows_alone_have_the_value_of_rows_together():
    rng, layer = np.random.default_rng(0), CategoryEmbedding(4, (1, 12, 15, 3))
    x, weight = rng.normal(size=(9, 20)), rng.normal(size=(4, 15))
    each = layer.predict_row_by_row({"weight": weight}, x)
    np.testing.assert_allclose(each, layer.forward({"weight": weight}, x).value, rtol=1e-12)
    alone = np.concatenate([layer.forward({"weight": weight}, row[None]).value for row in x])
    np.testing.assert_array_equal(each, alone)


def test_initial_vectors_have_a_mean_square_length_of_one():
    architecture = Architecture(500, layers=[CategoryEmbedding(16, (10, 400)), DENSE])
    assert architecture.shapes == {"input.weight": (16, 400), "output.weight": (3, 116), "output.bias": (3,)}
    weight = initial_parameters(architecture, 0, "he_normal")["input.weight"]
    assert np.square(weight).sum(axis=0).mean() == pytest.approx(1, rel=0.05)


def test_a_recipe_fills_in_the_groups():
    layers = ["smooth_clip", "category_embedding", {"type": "dense", "units": 5}, "relu"]
    recipe = Recipe().with_settings(layers=layers)
    found = architecture_for(recipe.with_settings(category_inputs=[2, 10]), 14, 3).layers
    assert found[1] == CategoryEmbedding(8, (2, 10))
    assert architecture_for(recipe, 14, 3).layers[1] == Identity()
    own = [{"type": "category_embedding", "groups": [0, 3, 3, 1, 5, 2]}, {"type": "dense", "units": 5}]
    by_hand = Recipe().with_settings(layers=own, category_inputs=[2, 10])
    assert architecture_for(by_hand, 14, 3).layers[0] == CategoryEmbedding(8, (0, 3, 3, 1, 5, 2))


def test_the_short_setting_comes_after_dropout_of_the_inputs():
    recipe = Recipe().with_settings(hidden=[5], embed_categories=4, category_inputs=[2, 10], input_dropout=0.2)
    types = [layer.type for layer in architecture_for(recipe, 14, 3).layers]
    assert types == ["dropout", "category_embedding", "dense", "relu", "dense"]
    assert architecture_for(recipe, 14, 3).layers[1] == CategoryEmbedding(4, (2, 10))


@pytest.mark.parametrize("groups", [[3], [0, 0], [2, 3, 4, 1], [4, 2, 0, 1], [-1, 3], [0, 2.5], "ab", [True, 2]])
def test_groups_that_make_no_sense_are_refused(groups):
    with pytest.raises(ConfigError, match="groups must be a list of the first input"):
        layer_from_table({"type": "category_embedding", "groups": groups})


def test_errors_name_what_does_not_fit():
    with pytest.raises(ConfigError, match=r"a group of the inputs 3 to 7, but there are only 7\. Inputs are counted"):
        Architecture(7, layers=[CategoryEmbedding(2, (3, 5)), DENSE])
    with pytest.raises(ConfigError, match="category_embedding has no groups of inputs"):
        Architecture(7, layers=["category_embedding", DENSE])
    with pytest.raises(ShapeError, match=r"needs x \(B, I\) with I >= 8 and weight \(J, 5\), got \(2, 7\)"):
        category_embedding(np.zeros((2, 7)), np.zeros((3, 5)), (3, 5))
    with pytest.raises(ConfigError, match="embed_categories has no effect where layers have a category_embedding"):
        Recipe().with_settings(layers=["category_embedding", DENSE], embed_categories=4)


@pytest.mark.extras
def test_it_equals_torchs_embedding_and_autograd():
    torch = needs("torch")
    rng = np.random.default_rng(0)
    codes, weight, grad_value = rng.integers(0, 12, 9), rng.normal(size=(4, 12)), rng.normal(size=(9, 4))
    table = torch.tensor(weight.T.copy(), requires_grad=True)
    value = torch.nn.functional.embedding(torch.tensor(codes), table)
    value.backward(torch.tensor(grad_value))
    ours, backward = category_embedding(np.eye(12)[codes], weight, (0, 12))
    np.testing.assert_allclose(ours, value.detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(backward(grad_value).grad_weight.T, table.grad.numpy(), rtol=1e-12, atol=1e-14)
