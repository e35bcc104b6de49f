"""The models of a server, which are loaded again when their files change."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from chalknet.artifacts.run_folder import CONFIG_FILE, MODEL_FILE
from chalknet.data.tables.columns import CATEGORY
from chalknet.errors import ChalknetError, ConfigError, ModelFileError
from chalknet.formatting import listed, printable
from chalknet.network.model import Classifier, Ensemble
from chalknet.serving.loaded_model import LoadedModel, resolve_model
from chalknet.serving.rowwise import RowwiseModel

MAX_NAME = 100
GIVE_MODEL = "Give a run folder or a model.safetensors file."
MAX_LISTED_CATEGORIES = 100

Stamp = tuple[int, ...]  # of a file: when it was written, its size and its number on the disk


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A model that is ready to predict.

    Attributes:
        name: its name in addresses.
        loaded: the model.
        rowwise: the same model, for single rows of several requests at once.
        facts: JSON-ready facts for `GET /v1/models`.
    """

    name: str
    loaded: LoadedModel
    rowwise: RowwiseModel
    facts: dict[str, Any]

    @property
    def classifier(self) -> Classifier:
        """The network or ensemble."""
        return self.loaded.classifier


class ModelEntry:
    """A model file and the model that was last loaded from it.

    Attributes:
        name: the name in addresses.
        path: the model file or run folder.
        model: the model; of an earlier content of the file if the present one cannot be read.
        error: why the present content of the file cannot be read, without its path; "" if it was.
        n_loads: how often the file was loaded.
    """

    def __init__(self, name: str, path: Path) -> None:
        """Load the model.

        Raises:
            ModelFileError: it cannot be read.
        """
        self.name: str = name
        self.path: Path = path
        self.error: str = ""
        self.n_loads: int = 1
        self._loaded_stamp = self._seen_stamp = self._stamp()
        self.model: ServedModel = self._load()

    def has_changed(self) -> bool:
        """Return whether the file has changed since it was loaded, and not since the call before.

        A file that is still being written is not loaded.
        """
        before, self._seen_stamp = self._seen_stamp, self._stamp()
        return self._seen_stamp != self._loaded_stamp and self._seen_stamp == before

    def reload(self) -> None:
        """Load the file again. If it cannot be read, keep the model and set `error`."""
        self._loaded_stamp = self._seen_stamp
        try:
            self.model = self._load()
        except (ChalknetError, OSError, MemoryError) as error:
            text = str(error)
            for part in (str(self._file), str(self.path)):
                text = text.replace(part, Path(part).name)
            self.error = printable(text) if self._stamp() else "The file was deleted or moved."
            return
        self.error, self.n_loads = "", self.n_loads + 1

    @property
    def _file(self) -> Path:
        return self.path / MODEL_FILE if self.path.is_dir() else self.path

    def _stamp(self) -> Stamp:
        """Return what changes when the file does; () if it is not there."""
        try:
            found = self._file.stat()
        except OSError:
            return ()
        return (found.st_mtime_ns, found.st_size, found.st_ino)

    def _load(self) -> ServedModel:
        """Load the file through a copy, because one that is overwritten while it is mapped ends the process."""
        with tempfile.TemporaryDirectory(prefix="chalknet-serve-") as folder:
            copy = Path(folder) / MODEL_FILE
            if not self.path.exists():
                raise ModelFileError(f"{self.path}: no such model file. {GIVE_MODEL}")
            if not self._file.is_file():
                resolve_model(self.path)  # raises an error that says what is there
            if self.path == self._file and not is_safetensors(self._file):
                raise ModelFileError(f"{self.path} is not a chalknet model. {GIVE_MODEL}")
            shutil.copyfile(self._file, copy)
            is_run = self.path.is_dir()
            if is_run and (self.path / CONFIG_FILE).is_file():
                shutil.copyfile(self.path / CONFIG_FILE, Path(folder) / CONFIG_FILE)
            try:
                loaded = resolve_model(folder if is_run else copy)
            except ChalknetError as error:
                raise type(error)(
                    str(error).replace(str(copy), str(self._file)).replace(folder, str(self.path))
                ) from error
        loaded = replace(loaded, name=self.name, run=self.path if loaded.run is not None else None)
        return ServedModel(
            self.name, loaded, RowwiseModel(loaded.classifier), model_facts(self.name, loaded.classifier)
        )


class Registry:
    """The models of a server by name.

    Args:
        sources: model files or run folders, each with "NAME=" in front of it or not.

    Raises:
        ConfigError: two models have one name, or a name cannot be used.
        ModelFileError: a model cannot be read.
    """

    def __init__(self, sources: Sequence[str | Path]) -> None:
        """Load all models."""
        if not sources:
            raise ConfigError("a server needs at least one model file or run folder.")
        named = list(map(_named, sources))
        names = [name for name, _ in named]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            paths = [str(path) for name, path in named if name == twice]
            which = f"{'Both' if len(paths) == 2 else 'All of'} {listed(list(map(repr, paths)))}"
            raise ConfigError(
                f"{which} would be called {twice!r}. Give them names of their own: NAME=PATH, such as "
                f"{twice}-2={paths[1]}."
            )
        self.entries: dict[str, ModelEntry] = {name: ModelEntry(name, path) for name, path in named}

    def __iter__(self) -> Iterator[ModelEntry]:
        """Return an iterator over the models in the order of the command."""
        return iter(self.entries.values())

    def reload_changed(self, report: Callable[[ModelEntry], None]) -> None:
        """Load the models whose files have changed, and report each of them."""
        for entry in self:
            if entry.has_changed():
                entry.reload()
                report(entry)


def _named(source: str | Path) -> tuple[str, Path]:
    """Return the name and the path of a model."""
    text = str(source)
    name, mark, path = text.partition("=")
    if not mark or Path(text).exists() or "/" in name:
        name, path = _name_of(Path(text)), text
    if not path:
        raise ConfigError(f"{text!r} names no model. Give NAME=PATH, or a path alone.")
    if not name or name in (".", "..") or "/" in name or len(name) > MAX_NAME or not name.isprintable():
        raise ConfigError(
            f"{name[:MAX_NAME]!r} cannot be the name of a model in an address. Give another one: NAME=PATH."
        )
    return name, Path(path)


def _name_of(path: Path) -> str:
    """Return the name of a run folder, or that of a model file without its ending."""
    resolved = path.resolve()
    if path.is_dir():
        return resolved.name
    return resolved.parent.name if path.name == MODEL_FILE else path.stem


def is_safetensors(path: Path) -> bool:
    """Return whether a file begins as a safetensors file does, or has the name of one: that may be damaged."""
    with path.open("rb") as file:
        return path.suffix == ".safetensors" or file.read(9)[8:] == b"{"


def model_facts(name: str, model: Classifier) -> dict[str, Any]:
    """Return JSON-ready facts about a model: what it reads and what it predicts."""
    networks = len(model.members)
    facts: dict[str, Any] = {
        "name": name,
        "classes": list(model.class_names),
        "network": str(model.architecture),
        "parameters": networks * model.architecture.n_parameters,
        "interactive_page": True,  # unless it would be too large, which the server finds out when it makes it
    }
    if isinstance(model, Ensemble):
        facts["networks"] = networks
    if model.image_shape is not None:
        facts |= {"reads": "images", "image_shape": list(model.image_shape)}
        return facts
    facts |= {"reads": "rows", "values_per_row": model.architecture.n_inputs}
    if model.encoding is not None:
        facts["values_per_row"] = len(model.encoding.columns)
        facts["columns"] = [
            {"name": column.name, "kind": column.kind}
            | ({"categories": list(column.categories[:MAX_LISTED_CATEGORIES])} if column.kind == CATEGORY else {})
            for column in model.encoding.columns
        ]
    elif model.input_names:
        facts["columns"] = [{"name": one, "kind": "number"} for one in model.input_names]
    return facts
