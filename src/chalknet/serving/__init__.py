"""Predictions of a trained model for files and arrays, and its evaluation on labeled data."""
