"""Facts about the hardware, the operating system and the BLAS.

At import, its modules load the standard library only.
"""
