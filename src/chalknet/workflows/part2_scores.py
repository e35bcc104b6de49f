"""The scores of the networks of part 2 with softmax applied once and twice."""

from __future__ import annotations

from collections.abc import Mapping

from chalknet.artifacts.model_file import load_model
from chalknet.data.dataset import Dataset
from chalknet.data.splits import Splits
from chalknet.network.metrics import double_softmax_loss, score
from chalknet.reporting.report_data import DoubleSoftmaxScores
from chalknet.studies.results import StudyResults
from chalknet.studies.search_space import configuration_splits


def double_softmax_scores(
    results: StudyResults, data: Dataset, splits: Splits
) -> dict[str, Mapping[str, DoubleSoftmaxScores]]:
    """Return the scores of the first seed's network of each configuration, by configuration and split.

    Splits without samples, and configurations without a model file, are left out.

    Args:
        results: the study.
        data: its samples.
        splits: its split for the first seed.

    Raises:
        ModelFileError: a model file is damaged.
    """
    found: dict[str, Mapping[str, DoubleSoftmaxScores]] = {}
    for config in results.configurations:
        path = results.model_path(config)
        if path is None:
            continue
        network = load_model(path)
        scores = {}
        for split, index in configuration_splits(data, config, splits).named().items():
            if len(index):
                logits, labels = network.members[0].logits(data.inputs[index]), data.labels[index]
                once = score(logits, labels)
                scores[split] = DoubleSoftmaxScores(once.loss, double_softmax_loss(logits, labels), once.accuracy)
        found[config.label] = scores
    return found
