"""Measure the same workloads with chalknet and other libraries, each in a process of its own.

The scripts in `benchmarks/` use this package; it is not part of the wheel. `workloads` defines what
is measured and `baselines` with which libraries, `comparison` runs the rounds, and `report` prints
the result.
"""
