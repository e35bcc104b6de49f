"""The conclusion of a document follows from the numbers, and says what they leave open."""

import math
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from study_factory import RECIPE, make_report_data, texts

from chalknet.data.audit import Check
from chalknet.formatting import percent
from chalknet.reporting.audit_text import describe_check
from chalknet.reporting.document import Code, Findings, Paragraph
from chalknet.reporting.documents import report_document, writeup_document
from chalknet.reporting.sections.conclusion import conclusion_section, summary_text
from chalknet.studies.intervals import Interval

WIDTHS = "hidden=50,500,1000"
ENOUGH = {"train": 160, "valid": 200, "test": 40}  # validation samples to choose an epoch by


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
        (-0.004, 0.013, "which is not significant. Stopping earlier saves 10 of 30 epochs."),
        (math.nan, math.nan, "no interval is known"),
    ],
)
def test_when_to_stop_depends_on_what_training_on_changes(low, high, words):
    report_data = make_report_data(WIDTHS, sizes=ENOUGH)
    assert words in said(with_point(report_data, valid_gain=Interval(np.nanmean([low, high, 0.005]), low, high, 0.95)))


def test_a_loss_that_is_lowest_at_the_end_is_no_reason_to_stop():
    report_data = make_report_data(WIDTHS)
    text = said(with_point(report_data, epoch=Interval(30, 20, 30, 0.95)))
    assert "**When to stop?** Not before epoch 30, the last." in text
    assert "Longer training may improve it." in text
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


def test_a_loss_that_rises_with_the_number_of_mistakes_does_not_disagree():
    # A run of 40 epochs: accuracy 77.5 to 67.5 %, loss of mistakes 1.39 to 1.20, of correct ones 0.22 to 0.22.
    report_data = make_report_data(seeds=1)
    fell = {"valid_gain": Interval(-0.1, -0.225, 0.025, 0.95), "wrong_loss": (1.39, 1.20), "correct_loss": (0.22, 0.22)}
    text = said(with_point(report_data, **fell))
    assert "disagree" not in text
    assert "**Why does the loss rise?**" in text
    assert "because more samples are misclassified; the mean loss of a mistake does not rise." in text
    grows = said(with_point(report_data, **fell | {"wrong_loss": (1.2, 1.6)}))
    assert "More samples are misclassified, and the network becomes overconfident in its mistakes." in grows
    held = said(with_point(report_data, **fell | {"valid_gain": Interval(0.0, -0.1, 0.1, 0.95)}))
    assert "**Why do loss and accuracy disagree?**" in held


def test_an_uncertain_loss_of_accuracy_is_not_called_none():
    gain = Interval(-0.1, -0.225, 0.025, 0.95)
    text = said(with_point(make_report_data(seeds=1, sizes=ENOUGH), valid_gain=gain))
    assert (
        "validation samples by -10.0 percentage points (95 % interval -22.5 to +2.5), which is not significant" in text
    )
    assert "no loss of accuracy" not in text
    assert "study" not in text


def test_few_validation_samples_choose_no_epoch():
    few, enough = (said(make_report_data(seeds=1, **more)) for more in ({}, {"sizes": ENOUGH}))
    assert "**When to stop?** With only 40 validation samples this cannot be decided." in few
    assert "saves" not in few
    assert "**When to stop?** Judged by the validation loss, after epoch 20" in enough


def test_a_longer_schedule_is_proposed_where_the_rate_falls_to_its_end():
    recipe = RECIPE.with_settings(schedule="one_cycle")
    text = said(with_point(make_report_data(WIDTHS, recipe=recipe), epoch=Interval(30, 20, 30, 0.95)))
    assert "A longer schedule might improve it." in text
    assert "Longer training" not in text


def test_the_summary_of_a_run_has_both_accuracies_and_when_they_were_measured():
    report_data = make_report_data(seeds=1)
    valid, test = (percent(report_data.chosen.mean(split, "accuracy")) for split in ("valid", "test"))
    text = summary_text(report_data)
    assert text.startswith(f"After 30 epochs, the validation accuracy is {valid} (95 % interval")
    assert f"on 40 samples, and the test accuracy is {test} (95 % interval" in text
    assert text.endswith("The validation loss is lowest earlier, after epoch 20 of 30.")


def test_repeated_test_samples_are_said_beside_the_interval_that_they_widen():
    repeats = Check("test_repeats", True, 34, 2724, 0.2, (), {"effective_test_size": 1896.0})
    report_data = make_report_data(WIDTHS)
    audit = SimpleNamespace(findings=(repeats,), checks=(repeats,))
    wider = ", up to 1.20 times as wide because some test samples are identical)"
    assert wider in summary_text(replace(report_data, audit=audit))
    assert wider not in summary_text(report_data)
    _, effect = describe_check(repeats)
    assert effect == (
        "these samples may all be right or wrong together; at worst the test set is worth 1,896 independent samples, "
        "and its intervals are up to 1.20 times as wide"
    )


def test_the_report_of_a_run_chooses_nothing_and_adds_no_seeds():
    text = said(make_report_data(seeds=1, more={"is_run": True}))
    assert "played no part in these choices" not in text
    assert "40 test samples that training did not use" in text
    assert "What would more seeds settle" not in text


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


def test_numbers_of_seeds_name_the_pair_that_they_are_for():
    several = make_report_data("hidden=5,6,7", seeds=2, more={"command_with_seeds": "more {}".format})
    assert "A difference of 1 percentage point between these two" in said(several)
    assert "Other pairs can need another number of seeds" in said(several)
    two = make_report_data("hidden=5,6", more={"command_with_seeds": "more {}".format})
    assert "Other pairs" not in said(two)


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
