"""Training: recipes, schedules, early stopping and `Trainer`, an iterator of epochs.

Imports from `engines` and below. Files are written by `artifacts`, whose callbacks plug in here.
"""
