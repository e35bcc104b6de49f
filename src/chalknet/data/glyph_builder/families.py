"""Group faces that share a design, by their names and by links between them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

_STYLE_WORDS = re.compile(
    r"\b(?:(?:extra|ultra|semi|demi)?\s?(?:thin|hairline|light|bold|black|heavy|condensed|expanded|extended)"
    r"|regular|roman|medium|book|normal|plain|italic|oblique|slanted|upright|narrow|compressed|wide"
    r"|small\s?caps|caps|poster|fat|text|display|caption|subhead|heading|title|titling"
    r"|outline|hollow|inline|shadow|solid|thick"
    r"|swash|alternates?|alt|sc|it|bd|lt|tf|osf|lf|tosf|tlf|cn|cond|std|pro|ot|otf|ttf|no|ps|mt|var|vf|ol"
    r"|brk|nf|adf)\b"  # foundries that put their name into every family name
)


def family_key(family: str) -> str:
    """Return the part of a family name that its weights, widths and sizes share.

    For example, "Foo Sans Cond-10pt Bold" gives "foosans".
    """
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", family).lower()
    words = re.sub(r"[-_.]", " ", words)
    words = re.sub(r"\d+(?:pt)?", " ", words)
    key = re.sub(r"[\W_]+", "", _STYLE_WORDS.sub(" ", words))
    return key or re.sub(r"\W+", "", family.lower()) or "unnamed"


def family_groups(families: Sequence[str], links: Iterable[tuple[int, int]] = ()) -> NDArray[np.int64]:
    """Return (F,) the group of each face, numbered in order of appearance.

    Faces are in one group if their family keys are equal, if one key begins with the other and the
    shorter has at least five letters ("roboto" and "robotoslab"), or if a link joins them.

    Args:
        families: (F,) family names.
        links: pairs of faces with similar images.
    """
    keys = [family_key(family) for family in families]
    first: dict[str, int] = {}
    for i, key in enumerate(keys):
        first.setdefault(key, i)
    joins = [(first[key], i) for i, key in enumerate(keys)]
    joins += [(first[a], first[b]) for a, b in _prefix_pairs(first)]
    return joined_groups(len(families), [*joins, *links])


def _prefix_pairs(keys: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield pairs of keys of which the second begins with the first."""
    stem = ""
    for key in sorted(keys):
        if len(stem) >= 5 and key.startswith(stem):
            yield stem, key
        else:
            stem = key


def joined_groups(n: int, joins: Iterable[tuple[int, int]]) -> NDArray[np.int64]:
    """Return (n,) int64 numbers of connected components, in order of appearance."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pairs = np.array([*joins], np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(pairs.shape[1]), tuple(pairs)), shape=(n, n))
    labels: NDArray[np.int64] = connected_components(graph, directed=False)[1].astype(np.int64)
    return labels
