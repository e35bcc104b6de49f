"""Facts about the hardware, the operating system and the BLAS; imports the standard library only."""
