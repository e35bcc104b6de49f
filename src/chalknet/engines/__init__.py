"""The code that computes: one interface, `Engine`, and three implementations of it.

`reference` evaluates the formulas of `network` as they are written. `numpy_engine` and
`torch_engine` compute the same numbers faster, and tests compare both with the reference.
"""
