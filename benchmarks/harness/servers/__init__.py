"""Servers that benchmarks/serve.py compares `chalknet serve` with, written as FastAPI's documentation shows."""
