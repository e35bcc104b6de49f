"""The front door: each file is one command that parses, calls a workflow and prints."""
