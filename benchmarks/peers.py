"""The full comparison of chalknet with its peers: `python benchmarks/peers.py [-o FILE]`.

`chalknet bench --full` does the same work; this script can also give the peers on NumPy other kernels and add to a
result that is already there. Work and peers are described in src/chalknet/bench/catalogue.py, and how each peer does
the work stands under src/chalknet/bench/peers/.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from chalknet.cli.bench import TurnProgress, lines
from chalknet.errors import ChalknetError
from chalknet.machine.kernels import NEEDS, VARIABLE, use_best_kernels
from chalknet.workflows.bench import FULL_ROUNDS, run_bench, settle_bench

# What two results must have in common to be one.
SETTING = ("machine", "versions", "threads", "rounds", "environment", "forced_kernels", "absent", "processes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=FULL_ROUNDS)
    parser.add_argument("--work", action="append", help="only this work, such as 'full 1000'; may be repeated")
    parser.add_argument("--peer", action="append", help="only this peer beside chalknet and the ceiling; repeatable")
    parser.add_argument("--threads", type=int, help="threads and cores of each peer; all cores by default")
    parser.add_argument("--kernels", choices=NEEDS, help="what OpenBLAS uses in peers on NumPy, in place of its choice")
    parser.add_argument("--add", action="store_true", help="add to the result in --out, made in the same setting")
    parser.add_argument("-o", "--out", type=Path)
    options = parser.parse_args()
    if options.kernels and VARIABLE in os.environ:
        parser.error(f"--kernels and {VARIABLE}={os.environ[VARIABLE]} both say which kernels to use; unset that.")
    if options.add and not (options.out and options.out.is_file()):
        parser.error("--add needs --out, a result that is there.")
    before = json.loads(options.out.read_text(encoding="utf-8")) if options.add else None
    try:
        plan = settle_bench(
            options.work or (), options.peer or (), full=True, rounds=options.rounds, threads=options.threads
        )
    except ChalknetError as error:
        parser.error(str(error))
    asked = {"threads": plan.threads or "all cores", "rounds": plan.rounds, "forced_kernels": options.kernels or ""}
    refuse_another_setting(before, asked)
    installed = dict(os.environ)
    use_best_kernels()
    with TurnProgress() as progress:
        result = run_bench(plan, installed=installed, forced_kernels=options.kernels or "", observe=progress)
    print("\n".join(lines(result)))
    if options.out:
        found = result.as_dict()
        refuse_another_setting(before, {key: found[key] for key in SETTING})
        if before is not None:  # the later one holds where both measured the same work
            for key in ("failed", "seconds"):
                found[key] = {**before[key], **found[key]}
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def refuse_another_setting(before: dict[str, Any] | None, setting: dict[str, Any]) -> None:
    """Ends the script where the result to add to was made otherwise."""
    other = [] if before is None else [key for key, value in setting.items() if before.get(key) != value]
    if other:
        sys.exit(f"--add: the result that is there was made with other {', '.join(other)}. Nothing written.")


if __name__ == "__main__":
    main()
