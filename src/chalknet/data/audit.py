"""Check a data set and its splits for problems that make the test accuracy misleading.

Each check has a code, a count of the samples (or classes, or columns) concerned, and in most cases
a cost in [0, 1] that follows from the count by arithmetic. N_split is the number of samples in a
split. A copy of a sample is another sample with equal values. A near duplicate is not equal but has
0 < distance <= near (see `chalknet.data.near_duplicates.find_duplicates`). A duplicate is either.

code                       count, of total                              cost
copies                     samples with a copy anywhere, of N           none by itself
near_duplicates            samples with a near duplicate, of N          none by itself
A_copies_in_B              samples of A with a copy in B that has       count / N_A, see (1)
                           the same label, of N_A
A_near_duplicates_in_B     other samples of A with a near duplicate     count / N_A, see (1)
                           in B that has the same label, of N_A
test_repeats               test samples that repeat an earlier test     interval too narrow, see (2)
                           sample, of N_test
copies_of_two_labels       samples with a copy of another label, of N   fraction of test, see (3)
unattainable               test samples that no model can classify      count / N_test, see (4)
                           correctly, of N_test
near_duplicates_of_two_labels
                           samples with a near duplicate of another     fraction of test, see (3)
                           label, of N
blank                      images of one constant value, of N           fraction of test, see (5)
imbalance                  samples of the largest class, of N           baseline accuracy, see (6)
classes_missing_in_A       classes without a sample in A, of K          see (7)
A_groups_in_B              samples of A whose group is also in B,       count / N_A, see (1)
                           of N_A
row_numbers                columns that number the rows, of I           none by itself, see (8)

(A, B) is (test, train), (test, valid) or (valid, train). A test sample that is counted with train
is not counted again with valid.

(1) Let n of the N samples of A have a duplicate (or a sample of their group) in B. Let a be the
    accuracy on these n samples and b the accuracy on the others. The measured accuracy is
    (n a + (N - n) b) / N. It exceeds b, the accuracy on new samples, by (n/N)(a - b) <= n/N. A
    model that has memorized B can have a = 1; then the measured accuracy is too high by
    (n/N)(1 - b).
(2) A model classifies the m_i copies of an input alike. If predictions for different inputs are
    correct independently, each with probability p, the variance of the accuracy is
    p(1-p) sum_i m_i^2 / N^2 and not p(1-p) / N. The test set therefore counts as
    N^2 / sum_i m_i^2 samples, and the correct interval is wider by the cost,
    sqrt(sum_i m_i^2 / N) - 1.
(3) If copies of one image have two labels, at most one label is correct. If n test samples are
    concerned, the measured accuracy is within n/N of the accuracy for the correct labels. The cost
    is n/N. Near duplicates can have different labels for good reason; look at them.
(4) A model gives one answer for one input. Of the test samples with equal values, n_k of them with
    label k, it classifies at most max_k n_k correctly. The count is the sum of the others over all
    inputs.
(5) Whatever a model predicts for blank images, its accuracy changes by at most their fraction of
    the test set. A blank image can be legitimate: where the glyph's bounding box fills the image, a
    white square is the letter I of a sans-serif font. Blank images are therefore listed by value.
(6) A model that always predicts the largest class of train has this accuracy on test (without
    splits: on all samples). It is a finding when the largest class has at least `IMBALANCE_RATIO`
    times the samples of the smallest.
(7) A model can hardly predict a class that train lacks; the cost is the fraction of test samples of
    such classes. A class that test lacks is not evaluated; the cost is the fraction of all samples
    of such classes. There is no cost for valid.
(8) Where the rows are sorted by class, the number of a test row reveals its class.

Rows of few columns are close to each other by chance: among 1,000 rows of three columns nearly all
have a near duplicate. Unless near is given, near duplicates are therefore searched only among images
and among rows of at least `MIN_NEAR_COLUMNS` columns that vary.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.config import GRAY
from chalknet.data.color import are_blank, in_color
from chalknet.data.dataset import Dataset, IntArray
from chalknet.data.near_duplicates import BoolArray, Duplicates, Progress, find_duplicates, full_scale
from chalknet.data.row_numbers import row_numbers
from chalknet.data.splits import Splits
from chalknet.data.tables.rows import TableRows
from chalknet.errors import ConfigError

NEAR = 0.03  # RMS over full scale; two 28 x 28 letters at this distance look the same
MIN_NEAR_COLUMNS = 16
IMBALANCE_RATIO = 2.0
COMPARED_SPLITS = (("test", "train"), ("test", "valid"), ("valid", "train"))


@dataclass(frozen=True)
class Check:
    """The result of one check; the table at the top of this module defines its numbers.

    Attributes:
        code: the name of the check.
        found: whether the check is a finding, which means that something deserves attention.
        count: the number of samples, classes or columns concerned.
        total: the number that count is a part of.
        cost: the effect on the measured accuracy, or None if there is no formula.
        samples: indices of the samples concerned, ascending; empty if classes or columns are
            counted.
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
    """The number of duplicate pairs between two splits, or within one, and their labels."""

    first_split: str
    second_split: str
    copies: int
    copies_of_two_labels: int
    near_duplicates: int
    near_duplicates_of_two_labels: int


@dataclass(frozen=True)
class WorstPair:
    """A duplicate pair that crosses splits or has two labels.

    Attributes:
        samples: the two indices.
        splits: the split of each sample.
        labels: the class name of each sample.
        distance: RMS difference over full scale; 0 for copies.
    """

    samples: tuple[int, int]
    splits: tuple[str, str]
    labels: tuple[str, str]
    distance: float


@dataclass(frozen=True)
class Blank:
    """The images in which every pixel has the same value.

    Attributes:
        value: that value.
        by_class: the number of images by class name, without zeros.
        by_split: the number of images in each split.
    """

    value: float
    by_class: dict[str, int]
    by_split: dict[str, int]


@dataclass(frozen=True)
class Audit:
    """The result of an audit; can be converted to JSON.

    Attributes:
        source: the file, folder or name that the samples came from.
        sha256: hexadecimal digest of the source.
        n_samples: the number of samples.
        sizes: samples in each split. Without splits there is only "all"; samples in no split are
            "unused".
        class_counts: for each class, its samples in each split.
        near: the largest distance of near duplicates.
        full_scale: the range that distances are relative to, in words.
        checks: all checks, findings or not.
        pairs: duplicate pairs by splits.
        worst: at most 200 pairs; those of two labels first, then by distance.
        blanks: blank images by value.
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
        """Return the checks that are findings."""
        return tuple(check for check in self.checks if check.found)

    def check(self, code: str) -> Check:
        """Return the check with this code.

        Raises:
            KeyError: there is no such check, for example because a split is empty.
        """
        for check in self.checks:
            if check.code == code:
                return check
        raise KeyError(code)

    def as_dict(self) -> dict[str, Any]:
        """Return the audit as dictionaries, lists and numbers, for JSON."""
        return asdict(self)


def audit(
    data: Dataset, splits: Splits | None = None, *, near: float | None = None, progress: Progress | None = None
) -> Audit:
    """Look for problems that make the test accuracy misleading.

    The table at the top of this module states the formulas.

    Args:
        data: the samples. Those on disk are loaded into memory; the inputs of large tables are computed
            in blocks.
        splits: the splits of data, or None to check the samples as a whole.
        near: the largest RMS difference of near duplicates, relative to full scale, in [0, 1). 0
            looks for copies only. None uses `NEAR`, or 0 for rows of few columns.
        progress: called with (blocks compared, blocks in total).

    Returns:
        An `Audit`.

    Raises:
        ConfigError: near is outside [0, 1), two splits share a sample, or an index is out of range.
    """
    if near is not None and not 0 <= near < 1:
        raise ConfigError(f"near must be a number in [0, 1), the RMS difference over full scale, got {near}.")
    data = (data if isinstance(data.inputs, TableRows) else data.in_memory()).without_missing()
    scale = full_scale(data)
    if near is None:
        near = NEAR if data.is_images or scale.n_compared >= MIN_NEAR_COLUMNS else 0.0
    context = AuditContext(data, _split_indices(data, splits))
    duplicates = find_duplicates(data, context.split_of_sample, len(context.splits), near, progress)
    checks = [
        *_duplicate_checks(context, duplicates),
        *_label_checks(context, duplicates),
        *_class_checks(context),
        *_group_checks(context),
    ]
    if not data.is_images:
        columns = row_numbers(data.inputs, data.input_names)
        checks.append(Check("row_numbers", bool(columns), len(columns), data.n_inputs))
    if not near:
        checks = [check for check in checks if "near_duplicates" not in check.code]
    blanks, blank_checks = _blanks(context)
    counts = {split: np.bincount(data.labels[at], minlength=data.n_classes) for split, at in context.splits.items()}
    split_names, split_of = list(context.splits), context.split_of_sample
    return Audit(
        source=data.source,
        sha256=data.sha256,
        n_samples=len(data),
        sizes={name: len(members) for name, members in context.splits.items()},
        class_counts={
            name: {split: int(of_class[k]) for split, of_class in counts.items()}
            for k, name in enumerate(data.class_names)
        },
        near=near,
        full_scale=scale.name,
        checks=(*checks, *blank_checks),
        pairs=_pair_counts(context, duplicates),
        worst=tuple(
            WorstPair(
                samples=(pair.first, pair.second),
                splits=(split_names[split_of[pair.first]], split_names[split_of[pair.second]]),
                labels=(data.class_names[data.labels[pair.first]], data.class_names[data.labels[pair.second]]),
                distance=pair.distance,
            )
            for pair in duplicates.closest
        ),
        blanks=blanks,
    )


class AuditContext:
    """A data set with the split of each sample, as the checks need it."""

    def __init__(self, data: Dataset, splits: dict[str, IntArray]) -> None:
        """Create a context from index arrays by split that cover all samples."""
        self.data = data
        self.splits = splits
        self.split_of_sample: NDArray[np.int64] = np.empty(len(data), dtype=np.int64)
        for number, members in enumerate(splits.values()):
            self.split_of_sample[members] = number

    def is_in(self, split: str) -> BoolArray:
        """Return (N,) whether each sample is in this split."""
        mask: BoolArray = self.split_of_sample == list(self.splits).index(split)
        return mask

    def has(self, *splits: str) -> bool:
        """Return whether each of these splits exists and has samples."""
        return all(len(self.splits.get(split, ())) for split in splits)

    def fraction_of_test(self, chosen: BoolArray) -> float | None:
        """Return chosen test samples / N_test, or None if there is no test split."""
        return float(chosen[self.splits["test"]].mean()) if self.has("test") else None

    def check(self, code: str, chosen: BoolArray, total: int, cost: float | None, **details: float) -> Check:
        """Create a check that counts samples, which is a finding if there are any."""
        samples = tuple(np.flatnonzero(chosen).tolist())
        return Check(code, bool(samples), len(samples), total, cost, samples, details)


def _split_indices(data: Dataset, splits: Splits | None) -> dict[str, IntArray]:
    """Return index arrays by split, so that every sample is in exactly one of them."""
    if splits is None:
        return {"all": np.arange(len(data))}
    indices = splits.named()
    used = np.concatenate(list(indices.values()))
    outside = used[(used < 0) | (used >= len(data))]
    if outside.size:
        raise ConfigError(f"splits name sample {outside[0]}, but {data.source} has samples 0 to {len(data) - 1}.")
    times = np.bincount(used, minlength=len(data))
    if times.max() > 1:
        twice = int(np.argmax(times > 1))
        names = [name for name, members in indices.items() for _ in np.flatnonzero(members == twice)]
        raise ConfigError(f"splits: sample {twice} is in {' and '.join(names)}; each may be in one split, once.")
    unused = np.flatnonzero(times == 0)
    return {**indices, "unused": unused} if unused.size else indices


def _duplicate_checks(context: AuditContext, duplicates: Duplicates) -> list[Check]:
    """Check for copies and near duplicates anywhere, across splits, and within test."""
    n = len(context.data)
    group_of_sample = duplicates.groups.of_sample
    copies = np.logical_or.reduce(duplicates.copy_same | duplicates.copy_other, axis=1)[group_of_sample]
    near = np.logical_or.reduce(duplicates.near_same | duplicates.near_other, axis=1)[group_of_sample]
    checks = [context.check("copies", copies, n, None), context.check("near_duplicates", near, n, None)]
    counted = np.zeros(n, dtype=bool)
    for evaluated, other in COMPARED_SPLITS:
        if context.has(evaluated, other):
            column = list(context.splits).index(other)
            for how, table in (("copies", duplicates.copy_same), ("near_duplicates", duplicates.near_same)):
                chosen: BoolArray = context.is_in(evaluated) & table[group_of_sample, column] & ~counted
                counted |= chosen
                total = len(context.splits[evaluated])
                checks.append(context.check(f"{evaluated}_{how}_in_{other}", chosen, total, int(chosen.sum()) / total))
    if context.has("test"):
        test = context.splits["test"]
        _, first, sizes = np.unique(group_of_sample[test], return_index=True, return_counts=True)
        repeats = np.zeros(n, dtype=bool)
        repeats[np.delete(test, first)] = True
        squares = int(np.square(sizes).sum())
        wider, effective = float(np.sqrt(squares / len(test))) - 1.0, len(test) ** 2 / squares
        checks.append(context.check("test_repeats", repeats, len(test), wider, effective_test_size=effective))
    return checks


def _label_checks(context: AuditContext, duplicates: Duplicates) -> list[Check]:
    """Check for equal and similar samples that have two labels."""
    n = len(context.data)
    group_of_sample = duplicates.groups.of_sample
    copies = np.logical_or.reduce(duplicates.copy_other, axis=1)[group_of_sample]
    near = np.logical_or.reduce(duplicates.near_other, axis=1)[group_of_sample]
    contents = len(np.unique(duplicates.groups.content[group_of_sample[copies]]))
    checks = [context.check("copies_of_two_labels", copies, n, context.fraction_of_test(copies), images=contents)]
    if context.has("test"):
        unattainable = _unattainable(context, duplicates)
        checks.append(
            context.check(
                "unattainable", unattainable, len(context.splits["test"]), context.fraction_of_test(unattainable)
            )
        )
    return [*checks, context.check("near_duplicates_of_two_labels", near, n, context.fraction_of_test(near))]


def _unattainable(context: AuditContext, duplicates: Duplicates) -> BoolArray:
    """Return (N,) the test samples that the best possible model classifies incorrectly."""
    groups = duplicates.groups
    in_test = np.flatnonzero(groups.split == list(context.splits).index("test"))
    # Sorted by content, then by decreasing size: the first group of each content has its most
    # frequent label, and the samples of the other groups cannot be classified correctly.
    order = in_test[np.lexsort((groups.label[in_test], -groups.size[in_test], groups.content[in_test]))]
    content = groups.content[order]
    is_incorrect = np.zeros(len(groups), dtype=bool)
    is_incorrect[order[1:][content[1:] == content[:-1]]] = True
    return is_incorrect[groups.of_sample]


def _class_checks(context: AuditContext) -> list[Check]:
    """Check for imbalance, and for classes that a split lacks."""
    data = context.data
    counts = data.class_counts
    present = counts[counts > 0]
    ratio = float(present.max() / present.min())
    if context.has("train", "test"):
        answer = np.bincount(data.labels[context.splits["train"]]).argmax()
        score = float(np.mean(data.labels[context.splits["test"]] == answer))
    else:
        score = float(counts.max() / len(data))
    details = {"ratio": ratio, "smallest": int(present.min()), "finding_from_ratio": IMBALANCE_RATIO}
    checks = [Check("imbalance", ratio >= IMBALANCE_RATIO, int(counts.max()), len(data), score, (), details)]
    for split, members in context.splits.items():
        if split == "unused" or not len(members):
            continue
        missing = np.bincount(data.labels[members], minlength=data.n_classes) == 0
        cost = None
        if split == "train":
            cost = context.fraction_of_test(missing[data.labels])
        elif split == "test":
            cost = float(counts[missing].sum() / len(data))
        n_missing = int(missing.sum())
        checks.append(Check(f"classes_missing_in_{split}", n_missing > 0, n_missing, data.n_classes, cost))
    return checks


def _group_checks(context: AuditContext) -> list[Check]:
    """Check for groups with samples in two splits."""
    groups = context.data.groups
    if groups is None:
        return []
    checks = []
    for evaluated, other in COMPARED_SPLITS:
        if context.has(evaluated, other):
            chosen: BoolArray = context.is_in(evaluated) & np.isin(groups, groups[context.splits[other]])
            total = len(context.splits[evaluated])
            fraction = int(chosen.sum()) / total
            n_groups = len(np.unique(groups[chosen]))
            checks.append(context.check(f"{evaluated}_groups_in_{other}", chosen, total, fraction, groups=n_groups))
    return checks


def _blanks(context: AuditContext) -> tuple[tuple[Blank, ...], list[Check]]:
    """Find images of one constant value.

    Rows are not checked, because a constant row can be a valid measurement.
    """
    data = context.data
    if not data.is_images:
        return (), []
    blank = are_blank(data.inputs)
    values = in_color(data.inputs[:, :1, :1], GRAY).ravel()  # of color images the brightness
    found = []
    for value in np.unique(values[blank]):
        chosen = blank & (values == value)
        by_class = np.bincount(data.labels[chosen], minlength=data.n_classes)
        by_split = {split: int(chosen[at].sum()) for split, at in context.splits.items()}
        named = {name: int(n) for name, n in zip(data.class_names, by_class, strict=True) if n}
        found.append(Blank(float(value), named, by_split))
    return tuple(found), [context.check("blank", blank, len(data), context.fraction_of_test(blank))]


def _pair_counts(context: AuditContext, duplicates: Duplicates) -> tuple[PairCount, ...]:
    """Return the duplicate pairs between any two splits that have samples."""
    names = list(context.splits)
    lines = []
    for p in range(len(names)):
        for q in range(p, len(names)):
            if context.has(names[p], names[q]):
                copies, near = duplicates.copy_pairs[p, q], duplicates.near_pairs[p, q]
                lines.append(
                    PairCount(names[p], names[q], int(copies.sum()), int(copies[1]), int(near.sum()), int(near[1]))
                )
    return tuple(lines)
