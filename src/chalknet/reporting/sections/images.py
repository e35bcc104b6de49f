"""The mistakes of the network, by class and as images, and the weights of its first layer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.data.color import is_color
from chalknet.data.dataset import dataset_from_arrays
from chalknet.formatting import count_of
from chalknet.network.model import Network
from chalknet.reporting.document import Block, FigureBlock, ImageBlock, Note, Paragraph, Section, TableBlock
from chalknet.reporting.drawings.mistakes import mistake_sheet, worst_mistakes
from chalknet.reporting.report_data import ReportData
from chalknet.reporting.sections.feature_maps import feature_map_blocks
from chalknet.reporting.sections.phrases import comparison_split_name, network_phrase
from chalknet.reporting.study_figures import MAX_MATRIX_CLASSES, confusion_figure
from chalknet.reporting.study_tables import class_table
from chalknet.studies.results import LabeledPredictions

UNITS = 24
UNIT_COLUMNS = 12
SCALE_QUANTILE = 0.995  # of the absolute weights; the few larger ones are drawn white or black


def mistakes_section(report_data: ReportData, number: str, title: str = "Mistakes") -> Section:
    """Show the confusion matrix, the accuracy of each class, and the most confident mistakes as images."""
    runs = report_data.chosen or next(iter(report_data.configurations), None)
    if runs is None:
        return Section(number, title, (Paragraph("No run is finished."),))
    ensemble = report_data.ensemble
    if ensemble is None:
        predictions = runs.predictions.get(report_data.comparison_split, ())
        whose, certain = network_phrase(runs), f"seed {runs.seeds[0]}"
    else:
        predictions = tuple(filter(None, [ensemble.predictions.get(report_data.comparison_split)]))
        whose = certain = "the ensemble"
    if not predictions:
        reason = report_data.data_missing_reason or "the predictions were not stored."
        return Section(number, title, (Note(f"The predictions of single samples are not known: {reason}", "warning"),))
    return Section(
        number, title, (*_confusion(report_data, whose, predictions), *_images(report_data, certain, predictions[0]))
    )


def weights_section(report_data: ReportData, number: str, title: str = "Weights of the first layer") -> Section:
    """Show the weights of some hidden units as images."""
    network, runs = report_data.network, report_data.chosen
    if network is None or runs is None:
        return Section(number, title, (Note("There is no model file, so its weights cannot be shown."),))
    if network.image_shape is None:
        text = "The samples are table rows, so the weights of the first layer cannot be shown as images."
        return Section(number, title, (Paragraph(text),))
    if network.architecture.reads_images:
        blocks = feature_map_blocks(report_data, network.members[0], runs)
        return Section(number, "Filters and feature maps", blocks)
    weight = network.members[0].parameters.get("hidden1.weight")
    if weight is None or weight.shape[1] != network.architecture.n_inputs:
        text = "The first dense layer does not read the pixels, so its weights cannot be shown as images."
        return Section(number, title, (Paragraph(text),))
    picture, shown, scale = _weights_sheet(network.members[0])
    text = (
        f"Each hidden unit has one weight per pixel. The figure shows {shown} of "
        f"{count_of(network.architecture.hidden[0], 'unit')} of {network_phrase(runs)}, seed {runs.seeds[0]}: "
        f"those with the largest weights to the next layer. {_shades(network.image_shape, scale)} "
        "Noise is what remains of the random initial weights."
    )
    block = ImageBlock(
        "weights",
        picture,
        "Weights of hidden units of the first layer, as images.",
        "A sheet of weight images.",
    )
    return Section(number, title, (Paragraph(text), block))


def _shades(image_shape: tuple[int, ...], scale: float) -> str:
    """Return what the shades of weights mean."""
    if is_color(image_shape):
        return (
            f"A pixel has a weight for red, green and blue, each half bright at 0, full at {scale:.2g} or more, and "
            f"dark at -{scale:.2g} or less. A unit responds to images that have the colors of its pixels."
        )
    return (
        f"Gray is 0, white is {scale:.2g} or more, and black is -{scale:.2g} or less. A unit responds to images that "
        "are bright at its white pixels and dark at its black ones."
    )


def _confusion(report_data: ReportData, whose: str, predictions: tuple[LabeledPredictions, ...]) -> list[Block]:
    n_classes, n_seeds = len(report_data.results.data.class_names), len(predictions)
    split = comparison_split_name(report_data)
    sample = f"{count_of(len(predictions[0].labels), f'{split} sample')}"
    of = f"{sample} by the networks of {n_seeds} seeds, added up" if n_seeds > 1 else sample
    which = (
        ""
        if report_data.comparison_split == "valid" or len(report_data.complete) < 2
        else ", the configuration with the highest test accuracy,"
    )
    text = f"These are the predictions of {whose}{which} for {of}. "
    text += (
        "The test samples are not used here, because looking at their mistakes could influence later choices."
        if report_data.comparison_split == "valid" and report_data.sizes["test"]
        else ""
    )
    blocks: list[Block] = [Paragraph(text)]
    if n_classes <= MAX_MATRIX_CLASSES:
        caption = (
            f"Confusion matrix of the {split} samples: rows are true classes, columns predicted classes. A dot is 0."
        )
        blocks.append(
            FigureBlock(
                "confusion",
                confusion_figure(report_data, predictions),
                caption,
                "A grid of counts with the correct predictions on its diagonal.",
            )
        )
    table = class_table(report_data, predictions)
    which = "" if len(table.rows) == n_classes else f": the {len(table.rows)} least accurate of {n_classes} classes"
    blocks.append(TableBlock("class_accuracy", table, f"Accuracy of each class on the {split} samples{which}."))
    return blocks


def _images(report_data: ReportData, whose: str, predictions: LabeledPredictions) -> list[Block]:
    """Show the most confident mistakes of the first seed, or of an ensemble."""
    if not report_data.has_images:
        return []
    if report_data.data is None:
        return [
            Note(f"{report_data.data_missing_reason} The mistakes can therefore not be shown as images.", "warning")
        ]
    wrong = np.flatnonzero(~predictions.correct)
    if not len(wrong):
        return [Paragraph(f"There are no mistakes by {whose}.")]
    worst = worst_mistakes(predictions)
    caption = (
        f"The {len(worst)} most confident of {len(wrong)} mistakes by {whose}: true class, predicted class, "
        "probability "
        "of the prediction."
    )
    return [
        ImageBlock(
            "mistakes",
            mistake_sheet(report_data.data, predictions, worst, report_data.data.class_names),
            caption,
            "Images that were misclassified.",
        )
    ]


def _weights_sheet(network: Network) -> tuple[bytes, int, float]:
    """Return the picture, the number of units on it, and the weight that is white."""
    from chalknet.reporting.drawings.images import as_grid, draw_images
    from chalknet.reporting.drawings.picture import drawing_bytes

    weights = np.asarray(network.parameters["hidden1.weight"], dtype=np.float64)
    shown = _strongest_units(network)[:UNITS]
    scale = max(float(np.quantile(np.abs(weights[shown]), SCALE_QUANTILE)), float(np.finfo(np.float32).tiny))
    gray = np.clip(weights[shown] / (2 * scale) + 0.5, 0.0, 1.0)
    assert network.image_shape is not None, "asked of images only"
    pictures = dataset_from_arrays(gray.reshape(len(shown), *network.image_shape), np.zeros(len(shown), np.int64))
    return drawing_bytes(draw_images(pictures, as_grid(np.arange(len(shown)), UNIT_COLUMNS)), "png"), len(shown), scale


def _strongest_units(network: Network) -> NDArray[np.intp]:
    """Return the hidden units of the first layer, those with the largest outgoing weights first."""
    following = "hidden2.weight" if len(network.architecture.hidden) > 1 else "output.weight"
    outgoing: NDArray[Any] = np.linalg.norm(np.asarray(network.parameters[following], dtype=np.float64), axis=0)
    return np.argsort(-outgoing, kind="stable")
