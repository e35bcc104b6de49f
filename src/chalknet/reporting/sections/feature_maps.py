"""The filters of a convolutional network, the feature maps of a sample, and the pixels that decide."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from chalknet.formatting import count_of
from chalknet.network.model import Network
from chalknet.reporting.document import Block, ImageBlock, Note, Paragraph
from chalknet.reporting.markup import escape
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
    which = f"[figure:filters] shows the {filters}"
    if sheet.shown < sheet.total:
        which = f"[figure:filters] shows {sheet.shown} of {filters}: those with the largest weights"
    text = f"{which}. A filter responds where the image is bright at its white weights and dark at its black ones."
    caption = (
        f"Filters of the first layer, as images of their weights. Gray is 0, white is {sheet.scale:.2g} or more, and "
        f"black is -{sheet.scale:.2g} or less. Filters with larger weights come first."
    )
    return [Paragraph(text), ImageBlock("filters", sheet.picture, caption, "A sheet of filters in gray.")]


def _samples(report_data: ReportData, network: Network, runs: ConfigurationRuns) -> list[Block]:
    from chalknet.reporting.drawings.feature_maps import MAX_MAPS, feature_map_sheet, pixel_sheet

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
        f"[figure:feature_maps] follows one {split} sample of class {escape(names[labels[0]])} through the network. "
        "The row of a convolution shows its channels after the layers that follow it, such as relu and batch "
        "normalization. The row of a pooling shows the channels after the pooling. If there are more than "
        f"{MAX_MAPS} channels, those with the largest variance are shown."
    )
    pixels_text = (
        "Which pixels decide? [figure:pixels] shows the products of each pixel and the derivative of the logit of the "
        f"class at this pixel, for {count_of(len(chosen), f'{split} sample')} that the network classifies correctly. A "
        "product of 1 means that the logit rises by about 0.01 if the pixel becomes brighter by 1 %. The products do "
        "not say what the network does with another image."
    )
    pixels_caption = (
        f"Images of {split} samples, and below each of them the product of each pixel and the derivative of the logit "
        f"of its class. White is {sheet.scale:.2g} or more: the pixel raises the logit. Black is -{sheet.scale:.2g} or "
        "less: it lowers the logit. Gray is near 0, also for a pixel of value 0, whatever its derivative."
    )
    return [
        Paragraph(maps_text),
        ImageBlock(
            "feature_maps",
            feature_map_sheet(network, images[0]),
            "A sample and its feature maps. In each row, black is the smallest value and white the largest. Smaller "
            "maps are drawn in the size of the image.",
            "An image, and below it rows of feature maps in gray.",
        ),
        Paragraph(pixels_text),
        ImageBlock(
            "pixels",
            sheet.picture,
            pixels_caption,
            "Images, and below each the influence of its pixels in gray.",
        ),
    ]


def first_of_each_class(labels: NDArray[np.int64], index: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the first entry of index for each label, by label."""
    _, first = np.unique(labels, return_index=True)
    return index[first]
