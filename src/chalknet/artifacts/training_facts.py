"""The facts of its training that a model file carries in its header."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from chalknet.artifacts.model_file import HEADER_KEY, MAX_HEADER
from chalknet.files import open_regular

LENGTH_BYTES = 8


def training_facts(path: Path) -> dict[str, Any]:
    """What `model_bytes` was told as training; nothing where the file has none.

    They are needed for notes alone, so a file that `load_model` has read and that has strange facts has none here.
    """
    try:
        with open_regular(path) as file:
            length = int.from_bytes(file.read(LENGTH_BYTES), "little")
            header = json.loads(file.read(min(length, MAX_HEADER)))
        facts = json.loads(header["__metadata__"][HEADER_KEY])["training"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}
