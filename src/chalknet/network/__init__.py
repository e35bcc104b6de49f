"""The network as pure functions: each formula of docs/derivation.md next to its derivative.

A function returns a value and its backward function. Layers, losses, optimizers and metrics are
defined here once; engines compute the same formulas faster. Imports from `data` and below.
"""
