import numpy as np
import pytest
from hypothesis import given
from specs import architecture_of
from strategies import named, networks, seeds

from chalknet.errors import ShapeError
from chalknet.network.architecture import forward
from chalknet.network.gradcheck import TOLERANCE, check_gradients, relative_error
from chalknet.network.losses import softmax_cross_entropy


def gradients_of(parameters, x, labels):
    logits, through_network, *_ = forward(architecture_of(parameters), parameters, x)
    return through_network(softmax_cross_entropy(logits, labels)[1]())


@given(networks(), seeds)
def test_correct_gradients_pass_for_every_parameter(case, seed):
    weights, biases, x, labels = case
    parameters = named(weights, biases)
    checks = check_gradients(
        architecture_of(parameters), parameters, gradients_of(parameters, x, labels), x, labels, seed
    )
    assert [check.parameter for check in checks] == list(parameters)
    assert all(check.ok for check in checks), checks


FAULTS = {
    "a flipped sign": lambda g: -g,
    "a forgotten 1/B": lambda g: g * 5,
    "a 0.1 % scale error": lambda g: g * 1.001,
    "one element off": lambda g: g + np.eye(1, g.size).reshape(g.shape) * np.abs(g).max(),
    "rows exchanged": lambda g: np.roll(g, 1, axis=0),
    "nothing at all": lambda g: 0 * g,
    "not a number": lambda g: g * np.nan,
}


@pytest.mark.parametrize("group", ["hidden1.weight", "hidden1.bias", "output.weight", "output.bias"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_fails_only_for_its_parameter(group, fault):
    rng = np.random.default_rng(5)
    parameters = named([rng.normal(size=(6, 8)), rng.normal(size=(4, 6))], [rng.normal(size=6), rng.normal(size=4)])
    x, labels = rng.normal(size=(5, 8)), rng.integers(0, 4, 5)
    gradients = gradients_of(parameters, x, labels)
    wrong = {**gradients, group: FAULTS[fault](gradients[group])}
    assert [
        check.parameter
        for check in check_gradients(architecture_of(parameters), parameters, wrong, x, labels)
        if not check.ok
    ] == [group]


@pytest.mark.parametrize("distance", [1e-6, 1e-9, 1e-13, -1e-6, -1e-13])
def test_correct_gradients_pass_near_a_kink(distance):
    # The hidden unit lies nearer to its kink than the step reaches, above or below it.
    parameters = {
        "hidden1.weight": np.array([[1.0]]),
        "hidden1.bias": np.array([distance - 1.0]),
        "output.weight": np.array([[1.0], [-2.0]]),
        "output.bias": np.zeros(2),
    }
    x, labels = np.array([[1.0]]), np.array([1])
    checks = check_gradients(architecture_of(parameters), parameters, gradients_of(parameters, x, labels), x, labels)
    assert all(check.ok for check in checks), checks


def test_kinks_on_both_sides_are_avoided_by_halving():
    # Of one direction's two sides, each carries another unit over its kink unless the step is halved.
    parameters = {
        "hidden1.weight": np.array([[1.0], [-1.0]]),
        "hidden1.bias": np.array([1e-6 - 1.0, 1.0 + 1e-6]),
        "output.weight": np.array([[1.0, 0.5], [-2.0, 0.7]]),
        "output.bias": np.zeros(2),
    }
    x, labels = np.array([[1.0]]), np.array([1])
    for seed in range(10):
        checks = check_gradients(
            architecture_of(parameters), parameters, gradients_of(parameters, x, labels), x, labels, seed
        )
        assert all(check.ok for check in checks), checks


def test_a_dead_unit_has_gradient_zero_and_error_zero():
    parameters = {
        "hidden1.weight": np.array([[1.0]]),
        "hidden1.bias": np.array([-9.0]),
        "output.weight": np.array([[1.0], [-2.0]]),
        "output.bias": np.zeros(2),
    }
    x, labels = np.array([[1.0]]), np.array([1])
    checks = check_gradients(architecture_of(parameters), parameters, gradients_of(parameters, x, labels), x, labels)
    assert [check.relative_error for check in checks[:3]] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("analytic", "numeric", "error"),
    [(1.0, 1.0, 0.0), (0.0, 0.0, 0.0), (1.0, -1.0, 2.0), (2.0, 1.0, 0.5), (float("nan"), 1.0, float("inf"))],
)
def test_relative_error_by_hand(analytic, numeric, error):
    assert relative_error(analytic, numeric) == error


def test_a_nan_never_passes():
    assert not relative_error(float("nan"), float("nan")) <= TOLERANCE


def test_a_gradient_of_another_shape_is_named():
    parameters = named([np.ones((2, 3))], [np.ones(2)])
    wrong = {**parameters, "output.weight": np.ones((3, 2))}
    with pytest.raises(ShapeError, match=r"gradient of output.weight must be \(2, 3\), got \(3, 2\)"):
        check_gradients(architecture_of(parameters), parameters, wrong, np.ones((1, 3)), np.array([0]))
