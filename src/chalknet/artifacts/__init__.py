"""Everything chalknet writes to disk: whole or not at all, with a format version, and readable back."""
