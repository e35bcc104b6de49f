"""Studies: many configurations, several seeds each, and what their numbers carry: intervals, comparisons and
findings.
"""
