"""The command that installs an extra fits how chalknet was installed."""

from __future__ import annotations

import json
from importlib import metadata
from types import SimpleNamespace

import pytest

from chalknet.version import install_command


@pytest.fixture
def installed(monkeypatch):
    """installed(origin): chalknet was installed with this direct_url.json, or is not installed for None."""

    def install(origin):
        def distribution(name):
            if origin is None:
                raise metadata.PackageNotFoundError(name)
            return SimpleNamespace(read_text={"direct_url.json": json.dumps(origin) if origin else None}.get)

        monkeypatch.setattr(metadata, "distribution", distribution)

    return install


@pytest.mark.parametrize(
    "origin", [None, {}, {"url": "file:///x.whl", "archive_info": {}}], ids=["no", "index", "wheel"]
)
def test_an_extra_comes_from_the_index_after_an_index_or_wheel(installed, origin):
    installed(origin)
    assert install_command("torch") == 'pip install "chalknet[torch]"'


@pytest.mark.parametrize(("editable", "flag"), [(True, "-e "), (False, "")])
def test_an_extra_comes_from_the_clone_after_an_install_from_it(installed, tmp_path, monkeypatch, editable, flag):
    (tmp_path / "pyproject.toml").touch()
    installed({"url": tmp_path.as_uri(), "dir_info": {"editable": editable}})
    assert install_command("onnx") == f'pip install {flag}"{tmp_path}[onnx]"'
    monkeypatch.chdir(tmp_path)
    assert install_command("onnx") == f'pip install {flag}".[onnx]"'


def test_an_extra_comes_from_the_index_if_the_clone_is_gone(installed, tmp_path):
    installed({"url": (tmp_path / "gone").as_uri(), "dir_info": {}})
    assert install_command("ray") == 'pip install "chalknet[ray]"'
