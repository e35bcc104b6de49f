"""The output of `chalknet data info` and `chalknet data audit`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

from chalknet.cli.output import echo
from chalknet.data.audit import Audit
from chalknet.formatting import DASH
from chalknet.reporting.audit_text import describe_check
from chalknet.reporting.tables import Table
from chalknet.workflows.data import DataInfo

MAX_PAIRS = 10
MAX_CLASSES = 30
# Cells of this form are aligned to the right.
NUMBER = re.compile(r"[0-9.,]+( of [0-9,]+)?|copy|" + DASH)


def info_lines(facts: DataInfo) -> Iterator[str]:
    """Yield one line for each fact about a data set, its name first."""
    shape = " x ".join(map(str, facts.shape))
    low, high = facts.value_range
    counts = sorted(set(facts.class_counts.values()))
    rows = [
        ("source", facts.source),
        ("samples", f"{facts.n_samples:,} {'images' if facts.is_images else 'rows'} of {shape} {facts.dtype} values"),
        ("values", f"{low:g} to {high:g}"),
        ("classes", f"{len(facts.class_counts)}, with {counts[0]:,} to {counts[-1]:,} samples"),
        *_class_rows(facts.class_counts),
        ("groups", "none" if facts.n_groups is None else f"{facts.n_groups:,}"),
        ("provided test", f"{facts.n_provided_test:,} samples" if facts.n_provided_test else "none"),
        ("sha256", facts.sha256),
        *(("note", note) for note in facts.notes),
        *(("license", f"{name}: {count:,} images") for name, count in facts.licenses.items()),
        *((("license texts", facts.license_texts),) if facts.license_texts else ()),
    ]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        yield f"{name:<{width}}  {value}"


def _class_rows(counts: dict[str, int]) -> Iterator[tuple[str, str]]:
    """Yield the number of samples of each class, at most of `MAX_CLASSES`."""
    for name, count in list(counts.items())[:MAX_CLASSES]:
        yield "class", f"{name}: {count:,}"
    if len(counts) > MAX_CLASSES:
        yield "class", f"... and {len(counts) - MAX_CLASSES} more, see --json"


def audit_text(result: Audit, split: str) -> None:
    """Print the checks of an audit, then tables of classes, splits, blank images and similar pairs."""
    echo(f"{result.source}: {result.n_samples:,} samples, {split}")
    if "unused" in result.sizes:
        echo(f"{result.sizes['unused']:,} samples are in none of the splits")
    if result.near:
        scale = f"{result.near:g} of full scale ({result.full_scale})"
        echo(f"near duplicates are unequal samples whose RMS difference is at most {scale}")
    else:
        echo("near duplicates are not searched for. To search, give --near 0.03")
    for table in audit_tables(result):
        echo()
        print_table(table)
    found = len(result.findings)
    echo(f"\n{found} of {len(result.checks)} checks found a problem" if found else "\nno problems found")


def audit_tables(result: Audit) -> Iterator[Table]:
    """Yield the tables of an audit that have rows."""
    rows = []
    for check in result.checks:
        what, cost = describe_check(check)
        rows.append(("FOUND" if check.found else "ok", what, f"{check.count:,} of {check.total:,}", cost))
    yield Table("Checks", ("", "check", "count", "possible effect"), tuple(rows))
    yield _class_table(result)
    for table in (_pair_table(result), _blank_table(result), _worst_table(result)):
        if table.rows:
            yield table


def _class_table(result: Audit) -> Table:
    """Return the number of samples per class and split, of the smallest `MAX_CLASSES` classes."""
    splits = list(result.sizes)
    counts = sorted(result.class_counts.items(), key=lambda item: sum(item[1].values()))[:MAX_CLASSES]
    title = "Samples by class" if len(result.class_counts) <= MAX_CLASSES else f"The {MAX_CLASSES} smallest classes"
    names = {name for name, _ in counts}
    rows = [
        (name, *(f"{by_split[split]:,}" for split in splits))
        for name, by_split in result.class_counts.items()
        if name in names
    ]
    return Table(title, ("class", *splits), tuple(rows))


def _pair_table(result: Audit) -> Table:
    """Return the number of copies and near duplicates between each two splits."""
    heads = ("splits", "copies", "with two labels", "near duplicates", "with two labels")
    rows = [
        (f"{pair.first_split} and {pair.second_split}", *(f"{n:,}" for n in counts))
        for pair in result.pairs
        if any(
            counts := (pair.copies, pair.copies_of_two_labels, pair.near_duplicates, pair.near_duplicates_of_two_labels)
        )
    ]
    return Table("Pairs of samples", heads, tuple(rows))


def _blank_table(result: Audit) -> Table:
    """Return the number of images in which all pixels have the same value."""
    title = "Images with a single pixel value (a white square can be the I of a sans-serif font)"
    rows = [
        (
            f"{blank.value:g}",
            ", ".join(f"{name} {count:,}" for name, count in blank.by_class.items()),
            *(f"{count:,}" for count in blank.by_split.values()),
        )
        for blank in result.blanks
    ]
    return Table(title, ("value", "classes", *result.sizes), tuple(rows))


def _worst_table(result: Audit) -> Table:
    """Return the pairs of samples that can do the most harm."""
    shown = result.worst[:MAX_PAIRS]
    more = f", {len(shown)} of {len(result.worst)}" if len(result.worst) > len(shown) else ""
    rows = [
        (
            *(f"{pair.splits[k]} {pair.samples[k]}, {pair.labels[k]}" for k in range(2)),
            "copy" if pair.distance == 0 else f"{pair.distance:.4f}",
        )
        for pair in shown
    ]
    return Table(f"Pairs to inspect{more}", ("sample", "and sample", "distance"), tuple(rows))


def print_table(table: Table) -> None:
    """Print a table.

    On a terminal it has rules and wrapped text. Elsewhere each row is one line with aligned
    columns.
    """
    is_number = [all(NUMBER.fullmatch(row[i]) for row in table.rows) for i in range(len(table.columns))]
    if sys.stdout.isatty():
        _print_rich(table, is_number)
        return
    rows = [table.columns, *table.rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(table.columns))]
    echo(table.title)
    for row in rows:
        aligned = (
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(row, widths, is_number, strict=True)
        )
        echo("  ".join(aligned).rstrip())


def _print_rich(table: Table, is_number: list[bool]) -> None:
    """Print a table for a terminal, with columns of numbers aligned to the right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(title=table.title, title_justify="left", box=box.SIMPLE_HEAD, title_style="bold", pad_edge=False)
    for name, right in zip(table.columns, is_number, strict=True):
        drawn.add_column(Text(name), justify="right" if right else "left", overflow="fold")
    for row in table.rows:
        # A class may be called "[b]". `Text` shows it as it is, a plain string would be markup.
        drawn.add_row(*(Text(cell, style="bold red" if cell == "FOUND" else "") for cell in row))
    Console().print(drawn)
