"""Measure how long chalknet takes to start: `python benchmarks/startup.py [-o FILE]`.

Each command runs in a process of its own, and all take turns, so that a busy moment of the machine
affects all alike. Limits: `import chalknet` takes at most 0.1 s more than `import numpy`, and
`chalknet --help` at most 0.35 s.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import chalknet
from chalknet.machine.facts import machine_facts

COMMANDS = {
    "python": ["-c", "pass"],
    "import numpy": ["-c", "import numpy"],
    "import numpy, chalknet": ["-c", "import numpy, chalknet"],
    "chalknet --help": ["-m", "chalknet", "--help"],
    "chalknet data --help": ["-m", "chalknet", "data", "--help"],
    "chalknet train --help": ["-m", "chalknet", "train", "--help"],
}


def seconds(arguments: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("-o", "--out", type=Path, help="write the result as JSON")
    options = parser.parse_args()
    rounds = [{name: seconds(arguments) for name, arguments in COMMANDS.items()} for _ in range(options.rounds + 1)]
    measured = {name: [one[name] for one in rounds[1:]] for name in COMMANDS}  # the first round fills the disk cache
    result = {
        "chalknet": chalknet.__version__,
        "machine": machine_facts(),
        "rounds": options.rounds,
        "median_seconds": {name: statistics.median(times) for name, times in measured.items()},
        "quartiles_seconds": {name: statistics.quantiles(times, n=4) for name, times in measured.items()},
        "import_chalknet_beyond_numpy_seconds": statistics.median(
            both - alone
            for both, alone in zip(measured["import numpy, chalknet"], measured["import numpy"], strict=True)
        ),
    }
    text = json.dumps(result, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
