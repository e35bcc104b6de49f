"""Read the facts about a training that a model file has in its header."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from chalknet.artifacts.model_file import HEADER_KEY, MAX_HEADER
from chalknet.files import open_regular

LENGTH_BYTES = 8


def training_facts(path: Path) -> dict[str, Any]:
    """Return the facts that `model_bytes` stored, or {} if the file has none.

    Facts serve for notes only, so a file that `load_model` accepts but whose facts are invalid has
    none here.
    """
    try:
        with open_regular(path) as file:
            length = int.from_bytes(file.read(LENGTH_BYTES), "little")
            header = json.loads(file.read(min(length, MAX_HEADER)))
        facts = json.loads(header["__metadata__"][HEADER_KEY])["training"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}
