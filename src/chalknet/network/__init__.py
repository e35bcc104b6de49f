"""The chalkboard: each formula of docs/derivation.md with its derivative beside it, as pure functions."""
