"""Load a model server with valid and hostile requests: `python tools/load_server.py [--seconds 60]`.

`chalknet serve` runs with two small models. Six threads send requests: rows, tables and images whose answers are
compared with `chalknet predict`, truncated images, images and archives that decompress to much more, bodies that claim
to have a gigabyte, deep and large JSON, wrong types, damaged forms, thousands of files, malformed HTTP, and connections
that are closed or send a byte now and then. Schemathesis sends requests that follow the OpenAPI document and some that
do not. The command prints the answers by kind and status, and the memory of the server. It fails if an answer has a
status of 500 or more other than 503, if a valid request gets another answer than that of `chalknet predict`, or if the
server does not answer afterwards.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path += [str(ROOT / "tests"), str(ROOT / "tests" / "serving")]

from hostile_requests import Load, follow_document, peak_memory  # noqa: E402
from running_servers import save_small_models  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        models = map(str, save_small_models(Path(name)))
        command = [sys.executable, "-m", "chalknet", "serve", *models, "--port", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                found = re.search(r":(\d+)$", process.stdout.readline().strip())
                assert found is not None
                port, faults = int(found[1]), list[str]()
                load = Load(port, Path(name), options.seconds)
                follow = threading.Thread(target=lambda: faults.extend(follow_document(port, options.seconds)))
                with peak_memory(process.pid) as memory:
                    follow.start()
                    report = load.run()
                    follow.join()
                load.valid_row(random.Random(0))
            finally:
                process.terminate()
                process.wait(60)
    answers = {f"{kind}: {status}": n for (kind, status), n in sorted(report.answers.items(), key=str)}
    faults += report.faults
    result = {
        "seconds": options.seconds,
        "answers": answers,
        "compared_with_predict": report.n_compared,
        "memory_at_start_mib": round(memory[0] / 2**20),
        "memory_at_most_mib": round(max(memory) / 2**20),
        "faults": faults,
    }
    print(json.dumps(result, indent=1))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
