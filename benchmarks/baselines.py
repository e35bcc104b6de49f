"""Compare the speed of chalknet with that of other libraries: `python benchmarks/baselines.py [-o FILE]`.

Each baseline runs the same workloads in a process of its own, and all take turns. `--kernels` makes
baselines on NumPy use other kernels, and `--add` adds to an existing result. The workloads are in
harness/workloads.py, the baselines in harness/baselines/.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from harness.baselines import BASELINES
from harness.comparison import compare
from harness.report import print_progress, report_text
from harness.workloads import WORKLOADS, Workload, parse_workload

from chalknet.machine.kernels import CORETYPE, REQUIRED_FLAGS, use_best_kernels

# What two results must have in common to be merged.
SETTING = ("machine", "versions", "threads", "rounds", "environment", "forced_kernels", "absent", "processes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=positive, default=7)
    parser.add_argument("--workload", action="append", type=workload, help="measure only this one, such as 'full 1000'")
    parser.add_argument(
        "--baseline",
        action="append",
        choices=BASELINES,
        help="measure only this one, besides chalknet and the roofline",
    )
    parser.add_argument("--threads", type=positive, help="threads and cores of each baseline  [default: all cores]")
    parser.add_argument("--kernels", choices=REQUIRED_FLAGS, help="kernel set of OpenBLAS in baselines on NumPy")
    parser.add_argument("--add", action="store_true", help="add to the result in --out, measured in the same setting")
    parser.add_argument("-o", "--out", type=Path)
    options = parser.parse_args()
    if options.kernels and CORETYPE in os.environ:
        parser.error(f"--kernels and {CORETYPE}={os.environ[CORETYPE]} both choose kernels. Unset the variable.")
    if options.add and not (options.out and options.out.is_file()):
        parser.error("--add needs --out, a result that exists.")
    before = json.loads(options.out.read_text(encoding="utf-8")) if options.add else None
    asked = {"threads": options.threads or "all cores", "rounds": options.rounds}
    refuse_another_setting(before, {**asked, "forced_kernels": options.kernels or ""})
    installed = dict(os.environ)
    use_best_kernels()
    names = options.baseline or [name for name, baseline in BASELINES.items() if not baseline.by_name_only]
    result = compare(
        [baseline for name, baseline in BASELINES.items() if name in {*names, "chalknet", "roofline"}],
        options.workload or [parse_workload(text) for text in WORKLOADS],
        options.rounds,
        threads=options.threads or 0,
        installed=installed,
        forced_kernels=options.kernels or "",
        progress=print_progress(),
    )
    print(report_text(result))
    if options.out:
        found = result.as_dict()
        refuse_another_setting(before, {key: found[key] for key in SETTING})
        # Of a workload that both results contain, the later measurement is kept.
        if before is not None:
            for key in ("failed", "seconds"):
                found[key] = {**before[key], **found[key]}
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if "chalknet" in result.failed:
        sys.exit(f"chalknet failed: {result.failed['chalknet']}")


def workload(text: str) -> Workload:
    try:
        return parse_workload(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected an integer > 0, got {text!r}")
    return int(text)


def refuse_another_setting(before: dict[str, Any] | None, setting: dict[str, Any]) -> None:
    """Exit with an error if the result to add to was measured in another setting."""
    other = [] if before is None else [key for key, value in setting.items() if before.get(key) != value]
    if other:
        sys.exit(f"--add: the existing result was made with other {', '.join(other)}. Nothing was written.")


if __name__ == "__main__":
    main()
