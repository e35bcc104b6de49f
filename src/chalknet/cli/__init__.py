"""The command line. Each command parses its options, calls a workflow and prints the result."""
