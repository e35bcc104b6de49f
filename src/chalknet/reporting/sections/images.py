"""What the network gets wrong, class by class and image by image, and what its first layer looks for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.data.dataset import dataset_from_arrays
from chalknet.formatting import count_of
from chalknet.network.model import Network
from chalknet.reporting.document import Block, FigureBlock, ImageBlock, Note, Paragraph, Section, TableBlock
from chalknet.reporting.drawings.mistakes import mistake_sheet, worst_mistakes
from chalknet.reporting.report_data import ReportData
from chalknet.reporting.sections.comparison import comparison_split_name, configuration_phrase
from chalknet.reporting.study_figures import MAX_MATRIX_CLASSES, confusion_figure
from chalknet.reporting.study_tables import class_table
from chalknet.studies.results import LabeledPredictions

UNITS = 24
UNIT_COLUMNS = 8
LARGEST_SHARE = 0.995  # of the weights' sizes that fits the gray scale; the few beyond are cut off


def mistakes_section(report_data: ReportData, number: str, title: str = "What it gets wrong") -> Section:
    """Confusion matrix, accuracy of each class, and the most confident mistakes as images."""
    runs = report_data.chosen or next(iter(report_data.configurations), None)
    if runs is None:
        return Section(number, title, (Paragraph("No training is finished."),))
    ensemble = report_data.ensemble
    if ensemble is None:
        predictions = runs.predictions.get(report_data.comparison_split, ())
        whose, certain = configuration_phrase(runs), f"seed {runs.seeds[0]}"
    else:
        predictions = tuple(filter(None, [ensemble.predictions.get(report_data.comparison_split)]))
        whose = certain = "the networks together"
    if not predictions:
        reason = report_data.data_missing_reason or "no predictions of single samples were kept."
        return Section(number, title, (Note(f"Single answers are not known: {reason}", "warning"),))
    return Section(
        number, title, (*_confusion(report_data, whose, predictions), *_images(report_data, certain, predictions[0]))
    )


def weights_section(report_data: ReportData, number: str, title: str = "What the first layer looks for") -> Section:
    """The weights of some hidden units as images."""
    network, runs = report_data.network, report_data.chosen
    if network is None or runs is None:
        return Section(number, title, (Note("The model file is not there, so its weights cannot be shown."),))
    if network.image_shape is None:
        text = "The samples are rows, not images, so the weights of the first layer make no pictures."
        return Section(number, title, (Paragraph(text),))
    picture, shown, scale = _weights_sheet(network.members[0])
    text = (
        f"Each hidden unit weighs every pixel. Shown are {shown} of "
        f"{count_of(network.architecture.hidden[0], 'unit')} of {configuration_phrase(runs)}, seed {runs.seeds[0]}: "
        f"those with the largest weights to the next layer. Mid-gray is 0, white {scale:.2g} and black -{scale:.2g} or "
        "beyond. A unit answers where the image is bright on its white pixels and dark on its black ones; noise is "
        "what is left of the random weights it started from."
    )
    block = ImageBlock(
        "weights", picture, "First-layer weights of hidden units, as images.", "A sheet of weight images in gray."
    )
    return Section(number, title, (Paragraph(text), block))


def _confusion(report_data: ReportData, whose: str, predictions: tuple[LabeledPredictions, ...]) -> list[Block]:
    n_classes, n_seeds = len(report_data.results.data.class_names), len(predictions)
    split = comparison_split_name(report_data)
    sample = f"{count_of(len(predictions[0].labels), f'{split} sample')}"
    of = f"{sample} by {n_seeds} networks, one a seed, each counted" if n_seeds > 1 else sample
    which = (
        ""
        if report_data.comparison_split == "valid" or len(report_data.complete) < 2
        else ", the configuration with the highest test accuracy,"
    )
    text = f"These are the answers of {whose}{which} on {of}. "
    text += (
        "The test part is left alone: looking at its mistakes would be a way of choosing by it."
        if report_data.comparison_split == "valid" and report_data.sizes["test"]
        else ""
    )
    blocks: list[Block] = [Paragraph(text)]
    if n_classes <= MAX_MATRIX_CLASSES:
        caption = f"Confusion matrix on the {split} part: true classes down, predicted classes across."
        blocks.append(
            FigureBlock(
                "confusion",
                confusion_figure(report_data, predictions),
                caption,
                "A grid of counts, the right answers on its diagonal.",
            )
        )
    table = class_table(report_data, predictions)
    which = "" if len(table.rows) == n_classes else f"; of {n_classes} classes, the {len(table.rows)} least accurate"
    blocks.append(TableBlock("class_accuracy", table, f"Accuracy of each class on the {split} part{which}."))
    return blocks


def _images(report_data: ReportData, whose: str, predictions: LabeledPredictions) -> list[Block]:
    """The mistakes of the first seed, or of an ensemble, of which it was most certain."""
    if not report_data.has_images:
        return []
    if report_data.data is None:
        return [Note(f"{report_data.data_missing_reason} So the mistakes cannot be shown as images.", "warning")]
    wrong = np.flatnonzero(~predictions.correct)
    if not len(wrong):
        return [Paragraph(f"No mistake is made on this part by {whose}.")]
    worst = worst_mistakes(predictions)
    verb = "was" if report_data.ensemble is None else "were"
    caption = (
        f"The mistakes of which {whose} {verb} most certain, {len(worst)} of {len(wrong)}: true class, predicted "
        "class, probability of the prediction."
    )
    return [
        ImageBlock(
            "mistakes",
            mistake_sheet(report_data.data, predictions, worst, report_data.data.class_names),
            caption,
            "A sheet of wrongly classified images.",
        )
    ]


def _weights_sheet(network: Network) -> tuple[bytes, int, float]:
    """The sheet, the number of units on it, and the weight that is white."""
    from chalknet.reporting.drawings.images import as_grid, draw_images
    from chalknet.reporting.drawings.picture import drawing_bytes

    weights = np.asarray(network.parameters["hidden1.weight"], dtype=np.float64)
    shown = _strongest_units(network)[:UNITS]
    scale = max(float(np.quantile(np.abs(weights[shown]), LARGEST_SHARE)), float(np.finfo(np.float32).tiny))
    gray = np.clip(weights[shown] / (2 * scale) + 0.5, 0.0, 1.0)
    assert network.image_shape is not None, "asked of images only"
    pictures = dataset_from_arrays(gray.reshape(len(shown), *network.image_shape), np.zeros(len(shown), np.int64))
    return drawing_bytes(draw_images(pictures, as_grid(np.arange(len(shown)), UNIT_COLUMNS)), "png"), len(shown), scale


def _strongest_units(network: Network) -> NDArray[np.intp]:
    """Hidden units of the first layer, those with the largest outgoing weights first."""
    following = "hidden2.weight" if len(network.architecture.hidden) > 1 else "output.weight"
    outgoing: NDArray[Any] = np.linalg.norm(np.asarray(network.parameters[following], dtype=np.float64), axis=0)
    return np.argsort(-outgoing, kind="stable")
