"""Studies: many cells, several seeds each, and what their numbers carry: intervals, comparisons and findings."""
