"""Messages about Ray that need no cluster; tests with a cluster are in tests/test_ray.py."""

import re
import sys
from types import SimpleNamespace

import pytest
from conftest import made_images, needs

import chalknet
from chalknet.cli.main import main
from chalknet.engines.ray_shards import RayShards
from chalknet.errors import ConfigError, MissingExtraError
from chalknet.machine.ray_cluster import first_sentence, parse_cluster_address, ray_cluster
from chalknet.version import install_command


@pytest.mark.parametrize(("on", "address"), [("ray", ""), ("ray://10.0.0.1:6379", "10.0.0.1:6379")])
def test_a_cluster_is_this_machine_or_an_address(on, address):
    assert parse_cluster_address(on) == address


@pytest.mark.parametrize("on", ["", "Ray", "ray://", "ray://host", "ray:6379", "ray://host:port", "http://host:1"])
def test_other_clusters_are_refused(on):
    with pytest.raises(ConfigError, match=r"on must be ray \(this machine\) or ray://HOST:PORT, got"):
        parse_cluster_address(on)


@pytest.mark.parametrize("port", [0, 65_536, 10**9])
def test_an_invalid_port_is_refused(port):
    with pytest.raises(ConfigError, match=f"on must name a port from 1 to 65535, got 'ray://host:{port}'"):
        parse_cluster_address(f"ray://host:{port}")


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("The actor is dead because its worker process has died. Worker exit type: X", "the actor is dead because its "
         "worker process has died"),
        ("", "runtimeError"),
    ],
)  # fmt: skip
def test_an_error_of_ray_is_shortened_to_a_sentence(said, kept):
    assert first_sentence(RuntimeError(said)) == kept


@pytest.mark.parametrize(("cores", "most"), [(2, 32), (0, 16)])
def test_the_number_of_shards_per_core_is_limited(cores, most):
    ray = SimpleNamespace(nodes=lambda: [{"Alive": True, "Resources": {"CPU": cores}}])
    assert RayShards(ray, most).n == most
    with pytest.raises(ConfigError, match=f"shards: expected at most {most} .* {cores} cores, got {most + 1}"):
        RayShards(ray, most + 1)


@pytest.fixture
def without_ray(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)


@pytest.mark.usefixtures("without_ray")
def test_without_ray_the_extra_is_named(tmp_path):
    data = made_images(60, seed=0)
    sizes = {"train_size": 40, "valid_size": 10, "epochs": 1}
    with pytest.raises(MissingExtraError, match=re.escape(f"a study on Ray needs Ray: {install_command('ray')}.")):
        chalknet.study(data, {"hidden": [2]}, out=tmp_path / "s", on="ray", **sizes)
    with pytest.raises(
        MissingExtraError, match=re.escape(f"training over shards needs Ray: {install_command('ray')}.")
    ):
        chalknet.train(data, "writeup", out=tmp_path / "r", shards=2, hidden=[2], **sizes)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("without_ray")
def test_invalid_shards_are_reported_before_ray_is_imported(capsys):
    line = ["train", "--train", "100", "--valid", "50", "--epochs", "1", "--quiet", "--shards", "2"]
    assert main([*line, "--batch-norm"]) == 2
    assert "batch_norm needs the statistics of a whole batch" in capsys.readouterr().err
    assert main(["train", "--on", "ray://127.0.0.1:1", "--epochs", "1", "--quiet"]) == 2
    assert "on 'ray://127.0.0.1:1' is the cluster for shards, but --shards is not given" in capsys.readouterr().err
    with pytest.raises(ConfigError, match=r"shards must be an integer from 1 to 10000, got 0"):
        chalknet.train(made_images(60, seed=0), shards=0)


@pytest.mark.ray
def test_an_unreachable_cluster_leaves_no_study_folder(tmp_path):
    needs("ray")
    with pytest.raises(chalknet.ChalknetError, match=r"expected a Ray cluster .* Connection refused"):
        chalknet.study(made_images(60, seed=0), {"hidden": [2]}, out=tmp_path / "s", on="ray://127.0.0.1:1", epochs=1)
    assert not list(tmp_path.iterdir())


@pytest.mark.ray
def test_an_unreachable_cluster_is_one_line():
    needs("ray")
    with pytest.raises(chalknet.ChalknetError, match="expected a Ray cluster with this machine as a node"):
        ray_cluster("ray://127.0.0.1:1", "test").__enter__()
