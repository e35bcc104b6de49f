"""The tasks of the course part2: convolution, pooling, dropout and the L2 penalty."""
