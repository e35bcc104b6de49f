"""A model as it is named: a model file, a run's folder, or a model in memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chalknet.artifacts.model_file import load_model
from chalknet.artifacts.run_folder import CONFIG_FILE, MODEL_FILE
from chalknet.artifacts.training_facts import training_facts
from chalknet.errors import ConfigError, ModelFileError
from chalknet.network.model import Classifier


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model and where it came from.

    Attributes:
        classifier: the model. name: what messages call it.
        run: the folder of the run that it is from; None for a file alone and for a model in memory.
        data_sha256: digest of the data that it was trained on; "" where it is not known.
    """

    classifier: Classifier
    name: str
    run: Path | None = None
    data_sha256: str = ""


def resolve_model(model: Classifier | LoadedModel | str | Path) -> LoadedModel:
    """Open a model from its file, from a run's folder, or as it is.

    Raises:
        ModelFileError: no such file, a folder without one, or a file that is no model.
        ConfigError: something else than what names or is a model.
    """
    if isinstance(model, LoadedModel):
        return model
    model = getattr(model, "network_", model)  # of a ChalkClassifier
    if isinstance(model, Classifier):
        return LoadedModel(model, "the model")
    if not isinstance(model, (str, Path)):
        raise ConfigError(
            f"a model must be a model file, a run's folder, a Network, an Ensemble or a fitted ChalkClassifier of at "
            f"least two classes, got {type(model).__name__}."
        )
    path = Path(model)
    run = path if path.is_dir() else None
    if run is not None:
        path = run / MODEL_FILE
        if not path.is_file():
            raise ModelFileError(
                f"{run}: holds no {MODEL_FILE}. Give a model file or the folder of a finished run; a study keeps its "
                "models in models/."
            )
    classifier = load_model(path)
    digest = training_facts(path).get("data_sha256")
    has_config = run is not None and (run / CONFIG_FILE).is_file()
    return LoadedModel(classifier, str(model), run if has_config else None, digest if isinstance(digest, str) else "")
