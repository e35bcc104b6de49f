"""What an audit's checks say in words: what was counted, and what it can do to a test figure."""

from __future__ import annotations

import re

from chalknet.data.audit import Audit, Check
from chalknet.formatting import DASH

# code: what is counted, and what it costs; {points} is the cost in percentage points, as data/audit.py derives it.
CHECK_TEXTS = {
    "copies": ("samples with a copy anywhere", "none by itself"),
    "near_duplicates": ("samples with a near duplicate anywhere", "none by itself"),
    "A_copies_in_B": ("{a} samples with a copy in {b}, same label", "{a} accuracy too high by at most {points} points"),
    "A_near_duplicates_in_B": (
        "{a} samples with a near duplicate in {b}, same label",
        "{a} accuracy too high by at most {points} points more",
    ),
    "test_repeats": (
        "test samples that repeat another",
        "test counts as {effective_test_size} samples, intervals {points} % wider",
    ),
    "copies_of_two_labels": (
        "samples with a copy of another label",
        "test accuracy in doubt by at most {points} points",
    ),
    "unattainable": ("test samples that must be wrong", "test accuracy cannot exceed {rest} %"),
    "near_duplicates_of_two_labels": (
        "samples with a near duplicate of another label",
        "if a label is wrong: test accuracy in doubt by at most {points} points",
    ),
    "blank": ("images of one value only", "at most {points} points of test accuracy rest on them"),
    "imbalance": (
        "samples of the largest class, {ratio} times the smallest",
        "always answering it scores {points} % on test",
    ),
    "classes_missing_in_train": ("classes without a training sample", "{points} points of test accuracy cannot be won"),
    "classes_missing_in_valid": ("classes without a validation sample", "validation says nothing about them"),
    "classes_missing_in_test": ("classes without a test sample", "test says nothing about {points} % of all samples"),
    "row_numbers": ("columns that number the rows", "a leak, where the rows are sorted by class"),
    "A_groups_in_B": ("{a} samples whose group is also in {b}", "{a} accuracy too high by at most {points} points"),
}


def describe_check(check: Check) -> tuple[str, str]:
    """What a check counted, and what it costs; a dash where nothing was found or there is no test part."""
    match = re.fullmatch(r"(test|valid)_(copies|near_duplicates|groups)_in_(train|valid)", check.code)
    code = f"A_{match[2]}_in_B" if match else check.code
    names = {"test": "test", "valid": "validation", "train": "train"}
    facts = {
        "a": names[match[1]] if match else "",
        "b": names[match[3]] if match else "",
        "points": f"{100 * (check.cost or 0):.2f}",
        "rest": f"{100 - 100 * (check.cost or 0):.2f}",
        **{name: f"{value:,.4g}" for name, value in check.details.items()},
    }
    what, cost = CHECK_TEXTS.get(code, (code, "none by itself"))
    has_cost = (check.found or code == "imbalance") and (check.cost is not None or "{" not in cost)
    return what.format(**facts), cost.format(**facts) if has_cost else DASH


def audit_rows(audit: Audit) -> tuple[tuple[str, str, str], ...]:
    """Of each finding: what was counted, how often of how many, and what it can do."""
    return tuple(
        (describe_check(one)[0], f"{one.count:,} of {one.total:,}", describe_check(one)[1]) for one in audit.findings
    )
