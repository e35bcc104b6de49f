"""Set-up: how the networks were trained, with which seeds, versions and machine."""

from __future__ import annotations

from chalknet.config import FULL, is_random
from chalknet.formatting import count_of, listed
from chalknet.reporting.configuration_text import field_name, setting_words
from chalknet.reporting.document import Paragraph, Section, TableBlock
from chalknet.reporting.report_data import ReportData
from chalknet.reporting.sections.recipe_text import (
    momentum_text,
    network_text,
    optimizer_text,
    rate_text,
    regularization_text,
)
from chalknet.reporting.study_tables import setup_table
from chalknet.reporting.tables import MONITOR_NAMES

SEEDS_VARY = {"init": "the initial weights", "order": "the order of mini-batches", "split": "the split"}
MAX_SEEDS_LISTED = 5
# Fields whose variation the text about the training mentions anyway.
TOLD = ("hidden", "epochs", "learning_rate", "momentum", "batch_size")


def setup_section(report_data: ReportData, number: str, title: str = "Setup and versions") -> Section:
    """Describe the training, the seeds, the versions and the machine."""
    versions = TableBlock("setup", setup_table(report_data), "Versions and machine.")
    return Section(number, title, (Paragraph(training_text(report_data)), Paragraph(seeds_text(report_data)), versions))


def training_text(report_data: ReportData) -> str:
    """Describe the recipe; fields that vary are called so."""
    configurations, varied = report_data.results.configurations, report_data.varied
    recipe = next((config.recipe for config in configurations), report_data.recipe)
    training = recipe.training
    batch = "the full training set, one update per epoch" if training.batch_size == FULL else ""
    batch = batch or f"mini-batches of {training.batch_size} samples"
    batch = "batches of varied size" if "batch_size" in varied else batch
    widths = "" if "hidden" in varied else f" ({setting_words('hidden', recipe.network.hidden)})"
    epochs = "a varied number of epochs" if "epochs" in varied else count_of(training.epochs, "epoch")
    if recipe.stopping.stop_early and "epochs" not in varied:
        epochs = f"at most {epochs}"

    def shown(name: str, text: str) -> str:
        return "(varied)" if name in varied else text

    combined = "summed" if recipe.optimizer.reduction == "sum" else "averaged"
    text = (
        f"The networks have {network_text(recipe.network, widths, shown)}. They are trained for {epochs} by "
        f"{optimizer_text(recipe, shown)} on {batch}, with {rate_text(recipe, shown)}{momentum_text(recipe, shown)}. "
        f"Gradients are {combined} over the batch."
    )
    text += regularization_text(recipe, shown)
    stopping = recipe.stopping
    if stopping.stop_early or "stop_early" in varied:
        text += f" Training stops after {count_of(stopping.patience, 'epoch')} without an improvement of the "
        text += MONITOR_NAMES[stopping.monitor]
        text += ", and the weights of the best epoch are kept." if stopping.restore_best else "."
    others = [field_name(name) for name in varied if name not in TOLD]
    if others:
        verb = "varies" if len(others) == 1 else "vary"
        text += f" Between configurations, {listed(others)} {verb}."
    return text


def seeds_text(report_data: ReportData) -> str:
    """Say how many seeds there are and what differs between them."""
    seeds, vary = report_data.results.seeds, report_data.results.spec.seeds_vary
    each = "Each network is" if len(report_data.results.configurations) > 1 else "The network is"
    if len(seeds) == 1:
        return (
            f"{each} trained once, with seed {seeds[0]}. One run does not show how much a result depends on the random "
            "start, so every interval in this document covers the finite number of samples only."
        )
    is_full = report_data.recipe.training.batch_size == FULL and "batch_size" not in report_data.varied
    differs = [SEEDS_VARY[name] for name in vary if name != "order" or not is_full]
    if "order" in vary and is_random(report_data.recipe):
        differs.append("the random draws of training")
    shown = listed([str(seed) for seed in seeds]) if len(seeds) <= MAX_SEEDS_LISTED else f"{seeds[0]} to {seeds[-1]}"
    text = f"{each} trained {count_of(len(seeds), 'time')}, with seeds {shown}. "
    text += (
        f"The seeds differ in {listed(differs)}." if differs else "The seeds differ in nothing that full batches use."
    )
    return text if "split" in vary else f"{text} All runs use the same training, validation and test samples."
