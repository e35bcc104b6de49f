import numpy as np
import pytest
from conftest import needs

from chalknet.config import OPTIMIZERS, Recipe
from chalknet.network.optimizers import (
    Adam,
    DecoupledWeightDecay,
    Momentum,
    Nesterov,
    ParameterAverage,
    Step,
    optimizer_for,
)


def walk(optimizer, steps, rate=0.1):
    """Return w and b after each step on the objective (w^2 + b^2) / 2 from w = b = 1."""
    parameters = {"output.weight": np.array([[1.0]]), "output.bias": np.array([1.0])}
    state = optimizer.initial_state(parameters)
    seen = []
    for number in range(1, steps + 1):
        parameters, state = optimizer.step(parameters, dict(parameters), state, Step(number, rate))
        seen.append((float(parameters["output.weight"][0, 0]), float(parameters["output.bias"][0])))
    return seen


def test_momentum_by_hand_with_plain_steps_for_biases():
    # v: 0.1, then 0.5*0.1 + 0.1*0.9 = 0.14; w: 0.9, 0.76. b: 0.9, 0.81.
    np.testing.assert_allclose(walk(Momentum(momentum=0.5), 2), [(0.9, 0.9), (0.76, 0.81)], rtol=1e-15)


def test_nesterov_by_hand():
    # v = 0.1, w = 1 - (0.05 + 0.1) = 0.85; then v = 0.05 + 0.085 = 0.135, w = 0.85 - (0.0675 + 0.085) = 0.6975.
    np.testing.assert_allclose(walk(Nesterov(0.5), 2), [(0.85, 0.85), (0.6975, 0.6975)], rtol=1e-15)


def test_adam_by_hand():
    # The first step is the rate times g / |g|, whatever the gradient's size: 1 -> 0.9.
    # m = 0.09 + 0.09 = 0.18 of 1 - 0.81 = 0.19; s = 0.000999 + 0.00081 of 1 - 0.998001 = 0.001999.
    second = 0.9 - 0.1 * (0.18 / 0.19) / np.sqrt((0.000999 + 0.00081) / 0.001999)
    np.testing.assert_allclose(walk(Adam(), 2), [(0.9, 0.9), (second, second)], rtol=1e-7)


def test_decay_shrinks_weights_and_leaves_biases():
    (weight, bias), *_ = walk(DecoupledWeightDecay(Momentum(0.0), weight_decay=0.5), 1)
    assert (weight, bias) == (pytest.approx(0.95 - 0.1), pytest.approx(0.9))


def test_the_schedule_of_weight_decay_multiplies_the_decay_alone():
    optimizer = DecoupledWeightDecay(Momentum(0.0), weight_decay=0.5)
    parameters = {"output.weight": np.array([[1.0]])}
    moved, _ = optimizer.step(parameters, parameters, optimizer.initial_state(parameters), Step(1, 0.1, 0.2))
    assert moved["output.weight"] == pytest.approx(1 - 0.1 * 0.5 * 0.2 - 0.1)


def test_the_parameter_average_soon_forgets_the_start():
    optimizer = ParameterAverage(Momentum(0.0), decay=0.999)
    parameters = {"output.weight": np.array([[1.0]])}
    state = optimizer.initial_state(parameters)
    assert state["average/output.weight"] == 1
    parameters, state = optimizer.step(parameters, {"output.weight": np.array([[10.0]])}, state, Step(1, 0.1))
    # d_1 = 2/11: the average keeps less than a fifth of the start.
    np.testing.assert_allclose(state["average/output.weight"], 2 / 11 * 1 + 9 / 11 * 0)
    assert optimizer.ema_decay(10**6) == 0.999


def test_bias_momentum_applies_momentum_to_biases():
    assert all(w == b for w, b in walk(Momentum(0.5, bias_momentum=True), 5))


def test_no_momentum_is_gradient_descent():
    np.testing.assert_allclose(walk(Momentum(0.0), 3), [(0.9**k, 0.9**k) for k in (1, 2, 3)], rtol=1e-14)


ALL = [
    optimizer_for(Recipe().with_settings(optimizer=name, weight_decay=decay, weight_average=average).optimizer)
    for name in OPTIMIZERS
    for decay, average in ((0.0, 0.0), (0.1, 0.9))
]


@pytest.mark.parametrize("optimizer", ALL, ids=str)
def test_a_multiplier_is_a_factor_of_the_rate(optimizer):
    """A parameter with a multiplier moves as with a rate multiplied by it, and others as before."""
    rng = np.random.default_rng(0)
    parameters = {"hidden1.weight": rng.normal(size=(4, 3)), "output.bias": rng.normal(size=4)}
    gradients = [{name: rng.normal(size=value.shape) for name, value in parameters.items()} for _ in range(3)]

    def walked(rate, multipliers):
        moved, state = parameters, optimizer.initial_state(parameters)
        for number, gradient in enumerate(gradients, start=1):
            moved, state = optimizer.step(moved, gradient, state, Step(number, rate), multipliers)
        return moved

    multiplied, faster, plain = walked(0.01, {"output.bias": 4.0}), walked(0.04, {}), walked(0.01, None)
    np.testing.assert_array_equal(multiplied["output.bias"], faster["output.bias"])
    np.testing.assert_array_equal(multiplied["hidden1.weight"], plain["hidden1.weight"])
    assert not (plain["output.bias"] == faster["output.bias"]).any()


@pytest.mark.parametrize("optimizer", ALL, ids=str)
def test_step_does_not_change_its_arguments(optimizer):
    parameters = {"output.weight": np.ones((3, 2)), "output.bias": np.ones(3)}
    gradients = {name: np.ones_like(value) for name, value in parameters.items()}
    state = optimizer.initial_state(parameters)
    before = {name: value.copy() for name, value in state.items()}
    optimizer.step(parameters, gradients, state, Step(1, 0.1))
    assert all((value == 1).all() for value in (*parameters.values(), *gradients.values()))
    assert all((state[name] == before[name]).all() for name in before)


@pytest.mark.parametrize("optimizer", ALL, ids=str)
def test_float32_steps_are_close_to_float64_steps(optimizer):
    rng = np.random.default_rng(0)
    wide = {"output.weight": rng.normal(size=(4, 3)), "output.bias": rng.normal(size=4)}
    narrow = {name: value.astype(np.float32) for name, value in wide.items()}
    states = optimizer.initial_state(wide), optimizer.initial_state(narrow)
    for number in range(1, 6):
        gradients = {name: np.sin(value) for name, value in wide.items()}
        small = {name: value.astype(np.float32) for name, value in gradients.items()}
        wide, wide_state = optimizer.step(wide, gradients, states[0], Step(number, 0.01))
        narrow, narrow_state = optimizer.step(narrow, small, states[1], Step(number, 0.01))
        states = wide_state, narrow_state
    assert all(value.dtype == np.float32 for value in (*narrow.values(), *states[1].values()))
    for name in wide:
        np.testing.assert_allclose(narrow[name], wide[name], rtol=2e-6, atol=2e-6)


def torch_walk(make, steps, rate=0.1, decay=0.0):
    torch = needs("torch")
    weight, bias = (torch.ones(1, dtype=torch.float64, requires_grad=True) for _ in range(2))
    optimizer = make(torch.optim, [{"params": [weight], "weight_decay": decay}, {"params": [bias]}], rate)
    seen = []
    for _ in range(steps):
        optimizer.zero_grad()
        ((weight**2 + bias**2) / 2).sum().backward()
        optimizer.step()
        seen.append((weight.item(), bias.item()))
    return seen


WITNESSES = [
    # PyTorch keeps v without the rate and multiplies it in; with a constant rate the steps are the same.
    (Momentum(0.9, True), lambda optim, groups, rate: optim.SGD(groups, lr=rate, momentum=0.9), 0.0),
    (Momentum(0.0), lambda optim, groups, rate: optim.SGD(groups, lr=rate), 0.0),
    (Nesterov(0.9), lambda optim, groups, rate: optim.SGD(groups, lr=rate, momentum=0.9, nesterov=True), 0.0),
    (Adam(), lambda optim, groups, rate: optim.Adam(groups, lr=rate), 0.0),
    (Adam(0.7, 0.95, 1e-3), lambda optim, groups, rate: optim.Adam(groups, lr=rate, betas=(0.7, 0.95), eps=1e-3), 0.0),
    (
        DecoupledWeightDecay(Adam(), 0.3),
        lambda optim, groups, rate: optim.AdamW(groups, lr=rate, weight_decay=0.0),
        0.3,
    ),
]


@pytest.mark.extras
@pytest.mark.parametrize(
    ("optimizer", "make", "decay"), WITNESSES, ids=lambda value: "torch" if callable(value) else str(value)[:30]
)
def test_optimizers_equal_those_of_torch(optimizer, make, decay):
    np.testing.assert_allclose(walk(optimizer, 20), torch_walk(make, 20, decay=decay), rtol=1e-12)


@pytest.mark.extras
def test_momentum_without_bias_momentum_equals_torch():
    def make(optim, groups, rate):
        return optim.SGD([{**groups[0], "momentum": 0.9}, {**groups[1], "momentum": 0.0}], lr=rate)

    np.testing.assert_allclose(walk(Momentum(0.9), 20), torch_walk(make, 20), rtol=1e-12)
