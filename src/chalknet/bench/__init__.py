"""The same work by chalknet and its peers, side by side; each peer in a process of its own."""
