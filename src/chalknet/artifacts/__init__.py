"""Every file that chalknet writes: complete or absent after a crash, and with a format version."""
