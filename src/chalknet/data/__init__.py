"""Samples and labels: what they are, where they are read from, how they are divided and how honest the division is."""
