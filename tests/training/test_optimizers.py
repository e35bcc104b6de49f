import numpy as np
import pytest

from chalknet.training.optimizers import Momentum


def walk(rule, steps):
    """Parameters after each step down the slope of (w^2 + b^2) / 2 from w = b = 1."""
    parameters = {"output.weight": np.array([1.0]), "output.bias": np.array([1.0])}
    state = rule.start(parameters)
    seen = []
    for _ in range(steps):
        parameters, state = rule.step(parameters, dict(parameters), state)
        seen.append((float(parameters["output.weight"][0]), float(parameters["output.bias"][0])))
    return seen


def test_momentum_by_hand_with_plain_steps_for_the_biases():
    # v: 0.1, then 0.5*0.1 + 0.1*0.9 = 0.14; w: 0.9, 0.76. b: 0.9, 0.81.
    got = walk(Momentum(learning_rate=0.1, momentum=0.5), 2)
    np.testing.assert_allclose(got, [(0.9, 0.9), (0.76, 0.81)], rtol=1e-15)


def test_biases_follow_the_weights_where_they_have_momentum_too():
    assert all(w == b for w, b in walk(Momentum(0.1, 0.5, bias_momentum=True), 5))


def test_no_momentum_is_gradient_descent():
    np.testing.assert_allclose(walk(Momentum(0.1, 0.0), 3), [(0.9**k, 0.9**k) for k in (1, 2, 3)], rtol=1e-14)


def test_a_step_changes_nothing_it_is_given():
    rule = Momentum(0.1, 0.9)
    parameters = {"output.weight": np.ones(3)}
    gradients = {"output.weight": np.ones(3)}
    state = rule.start(parameters)
    rule.step(parameters, gradients, state)
    assert (parameters["output.weight"] == 1).all()
    assert (gradients["output.weight"] == 1).all()
    assert (state["output.weight"] == 0).all()


@pytest.mark.parametrize("bias_momentum", [False, True])
def test_momentum_equals_torchs_where_both_define_it(bias_momentum):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    # PyTorch keeps v without the rate and multiplies it in; with a constant rate the steps are the same.
    weight, bias = (
        torch.ones(1, dtype=torch.float64, requires_grad=True),
        torch.ones(1, dtype=torch.float64, requires_grad=True),
    )
    groups = [{"params": [weight], "momentum": 0.9}, {"params": [bias], "momentum": 0.9 if bias_momentum else 0.0}]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    want = []
    for _ in range(10):
        optimizer.zero_grad()
        ((weight**2 + bias**2) / 2).sum().backward()
        optimizer.step()
        want.append((weight.item(), bias.item()))
    np.testing.assert_allclose(walk(Momentum(0.1, 0.9, bias_momentum), 10), want, rtol=1e-12)
