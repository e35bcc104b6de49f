"""Readers of data files, one module per format.

Each turns untrusted bytes into a `Dataset`, or raises a `DataError` that says what is wrong.
"""
