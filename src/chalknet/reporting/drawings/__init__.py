"""Draw figures and image sheets with matplotlib.

matplotlib is imported in this package only, and only when something is drawn: it is slow to import,
and most commands draw nothing.
"""
