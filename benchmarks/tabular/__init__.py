"""Compare classifiers on public tables that Python packages contain.

`benchmarks/tables.py` uses this package; it is not part of the wheel. `sets` defines the tables and
reads them from the packages, `methods` names the classifiers and `columns` prepares tables for them.
`worker` is the process of one run and `scores` has its scores. `ranks` has ranks and critical differences,
`summary` applies them to stored runs, and `page` writes the section of docs/benchmarks.md.
"""
