"""Read damaged model files for some minutes, and stop at one that breaks the rule.

    python tools/fuzz_model_file.py --minutes 10 --keep tests/artifacts/corpus

The rule: a file gives a ModelFileError, or a model that predicts. If atheris is installed
(pip install atheris), it searches for new paths through the code. Without it, or with --plain,
damages are drawn from a seeded generator, so that a run can be repeated. Damages affect bytes, or
the JSON in the header with a corrected length, so that the file passes the first checks. A file
that breaks the rule is written to ./broken.safetensors. tests/artifacts/test_corpus.py reads the
files that --keep collects, the shortest one for each different answer.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import re
import shutil
import struct
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "artifacts" / "golden"
MAX_KEPT, MAX_KEPT_BYTES = 45, 4_000  # files of --keep, and of one of them
VALUES = (0, -1, 1, 2, 3, 6, 255, 2**31, 2**63, 10**30, 1e-320, 1e38, 1e308, float("nan"), float("inf"), True, None, "")
WORDS = ("x", "\n", "\u202e", "relu", "eval", "gelu", "F32", "F64", "BF16", "F8_E4M3", "member1/", "hidden1.gain", "é")


class BrokenRuleError(Exception):
    """Raised for an input that breaks the rule."""


class Trial:
    """The number of files tried, and the shortest file for each kind of answer."""

    def __init__(self, folder: Path, keep: Path | None) -> None:
        self._path, self._keep = folder / "model.safetensors", keep
        self.answers: Counter[str] = Counter()
        self._shortest: dict[str, tuple[int, Path]] = {}

    def __call__(self, data: bytes) -> None:
        self._path.write_bytes(data)
        try:
            answer = outcome(self._path)
        except Exception:
            Path("broken.safetensors").write_bytes(data)
            raise
        self.answers[answer] += 1
        if self._keep is not None and len(data) <= MAX_KEPT_BYTES:
            self._collect(self._keep, answer, data)

    def _collect(self, keep: Path, answer: str, data: bytes) -> None:
        length, path = self._shortest.get(answer, (sys.maxsize, keep / f"{len(self._shortest):02}.safetensors"))
        if length <= len(data) or (answer not in self._shortest and len(self._shortest) >= MAX_KEPT):
            return
        keep.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        self._shortest[answer] = (len(data), path)


def outcome(path: Path) -> str:
    """ "model", or the kind of message that a file gives, without its numbers and names.

    Raises:
        BrokenRuleError, or whatever escapes: the rule does not hold.
    """
    import numpy as np

    from chalknet.artifacts.model_file import load_model
    from chalknet.errors import DataError, ModelFileError

    try:
        model = load_model(path)
    except ModelFileError as error:
        message = str(error)
        if not message.isprintable() or len(message) > len(str(path)) + 400:
            raise BrokenRuleError(f"not one bounded line: {message[:500]!r}") from error
        same = re.sub(r"^(its \w+ is|holds no|\w+) .*, which", r"\1 _, which", message.removeprefix(f"{path}: "))
        same = re.sub(r"(codec can't decode|is not a whole [\w ]+ \((Error while|In)?\w+ \w+ \w+).*", r"\1", same)
        return re.sub(r"'[^']*'|\[.*\]|\d[\d.,e+-]*", "_", same)[:70]
    n_inputs, scaling = model.architecture.n_inputs, model.scaling
    plain = np.zeros(n_inputs) if scaling.shift is None else scaling.shift
    check_probabilities(model.predict_proba(plain[None]))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # fractions given to a network for pixels
            check_probabilities(model.predict_proba(np.arange(3 * n_inputs).reshape(3, n_inputs) % 256))
    except DataError:
        return "a model that says that a sample overflows"
    return f"a model of {len(model.members)} members"


def check_probabilities(probabilities: Any) -> None:
    """Raise BrokenRuleError unless rows are finite and sum to 1."""
    import numpy as np

    if not np.isfinite(probabilities).all() or not np.allclose(probabilities.sum(axis=1), 1, atol=1e-4):
        raise BrokenRuleError(f"probabilities are {probabilities}")


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Return a file with a few damages to its bytes or its header."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        damage = rng.choice((damaged_bytes, damaged_numbers, damaged_header, damaged_header, damaged_description))
        data = damage(data, rng)
    return data


def damaged_bytes(data: bytes, rng: random.Random) -> bytes:
    """Return a file with some bytes changed, removed or inserted, or truncated."""
    found = bytearray(data)
    place = rng.randrange(len(found) + 1)
    size = rng.choice((1, 1, 1, 4, 8, 100))
    kind = rng.randrange(4)
    if kind == 0:
        found[place : place + size] = rng.randbytes(size)
    elif kind == 1:
        del found[place : place + size]
    elif kind == 2:
        found[place:place] = rng.randbytes(size)
    else:
        del found[place:]
    return bytes(found)


def damaged_numbers(data: bytes, rng: random.Random) -> bytes:
    """Return a file with an unusual number in an array or as the length of the header."""
    value = rng.choice((0.0, -1.0, 1e-45, 3e38, -3e38, 1e308, float("nan"), float("inf")))
    kind = rng.choice(("<d", "<f", "<Q"))
    packed = struct.pack(kind, rng.choice((0, 1, 2**31, 2**63, 2**64 - 1)) if kind == "<Q" else clipped(kind, value))
    place = 0 if kind == "<Q" else max(len(data) - len(packed) * (1 + rng.randrange(60)), 0)
    return data[:place] + packed + data[place + len(packed) :]


def clipped(kind: str, value: float) -> float:
    return value if kind == "<d" or abs(value) < 3.4e38 or value in (float("inf"),) or value != value else 3e38


def damaged_header(data: bytes, rng: random.Random) -> bytes:
    """Return a file with another value in the JSON of its header, and a corrected length."""
    header, body = parts_of(data)
    return data if header is None else file_bytes(damaged_json(header, rng), body)


def damaged_description(data: bytes, rng: random.Random) -> bytes:
    """Return a file with another value in the description inside the header."""
    header, body = parts_of(data)
    try:
        assert header is not None
        description = json.loads(header["__metadata__"]["chalknet"])
    except (AssertionError, ValueError, KeyError, TypeError, RecursionError):
        return data
    text = json.dumps(damaged_json(description, rng))
    if not rng.randrange(8):
        text = text[:-1] + ", " + text[1:]  # duplicate keys
    return file_bytes({**header, "__metadata__": {"chalknet": text}}, body)


def damaged_json(value: Any, rng: random.Random) -> Any:
    """Return a tree in which one value is changed, removed, doubled or nested."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        found = dict(value)
        kind = rng.random()
        if kind < 0.1:
            del found[key]
        elif kind < 0.2:
            found[rng.choice(WORDS)] = found.pop(key)
        else:
            found[key] = damaged_json(found[key], rng)
        return found
    if isinstance(value, list) and value and rng.random() < 0.8:
        place = rng.randrange(len(value))
        return rng.choice(
            (
                [*value[:place], damaged_json(value[place], rng), *value[place + 1 :]],
                value[:place] + value[place + 1 :],
                [*value, value[place]],
                value * rng.choice((2, 30)),
                value[::-1],
            )
        )
    if isinstance(value, int) and not isinstance(value, bool) and rng.random() < 0.5:
        return value + rng.choice((-8, -4, -1, 1, 4, 8))
    return rng.choice((rng.choice(VALUES), rng.choice(WORDS), [value], {"x": value}, [value] * 3))


def parts_of(data: bytes) -> tuple[Any, bytes]:
    """Return the header of a file as JSON and the bytes after it, or None."""
    try:
        (length,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + length])
    except (struct.error, ValueError, OverflowError, RecursionError):
        return None, b""
    return (header if isinstance(header, dict) else None), data[8 + length :]


def file_bytes(header: Any, body: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def seeds() -> list[bytes]:
    return [path.read_bytes() for path in sorted(GOLDEN.glob("*.safetensors"))]


def run_plain(trial: Trial, seconds: float, seed: int, most: int = sys.maxsize) -> None:
    """Damage golden files and their damaged copies until the time or the number is reached."""
    rng = random.Random(seed)
    pool, end = seeds(), time.monotonic() + seconds
    for _ in range(most):
        if time.monotonic() > end:
            break
        known = len(trial.answers)
        data = mutated(rng.choice(pool), rng)
        trial(data)
        if len(trial.answers) > known and len(data) < 10 * MAX_KEPT_BYTES:
            pool.append(data)


def run_guided(trial: Trial, seconds: float, seed: int, folder: Path) -> None:
    """Do the same with coverage guidance of atheris, which ends the process."""
    import atheris

    with atheris.instrument_imports(include=["chalknet.artifacts", "chalknet.network", "chalknet.data"]):
        importlib.import_module("chalknet.artifacts.model_file")

    def mutate(data: bytes, max_size: int, draw: int) -> bytes:
        rng = random.Random(draw)
        if rng.random() < 0.2:
            found: bytes = atheris.Mutate(data, max_size)
            return found
        return mutated(data, rng)[:max_size]

    began = time.monotonic()

    def one(data: bytes) -> None:
        trial(data)
        if time.monotonic() - began > seconds:  # atheris does not return
            report(trial, time.monotonic() - began)
            sys.stdout.flush()
            shutil.rmtree(folder)
            os._exit(0)

    corpus = folder / "corpus"
    corpus.mkdir()
    for number, data in enumerate(seeds()):
        (corpus / str(number)).write_bytes(data)
    atheris.Setup([sys.argv[0], str(corpus), f"-seed={seed or 1}", "-max_len=20000"], one, custom_mutator=mutate)
    atheris.Fuzz()


def report(trial: Trial, seconds: float) -> None:
    """Print how many files gave which answer."""
    total = sum(trial.answers.values())
    print(
        f"{total:,} files in {seconds:,.0f} seconds, {len(trial.answers)} different answers, none that breaks the rule"
    )
    for answer, count in trial.answers.most_common():
        print(f"{count:9,}  {answer}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="collect one file for each different answer here")
    parser.add_argument("--plain", action="store_true", help="draw from a seeded generator even where atheris is there")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(Path(folder), given.keep)
        began = time.monotonic()
        try:
            if not given.plain:
                run_guided(trial, given.minutes * 60, given.seed, Path(folder))
        except ImportError:
            print("atheris is not installed; files are drawn from a seeded generator")
        try:
            run_plain(trial, given.minutes * 60, given.seed)
        except Exception:
            traceback.print_exc()
            return 1
        report(trial, time.monotonic() - began)
    return 0


if __name__ == "__main__":
    sys.exit(main())
