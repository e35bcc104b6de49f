import json

import numpy as np
import pytest
from safetensors.numpy import save

from chalknet.artifacts.model_file import HEADER_KEY
from chalknet.artifacts.training_facts import training_facts


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ({HEADER_KEY: json.dumps({"training": {"data_sha256": "ab"}})}, {"data_sha256": "ab"}),
        ({HEADER_KEY: json.dumps({"training": ["ab"]})}, {}),
        ({HEADER_KEY: json.dumps([])}, {}),
        ({HEADER_KEY: "{"}, {}),
        ({HEADER_KEY: "[" * 100_000}, {}),
        (None, {}),
    ],
    ids=["facts", "a list", "no object", "no JSON", "too deep", "another program's"],
)
def test_the_facts_of_a_file_are_a_dictionary_or_nothing(tmp_path, header, expected):
    (tmp_path / "m.safetensors").write_bytes(save({"a": np.zeros(1, np.float32)}, header))
    assert training_facts(tmp_path / "m.safetensors") == expected


@pytest.mark.parametrize("content", [b"", b"abc", b"\xff" * 8 + b"{}"])
def test_what_is_no_model_file_has_no_facts(tmp_path, content):
    (tmp_path / "m").write_bytes(content)
    assert training_facts(tmp_path / "m") == {}
    assert training_facts(tmp_path / "no") == {}
