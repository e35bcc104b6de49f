"""What in a data set, or in how it is divided, makes the test figure less than honest, and by how much at most.

Each check has a code, a count and, where there is one, a cost: a share in [0, 1] that follows from the count by
arithmetic. N_part is the number of samples in a part; a twin is a copy (equal values) or a near twin
(0 < distance <= near, see `chalknet.data.twins.find_twins`).

code                      count, of total                                    cost
copies                    samples with a copy anywhere, of N                 none by itself
near_twins                samples with a near twin anywhere, of N            none by itself
A_copies_in_B             samples of A with a copy in B of the same label    count / N_A, see (1)
A_near_twins_in_B         others of A with a near twin there, same label     count / N_A, see (1)
test_repeats              test samples that repeat an earlier one            interval too narrow, see (2)
copies_of_two_labels      samples with a copy of another label, of N         test samples among them / N_test, see (3)
unattainable              test samples that must be wrong, of N_test         count / N_test, see (4)
near_twins_of_two_labels  samples with a near twin of another label, of N    test samples among them / N_test, see (3)
blank                     images of one constant value, of N                 test samples among them / N_test, see (5)
imbalance                 samples of the largest class, of N                 accuracy of that answer alone, see (6)
classes_missing_in_A      classes without a sample in A, of K                see (7)
A_groups_in_B             samples of A whose group is also in B, of N_A      count / N_A, see (1)
row_numbers               columns that number the rows, of I                 none by itself, see (8)

A and B run over test and train, test and valid, valid and train; a sample of test that was counted with train is not
counted again with valid.

(1) Let n of the N samples of A have a twin (or their group) in B, let a be the accuracy on these n and b that on the
    others. The figure is (n a + (N - n) b) / N, so it exceeds b, the accuracy on samples that are new, by
    (n/N)(a - b) <= n/N. A model that knows B by heart can have a = 1: then the figure is too high by (n/N)(1 - b).
(2) m_i copies with one label are right or wrong together. If different inputs are right independently of each other,
    each with probability p, the variance of the accuracy is p(1-p) sum_i m_i^2 / N^2 and not p(1-p) / N: the test set
    counts as N^2 / sum_i m_i^2 samples, and the honest interval is wider by sqrt(sum_i m_i^2 / N) - 1, which is the
    cost.
(3) Of two labels on one image at most one is right. If n test samples are in doubt, the measured accuracy lies within
    n/N of the accuracy against the right labels. Near twins can differ in label rightly; they are a matter of looking.
(4) A model gives one answer to one input. Of the test samples with equal values, n_k of them with label k, it gets at
    most max_k n_k right. The sum of the others over all inputs is wrong whatever the model says.
(5) Whatever a model answers to blank images, its accuracy changes by at most their share. A blank image can be right:
    where the glyph's box fills the image, a solid white square is the letter I of a sans-serif font. So they are listed
    by value.
(6) Always answering the class that is largest in train has this accuracy on test (on all samples, without a split). It
    is a finding when the largest class has at least `IMBALANCE_RATIO` times the samples of the smallest.
(7) Test samples of a class that train lacks can hardly be right: their share of test is the cost. A class that test
    lacks is not judged: the cost is the share of all samples that have it. No cost for valid.
(8) Where the rows are sorted by class, their numbers tell the class of a test sample from its neighbors in train.

Rows of few columns lie close to each other by chance: among 1,000 rows of three columns nearly all have a near twin. So
near twins are looked for among images and rows of at least `MIN_NEAR_COLUMNS` columns that vary, unless near is given.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from chalknet.data.dataset import Dataset, IntArray
from chalknet.data.row_numbers import row_numbers
from chalknet.data.splits import Splits
from chalknet.data.twins import BoolArray, Progress, Twins, find_twins, full_scale
from chalknet.errors import ConfigError

NEAR = 0.03  # RMS over full scale; two 28 x 28 letters this close look alike
MIN_NEAR_COLUMNS = 16
IMBALANCE_RATIO = 2.0
JUDGED = (("test", "train"), ("test", "valid"), ("valid", "train"))


@dataclass(frozen=True)
class Check:
    """One thing that was looked for; the table at the top of this file says what its numbers are.

    Attributes:
        found: whether it counts as a finding.
        samples: the samples counted, in ascending order; empty where classes are counted.
        details: further numbers of this check.
    """

    code: str
    found: bool
    count: int
    total: int
    cost: float | None = None
    samples: tuple[int, ...] = ()
    details: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class PairCount:
    """Pairs of samples between two parts, or within one: copies, near twins, and those of them that differ in label."""

    first_part: str
    second_part: str
    copies: int
    copies_of_two_labels: int
    near_twins: int
    near_twins_of_two_labels: int


@dataclass(frozen=True)
class WorstPair:
    """A pair across parts or of two labels: sample numbers, parts, class names, distance (0 for copies)."""

    samples: tuple[int, int]
    parts: tuple[str, str]
    labels: tuple[str, str]
    distance: float


@dataclass(frozen=True)
class Blank:
    """Images in which every pixel has this value: how many of each class, and how many in each part."""

    value: float
    by_class: dict[str, int]
    by_part: dict[str, int]


@dataclass(frozen=True)
class Audit:
    """What an audit found, JSON-ready.

    Attributes:
        sizes: samples in each part; one part "all" without a split; "unused" where the split leaves samples out.
        class_counts: for each class, its samples in each part.
        near: the largest distance of near twins. full_scale: what a distance is measured against.
        checks: all that was looked for, found or not.
        pairs: by parts. worst: at most 200 pairs, those of two labels first, then by distance.
    """

    source: str
    sha256: str
    n_samples: int
    sizes: dict[str, int]
    class_counts: dict[str, dict[str, int]]
    near: float
    full_scale: str
    checks: tuple[Check, ...]
    pairs: tuple[PairCount, ...]
    worst: tuple[WorstPair, ...]
    blanks: tuple[Blank, ...]

    @property
    def findings(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if check.found)

    def check(self, code: str) -> Check:
        """The check with this code.

        Raises:
            KeyError: this audit has no such check, as of a part that is empty.
        """
        for check in self.checks:
            if check.code == code:
                return check
        raise KeyError(code)

    def as_dict(self) -> dict[str, Any]:
        """Plain dictionaries, lists and numbers, for JSON."""
        return asdict(self)


def audit(
    data: Dataset, splits: Splits | None = None, *, near: float | None = None, progress: Progress | None = None
) -> Audit:
    """Looks for what flatters, blurs or limits the test figure; the table at the top of this file states each formula.

    Args:
        splits: how data is divided; None looks at the samples as one heap, and no check across parts is made.
        near: the largest RMS difference over full scale of near twins, in [0, 1); 0 looks for copies only, as None does
            for rows of few columns.
        progress: called with (blocks compared, blocks in all).

    Raises:
        ConfigError: near is outside [0, 1), or the parts of splits share a sample or name one that is not there.
    """
    if near is not None and not 0 <= near < 1:
        raise ConfigError(f"near must be a number in [0, 1), the RMS difference over full scale, got {near}.")
    data = data.in_memory()
    scale = full_scale(data)
    if near is None:
        near = NEAR if data.is_images or scale.n_compared >= MIN_NEAR_COLUMNS else 0.0
    desk = _Desk(data, _parts(data, splits))
    twins = find_twins(data, desk.part_of_sample, len(desk.parts), near, progress)
    checks = [*_twin_checks(desk, twins), *_label_checks(desk, twins), *_class_checks(desk), *_group_checks(desk)]
    if not data.is_images:
        columns = row_numbers(data.inputs, data.input_names)
        checks.append(Check("row_numbers", bool(columns), len(columns), data.n_inputs))
    if not near:
        checks = [check for check in checks if "near_twins" not in check.code]
    blanks, blank_checks = _blanks(desk)
    counts = {part: np.bincount(data.labels[at], minlength=data.n_classes) for part, at in desk.parts.items()}
    part_names, part_of = list(desk.parts), desk.part_of_sample
    return Audit(
        source=data.source,
        sha256=data.sha256,
        n_samples=len(data),
        sizes={name: len(members) for name, members in desk.parts.items()},
        class_counts={
            name: {part: int(of_class[k]) for part, of_class in counts.items()}
            for k, name in enumerate(data.class_names)
        },
        near=near,
        full_scale=scale.name,
        checks=(*checks, *blank_checks),
        pairs=_pair_counts(desk, twins),
        worst=tuple(
            WorstPair(
                samples=(pair.first, pair.second),
                parts=(part_names[part_of[pair.first]], part_names[part_of[pair.second]]),
                labels=(data.class_names[data.labels[pair.first]], data.class_names[data.labels[pair.second]]),
                distance=pair.distance,
            )
            for pair in twins.closest
        ),
        blanks=blanks,
    )


class _Desk:
    """The data and its parts, laid out for the checks."""

    def __init__(self, data: Dataset, parts: dict[str, IntArray]) -> None:
        self.data = data
        self.parts = parts
        self.part_of_sample = np.empty(len(data), dtype=np.int64)
        for number, members in enumerate(parts.values()):
            self.part_of_sample[members] = number

    def is_in(self, part: str) -> BoolArray:
        """(N,) whether each sample is in this part."""
        mask: BoolArray = self.part_of_sample == list(self.parts).index(part)
        return mask

    def has(self, *parts: str) -> bool:
        return all(len(self.parts.get(part, ())) for part in parts)

    def share_of_test(self, chosen: BoolArray) -> float | None:
        """Chosen test samples / N_test, or None without a test part."""
        return float(chosen[self.parts["test"]].mean()) if self.has("test") else None

    def check(self, code: str, chosen: BoolArray, total: int, cost: float | None, **details: float) -> Check:
        """A check that counts samples, and is a finding when there are any."""
        samples = tuple(np.flatnonzero(chosen).tolist())
        return Check(code, bool(samples), len(samples), total, cost, samples, details)


def _parts(data: Dataset, splits: Splits | None) -> dict[str, IntArray]:
    """Index arrays by name that hold every sample once."""
    if splits is None:
        return {"all": np.arange(len(data))}
    parts = splits.named()
    used = np.concatenate(list(parts.values()))
    outside = used[(used < 0) | (used >= len(data))]
    if outside.size:
        raise ConfigError(f"splits name sample {outside[0]}, but {data.source} has samples 0 to {len(data) - 1}.")
    times = np.bincount(used, minlength=len(data))
    if times.max() > 1:
        twice = int(np.argmax(times > 1))
        names = [name for name, members in parts.items() for _ in np.flatnonzero(members == twice)]
        raise ConfigError(f"splits: sample {twice} is in {' and '.join(names)}; each may be in one part, once.")
    unused = np.flatnonzero(times == 0)
    return {**parts, "unused": unused} if unused.size else parts


def _twin_checks(desk: _Desk, twins: Twins) -> list[Check]:
    """Copies and near twins: anywhere, across the parts, and within test."""
    n = len(desk.data)
    unit = twins.units.of_sample
    copies = np.logical_or.reduce(twins.copy_same | twins.copy_other, axis=1)[unit]
    near = np.logical_or.reduce(twins.near_same | twins.near_other, axis=1)[unit]
    checks = [desk.check("copies", copies, n, None), desk.check("near_twins", near, n, None)]
    counted = np.zeros(n, dtype=bool)
    for judged, other in JUDGED:
        if desk.has(judged, other):
            column = list(desk.parts).index(other)
            for how, table in (("copies", twins.copy_same), ("near_twins", twins.near_same)):
                chosen: BoolArray = desk.is_in(judged) & table[unit, column] & ~counted
                counted |= chosen
                total = len(desk.parts[judged])
                checks.append(desk.check(f"{judged}_{how}_in_{other}", chosen, total, int(chosen.sum()) / total))
    if desk.has("test"):
        test = desk.parts["test"]
        _, first, sizes = np.unique(unit[test], return_index=True, return_counts=True)
        repeats = np.zeros(n, dtype=bool)
        repeats[np.delete(test, first)] = True
        squares = int(np.square(sizes).sum())
        wider, effective = float(np.sqrt(squares / len(test))) - 1.0, len(test) ** 2 / squares
        checks.append(desk.check("test_repeats", repeats, len(test), wider, effective_test_size=effective))
    return checks


def _label_checks(desk: _Desk, twins: Twins) -> list[Check]:
    """Images that carry two labels."""
    n = len(desk.data)
    unit = twins.units.of_sample
    copies = np.logical_or.reduce(twins.copy_other, axis=1)[unit]
    near = np.logical_or.reduce(twins.near_other, axis=1)[unit]
    contents = len(np.unique(twins.units.content[unit[copies]]))
    checks = [desk.check("copies_of_two_labels", copies, n, desk.share_of_test(copies), images=contents)]
    if desk.has("test"):
        lost = _unattainable(desk, twins)
        checks.append(desk.check("unattainable", lost, len(desk.parts["test"]), desk.share_of_test(lost)))
    return [*checks, desk.check("near_twins_of_two_labels", near, n, desk.share_of_test(near))]


def _unattainable(desk: _Desk, twins: Twins) -> BoolArray:
    """(N,) the test samples that are wrong when every input gets the label that most of its test copies carry."""
    units = twins.units
    in_test = np.flatnonzero(units.part == list(desk.parts).index("test"))
    # Within each content the most frequent label first; all units after that one lose.
    order = in_test[np.lexsort((units.label[in_test], -units.size[in_test], units.content[in_test]))]
    content = units.content[order]
    loses = np.zeros(len(units), dtype=bool)
    loses[order[1:][content[1:] == content[:-1]]] = True
    return loses[units.of_sample]


def _class_checks(desk: _Desk) -> list[Check]:
    """Imbalance over all samples, and classes that a part lacks."""
    data = desk.data
    counts = data.class_counts
    present = counts[counts > 0]
    ratio = float(present.max() / present.min())
    if desk.has("train", "test"):
        answer = np.bincount(data.labels[desk.parts["train"]]).argmax()
        score = float(np.mean(data.labels[desk.parts["test"]] == answer))
    else:
        score = float(counts.max() / len(data))
    details = {"ratio": ratio, "smallest": int(present.min()), "finding_from_ratio": IMBALANCE_RATIO}
    checks = [Check("imbalance", ratio >= IMBALANCE_RATIO, int(counts.max()), len(data), score, (), details)]
    for part, members in desk.parts.items():
        if part == "unused" or not len(members):
            continue
        missing = np.bincount(data.labels[members], minlength=data.n_classes) == 0
        cost = None
        if part == "train":
            cost = desk.share_of_test(missing[data.labels])
        elif part == "test":
            cost = float(counts[missing].sum() / len(data))
        n_missing = int(missing.sum())
        checks.append(Check(f"classes_missing_in_{part}", n_missing > 0, n_missing, data.n_classes, cost))
    return checks


def _group_checks(desk: _Desk) -> list[Check]:
    """Groups on two sides."""
    groups = desk.data.groups
    if groups is None:
        return []
    checks = []
    for judged, other in JUDGED:
        if desk.has(judged, other):
            chosen: BoolArray = desk.is_in(judged) & np.isin(groups, groups[desk.parts[other]])
            total = len(desk.parts[judged])
            share = int(chosen.sum()) / total
            n_groups = len(np.unique(groups[chosen]))
            checks.append(desk.check(f"{judged}_groups_in_{other}", chosen, total, share, groups=n_groups))
    return checks


def _blanks(desk: _Desk) -> tuple[tuple[Blank, ...], list[Check]]:
    """Images of one constant value, by that value; rows are not looked at, as a constant row can be a measurement."""
    data = desk.data
    if not data.is_images:
        return (), []
    pixels = data.inputs.reshape(len(data), -1)
    blank = pixels.min(axis=1) == pixels.max(axis=1)
    values = pixels[:, 0]
    found = []
    for value in np.unique(values[blank]):
        chosen = blank & (values == value)
        by_class = np.bincount(data.labels[chosen], minlength=data.n_classes)
        by_part = {part: int(chosen[at].sum()) for part, at in desk.parts.items()}
        named = {name: int(n) for name, n in zip(data.class_names, by_class, strict=True) if n}
        found.append(Blank(float(value), named, by_part))
    return tuple(found), [desk.check("blank", blank, len(data), desk.share_of_test(blank))]


def _pair_counts(desk: _Desk, twins: Twins) -> tuple[PairCount, ...]:
    """The table of pairs, a line for every two parts that have samples."""
    names = list(desk.parts)
    lines = []
    for p in range(len(names)):
        for q in range(p, len(names)):
            if desk.has(names[p], names[q]):
                copies, near = twins.copy_pairs[p, q], twins.near_pairs[p, q]
                lines.append(
                    PairCount(names[p], names[q], int(copies.sum()), int(copies[1]), int(near.sum()), int(near[1]))
                )
    return tuple(lines)
