"""Load a model given as a model file, a run folder, or an object in memory."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chalknet.artifacts.model_file import load_model
from chalknet.artifacts.run_folder import CONFIG_FILE, MODEL_FILE, unfinished_hint
from chalknet.artifacts.training_facts import training_facts
from chalknet.config import TableOptions, read_config
from chalknet.data.readers.image import FITS
from chalknet.errors import ConfigError, ModelFileError
from chalknet.network.model import Classifier


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model and its origin.

    Attributes:
        classifier: the network or ensemble.
        name: its name in messages.
        run: the run folder that it was loaded from, or None.
        data_sha256: digest of its training data, or "" if unknown.
        image_fit: how its training images were resized, as in `load_data`, or None if unknown.
        delimiter: the delimiter that was given for its training table, or None.
    """

    classifier: Classifier
    name: str
    run: Path | None = None
    data_sha256: str = ""
    image_fit: str | None = None
    delimiter: str | None = None


def resolve_model(model: Classifier | LoadedModel | str | Path) -> LoadedModel:
    """Load a model from a file or a run folder; a model in memory is returned as it is.

    Raises:
        ModelFileError: the path does not exist, holds no model, or is not a model file.
        ConfigError: the argument is neither a path nor a model.
    """
    if isinstance(model, LoadedModel):
        return model
    model = getattr(model, "network_", model)  # the network of a fitted ChalkClassifier
    if isinstance(model, Classifier):
        return LoadedModel(model, "the model")
    if not isinstance(model, (str, Path)):
        raise ConfigError(
            "a model must be a model file, a run folder, a Network, an Ensemble or a ChalkClassifier that was fitted "
            f"with at least two classes, got {type(model).__name__}."
        )
    path = Path(model)
    run = path if path.is_dir() else None
    if run is not None:
        path = run / MODEL_FILE
        if not path.is_file():
            advice = unfinished_hint(run) or (
                " Give a model file or the folder of a finished run. The models of a study are in its folder models/."
            )
            raise ModelFileError(f"{run}: holds no {MODEL_FILE}.{advice}")
    classifier = load_model(path)
    facts = training_facts(path)
    digest, image_fit = facts.get("data_sha256"), facts.get("image_fit")
    has_config = run is not None and (run / CONFIG_FILE).is_file()
    if image_fit is None and run is not None and has_config:
        with suppress(ConfigError):  # the option is a default only, so a damaged file is no error here
            image_fit = read_config(run / CONFIG_FILE)[1].image_fit
    return LoadedModel(
        classifier,
        str(model),
        run if has_config else None,
        digest if isinstance(digest, str) else "",
        image_fit if image_fit in FITS else None,
        _delimiter(facts.get("delimiter")),
    )


def _delimiter(value: Any) -> str | None:
    """Return a delimiter that a file states; None if it is not one."""
    with suppress(ConfigError):
        return TableOptions(delimiter=value).delimiter
    return None
