"""The command `chalknet serve`: what it prints, its exit codes, and errors in one line."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request

import pytest
from conftest import made_images, needs

from chalknet.artifacts.model_file import save_model
from chalknet.cli.main import main
from chalknet.data.preprocess import Scaling
from chalknet.network.architecture import Architecture
from chalknet.network.initializers import initial_parameters
from chalknet.network.model import Network
from chalknet.serving.server.running import bind_socket
from chalknet.version import install_command


@pytest.fixture
def model(tmp_path):
    architecture = Architecture(30, (4,), 4)
    network = Network(architecture, initial_parameters(architecture, 0), tuple("ABCD"), Scaling(255.0), (6, 5))
    save_model(network, tmp_path / "letters.safetensors")
    return tmp_path / "letters.safetensors"


extras = pytest.mark.extras


@extras
@pytest.mark.parametrize(
    ("number", "code", "ignored"),
    [(signal.SIGINT, 130, True), (signal.SIGINT, 130, False), (signal.SIGTERM, 143, False)],
)
def test_it_prints_its_address_and_stops_with_a_signal(model, number, code, ignored):
    needs("uvicorn")
    command = [sys.executable, "-m", "chalknet", "serve", f"abc={model}", "--port", "0"]
    with subprocess.Popen(
        ["bash", "-c", 'trap "" INT; exec "$@"', "bash", *command] if ignored else command,  # as with "&" in a script
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
    ) as process:
        try:
            printed = [process.stdout.readline().strip() for _ in range(3)]
            address = re.fullmatch(r"chalknet serves at (http://127\.0\.0\.1:\d+)", printed[0])[1]
            assert printed[1:] == ["abc: reads images of 6 x 5, predicts 4 classes", "Stop with Ctrl-C."]
            body = json.dumps({"rows": made_images(1, 0).inputs.reshape(1, 30).tolist()}).encode()
            request = urllib.request.Request(
                f"{address}/v1/models/abc/predict", body, {"Content-Type": "application/json"}
            )
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20) as answer:
                assert set(json.load(answer)["predictions"][0]["probabilities"]) == set("ABCD")
            process.send_signal(number)
            assert process.wait(20) == code
            assert process.stderr.read().strip() == ("chalknet: stopped." if number == signal.SIGINT else "")
        finally:
            process.kill()


def fails(arguments, capsys):
    code = main(["serve", *map(str, arguments)])
    (line,) = capsys.readouterr().err.splitlines()
    return code, line


@extras
def test_wrong_settings_are_one_line_errors(model, tmp_path, capsys, monkeypatch):
    needs("uvicorn")
    monkeypatch.delenv("CHALKNET_TOKEN", raising=False)
    (tmp_path / "other").mkdir()
    shutil.copy(model, tmp_path / "other" / "letters.safetensors")
    code, line = fails([model, tmp_path / "other" / "letters.safetensors"], capsys)
    assert (code, "Both " in line and "would be called 'letters'" in line, "NAME=PATH" in line) == (2, True, True)
    code, line = fails([tmp_path / "nothing"], capsys)
    assert (code, line.endswith("nothing: no such model file. Give a run folder or a model.safetensors file.")) == (
        1,
        True,
    )
    (tmp_path / "new.csv").write_text("x,y\n1,2\n")
    code, line = fails([tmp_path / "new.csv"], capsys)
    assert (code, "new.csv is not a chalknet model. Give a run folder" in line) == (1, True)
    code, line = fails([tmp_path / "other"], capsys)
    assert (code, "holds no model.safetensors" in line) == (1, True)
    code, line = fails([model, "--host", "0.0.0.0"], capsys)
    assert (code, "so a token is needed" in line) == (2, True)
    with bind_socket("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        code, line = fails([model, "--port", port], capsys)
        assert (code, f"port {port} of 127.0.0.1 is in use" in line) == (2, True)
    assert fails([model, "--port", "70000"], capsys)[0] == 2
    assert fails([f"a/b={model}"], capsys)[0] == 1
    assert fails([f"{'n' * 101}={model}"], capsys)[0] == 2
    (tmp_path / "empty").write_text("")
    code, line = fails([model, "--token-file", tmp_path / "empty"], capsys)
    assert (code, "the token must be one word" in line) == (2, True)


def test_without_the_extra_the_error_names_it(model, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.setitem(sys.modules, "orjson", None)
    code, line = fails([model], capsys)
    assert code == 2
    assert line.endswith(f"{install_command('serve')}.")
