"""Compare the torch engine on a CPU with PyTorch: `python benchmarks/torch_engine.py [-o FILE]`.

It measures full-batch epochs of the write-up with the torch engine in bfloat16, a plain PyTorch module
in bfloat16 and in float32, and the numpy engine, and two lower bounds: the time of an epoch's products
alone, and their time at the rate of the first layer's products. Each runs in a process of its own, and
all take turns.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from harness.baselines import BASELINES
from harness.comparison import compare
from harness.report import print_progress, report_text
from harness.workloads import FULL_WORKLOADS, parse_workload

from chalknet.machine.kernels import use_best_kernels

NAMES = ("chalknet", "torch", "torch-bf16", "chalknet-bf16", "products-bf16", "roofline-bf16")
OUT = Path(__file__).parent / "results" / "torch_engine.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=0, help="threads and cores of each  [default: all cores]")
    parser.add_argument(
        "--workload", action="append", help="measure only this one, such as 'full 1000'; may be repeated"
    )
    parser.add_argument("--note", default="", help="a sentence about the measurement, for docs/benchmarks.md")
    parser.add_argument("-o", "--out", type=Path, default=OUT)
    options = parser.parse_args()
    use_best_kernels()
    result = compare(
        [BASELINES[name] for name in NAMES],
        [parse_workload(text) for text in options.workload or FULL_WORKLOADS],
        options.rounds,
        threads=options.threads,
        progress=print_progress(),
    )
    print(report_text(result))
    options.out.write_text(json.dumps({**result.as_dict(), "note": options.note}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
