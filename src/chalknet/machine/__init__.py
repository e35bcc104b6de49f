"""What the hardware, the operating system and the BLAS are; standard library at import."""
