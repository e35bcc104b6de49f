"""The filters of a convolutional network, the feature maps of a sample, and the pixels that decide."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from chalknet.formatting import count_of
from chalknet.network.model import Network
from chalknet.reporting.document import Block, ImageBlock, Note, Paragraph
from chalknet.reporting.report_data import ConfigurationRuns, ReportData
from chalknet.reporting.sections.phrases import comparison_split_name, network_phrase

MAX_SAMPLES = 10


def feature_map_blocks(report_data: ReportData, network: Network, runs: ConfigurationRuns) -> tuple[Block, ...]:
    """Return the filters of the first layer, the feature maps of a sample, and gradient times input of some samples."""
    whose = f"{network_phrase(runs)}, seed {runs.seeds[0]}"
    return (*_filters(network, whose), *_samples(report_data, network, runs))


def _filters(network: Network, whose: str) -> list[Block]:
    from chalknet.reporting.drawings.feature_maps import filter_sheet

    sheet = filter_sheet(network)
    if sheet is None:
        return []
    filters = f"{count_of(sheet.total, 'filter')} of the first layer of {whose}"
    which = f"The figure shows the {filters}"
    if sheet.shown < sheet.total:
        which = f"The figure shows {sheet.shown} of {filters}: those with the largest weights"
    text = (
        f"{which}. Gray is 0, white is {sheet.scale:.2g} or more, and black is -{sheet.scale:.2g} or less. "
        "A filter responds where the image is bright at its white weights and dark at its black ones."
    )
    return [
        Paragraph(text),
        ImageBlock("filters", sheet.picture, "Filters of the first layer, as images.", "A sheet of filters in gray."),
    ]


def _samples(report_data: ReportData, network: Network, runs: ConfigurationRuns) -> list[Block]:
    from chalknet.reporting.drawings.feature_maps import feature_map_sheet, pixel_sheet

    predictions = runs.predictions.get(report_data.comparison_split, ())
    if report_data.data is None or not predictions:
        reason = report_data.data_missing_reason or "The predictions of single samples were not stored."
        return [Note(f"{reason} So feature maps of samples cannot be shown.", "warning")]
    first = predictions[0]
    chosen = first_of_each_class(first.labels[first.correct], first.index[first.correct])[:MAX_SAMPLES]
    if not len(chosen):
        return []
    split, names = comparison_split_name(report_data), report_data.data.class_names
    images, labels = np.asarray(report_data.data.inputs[chosen]), report_data.data.labels[chosen]
    sheet = pixel_sheet(network, images, [names[label] for label in labels])
    maps_text = (
        f"The next figure follows one {split} sample of class {names[labels[0]]} through the network. Each row shows "
        "some channels after a convolution, or after a pooling, from the smallest value of the row, black, to the "
        "largest, white. Pooled channels are smaller, and are drawn in the size of the image."
    )
    pixels_text = (
        f"Which pixels decide? Below each of {count_of(len(chosen), f'{split} sample')}, which the network classifies "
        "correctly, are the products of each pixel and the derivative of the logit of its class. White pixels raise "
        f"this logit, with {sheet.scale:.2g} or more, and black pixels lower it. Gray pixels have little influence. "
        "A pixel of value 0 is gray, whatever its derivative. The products describe small changes of an image, and "
        "not what the network does with another image."
    )
    return [
        Paragraph(maps_text),
        ImageBlock(
            "feature_maps",
            feature_map_sheet(network, images[0]),
            "A sample and its feature maps.",
            "An image, and below it rows of feature maps in gray.",
        ),
        Paragraph(pixels_text),
        ImageBlock(
            "pixels",
            sheet.picture,
            f"Gradient times input of {split} samples, for the logit of their class.",
            "Images, and below each the influence of its pixels in gray.",
        ),
    ]


def first_of_each_class(labels: NDArray[np.int64], index: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the first entry of index for each label, by label."""
    _, first = np.unique(labels, return_index=True)
    return index[first]
