"""The interactive page of a model: one HTML file that computes everything in the browser."""
