"""What `chalknet data info` and `audit` say, in words: records in, lines out; rich tables on a terminal."""

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

SHOWN_PAIRS = 10
SHOWN_CLASSES = 30
FIGURE = re.compile(r"[0-9.,]+( of [0-9,]+)?|copy|" + DASH)


def info_lines(facts: DataInfo) -> Iterator[str]:
    """One fact a line, its name first."""
    shape = " x ".join(map(str, facts.shape))
    low, high = facts.value_range
    counts = sorted(set(facts.class_counts.values()))
    rows = [
        ("source", facts.source),
        ("samples", f"{facts.n_samples:,} {'images' if facts.is_images else 'rows'} of {shape} {facts.dtype} values"),
        ("values", f"{low:g} to {high:g}"),
        ("classes", f"{len(facts.class_counts)}, of {counts[0]:,} to {counts[-1]:,} samples"),
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
    for name, count in list(counts.items())[:SHOWN_CLASSES]:
        yield "class", f"{name}: {count:,}"
    if len(counts) > SHOWN_CLASSES:
        yield "class", f"... and {len(counts) - SHOWN_CLASSES} more, see --json"


def audit_text(result: Audit, split: str) -> None:
    """Prints an audit: what was found, then how the classes lie, between which parts, which values, which pairs."""
    echo(f"{result.source}: {result.n_samples:,} samples, {split}")
    if "unused" in result.sizes:
        echo(f"{result.sizes['unused']:,} samples are in no part of this split")
    if result.near:
        scale = f"{result.near:g} of full scale ({result.full_scale})"
        echo(f"near duplicates: not equal, RMS difference at most {scale}")
    else:
        echo("near duplicates are not looked for; --near 0.03 does so")
    for table in audit_tables(result):
        echo()
        print_table(table)
    found = len(result.findings)
    echo(f"\nfound {found} of {len(result.checks)} things looked for" if found else "\nnothing found")


def audit_tables(result: Audit) -> Iterator[Table]:
    """The tables of an audit, the ones without rows left out."""
    rows = []
    for check in result.checks:
        what, cost = describe_check(check)
        rows.append(("FOUND" if check.found else "ok", what, f"{check.count:,} of {check.total:,}", cost))
    yield Table("What was looked for", ("", "what", "count", "what it can do"), tuple(rows))
    yield _class_table(result)
    for table in (_pair_table(result), _blank_table(result), _worst_table(result)):
        if table.rows:
            yield table


def _class_table(result: Audit) -> Table:
    """Samples of each class in each part; of many classes, the smallest."""
    parts = list(result.sizes)
    counts = sorted(result.class_counts.items(), key=lambda item: sum(item[1].values()))[:SHOWN_CLASSES]
    title = "Samples by class" if len(result.class_counts) <= SHOWN_CLASSES else f"The {SHOWN_CLASSES} smallest classes"
    names = {name for name, _ in counts}
    rows = [
        (name, *(f"{by_part[part]:,}" for part in parts))
        for name, by_part in result.class_counts.items()
        if name in names
    ]
    return Table(title, ("class", *parts), tuple(rows))


def _pair_table(result: Audit) -> Table:
    heads = ("between", "copies", "of two labels", "near duplicates", "of two labels")
    rows = [
        (f"{pair.first_split} and {pair.second_split}", *(f"{n:,}" for n in counts))
        for pair in result.pairs
        if any(
            counts := (pair.copies, pair.copies_of_two_labels, pair.near_duplicates, pair.near_duplicates_of_two_labels)
        )
    ]
    return Table("Pairs of samples", heads, tuple(rows))


def _blank_table(result: Audit) -> Table:
    title = "Images of one value (a solid white square can be the I of a sans-serif font, filling its box)"
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
    shown = result.worst[:SHOWN_PAIRS]
    more = f", {len(shown)} of {len(result.worst)}" if len(result.worst) > len(shown) else ""
    rows = [
        (
            *(f"{pair.splits[k]} {pair.samples[k]}, {pair.labels[k]}" for k in range(2)),
            "copy" if pair.distance == 0 else f"{pair.distance:.4f}",
        )
        for pair in shown
    ]
    return Table(f"Pairs to look at{more}", ("sample", "and sample", "distance"), tuple(rows))


def print_table(table: Table) -> None:
    """The table with rules and wrapped cells on a terminal; elsewhere a line for each row, in aligned columns."""
    figures = [all(FIGURE.fullmatch(row[i]) for row in table.rows) for i in range(len(table.columns))]
    if sys.stdout.isatty():
        _print_rich(table, figures)
        return
    cells = [table.columns, *table.rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(table.columns))]
    echo(table.title)
    for row in cells:
        aligned = (
            cell.rjust(w) if figure else cell.ljust(w) for cell, w, figure in zip(row, widths, figures, strict=True)
        )
        echo("  ".join(aligned).rstrip())


def _print_rich(table: Table, figures: list[bool]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(title=table.title, title_justify="left", box=box.SIMPLE_HEAD, title_style="bold", pad_edge=False)
    for name, figure in zip(table.columns, figures, strict=True):
        drawn.add_column(Text(name), justify="right" if figure else "left", overflow="fold")
    for row in table.rows:
        # Text and not markup: a class may be called [b].
        drawn.add_row(*(Text(cell, style="bold red" if cell == "FOUND" else "") for cell in row))
    Console().print(drawn)
