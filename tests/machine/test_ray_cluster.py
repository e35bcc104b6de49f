"""What is said about Ray before any is started; what it does is in tests/test_ray.py."""

from __future__ import annotations

import sys

import pytest
from conftest import made_images, needs

import chalknet
from chalknet.cli.main import main
from chalknet.errors import ConfigError, MissingExtraError
from chalknet.machine.ray_cluster import checked_place, ray_cluster


@pytest.mark.parametrize(("on", "address"), [("ray", ""), ("ray://10.0.0.1:6379", "10.0.0.1:6379")])
def test_a_place_is_this_machine_or_an_address(on, address):
    assert checked_place(on) == address


@pytest.mark.parametrize("on", ["", "Ray", "ray://", "ray://host", "ray:6379", "ray://host:port", "http://host:1"])
def test_another_place_is_refused(on):
    with pytest.raises(ConfigError, match="on must be ray, for this machine, or ray://HOST:PORT, got"):
        checked_place(on)


@pytest.fixture
def without_ray(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)


@pytest.mark.usefixtures("without_ray")
def test_without_ray_the_command_that_installs_it_is_named_and_nothing_is_written(tmp_path):
    data = made_images(60, seed=0)
    sizes = {"train_size": 40, "valid_size": 10, "epochs": 1}
    with pytest.raises(MissingExtraError, match=r'study --on ray needs Ray: pip install "chalknet\[ray\]"\.'):
        chalknet.study(data, {"hidden": [2]}, out=tmp_path / "s", on="ray", **sizes)
    with pytest.raises(MissingExtraError, match=r'training over shards needs Ray: pip install "chalknet\[ray\]"\.'):
        chalknet.train(data, "writeup", out=tmp_path / "r", shards=2, hidden=[2], **sizes)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("without_ray")
def test_what_cannot_be_shared_out_is_said_before_ray_is_looked_for(capsys):
    line = ["train", "--train", "100", "--valid", "50", "--epochs", "1", "--quiet", "--shards", "2"]
    assert main([*line, "--batch-norm"]) == 2
    assert "batch_norm takes the statistics of a whole batch, which shards do not have" in capsys.readouterr().err
    assert main(["train", "--on", "ray://127.0.0.1:1", "--epochs", "1", "--quiet"]) == 2
    assert "on says where shards are; with on 'ray://127.0.0.1:1' give shards too" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="shards must be a whole number >= 1, got 0"):
        chalknet.train(made_images(60, seed=0), shards=0)


@pytest.mark.ray
def test_a_cluster_that_nobody_answers_for_is_told_in_one_line():
    needs("ray")
    with pytest.raises(chalknet.ChalknetError, match="there is no Ray cluster that this machine is a node of"):
        ray_cluster("ray://127.0.0.1:1", "test").__enter__()
