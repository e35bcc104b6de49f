"""The conclusion, made from the numbers by rules: what to choose, when to stop, how good it is, what is open."""

from __future__ import annotations

import math

import numpy as np

from chalknet.formatting import capitalized, count_of, fixed, percent, percent_interval, points_interval
from chalknet.formatting import points as signed_points
from chalknet.reporting.document import Block, Code, Note, Paragraph, Section
from chalknet.reporting.markup import escape
from chalknet.reporting.report_data import ConfigurationRuns, ReportData
from chalknet.reporting.sections.choice import not_significantly_different
from chalknet.reporting.sections.phrases import (
    count_of_configurations,
    longer_training_text,
    names_phrase,
    network_phrase,
    others_phrase,
    seeds_noun,
    test_interval_text,
)
from chalknet.reporting.sections.stopping import best_text
from chalknet.reporting.study_tables import seconds_text
from chalknet.reporting.tables import MONITOR_NAMES
from chalknet.studies.compare import Difference
from chalknet.studies.curve_findings import MIN_LOSS_RISE
from chalknet.studies.findings import (
    POWER,
    count_of_rounded,
    detectable_difference,
    pair_alpha,
    points,
    required_sample_size,
    rounded,
)
from chalknet.studies.stopping_point import StoppingPoint
from chalknet.training.recipes import MIN_VALID

TARGET = 0.01  # the difference of accuracies for which a study is planned: 1 percentage point
FIRST_SEEDS = 3  # seeds that are advised where there is one
MAX_REALISTIC_SEEDS = 200  # a study of more seeds per configuration than this is not named as a way out
MAX_PLANNED_SEEDS = 20  # a command for more seeds per configuration than this is not proposed


def conclusion_section(report_data: ReportData, number: str, title: str = "Conclusion") -> Section:
    """Answer each question of the study in a paragraph, and say what the numbers leave open."""
    chosen = report_data.chosen
    if chosen is None:
        return Section(
            number, title, (Paragraph("No configuration has finished all its runs, so nothing follows yet."),)
        )
    if len(report_data.complete) > 1 and report_data.comparison_split != "valid":
        text = "Without validation samples no configuration can be chosen, so this study has no conclusion."
        return Section(number, title, (Note(text, "warning"),))
    blocks = [
        *_which(report_data, chosen),
        *_when(report_data, chosen),
        *_why(chosen),
        *_how_good(report_data, chosen),
        *_what_is_open(report_data, chosen),
    ]
    return Section(number, title, tuple(blocks))


def summary_text(report_data: ReportData) -> str:
    """Return the answers in two or three sentences for the first page; "" where nothing was chosen."""
    chosen = report_data.chosen
    if chosen is None or not report_data.comparison_split:
        return ""
    said = []
    if len(report_data.complete) > 1:
        if report_data.comparison_split != "valid":
            return ""
        said.append(
            f"Of {count_of_configurations(report_data, len(report_data.complete))}, {network_phrase(chosen)} has the "
            "highest validation accuracy, "
            f"{percent(chosen.mean('valid', 'accuracy'))}.{_tied(report_data)}{_significance(report_data, chosen)}"
        )
    scores = _summary_scores(report_data, chosen)
    if scores:
        said.append(scores)
    point = chosen.stopping
    if point is not None and 1 < point.n_epochs != point.epoch.value:
        earlier = " earlier," if set(chosen.kept_epochs) == {point.n_epochs} else ""
        said.append(
            f"The {MONITOR_NAMES[point.monitor]} is {best_text(point.monitor)}{earlier} after epoch "
            f"{point.epoch.value:.0f} of {point.n_epochs}."
        )
    return " ".join(said)


def _summary_scores(report_data: ReportData, chosen: ConfigurationRuns) -> str:
    """Return the accuracies of the chosen configuration, and that of always predicting one class."""
    alone, shown = len(report_data.complete) == 1, []
    valid = report_data.accuracy_of(chosen)
    if alone and chosen.values("valid", "accuracy"):
        interval = "" if valid is None else f" (95 % interval {percent_interval(valid.low, valid.high)})"
        shown.append(
            f"validation accuracy is {percent(chosen.mean('valid', 'accuracy'))}{interval} on "
            f"{count_of(report_data.sizes['valid'], 'sample')}"
        )
    if chosen.values("test", "accuracy"):
        shown.append(
            f"test accuracy is {percent(chosen.mean('test', 'accuracy'))}{test_interval_text(report_data)} on "
            f"{count_of(report_data.sizes['test'], 'sample')}"
        )
    if not shown:
        return ""
    kept = {*chosen.kept_epochs, *(len(history) for history in chosen.histories)}
    when = f"After {count_of(min(kept), 'epoch')}, {'the' if alone else 'its'} " if len(kept) == 1 else ""
    text = f"{when or ('The ' if alone else 'Its ')}{', and the '.join(shown)}."
    largest = [one for one in (report_data.audit.checks if report_data.audit else ()) if one.code == "imbalance"]
    if alone and largest and largest[0].cost is not None and len(shown) == 2:
        text += (
            " Always predicting the largest class of the training samples has a test accuracy of "
            f"{percent(largest[0].cost)}."
        )
    return text


def _tied(report_data: ReportData) -> str:
    """Return that other configurations have the same mean as the chosen one, after a space; "" if none has."""
    if not report_data.tied:
        return ""
    return f" The mean with {names_phrase(report_data.tied)} is the same."


def _significance(report_data: ReportData, chosen: ConfigurationRuns) -> str:
    """Return a sentence on how the chosen configuration compares with the others, after a space; "" without a test."""
    if report_data.comparison is None:
        return ""
    close = not_significantly_different(report_data, chosen)
    better = [runs for runs in report_data.complete if runs is not chosen and runs not in close]
    other = "other width" if report_data.varied == ("hidden",) else "other configuration"
    if not close:
        return f" This is significantly more than with every {other}."
    if not better:
        return f" No {other} differs significantly from it."
    return (
        f" It is significantly better than with {names_phrase(better, 'or')}, but not than with "
        f"{names_phrase(close, 'or')}."
    )


def _which(report_data: ReportData, chosen: ConfigurationRuns) -> list[Block]:
    if len(report_data.complete) == 1:
        return []
    widths = report_data.varied == ("hidden",)
    question = "**Which width?**" if widths else "**Which configuration?**"
    accuracy = percent(chosen.mean("valid", "accuracy"))
    text = (
        f"{question} We take {names_phrase([chosen])}, which gave the highest mean validation accuracy ({accuracy}). "
    )
    if report_data.comparison is None:
        text += "Since each seed has its own split, no test says whether the differences are more than chance."
        return [Paragraph(text)]
    close = not_significantly_different(report_data, chosen)
    better = [runs for runs in report_data.complete if runs is not chosen and runs not in close]
    if better:
        text += f"It is significantly better than {others_phrase(report_data, better)}. "
    if close:
        text += f"It is not significantly better than {others_phrase(report_data, close)}. "
        text += _alternative(report_data, chosen, close)
    return [Paragraph(text.rstrip())]


def _alternative(report_data: ReportData, chosen: ConfigurationRuns, close: list[ConfigurationRuns]) -> str:
    """Return the fastest configuration that is not significantly worse and within `TARGET`, and what it may cost."""
    differences = {runs.name: _difference(report_data, chosen, runs) for runs in close}
    near = [runs for runs in close if (one := differences[runs.name]) is not None and abs(one.difference) <= TARGET]
    fastest = min(near, key=_mean_seconds, default=chosen)
    difference = differences.get(fastest.name)
    if difference is None or _mean_seconds(fastest) >= _mean_seconds(chosen):
        return ""
    return (
        f"With {names_phrase([fastest])}, training takes {seconds_text(_mean_seconds(fastest))} per run instead of "
        f"{seconds_text(_mean_seconds(chosen))}, and the accuracy is {points(abs(difference.difference))} percentage "
        f"points lower (95 % interval of the difference {points(difference.low)} to {points(difference.high)})."
    )


def _when(report_data: ReportData, chosen: ConfigurationRuns) -> list[Block]:
    point = chosen.stopping
    if point is None:
        reason = f": {escape(chosen.stopping_missing_reason)}" if chosen.stopping_missing_reason else ""
        return [Paragraph(f"**When to stop?** These runs do not tell{reason}.")]
    if point.n_epochs < 2:
        return []
    monitor, best = MONITOR_NAMES[point.monitor], f"{point.epoch.value:.0f}"
    if point.epoch.value == point.n_epochs:
        text = f"The {monitor} is {best_text(point.monitor)} there."
        longer = capitalized(longer_training_text([chosen]))
        return [Paragraph(f"**When to stop?** Not before epoch {best}, the last. {text} {longer}.")]
    limits = (
        f" (95 % interval {point.epoch.low:.0f} to {point.epoch.high:.0f})" if math.isfinite(point.epoch.low) else ""
    )
    n_valid = report_data.sizes["valid"]
    if n_valid < MIN_VALID:
        answer = (
            f"With only {count_of(n_valid, 'validation sample')} this cannot be decided. The {monitor} is "
            f"{best_text(point.monitor)} after epoch {best}{limits}."
        )
    else:
        answer = f"Judged by the {monitor}, after epoch {best}{limits}."
    text = f"**When to stop?** {answer} {_advice(point, n_valid)}"
    others = [
        round(runs.stopping.epoch.value)
        for runs in report_data.complete
        if runs is not chosen and runs.stopping is not None
    ]
    if others:
        where = f"{others[0]}" if min(others) == max(others) else f"between epochs {min(others)} and {max(others)}"
        which = "the other configuration" if len(others) == 1 else "the other configurations"
        text += f" For {which}, the best epoch is {where} ([table:stopping])."
    return [Paragraph(text)]


def _advice(point: StoppingPoint, n_valid: int) -> str:
    """Return what training on from the best epoch does to the accuracy, and what follows for stopping."""
    gain, on = point.valid_gain, f"Training on to epoch {point.n_epochs}"
    changed = f"{signed_points(gain.value)} percentage points"
    if not math.isfinite(gain.low):
        return (
            f"From there to epoch {point.n_epochs} the validation accuracy changes by {changed}; no interval is known."
        )
    changed += f" (95 % interval {points_interval(gain.low, gain.high)})"
    few = n_valid < MIN_VALID
    if gain.low > 0:
        text = f"Accuracy disagrees: training on to epoch {point.n_epochs} raises it significantly, by {changed}."
        advice = " Stop at the lowest loss if the predicted probabilities are used, and train on if only the predicted "
        return text if few or point.monitor != "valid_loss" else f"{text}{advice}class matters."
    if gain.high < 0:
        also = "" if point.monitor == "valid_accuracy" else "also "
        return f"{on} {also}lowers the accuracy significantly, by {changed}."
    text = f"{on} changes the accuracy on the {n_valid:,} validation samples by {changed}, which is not significant."
    saved = point.n_epochs - round(point.epoch.value)
    return text if few else f"{text} Stopping earlier saves {saved:,} of {count_of(point.n_epochs, 'epoch')}."


def _why(chosen: ConfigurationRuns) -> list[Block]:
    """Explain a loss that rises, from the losses of right and wrong predictions.

    Loss and accuracy disagree only if the accuracy does not fall. Where it falls significantly, the rise needs no
    explanation.
    """
    point = chosen.stopping
    if point is None or point.monitor != "valid_loss" or point.epoch.value == point.n_epochs:
        return []
    best = round(point.epoch.value)
    then, end = (_mean_valid_loss(chosen, at) for at in (best - 1, -1))
    gain, wrong, correct = point.valid_gain, point.wrong_loss, point.correct_loss
    known, falls = all(map(math.isfinite, (*wrong, *correct))), gain.value < 0
    if not end > (1.0 + MIN_LOSS_RISE) * then or gain.high < 0 or (falls and not known):
        return []
    mean = "mean " if len(chosen.seeds) > 1 else ""
    rises = f"After epoch {best} the {mean}validation loss rises from {fixed(then, 2)} to {fixed(end, 2)} nats"
    if falls:
        text = f"**Why does the loss rise?** {rises}, and the accuracy falls, but not significantly. "
    else:
        text = (
            f"**Why do loss and accuracy disagree?** {rises}, and the accuracy does not fall. Accuracy counts every "
            "mistake once; the loss also measures how confident it is. "
        )
    if known:
        text += (
            f"The mean loss of misclassified validation samples goes from {fixed(wrong[0], 2)} to {fixed(wrong[1], 2)} "
            f"nats, that of correctly classified ones from {fixed(correct[0], 2)} to {fixed(correct[1], 2)} nats. "
            f"{_reason(wrong, correct, falls=falls)}"
        )
    return [Paragraph(text.rstrip())]


def _reason(wrong: tuple[float, float], correct: tuple[float, float], *, falls: bool) -> str:
    """Return what the losses before and after say about the rise of their mean; "" where they say nothing simple.

    Args:
        wrong: mean loss of the misclassified samples after the best epoch and after the last.
        correct: the same for the correctly classified samples.
        falls: whether fewer samples are classified correctly at the end.
    """
    if wrong[1] > wrong[0]:
        the = "More samples are misclassified, and the" if falls else "The"
        return f"{the} network becomes overconfident in its mistakes."
    if falls and correct[1] <= correct[0]:
        return "The loss rises because more samples are misclassified; the mean loss of a mistake does not rise."
    return ""


def _how_good(report_data: ReportData, chosen: ConfigurationRuns) -> list[Block]:
    if not chosen.values("test", "accuracy"):
        return []
    accuracy = percent(chosen.mean("test", "accuracy"))
    chose = len(report_data.complete) > 1 or chosen.configuration.recipe.stopping.stop_early
    unused = "that played no part in these choices" if chose else "that training did not use"
    text = (
        f"**How good is it?** On {count_of(report_data.sizes['test'], 'test sample')} {unused}, "
        f"{network_phrase(chosen)} reaches an accuracy of {accuracy}{test_interval_text(report_data)}."
    )
    audit = report_data.audit
    if audit is not None and any(one.found and one.code == "test_groups_in_train" for one in audit.checks):
        text += (
            " Test and training samples share groups ([table:audit]), so the accuracy on samples of new groups can be "
            "lower."
        )
    return [Paragraph(text)]


def _what_is_open(report_data: ReportData, chosen: ConfigurationRuns) -> list[Block]:
    """Say which differences more seeds would detect, with the command that adds them."""
    noun = seeds_noun(report_data)
    if report_data.n_seeds == 1 and report_data.command_with_seeds is None:
        return []  # the section on training says already what one run does not show
    if report_data.n_seeds == 1:
        text = (
            f"**What would more seeds settle?** One run {'per configuration ' if noun != 'seeds' else ''}does not "
            "show how much a result depends on the random initial weights. This command adds runs with other seeds:"
        )
        return _with_command(report_data, text, FIRST_SEEDS)
    close = not_significantly_different(report_data, chosen)
    if not close:
        if len(report_data.complete) > 1 and report_data.comparison is not None:
            return [Paragraph("**What would more seeds settle?** Not this choice: it is significant already.")]
        return []
    second = max(close, key=lambda runs: runs.mean("valid", "accuracy"))
    difference = _difference(report_data, chosen, second)
    assert report_data.comparison is not None, "only a comparison says what is not significant"
    if difference is None or math.isnan(difference.seed_variance):
        return []
    alpha, now = pair_alpha(report_data.comparison), report_data.n_seeds
    found = required_sample_size(difference, alpha=alpha)
    if len(report_data.comparison.pairs) == 1 and found is not None and 0 < (found.seeds or 0) <= MAX_PLANNED_SEEDS:
        assert found.seeds is not None, "checked above"
        text = (
            f"**What would more seeds settle?** About {count_of_rounded(found.seeds, 'seed')} {_per(noun)} would show "
            f"a true difference of {points(difference.difference)} percentage points with {100 * POWER:.0f} % "
            "probability, as the comparison says. "
        )
        return _with_command(report_data, f"{text}This command adds runs to the study:", found.seeds)
    required = required_sample_size(difference, alpha=alpha, size=TARGET)
    seeds = 2 * now
    size = points(detectable_difference(difference, seeds, alpha=alpha))
    text = (
        f"**What would more seeds settle?** With {seeds} {noun} instead of {now}, a true difference of {size} "
        f"percentage points between {names_phrase((chosen, second))} would be found significant with "
        f"{100 * POWER:.0f} % probability. "
    )
    wanted = 0 if required is None or required.seeds is None else required.seeds
    target = "A difference of 1 percentage point between these two"
    if required is not None and required.images is None and wanted <= MAX_REALISTIC_SEEDS:
        text += f"{target} needs about {count_of_rounded(wanted, 'seed')} {_per(noun)}. "
        seeds = wanted if wanted <= MAX_PLANNED_SEEDS else seeds
    elif required is not None and wanted > MAX_REALISTIC_SEEDS:
        text += f"{target} is out of reach of such a study. "
    elif required is not None:
        text += (
            f"{target} cannot be detected by more seeds alone: it needs about "
            f"{rounded(required.images or 0)} validation samples"
        )
        text += f" and {count_of_rounded(required.seeds, 'seed')} {_per(noun)}. " if required.seeds else ". "
    if len(report_data.comparison.pairs) > 1:
        text += "Other pairs can need another number of seeds, because their differences vary more or less. "
    return _with_command(report_data, f"{text}This command adds runs to the study:", seeds)


def _per(noun: str) -> str:
    """Return "per width" of "seeds per width"."""
    return noun.removeprefix("seeds").strip()


def _with_command(report_data: ReportData, text: str, seeds: int) -> list[Block]:
    """Return a text that ends by naming a command, with that command; without one, the text's other sentences."""
    if report_data.command_with_seeds is None:
        return [Paragraph(text.rpartition(" This command")[0])]
    return [Paragraph(text), Code(report_data.command_with_seeds(seeds))]


def _difference(report_data: ReportData, first: ConfigurationRuns, second: ConfigurationRuns) -> Difference | None:
    """Return the difference of two configurations; the first has the higher mean."""
    pairs = () if report_data.comparison is None else report_data.comparison.pairs
    names = {first.name, second.name}
    found = (pair.difference for pair in pairs if {pair.difference.first, pair.difference.second} == names)
    return next(found, None)


def _mean_seconds(runs: ConfigurationRuns) -> float:
    return float(np.mean(runs.seconds))


def _mean_valid_loss(runs: ConfigurationRuns, at: int) -> float:
    """Return the mean validation loss over the seeds after the epoch at this place of the histories."""
    losses = [history[at].valid for history in runs.histories]
    return float(np.mean([scores.loss for scores in losses if scores is not None]))
