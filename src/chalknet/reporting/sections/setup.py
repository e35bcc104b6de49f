"""Set-up: how the networks were trained, with which seeds, versions and machine."""

from __future__ import annotations

from chalknet.config import FULL, Recipe, is_random
from chalknet.formatting import count_of, listed
from chalknet.reporting.configuration_text import field_name
from chalknet.reporting.document import Paragraph, Section, TableBlock
from chalknet.reporting.markup import escape
from chalknet.reporting.report_data import ReportData
from chalknet.reporting.sections.recipe_text import (
    VARIED,
    architectures_text,
    momentum_text,
    network_text,
    optimizer_text,
    rate_text,
    regularization_text,
)
from chalknet.reporting.study_tables import setup_table
from chalknet.reporting.tables import MONITOR_NAMES
from chalknet.studies.configurations import value_text
from chalknet.training.recipes import MIN_VALID

SEEDS_VARY = {"init": "the initial weights", "order": "the order of mini-batches", "split": "the split"}
MAX_SEEDS_LISTED = 5
MAX_VALUES_LISTED = 12


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
    epochs = "a varied number of epochs" if "epochs" in varied else count_of(training.epochs, "epoch")
    stopping = recipe.stopping
    may_stop = stopping.stop_early and stopping.patience < training.epochs
    if may_stop and not {"epochs", "patience", "stop_early"} & set(varied):
        epochs = f"at most {epochs}"

    def shown(name: str, text: str) -> str:
        return VARIED if name in varied else text

    combined = "summed" if recipe.optimizer.reduction == "sum" else "averaged"
    one = len(configurations) == 1 and report_data.n_seeds == 1
    text = (
        f"{'The network has' if one else 'The networks have'} {network_text(recipe.network, shown)}. "
        f"{'It is' if one else 'They are'} trained for {epochs} by {optimizer_text(recipe, shown)} on {batch}, with "
        f"{rate_text(recipe, shown)}{momentum_text(recipe, shown)}. Gradients are {combined} over the batch."
    )
    text += architectures_text([config.recipe.network for config in configurations]) if "network" in varied else ""
    text += f"{regularization_text(recipe, shown)}{_stopping(report_data, recipe)}{_factors(report_data)}"
    return f"{text}{_temperature(report_data)}"


def _temperature(report_data: ReportData) -> str:
    """Return how the probabilities were calibrated, after a space; "" if they were not."""
    if report_data.temperature is None:
        return ""
    if report_data.temperature == 1:
        return " The probabilities are as trained: no temperature was found that makes the validation loss smaller."
    return (
        f" The logits are divided by the temperature {report_data.temperature:.3g}, which makes the validation loss "
        "smallest. The scores of epochs are those before this division."
    )


def _stopping(report_data: ReportData, recipe: Recipe) -> str:
    """Say when training stops and which weights are kept, after a space."""
    stopping, varied, n_valid = recipe.stopping, report_data.varied, report_data.sizes["valid"]
    if not stopping.stop_early and "stop_early" not in varied:
        text = " Training does not stop early, and the weights after the last epoch are kept."
        if 0 < n_valid < MIN_VALID:
            text += f" With only {count_of(n_valid, 'validation sample')} the best epoch cannot be chosen."
        return text
    monitor = MONITOR_NAMES[stopping.monitor]
    if stopping.patience >= recipe.training.epochs and not {"epochs", "patience"} & set(varied):
        return f" The weights of the epoch with the best {monitor} are kept." if stopping.restore_best else ""
    text = f" Training stops after {count_of(stopping.patience, 'epoch')} without an improvement of the {monitor}"
    text += ", but not in the first half"
    return f"{text}, and the weights of the best epoch are kept." if stopping.restore_best else f"{text}."


def _factors(report_data: ReportData) -> str:
    """Return which fields vary and their values, after a space; "" if none varies."""
    settings = [dict(config.settings) for config in report_data.results.configurations]
    if report_data.is_named:
        return f" The configurations are: {escape(listed([one.label for one in report_data.results.configurations]))}."
    said = []
    for name in report_data.varied:
        values = [value_text(value) for value in dict.fromkeys(one[name] for one in settings if name in one)]
        shown = ", ".join(values) if len(values) <= MAX_VALUES_LISTED else f"{len(values)} values"
        said.append(f"{field_name(name)} ({shown})")
    return f" The configurations differ in {listed(said)}." if said else ""


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
    words = SEEDS_VARY | ({"split": "the fold that validates"} if report_data.recipe.training.folds else {})
    differs = [words[name] for name in vary if name != "order" or not is_full]
    if "order" in vary and any(is_random(config.recipe) for config in report_data.results.configurations):
        differs.append("the random draws of training")
    shown = listed([str(seed) for seed in seeds]) if len(seeds) <= MAX_SEEDS_LISTED else f"{seeds[0]} to {seeds[-1]}"
    text = f"{each} trained {count_of(len(seeds), 'time')}, with seeds {shown}. "
    text += (
        f"The seeds differ in {listed(differs)}." if differs else "The seeds differ in nothing that full batches use."
    )
    return text if "split" in vary else f"{text} All runs use the same training, validation and test samples."
