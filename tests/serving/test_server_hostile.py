"""A server under a mixture of valid and hostile requests; tools/load_server.py runs the same for longer."""

import os
import random
import re
import subprocess
import sys
import threading

import pytest
from conftest import needs
from hostile_requests import Load, follow_document, peak_memory
from running_servers import need_packages, running, save_small_models

pytestmark = pytest.mark.extras

MAX_BYTES = 1.5 * 2**30


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="memory is read from /proc")  # noqa: PTH110
def test_a_server_withstands_hostile_requests(tmp_path):
    need_packages()
    models = map(str, save_small_models(tmp_path))
    command = [sys.executable, "-m", "chalknet", "serve", *models, "--port", "0", "--max-pixels", "4000000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        errors = []
        reader = threading.Thread(target=lambda: errors.extend(process.stderr))  # a full pipe would stop the server
        reader.start()
        try:
            port = int(re.search(r":(\d+)$", process.stdout.readline().strip())[1])
            load = Load(port, tmp_path, 6)
            with peak_memory(process.pid) as memory:
                report = load.run()
            load.valid_row(random.Random(0))
            assert report.faults == []
            assert report.n_compared > 5
            assert max(memory) < MAX_BYTES
        finally:
            process.terminate()
            process.wait(30)
            reader.join()
        assert errors == []


def test_answers_follow_the_openapi_document(tmp_path):
    needs("schemathesis")
    with running(*save_small_models(tmp_path)) as client:
        assert follow_document(client.base_url.port, 4, n=10) == []
        assert client.post("/v1/models/rows/predict", json={"rows": [[1, 2, 3]]}).status_code == 200
