"""A search chooses the same configurations however the study is run, interrupted or extended."""

import re
import sys

import pytest
from conftest import made_images
from studies.small_studies import numbers, spec_of

from chalknet.errors import ConfigError, MissingExtraError
from chalknet.studies.configurations import Configuration
from chalknet.studies.results_reader import read_results
from chalknet.studies.search import Trial, next_trials, search_key
from chalknet.studies.spec import SearchConfig
from chalknet.version import install_command
from chalknet.workflows.study import study

SPACE = ("learning_rate=1e-6:1e-2:log", "momentum=0:0.9:lin4", "hidden=3,4x2", "patience=2:20:lin")
SIZES = {"recipe": "writeup", "train_size": 160, "valid_size": 40, "epochs": 3}


def searched(data, folder, trials=6, **more):
    space = {"learning_rate": "1e-6:1e-2:log", "hidden": [3, "4x2"]}
    return study(data, space, out=folder, seeds=2, search="tpe", trials=trials, at_once=2, **SIZES, **more)


def quality(settings):
    """An objective whose best learning rate is 1e-3, worst far from it."""
    import math

    return 1.0 - abs(math.log10(settings["learning_rate"]) + 3) / 10


def search(trials, spec):
    told = []
    while len(told) < trials:
        chosen = next_trials(spec, told)
        if not chosen:
            break
        told += [Trial(settings, quality(settings)) for settings in chosen]
    return told


def test_missing_optuna_is_named_and_nothing_is_written(monkeypatch, tmp_path, small_images):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(
        MissingExtraError, match=re.escape(f"a search needs Optuna. Install it: {install_command('search')}.")
    ):
        searched(small_images, tmp_path / "s")
    assert not (tmp_path / "s").exists()
    assert MissingExtraError.exit_code == 2


class TestWithOptuna:
    @pytest.fixture(autouse=True)
    def optuna(self):
        pytest.importorskip("optuna")

    def test_choices_are_within_the_space_new_and_repeatable(self):
        spec = spec_of(*SPACE, search=SearchConfig(trials=30))
        told = search(30, spec)
        assert len({str(trial.settings) for trial in told}) == 30
        for settings, _ in told:
            assert 1e-6 <= settings["learning_rate"] <= 1e-2
            assert settings["momentum"] in (0.0, 0.3, 0.6, 0.9)
            assert settings["hidden"] in ([3], [4, 2])
            assert settings["patience"] in range(2, 21)
        assert search(30, spec) == told
        assert search(30, spec_of(*SPACE, search=SearchConfig(trials=30, search_seed=1))) != told

    def test_later_choices_are_better_than_the_first_ones(self):
        told = search(40, spec_of(*SPACE, search=SearchConfig(trials=40)))
        first, last = (sum(trial.value for trial in part) / len(part) for part in (told[:10], told[-10:]))
        assert last > first + 0.05  # 0.05 is half a power of ten nearer to the best rate

    def test_a_round_cut_short_or_a_longer_search_chooses_the_same(self):
        spec = spec_of(*SPACE, search=SearchConfig(trials=12, at_once=4))
        whole = search(12, spec)
        for n in (1, 4, 6, 11):
            chosen = next_trials(spec, whole[:n])
            assert chosen == [trial.settings for trial in whole[n : (n // 4 + 1) * 4]]
        short = spec_of(*SPACE, search=SearchConfig(trials=6, at_once=4))
        assert search(6, short) == whole[:6]
        assert search_key(short) == search_key(spec)

    @pytest.mark.parametrize("seed", range(3))
    def test_failed_trials_count_as_worst(self, seed):
        spec = spec_of("learning_rate=1e-6:1e-2:log", search=SearchConfig(trials=60, search_seed=seed))
        told = []
        while len(told) < 60:
            told += [Trial(one, None if one["learning_rate"] > 1e-4 else 0.5) for one in next_trials(spec, told)]
        # 4 to 12 of the last 24 fail; all 24 do where the sampler is not told of those that failed before.
        assert sum(trial.value is None for trial in told[36:]) <= 16

    def test_a_small_space_is_used_up_and_the_search_ends(self, small_images, tmp_path):
        results = study(
            small_images, {"hidden": [3, 4, 5]}, out=tmp_path / "s", seeds=1, search="tpe", trials=9, **SIZES
        )
        assert sorted(config.label for config in results.configurations) == ["hidden=3", "hidden=4", "hidden=5"]
        assert results.counts["done"] == 3

    @pytest.mark.slow
    def test_a_search_finds_the_same_whatever_the_jobs_and_goes_on_where_it_was_stopped(self, small_images, tmp_path):
        whole = searched(small_images, tmp_path / "whole", jobs=2)
        assert len(whole.configurations) == 6
        assert all(isinstance(config, Configuration) for config in whole.configurations)

        def interrupt(progress):
            if progress.done >= 5:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            searched(small_images, tmp_path / "stopped", jobs=1, on_progress=interrupt)
        assert 0 < len(read_results(tmp_path / "stopped").configurations) < 6
        again = searched(small_images, tmp_path / "stopped", jobs=1)
        assert [config.label for config in again.configurations] == [config.label for config in whole.configurations]
        assert numbers(again) == numbers(whole)
        longer = searched(small_images, tmp_path / "stopped", trials=8)
        assert [config.label for config in longer.configurations][:6] == [
            config.label for config in whole.configurations
        ]
        assert len(longer.configurations) == 8

    def test_a_search_needs_validation_samples(self, tmp_path):
        with pytest.raises(ConfigError, match="optimizes valid_accuracy, but there are no validation samples"):
            study(made_images(240, 0), {"hidden": [3]}, out=tmp_path / "s", search="tpe", train_size=160, valid_size=0)
