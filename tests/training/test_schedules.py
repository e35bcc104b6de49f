import numpy as np
import pytest
from conftest import needs

from chalknet.config import SCHEDULES, Recipe, ScheduleConfig
from chalknet.data.splits import split_dataset
from chalknet.training.schedules import (
    END_FACTOR,
    START_FACTOR,
    learning_rate_multiplier,
    regularization_multiplier,
)
from chalknet.training.trainer import Trainer


def factors(n_updates=100, a_epoch=10, **settings):
    config = ScheduleConfig(**settings)
    return [learning_rate_multiplier(config, update, n_updates, a_epoch) for update in range(n_updates)]


def test_constant_schedule_is_always_1():
    assert set(factors()) == {1.0}


def test_step_schedule_by_hand():
    got = factors(schedule="step", step_epochs=4, step_factor=0.5)
    assert got == [1.0] * 40 + [0.5] * 40 + [0.25] * 20


def test_cosine_by_hand():
    got = factors(schedule="cosine")
    assert (got[0], got[50]) == (1.0, pytest.approx(0.5))
    assert got[-1] == pytest.approx((1 + np.cos(np.pi * 0.99)) / 2)


def test_one_cycle_start_peak_and_end():
    got = factors(schedule="one_cycle")
    assert got[0] == pytest.approx(START_FACTOR)
    assert (int(np.argmax(got)), max(got)) == (29, pytest.approx(1.0))
    assert got[-1] == pytest.approx(END_FACTOR)


def test_coslog4_has_four_periods_of_doubling_length():
    got = factors(1_500, schedule="coslog4")
    for start, stop in ((0, 100), (100, 300), (300, 700), (700, 1_500)):
        assert got[start] == pytest.approx(0, abs=1e-12)
        assert max(got[start:stop]) == pytest.approx(1, abs=1e-3)
        # log2(1 + 15 t) is halfway between two integers at the peak.
        assert start + int(np.argmax(got[start:stop])) == pytest.approx((2**0.5 * (start + 100)) - 100, abs=1)
    assert got[-1] < 1e-4


def test_flat_cos_is_flat_and_then_a_half_cosine():
    got = [regularization_multiplier("flat_cos", update, 100) for update in range(100)]
    assert got[:51] == [1.0] * 51
    assert got[75] == pytest.approx(0.5)
    assert got[-1] == pytest.approx((1 + np.cos(np.pi * 0.98)) / 2)
    assert {regularization_multiplier("constant", update, 100) for update in range(100)} == {1.0}


def test_the_schedules_of_regularization_reach_every_update(small_images):
    settings = {"weight_decay_schedule": "flat_cos", "epochs": 4, "batch_size": 60, "learning_rate": 0.1}
    recipe = Recipe().with_settings(**settings)
    trainer = Trainer(small_images, split_dataset(small_images, "random", 120, 60, 0), recipe)
    steps = [update.step for epoch in range(1, 5) for update in trainer.updates(epoch)]
    want = [regularization_multiplier("flat_cos", update, 8) for update in range(8)]
    assert [step.weight_decay_multiplier for step in steps] == want
    assert {step.dropout_multiplier for step in steps} == {1.0}


def test_warm_up_is_linear_and_multiplies_the_schedule():
    got = factors(warmup_epochs=2)
    np.testing.assert_allclose(got[:21], [*(k / 20 for k in range(1, 21)), 1.0])
    both = factors(schedule="cosine", warmup_epochs=0.5)
    np.testing.assert_allclose(both[2], factors(schedule="cosine")[2] * 3 / 5)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("n_updates", [1, 2, 3, 5])
def test_runs_of_few_updates_have_finite_rates(schedule, n_updates):
    got = factors(n_updates, 1, schedule=schedule, warmup_epochs=1)
    assert all(np.isfinite(got))
    assert all(0 <= factor <= 1 + 1e-12 for factor in got)


@pytest.mark.extras
@pytest.mark.parametrize(
    ("settings", "make"),
    [
        ({"schedule": "cosine"}, lambda lr, optimizer: lr.CosineAnnealingLR(optimizer, T_max=100)),
        ({"schedule": "one_cycle"}, lambda lr, optimizer: lr.OneCycleLR(optimizer, max_lr=1.0, total_steps=100)),
        (
            {"schedule": "step", "step_epochs": 3, "step_factor": 0.3},
            lambda lr, optimizer: lr.StepLR(optimizer, step_size=30, gamma=0.3),
        ),
    ],
)
def test_schedules_equal_those_of_torch(settings, make):
    torch = needs("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = make(torch.optim.lr_scheduler, optimizer)
    want = []
    for _ in range(100):
        want.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    np.testing.assert_allclose(factors(**settings), want, rtol=1e-9, atol=1e-12)
