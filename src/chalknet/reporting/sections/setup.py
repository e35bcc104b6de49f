"""Set-up: what made the document, on what machine, with which settings."""

from __future__ import annotations

from chalknet.config import FULL, is_random
from chalknet.formatting import count_of, listed
from chalknet.reporting.document import Paragraph, Section, TableBlock
from chalknet.reporting.markup import code
from chalknet.reporting.report_data import ReportData
from chalknet.reporting.sections.recipe_text import added_text, momentum_text, network_text, rate_text, rule_text
from chalknet.reporting.study_tables import setup_table
from chalknet.studies.configurations import value_text

SEEDS_VARY = {"init": "the initial weights", "order": "the order of mini-batches", "split": "the split"}


def setup_section(report_data: ReportData, number: str, title: str = "Set-up and versions") -> Section:
    """How the networks were trained, and the versions and the machine."""
    return Section(
        number,
        title,
        (Paragraph(training_text(report_data)), Paragraph(seeds_text(report_data)), _versions(report_data)),
    )


def training_text(report_data: ReportData) -> str:
    """The recipe in words, without what varies."""
    recipe, varied = (
        next((config.recipe for config in report_data.results.configurations), report_data.recipe),
        report_data.varied,
    )
    optimizer, training = recipe.optimizer, recipe.training
    batch = "the whole training set at once" if training.batch_size == FULL else f"batches of {training.batch_size}"
    batch = "batches whose size is varied" if "batch_size" in varied else batch
    widths = "" if "hidden" in varied else f" ({value_text(recipe.network.hidden)} hidden units)"
    epochs = count_of(training.epochs, "epoch") if "epochs" not in varied else "a varied number of epochs"
    if recipe.stopping.stop_early and "epochs" not in varied:
        epochs = f"at most {epochs}"

    def shown(name: str, text: str) -> str:
        return _value(report_data, name, text)

    text = (
        f"Networks {network_text(recipe.network, widths, shown)} are trained by "
        f"{rule_text(recipe, shown)} on {batch}: {epochs}, {rate_text(recipe, shown)}, gradients "
        f"{'summed' if optimizer.reduction == 'sum' else 'averaged'} over the batch{momentum_text(recipe, shown)}."
    )
    text += added_text(recipe, shown)
    if recipe.stopping.stop_early or "stop_early" in varied:
        text += f" Training stops early, after {recipe.stopping.patience} epochs without an improvement of "
        text += f"{recipe.stopping.monitor.replace('valid_', 'the validation ')}"
        text += ", and the best epoch's weights are kept." if recipe.stopping.restore_best else "."
    others = [name for name in varied if name not in ("hidden", "epochs", "learning_rate", "momentum", "batch_size")]
    if others:
        text += f" Varied too: {listed([code(name) for name in others])}."
    return text


def seeds_text(report_data: ReportData) -> str:
    """What a seed is, and how many there are."""
    seeds, vary = report_data.results.seeds, report_data.results.spec.seeds_vary
    if len(seeds) == 1:
        return (
            f"There is one training of each, from seed {seeds[0]}. One training says nothing about how much another "
            "start would change the result; every interval here carries the finite number of images alone."
        )
    drawn = [name for name in vary if name != "order" or not _is_full_batch(report_data)]
    words = [SEEDS_VARY[name] for name in drawn]
    if "order" in vary and is_random(report_data.recipe):
        words.append("what training draws at random")
    differs = listed(words)
    same = "" if "split" in vary else "; all are trained and judged on the same samples"
    shown = listed([str(seed) for seed in seeds]) if len(seeds) <= 5 else f"{seeds[0]} to {seeds[-1]}"
    which = "Each" if len(report_data.results.configurations) > 1 else "The"
    return (
        f"{which} network is trained {count_of(len(seeds), 'time')}, from the seeds {shown}, which differ in "
        f"{differs or 'nothing that a full batch uses'}{same}."
    )


def _versions(report_data: ReportData) -> TableBlock:
    return TableBlock("setup", setup_table(report_data), "Versions and machine.")


def _is_full_batch(report_data: ReportData) -> bool:
    return report_data.recipe.training.batch_size == FULL and "batch_size" not in report_data.varied


def _value(report_data: ReportData, name: str, text: str) -> str:
    return "(varied)" if name in report_data.varied else text
