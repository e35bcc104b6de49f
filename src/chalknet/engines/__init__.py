"""What runs the network's formulas: each engine computes the same thing as fast as its machine allows."""
