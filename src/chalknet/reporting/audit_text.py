"""The checks of an audit in words: what was counted, and how it can affect the test accuracy."""

from __future__ import annotations

import re

from chalknet.data.audit import Audit, Check
from chalknet.formatting import DASH, fixed

# For each code: what is counted, and its effect. {at_most} is the bound on accuracy that data/audit.py derives.
CHECK_TEXTS = {
    "copies": ("samples with an identical copy", "none if both are in the same split; see the rows about copies"),
    "near_duplicates": (
        "samples with a near duplicate",
        "none if both are in the same split; see the rows about near duplicates",
    ),
    "A_copies_in_B": ("{a} samples with a copy in {b}, same class", "{a} accuracy is too high by {at_most}"),
    "A_near_duplicates_in_B": (
        "{a} samples with a near duplicate in {b}, same class",
        "{a} accuracy is too high by {at_most}, in addition to copies",
    ),
    "test_repeats": (
        "test samples that repeat another test sample",
        "these samples may all be right or wrong together; at worst the test set is worth {effective} independent "
        "samples, and its intervals are up to {factor} times as wide",
    ),
    "copies_of_two_labels": (
        "identical samples with different labels",
        "at least one label is wrong; changes test accuracy by {at_most}",
    ),
    "unattainable": (
        "test samples that no model can get right, because an identical one has another label",
        "test accuracy cannot exceed {rest} %",
    ),
    "near_duplicates_of_two_labels": (
        "near duplicates with different labels",
        "if a label is wrong: changes test accuracy by {at_most}",
    ),
    "blank": ("images of a single gray value", "they contribute {at_most} to the test accuracy"),
    "imbalance": (
        "samples of the largest class, {ratio} times as many as of the smallest",
        "always predicting this class has a test accuracy of {points} %",
    ),
    "classes_missing_in_train": (
        "classes without a training sample",
        "test accuracy is too low by {at_most}",
    ),
    "classes_missing_in_valid": (
        "classes without a validation sample",
        "validation accuracy says nothing about them",
    ),
    "classes_missing_in_test": (
        "classes without a test sample",
        "test accuracy says nothing about {points} % of all samples",
    ),
    "row_numbers": ("columns that number the rows", "they reveal the class if the rows are sorted by class"),
    "A_groups_in_B": (
        "{a} samples whose group is also in {b}",
        "{a} accuracy holds for known groups; it can be lower for new ones",
    ),
}
SPLITS = {"test": "test", "valid": "validation", "train": "training"}


def describe_check(check: Check) -> tuple[str, str]:
    """Return what a check counted, and its effect; a dash if nothing was found or there are no test samples."""
    match = re.fullmatch(r"(test|valid)_(copies|near_duplicates|groups)_in_(train|valid)", check.code)
    key = f"A_{match[2]}_in_B" if match else check.code
    cost = check.cost or 0.0
    facts = {
        "a": SPLITS[match[1]] if match else "",
        "b": SPLITS[match[3]] if match else "",
        "at_most": at_most(cost),
        "points": fixed(100 * cost, 1),
        "rest": fixed(100 - 100 * cost, 1),
        "factor": fixed(1 + cost, 2),
        "effective": f"{round(check.details.get('effective_test_size', 0.0)):,}",
        "ratio": f"{check.details.get('ratio', 0.0):,.3g}",
    }
    what, effect = CHECK_TEXTS.get(key, (key, "none"))
    has_effect = (check.found or key == "imbalance") and (check.cost is not None or "{" not in effect)
    return what.format(**facts), effect.format(**facts) if has_effect else DASH


def at_most(cost: float) -> str:
    """Return an upper bound on a difference of accuracies in words; one that rounds to 0 is "less than 0.1"."""
    if 100 * cost < 0.05:
        return "less than 0.1 percentage points"
    return f"at most {fixed(100 * cost, 1)} percentage points"


def audit_rows(audit: Audit) -> tuple[tuple[str, str, str], ...]:
    """Return for each finding what was counted, how many of how many, and its effect."""
    texts = [(one, *describe_check(one)) for one in audit.findings]
    return tuple((what, f"{one.count:,} of {one.total:,}", effect) for one, what, effect in texts)
