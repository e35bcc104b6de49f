"""The conclusion of a document follows from the numbers, and says what they leave open."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest
from study_factory import make_report_data, texts

from chalknet.formatting import percent
from chalknet.reporting.document import Code, Findings, Paragraph
from chalknet.reporting.documents import report_document, writeup_document
from chalknet.reporting.sections.conclusion import conclusion_section, summary_text
from chalknet.studies.intervals import Interval

WIDTHS = "hidden=50,500,1000"


def said(report_data):
    return "\n".join(block.text for block in conclusion_section(report_data, "9").blocks if hasattr(block, "text"))


def with_point(report_data, **changes):
    """Return the same with another stopping point of the chosen configuration."""
    chosen = replace(report_data.chosen, stopping=replace(report_data.chosen.stopping, **changes))
    configurations = tuple(chosen if runs is report_data.chosen else runs for runs in report_data.configurations)
    return replace(report_data, configurations=configurations, chosen=chosen)


def test_it_names_the_width_with_the_highest_validation_accuracy():
    report_data = make_report_data(WIDTHS)
    means = {runs.name: runs.mean("valid", "accuracy") for runs in report_data.complete}
    best = max(means, key=means.get)
    assert f"We take {best}, which gave the highest mean validation accuracy ({percent(means[best])})" in said(
        report_data
    )


def test_it_says_what_the_chosen_width_is_not_significantly_better_than():
    report_data = make_report_data(WIDTHS)
    text = said(report_data)
    for pair in report_data.comparison.pairs:
        names = {pair.difference.first, pair.difference.second}
        if report_data.chosen.name not in names:
            continue
        width = next(iter(names - {report_data.chosen.name})).split()[0]
        better = re.search(r"It is significantly better than ([^.]*)\.", text)
        close = re.search(r"It is not significantly better than ([^.]*)\.", text)
        assert (better is not None and width in re.findall(r"[\d,]*\d", better[1])) == pair.significantly_different
        assert (close is not None and width in re.findall(r"[\d,]*\d", close[1])) != pair.significantly_different


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.004, 0.013, "Accuracy disagrees: training on to epoch 30 raises it significantly"),
        (-0.013, -0.002, "also lowers the accuracy significantly"),
        (-0.004, 0.013, "which is not significant. Stopping at that epoch saves"),
        (math.nan, math.nan, "no interval is known"),
    ],
)
def test_when_to_stop_depends_on_what_training_on_changes(low, high, words):
    report_data = make_report_data(WIDTHS)
    assert words in said(with_point(report_data, valid_gain=Interval(np.nanmean([low, high, 0.005]), low, high, 0.95)))


def test_a_loss_that_is_lowest_at_the_end_is_no_reason_to_stop():
    report_data = make_report_data(WIDTHS)
    text = said(with_point(report_data, epoch=Interval(30, 20, 30, 0.95)))
    assert "**When to stop?** Not yet." in text
    assert "Why do loss" not in text


def test_mistakes_are_called_overconfident_only_where_their_loss_grows():
    report_data = make_report_data(WIDTHS)
    gain = Interval(0.01, -0.01, 0.03, 0.95)
    grows = said(with_point(report_data, valid_gain=gain, wrong_loss=(2.0, 9.0), correct_loss=(0.1, 0.05)))
    assert "misclassified validation samples goes from 2.00 to 9.00 nats" in grows
    assert "overconfident in its mistakes" in grows
    falls = said(with_point(report_data, valid_gain=gain, wrong_loss=(2.0, 1.0), correct_loss=(0.1, 0.5)))
    assert "overconfident" not in falls
    worse = Interval(-0.05, -0.08, -0.02, 0.95)
    assert "Why do loss" not in said(with_point(report_data, valid_gain=worse))


def test_it_states_the_test_accuracy_of_the_chosen_width_alone():
    report_data = make_report_data(WIDTHS)
    (text,) = [line for line in said(report_data).splitlines() if line.startswith("**How good")]
    assert percent(report_data.chosen.mean("test", "accuracy")) in text
    assert report_data.chosen.name in text


def test_the_command_adds_seeds_and_the_text_says_what_they_show():
    report_data = make_report_data("hidden=5,6", more={"command_with_seeds": "chalknet writeup --seeds {}".format})
    section = conclusion_section(report_data, "9")
    assert not report_data.comparison.pairs[0].significantly_different
    (command,) = [block.text for block in section.blocks if isinstance(block, Code)]
    assert int(command.split()[-1]) > report_data.n_seeds
    assert "With 6 seeds per width instead of 3, a true difference of" in said(report_data)
    without = replace(report_data, command_with_seeds=None)
    assert not [block for block in conclusion_section(without, "9").blocks if isinstance(block, Code)]
    assert "This command" not in said(without)


def test_one_seed_is_said_to_settle_nothing_about_seeds():
    text = said(make_report_data(WIDTHS, seeds=1, more={"command_with_seeds": "more {}".format}))
    assert "One run per configuration does not show how much a result depends on the random initial weights" in text
    assert text.endswith("more 3")


def test_without_validation_samples_there_is_no_conclusion():
    report_data = make_report_data(WIDTHS, sizes={"train": 200, "valid": 0, "test": 40})
    assert "no configuration can be chosen" in said(report_data)
    assert summary_text(report_data) == ""


@pytest.mark.parametrize("make", [report_document, writeup_document])
@pytest.mark.parametrize("vary", [WIDTHS, "learning_rate=0.01,0.1", "hidden=5,9"])
def test_no_sentence_stands_twice_in_a_document(make, vary):
    document = make(make_report_data(vary))
    blocks = [block for block in document.blocks() if isinstance(block, (Paragraph, Findings))]
    found = [text for block in blocks for text in getattr(block, "items", (getattr(block, "text", ""),))]
    found += [note.text for note in document.notes]
    sentences = [one for text in found for one in re.split(r"(?<=[.?!]) ", text) if len(one) > 60]
    assert len(sentences) == len(set(sentences)), [one for one in sentences if sentences.count(one) > 1]


def test_widths_are_called_hidden_units_with_thousands_separated():
    for make in (report_document, writeup_document):
        document = make(make_report_data(WIDTHS))
        code = [block.text for block in document.blocks() if isinstance(block, Code)]
        words = "\n".join(text for text in texts(document) if text not in code)
        assert "1,000 hidden units" in words
        assert "hidden=" not in words
        assert "hidden_units" not in words
