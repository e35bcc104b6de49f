import numpy as np
import pytest
from conftest import needs
from hypothesis import given
from oracles import loop_forward, loop_gradients, torch_gradients
from specs import architecture_of
from strategies import named, networks

from chalknet.errors import ConfigError, ShapeError
from chalknet.network.architecture import Architecture, check_parameters, forward
from chalknet.network.losses import softmax_cross_entropy


def hand_gradients(weights, biases, x, labels, reduction):
    parameters = named(weights, biases)
    logits, through_network, *_ = forward(architecture_of(parameters), parameters, x)
    loss, through_loss = softmax_cross_entropy(logits, labels, reduction)
    gradients = through_network(through_loss())
    assert list(gradients) == list(parameters)
    return loss, list(gradients.values())[0::2], list(gradients.values())[1::2]


@given(networks())
def test_forward_equals_the_slow_loop(case):
    weights, biases, x, _ = case
    parameters = named(weights, biases)
    logits = forward(architecture_of(parameters), parameters, x).logits
    np.testing.assert_allclose(logits, loop_forward(weights, biases, x), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@given(case=networks())
def test_gradients_equal_the_chain_rule_over_all_paths(reduction, case):
    _, grad_weights, grad_biases = hand_gradients(*case, reduction)
    want_weights, want_biases = loop_gradients(*case, reduction)
    for got, want in zip([*grad_weights, *grad_biases], [*want_weights, *want_biases], strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)


@pytest.mark.extras
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@given(case=networks())
def test_gradients_equal_torch_autograd(reduction, case):
    needs("torch")
    loss, grad_weights, grad_biases = hand_gradients(*case, reduction)
    want_loss, want_weights, want_biases = torch_gradients(*case, reduction)
    assert loss == pytest.approx(want_loss, rel=1e-12)
    for got, want in zip([*grad_weights, *grad_biases], [*want_weights, *want_biases], strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)


def test_parameter_names_and_shapes_of_the_writeup_network():
    architecture = Architecture(784, (1000,), 10)
    assert architecture.shapes == {
        "hidden1.weight": (1000, 784),
        "hidden1.bias": (1000,),
        "output.weight": (10, 1000),
        "output.bias": (10,),
    }
    assert architecture.n_parameters == 795_010
    assert str(architecture) == "784-1000-10"


@pytest.mark.parametrize("sizes", [(0, (5,), 3), (4, (0,), 3), (4, (5,), 1)])
def test_invalid_sizes_are_refused(sizes):
    with pytest.raises(ConfigError, match="sizes >= 1 and at least two classes"):
        Architecture(*sizes)


def test_parameters_of_another_network_are_refused():
    architecture = Architecture(4, (3,), 2)
    right = {name: np.zeros(shape) for name, shape in architecture.shapes.items()}
    with pytest.raises(ShapeError, match=r"output.bias of network 4-3-2 must be \(2,\), got \(3,\)"):
        check_parameters(architecture, {**right, "output.bias": np.zeros(3)})
    with pytest.raises(ShapeError, match="needs parameters"):
        check_parameters(architecture, {"output.bias": np.zeros(2)})


def test_a_batch_that_does_not_fit_names_the_network():
    parameters = named([np.zeros((4, 2)), np.zeros((2, 4))], [np.zeros(4), np.zeros(2)])
    with pytest.raises(ShapeError, match=r"network 2-4-2 expects x of shape \(B, 2\), got \(1, 3\)"):
        forward(architecture_of(parameters), parameters, np.zeros((1, 3)))
