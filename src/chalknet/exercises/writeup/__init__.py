"""The tasks of the course `writeup`: the network of the write-up, function by function."""
