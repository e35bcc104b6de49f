"""Pictures, drawn from plain data; the only files that import matplotlib, and that only when something is drawn."""
