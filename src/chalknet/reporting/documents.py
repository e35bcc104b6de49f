"""The two documents, put together from their chapters: the course write-up, and the report of any study or run."""

from __future__ import annotations

from chalknet.formatting import count_of, listed
from chalknet.reporting.document import Document, Note, Section
from chalknet.reporting.gathered import Gathered, field_name
from chalknet.reporting.inline import code
from chalknet.reporting.sections.appendix import appendix_section
from chalknet.reporting.sections.choice import choice_section
from chalknet.reporting.sections.data import data_section
from chalknet.reporting.sections.derivation import derivation_section
from chalknet.reporting.sections.ensemble import members_section, together_section
from chalknet.reporting.sections.functions import functions_section, helpers_section
from chalknet.reporting.sections.hidden_units import comparison_section
from chalknet.reporting.sections.images import mistakes_section, weights_section
from chalknet.reporting.sections.learning import learning_section
from chalknet.reporting.sections.original import original_section
from chalknet.reporting.sections.setup import setup_section
from chalknet.reporting.sections.stopping import stopping_section
from chalknet.version import __version__

MAX_LINES = 3  # findings that the opening repeats
# The full form, for the banner of the quick one.
FULL_FORM = "100, 500, 1000 and 2000 hidden units, 200 epochs, 3 seeds"


def writeup_document(gathered: Gathered) -> Document:
    """The course write-up, whole."""
    title = "Letters from a network with one hidden layer"
    return Document(
        title=title,
        subtitle=f"The write-up, made again from {gathered.results.data.source} by chalknet {__version__}",
        notes=_notes(gathered),
        banner=_banner(gathered),
        sections=(
            setup_section(gathered, "0"),
            data_section(gathered, "0.1"),
            helpers_section("0.2"),
            Section("1", "The network"),
            functions_section("1.1"),
            derivation_section(gathered, "1.2"),
            learning_section(gathered, "1.3"),
            Section("1.4", "Experiments"),
            comparison_section(gathered, "1.4.1", "How many hidden units", with_cell_tables=True),
            stopping_section(gathered, "1.4.2", "Early stopping", original=True),
            choice_section(gathered, "1.4.3"),
            original_section(gathered, "1.5"),
            appendix_section(gathered),
        ),
    )


def report_document(gathered: Gathered) -> Document:
    """A report of any study or run, with the chapters that apply."""
    chapters = [
        setup_section(gathered, "1", "How it was trained"),
        data_section(gathered, "2"),
    ]
    if gathered.together is not None:
        chapters.append(members_section(gathered, gathered.together, "3"))
    elif len(gathered.results.cells) == 1:
        chapters.append(learning_section(gathered, "3", "Learning", with_test=False))
    else:
        chapters.append(comparison_section(gathered, "3", "The cells compared"))
    chapters += [
        stopping_section(gathered, "4"),
        _result(gathered, "5"),
        mistakes_section(gathered, "6"),
        weights_section(gathered, "7"),
        appendix_section(gathered),
    ]
    subtitle = f"{gathered.name}: {gathered.results.data.source}, by chalknet {__version__}".removeprefix(": ")
    return Document(_title(gathered), subtitle, _notes(gathered), tuple(chapters), _banner(gathered))


def _result(gathered: Gathered, number: str) -> Section:
    """What came of it."""
    if gathered.together is not None:
        return together_section(gathered, gathered.together, number)
    title = "The result" if len(gathered.results.cells) == 1 else "The choice and its test figure"
    return choice_section(gathered, number, title)


def _title(gathered: Gathered) -> str:
    """What the report is about."""
    if gathered.together is not None:
        return f"An ensemble of {count_of(gathered.n_seeds, 'network')}"
    if gathered.is_run:
        return "A training"
    names = [field_name(name) for name, _ in gathered.results.spec.vary]
    return f"A study of {listed(names)}" if names else "A study of one network"


def _banner(gathered: Gathered) -> str:
    """Plain text, on every page."""
    if not gathered.is_quick:
        return ""
    return f"Quick form: {count_of(gathered.recipe.training.epochs, 'epoch')}, {count_of(gathered.n_seeds, 'seed')}"


def _notes(gathered: Gathered) -> tuple[Note, ...]:
    """What the document answers, and what a reader must not miss."""
    notes = []
    if gathered.is_quick:
        widths = listed([runs.title.split()[0] for runs in gathered.cells])
        notes.append(Note(f"**Quick form:** {widths} hidden units. The full form has {FULL_FORM}.", "warning"))
    counts = gathered.results.counts
    if counts["done"] < len(gathered.results.units):
        state = f"{counts['done']} of {count_of(len(gathered.results.units), 'training')} are done"
        failed = f", {counts['failed']} failed" if counts["failed"] else ""
        notes.append(Note(f"**Not complete:** {state}{failed}. The appendix says which are missing.", "warning"))
    if gathered.data is None:
        notes.append(Note(f"{gathered.data_gone} Pictures of samples are left out.", "warning"))
    lines = list(gathered.findings[:MAX_LINES])
    chosen = gathered.chosen
    if chosen is not None and len(gathered.complete) > 1 and gathered.judged == "valid":
        lines.append(f"Validation chooses {code(chosen.cell.label)}.")
    if lines:
        notes.append(Note(f"**In short.** {' '.join(lines)}"))
    return tuple(notes)
