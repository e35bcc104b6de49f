"""Put together the course write-up, and the report of any study or run, from their sections."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from chalknet.formatting import count_of, is_or_are, listed
from chalknet.reporting.configuration_text import field_name
from chalknet.reporting.document import Block, Document, Note, Paragraph, Section
from chalknet.reporting.report_data import ReportData
from chalknet.reporting.sections.appendix import appendix_section
from chalknet.reporting.sections.choice import choice_section
from chalknet.reporting.sections.code_listing import code_section
from chalknet.reporting.sections.comparison import comparison_section
from chalknet.reporting.sections.conclusion import conclusion_section, summary_text
from chalknet.reporting.sections.conv_network import layers_section
from chalknet.reporting.sections.data import data_section, training_samples
from chalknet.reporting.sections.derivation import derivation_section
from chalknet.reporting.sections.ensemble import ensemble_section, members_section
from chalknet.reporting.sections.functions import functions_section, helpers_section
from chalknet.reporting.sections.images import mistakes_section, weights_section
from chalknet.reporting.sections.learning import learning_section
from chalknet.reporting.sections.original import original_section
from chalknet.reporting.sections.public_solution import public_solution_section
from chalknet.reporting.sections.regularization import conclusion_text, effects_section
from chalknet.reporting.sections.setup import setup_section
from chalknet.reporting.sections.standard_text import standard_text
from chalknet.reporting.sections.stopping import stopping_section
from chalknet.version import __version__

# What the full forms have, for the warning in the quick form.
FULL_FORM = "100, 500, 1000 and 2000 hidden units, 200 epochs, 3 seeds"
PART2_FULL_FORM = "an L2 penalty and dropout of three strengths each, 15,000 training samples, 50 epochs and 3 seeds"


def writeup_document(report_data: ReportData) -> Document:
    """Return the course write-up.

    Args:
        report_data: the study over the number of hidden units, with samples, splits, audit and
            checks.
    """
    return Document(
        title=f"{_subject(report_data)} from a network with one hidden layer",
        subtitle=f"The course write-up, reproduced with the data set {report_data.results.data.source} "
        f"by chalknet {__version__}",
        notes=_notes(report_data),
        banner=_banner(report_data),
        sections=(
            _opened(setup_section(report_data, "0")),
            data_section(report_data, "0.1"),
            helpers_section("0.2"),
            Section("1", "The network"),
            functions_section("1.1"),
            derivation_section(report_data, "1.2"),
            learning_section(report_data, "1.3"),
            Section("1.4", "Experiments"),
            comparison_section(report_data, "1.4.1", "How many hidden units", with_configuration_tables=True),
            stopping_section(report_data, "1.4.2", "Early stopping", original=True),
            choice_section(report_data, "1.4.3"),
            conclusion_section(report_data, "1.4.4"),
            original_section(report_data, "1.5"),
            appendix_section(report_data),
            code_section(report_data),
        ),
    )


def part2_document(report_data: ReportData, base: str) -> Document:
    """Return the second part of the course write-up.

    Args:
        report_data: the study of a convolutional network with an L2 penalty and with dropout, with
            samples, splits, audit, checks and the scores with softmax twice.
        base: name of the configuration without either.
    """
    experiments = Section("2.4", "Experiments", (*standard_text("part2 experiments"), *_samples_used(report_data)))
    conclusion = conclusion_section(report_data, "2.4.5")
    answer = conclusion_text(report_data, base)
    if answer:
        conclusion = replace(conclusion, blocks=(Paragraph(answer), *conclusion.blocks))
    return Document(
        title=f"{_subject(report_data)} from a convolutional network",
        subtitle=f"The second part of the course write-up with the data set {report_data.results.data.source}, "
        f"made by chalknet {__version__}",
        notes=_notes(report_data, _part2_quick_text),
        banner=_banner(report_data),
        sections=(
            _opened(setup_section(report_data, "0"), "part2 opening"),
            data_section(report_data, "0.1"),
            Section("0.2", "Helper functions", standard_text("part2 helpers")),
            Section("2", "The network"),
            layers_section(report_data, "2.1"),
            derivation_section(report_data, "2.2", "part2 derivation"),
            learning_section(report_data, "2.3", with_printed_loss=False),
            experiments,
            comparison_section(report_data, "2.4.1", "L2 penalty and dropout"),
            effects_section(report_data, "2.4.2", "What the penalty and dropout change", base),
            stopping_section(report_data, "2.4.3", "When to stop"),
            choice_section(report_data, "2.4.4"),
            conclusion,
            weights_section(report_data, "2.5", "Filters and feature maps"),
            public_solution_section(report_data, "2.6"),
            appendix_section(report_data),
            code_section(report_data),
        ),
    )


def with_title_page(document: Document, title: str | None, author: str | None, date: str | None) -> Document:
    """Return a document with another title, author and date; None keeps what it has."""
    return replace(
        document,
        title=document.title if title is None else title,
        author=document.author if author is None else author,
        date=document.date if date is None else date,
    )


def report_document(report_data: ReportData) -> Document:
    """Return the report of any study or run, with the chapters that apply to it.

    Args:
        report_data: the finished runs, and what was computed from them.
    """
    chapters = [
        setup_section(report_data, "1", "How it was trained"),
        data_section(report_data, "2"),
    ]
    if report_data.ensemble is not None:
        chapters.append(members_section(report_data, report_data.ensemble, "3"))
    elif len(report_data.results.configurations) == 1:
        chapters.append(learning_section(report_data, "3", "Learning", with_test=False))
    else:
        chapters.append(comparison_section(report_data, "3", "Comparison of the configurations"))
    chapters += [
        stopping_section(report_data, "4"),
        _result(report_data, "5"),
        mistakes_section(report_data, "6"),
    ]
    if report_data.has_images:
        chapters.append(weights_section(report_data, "7"))
    if report_data.ensemble is None:
        chapters.append(conclusion_section(report_data, str(len(chapters) + 1)))
    chapters.append(appendix_section(report_data))
    title = _title(report_data)
    return Document(title, _subtitle(report_data), _notes(report_data), tuple(chapters), _banner(report_data))


def _opened(section: Section, chapter: str = "opening") -> Section:
    """Return the first section of the write-up after a standard text that says what the document is about."""
    return replace(section, blocks=(*standard_text(chapter), *section.blocks))


def _subject(report_data: ReportData) -> str:
    """Return what a write-up is about: letters where every class is one, else images."""
    names = report_data.results.data.class_names
    return "Letters" if all(len(name) == 1 and name.isalpha() for name in names) else "Classes of images"


def _samples_used(report_data: ReportData) -> tuple[Block, ...]:
    """Return a paragraph that says that only some training samples are used, if that is so."""
    used, n_train = training_samples(report_data), report_data.sizes["train"]
    if used == n_train:
        return ()
    return (Paragraph(f"Every network is trained on the first {used:,} of the {n_train:,} training samples."),)


def _subtitle(report_data: ReportData) -> str:
    """Return what was trained on which data: "Study widths on the data set glyphs, by chalknet 1.0"."""
    kind = "Run" if report_data.is_run else "Study"
    what = f"{kind} {report_data.name} on" if report_data.name else "On"
    return f"{what} the data set {report_data.results.data.source}, by chalknet {__version__}"


def _result(report_data: ReportData, number: str) -> Section:
    """Return the section about the result."""
    if report_data.ensemble is not None:
        return ensemble_section(report_data, report_data.ensemble, number)
    title = "The result" if len(report_data.results.configurations) == 1 else "The choice and its test accuracy"
    return choice_section(report_data, number, title)


def _title(report_data: ReportData) -> str:
    """Return the title of a report: what it is about."""
    if report_data.ensemble is not None:
        return f"An ensemble of {count_of(report_data.n_seeds, 'network')}"
    if report_data.is_run:
        return "A training run"
    if report_data.is_named:
        return f"A comparison of {count_of(len(report_data.results.configurations), 'configuration')}"
    names = [field_name(name) for name, _ in report_data.results.spec.vary]
    return f"A study of {listed(names)}" if names else "A study of one network"


def _banner(report_data: ReportData) -> str:
    """Return the text on every page of a quick write-up, else ""."""
    if not report_data.is_quick:
        return ""
    epochs, seeds = count_of(report_data.recipe.training.epochs, "epoch"), count_of(report_data.n_seeds, "seed")
    samples = f", {training_samples(report_data):,} training samples" if report_data.is_named else ""
    return f"Quick form: {epochs}, {seeds}{samples}"


def _quick_text(report_data: ReportData) -> str:
    """Return what the quick form of part 1 has, and what the full form has."""
    widths = listed([runs.title.split()[0] for runs in report_data.configurations])
    epochs = count_of(report_data.recipe.training.epochs, "epoch")
    text = f"This is the quick form: {widths} hidden units, {epochs}, {count_of(report_data.n_seeds, 'seed')}."
    return f"{text} The full form has {FULL_FORM}."


def _part2_quick_text(report_data: ReportData) -> str:
    """Return what the quick form of part 2 has, and what the full form has."""
    configurations = count_of(len(report_data.results.configurations), "configuration")
    epochs, seeds = count_of(report_data.recipe.training.epochs, "epoch"), count_of(report_data.n_seeds, "seed")
    samples = f"{training_samples(report_data):,} training samples"
    text = f"This is the quick form: {configurations}, {samples}, {epochs} and {seeds}."
    return f"{text} The full form has {PART2_FULL_FORM}."


def _notes(report_data: ReportData, quick_text: Callable[[ReportData], str] = _quick_text) -> tuple[Note, ...]:
    """Return the notes before the table of contents: a summary, and what a reader must not miss."""
    notes = []
    if report_data.is_quick:
        notes.append(Note(quick_text(report_data), "warning"))
    counts = report_data.results.counts
    if counts["done"] < len(report_data.results.runs):
        total = len(report_data.results.runs)
        state = f"{counts['done']} of {count_of(total, 'run')} {is_or_are(total)} finished"
        failed = f", {counts['failed']} failed" if counts["failed"] else ""
        notes.append(Note(f"**Incomplete:** {state}{failed}. The appendix lists what is missing.", "warning"))
    if report_data.data is None:
        notes.append(Note(f"{report_data.data_missing_reason} Images of samples are left out.", "warning"))
    summary = "" if report_data.ensemble is not None else summary_text(report_data)
    if summary:
        notes.append(Note(f"**Summary.** {summary}"))
    return tuple(notes)
