"""Read mutated files of every kind that chalknet opens, and report those that break the rule.

    python tools/fuzz_files.py --count 1000 --seed 0
    python tools/fuzz_files.py --target csv --count 200 --keep tests/fuzz/corpus

The rule: a file is read, or refused by one line of a ChalknetError. No other exception may leave
the reader, and no file may take more than 20 seconds, or 1.5 GB more memory than a plain file of
its kind. Each target runs in a process of its own, which is killed if a file takes too long.
`--seed` and the number of a trial reproduce a file. `--keep` stores the shortest file for each
different answer; tests/fuzz/test_fuzz_corpus.py reads these files again.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import os
import random
import re
import resource
import shutil
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fuzz_model_file import damaged_bytes, damaged_json, file_bytes, parts_of

SECONDS, MORE_BYTES = 20.0, 1.5e9  # limits of the rule
MAX_BYTES = 6 * 2**30  # memory limit of a child process, so that no file can exhaust the machine
MAX_KEPT, MAX_KEPT_BYTES = 25, 3_000  # files of --keep for each target, and bytes of one of them
GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "artifacts" / "golden"
TEXTS = (
    "",
    "nan",
    "-inf",
    "1e400",
    "0x10",
    "9" * 400,
    "42,0",
    "=1+1",
    "\x1b[2J",
    "\x00",
    "é\u202e",
    "-",
    '"',
    "x" * 3000,
)


@dataclass(frozen=True)
class Target:
    """A kind of input.

    Attributes:
        make: writes a plain input into a folder.
        files: the files of that folder that are mutated.
        read: reads the folder as a user's command does, and returns a word about what it read.
    """

    make: Callable[[Path], None]
    files: tuple[str, ...]
    read: Callable[[Path], str]


# Plain inputs


def arrays() -> tuple[Any, Any]:
    import numpy as np

    images = np.random.default_rng(0).integers(0, 256, (24, 6, 6), dtype=np.uint8)
    return images, np.arange(24) % 3


def make_npz(folder: Path) -> None:
    import numpy as np

    images, labels = arrays()
    np.savez_compressed(folder / "d.npz", images=images, labels=labels, class_names=np.array(["a", "b", "c"]))


def make_idx(folder: Path) -> None:
    images, labels = arrays()
    (folder / "train-images-idx3-ubyte").write_bytes(
        bytes([0, 0, 8, 3]) + struct.pack(">3I", *images.shape) + images.tobytes()
    )
    content = bytes([0, 0, 8, 1]) + struct.pack(">I", len(labels)) + labels.astype("u1").tobytes()
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(content, mtime=0))


def make_npy(folder: Path) -> None:
    import numpy as np

    images, labels = arrays()
    np.save(folder / "images.npy", images)
    np.save(folder / "labels.npy", labels)


def table() -> str:
    images, labels = arrays()
    rows = [
        "label,a,b,c",
        *(f"{label},{x[0][0]},{x[0][1] / 7:.3f},{x[1][1]}" for x, label in zip(images, labels, strict=True)),
    ]
    return "\n".join(rows) + "\n"


def make_csv(folder: Path) -> None:
    (folder / "d.csv").write_text(table(), encoding="utf-8")


def make_csv_gz(folder: Path) -> None:
    (folder / "d.csv.gz").write_bytes(gzip.compress(table().encode(), mtime=0))


def mixed_columns() -> dict[str, list[Any]]:
    """Return a table with columns of all kinds: numbers, categories, dates, ids, and missing values."""
    rows = range(36)
    return {
        "label": [("yes", "no")[at % 3 == 0] for at in rows],
        "age": [None if at % 7 == 3 else 20 + at % 11 for at in rows],
        "size": [at / 7 for at in rows],
        "city": [None if at % 5 == 2 else ("Oslo", "Rome", "Lima")[at % 3] for at in rows],
        "since": [f"2024-{1 + at % 12:02}-{1 + at % 28:02}" for at in rows],
        "name": [f"person {at * at}" for at in rows],
    }


def make_mixed(folder: Path) -> None:
    columns = mixed_columns()
    rows = [
        [*columns],
        *(["" if value is None else value for value in row] for row in zip(*columns.values(), strict=True)),
    ]
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    (folder / "d.csv").write_text(out.getvalue(), encoding="utf-8")


def make_parquet(folder: Path) -> None:
    import polars as pl

    pl.DataFrame(mixed_columns()).with_columns(pl.col("since").str.to_date()).write_parquet(folder / "d.parquet")


def make_arrow(folder: Path) -> None:
    import polars as pl

    frame = pl.DataFrame(mixed_columns()).with_columns(pl.col("city").cast(pl.Categorical))
    frame.write_ipc(folder / "d.arrow", compression="zstd")


def make_jsonl(folder: Path) -> None:
    columns = mixed_columns()
    lines = [json.dumps(dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]
    (folder / "d.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def make_xlsx(folder: Path) -> None:
    columns = mixed_columns()
    rows = [[*columns], *zip(*columns.values(), strict=True)]
    sheet = "".join(f"<row>{''.join(map(xlsx_cell, row))}</row>" for row in rows)
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    links = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    packages = "http://schemas.openxmlformats.org/package/2006"
    kinds = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{packages}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{kinds}.sheet.main+xml"/>'
        f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{kinds}.worksheet+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{packages}/relationships">'
        f'<Relationship Id="rId1" Type="{links}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{links}">'
        '<sheets><sheet name="d" sheetId="1" r:id="rId1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{packages}/relationships">'
        f'<Relationship Id="rId1" Type="{links}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><sheetData>{sheet}</sheetData></worksheet>',
    }
    with zipfile.ZipFile(folder / "d.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(zipfile.ZipInfo(name), content)  # without the time of day


def xlsx_cell(value: Any) -> str:
    if value is None:
        return "<c/>"
    return (
        f"<c><v>{value}</v></c>" if isinstance(value, int | float) else f'<c t="inlineStr"><is><t>{value}</t></is></c>'
    )


PICTURES = {"p.png": "L", "p.jpg": "RGB", "p.tiff": "I", "p.gif": "P", "p.bmp": "1", "p.webp": "RGB", "p.ppm": "RGB"}


def make_images(folder: Path) -> None:
    from PIL import Image

    images, labels = arrays()
    for at, (image, label) in enumerate(zip(images, labels, strict=True)):
        place = folder / "set" / "abc"[label]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{at}.png")
    for name, mode in PICTURES.items():
        Image.fromarray(images[0]).convert(mode).save(folder / "set" / "a" / name)


def make_run(folder: Path) -> None:
    import chalknet

    make_csv(folder)
    chalknet.train(
        folder / "d.csv", hidden=[4], epochs=3, out=folder / "run", split="stratified", train_size=12, valid_size=6
    )


def make_checkpoint(folder: Path) -> None:
    make_run(folder)
    shutil.copy(folder / "run" / "config.toml", folder / "config.toml")
    shutil.copy(GOLDEN / "checkpoint-4.safetensors", folder / "checkpoint.safetensors")


def make_model(folder: Path) -> None:
    shutil.copy(GOLDEN / "model-3-layers.safetensors", folder / "model.safetensors")


def make_image_model(folder: Path) -> None:
    shutil.copy(GOLDEN / "model-3-images.safetensors", folder / "model.safetensors")


def make_predict(folder: Path) -> None:
    make_run(folder)
    (folder / "new.csv").write_text("a,b,c\n1,2,3\n200,3.5,4\n", encoding="utf-8")


def make_mixed_run(folder: Path) -> None:
    """Train on a table with an encoding, which the model file stores, and write new rows in two formats."""
    import chalknet

    make_mixed(folder)
    run = chalknet.train(folder / "d.csv", hidden=[4], epochs=2, split="stratified", train_size=24, valid_size=6)
    chalknet.save_model(run.network, folder / "model.safetensors")
    shutil.copy(folder / "d.csv", folder / "new.csv")


def make_study(folder: Path) -> None:
    import chalknet

    make_csv(folder)
    settings: dict[str, Any] = {
        "epochs": 3,
        "split": "stratified",
        "train_size": 12,
        "valid_size": 6,
        "recipe": "strong-rows",
    }
    chalknet.study(folder / "d.csv", {"hidden": [3, 4]}, seeds=2, out=folder / "study", jobs=1, **settings)


def make_kernels(folder: Path) -> None:
    os.environ["XDG_CACHE_HOME"] = str(folder)
    from chalknet.machine.kernels import KernelChoice, KernelRate, _cache_file, save_choice

    save_choice(KernelChoice((KernelRate("", "Haswell", 1.0, 0.5),), "", 1.0))
    path = _cache_file()
    assert path is not None
    path.rename(folder / "kernels.json")


# Readers


def read_data(folder: Path, name: str = "") -> str:
    import chalknet

    return f"{len(chalknet.load_data(folder / name).labels)} samples"


def read_model(folder: Path) -> str:
    import numpy as np

    import chalknet

    model = chalknet.load_model(folder / "model.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model.predict_proba(np.ones((2, model.architecture.n_inputs)))
    return "a model"


def read_checkpoint(folder: Path) -> str:
    from chalknet.artifacts.checkpoint import read_checkpoint, read_unfinished

    read_unfinished(folder)
    return f"{len(read_checkpoint(folder / 'checkpoint.safetensors').history)} epochs"


def read_run(folder: Path) -> str:
    import chalknet

    chalknet.report(folder / "run", out=folder / "report", overwrite=True)
    return "a report"


def read_prediction(folder: Path) -> str:
    import chalknet

    chalknet.predict(folder / "run" / "model.safetensors", folder / "new.csv")
    return "predictions"


def read_mixed_model(folder: Path) -> str:
    import chalknet

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return f"{len(chalknet.predict(folder / 'model.safetensors', folder / 'new.csv'))} predictions"


def read_study(folder: Path) -> str:
    import chalknet

    chalknet.report(folder / "study", out=folder / "report", overwrite=True)
    return "a report"


def read_config(folder: Path) -> str:
    from chalknet.config import read_config

    read_config(folder / "run" / "config.toml")
    return "a configuration"


def read_spec(folder: Path) -> str:
    from chalknet.studies.spec import read_spec

    return f"{read_spec(folder / 'study' / 'study.toml').seeds} seeds"


def read_kernels(folder: Path) -> str:
    os.environ["XDG_CACHE_HOME"] = str(folder)
    from chalknet.machine.kernels import _cache_file, load_choice

    path = _cache_file()
    assert path is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        (folder / "kernels.json").rename(path)
    return "a choice" if load_choice() else "no choice"


TARGETS = {
    "npz": Target(make_npz, ("d.npz",), partial(read_data, name="d.npz")),
    "idx": Target(make_idx, ("train-images-idx3-ubyte", "train-labels-idx1-ubyte.gz"), read_data),
    "npy": Target(make_npy, ("images.npy", "labels.npy"), read_data),
    "csv": Target(make_csv, ("d.csv",), partial(read_data, name="d.csv")),
    "csv_gz": Target(make_csv_gz, ("d.csv.gz",), partial(read_data, name="d.csv.gz")),
    "mixed": Target(make_mixed, ("d.csv",), partial(read_data, name="d.csv")),
    "parquet": Target(make_parquet, ("d.parquet",), partial(read_data, name="d.parquet")),
    "arrow": Target(make_arrow, ("d.arrow",), partial(read_data, name="d.arrow")),
    "jsonl": Target(make_jsonl, ("d.jsonl",), partial(read_data, name="d.jsonl")),
    "xlsx": Target(make_xlsx, ("d.xlsx",), partial(read_data, name="d.xlsx")),
    "mixed_model": Target(make_mixed_run, ("model.safetensors", "new.csv"), read_mixed_model),
    "images": Target(make_images, tuple(f"set/a/{name}" for name in PICTURES), partial(read_data, name="set")),
    "predict": Target(make_predict, ("new.csv",), read_prediction),
    "model": Target(make_model, ("model.safetensors",), read_model),
    "image_model": Target(make_image_model, ("model.safetensors",), read_model),
    "checkpoint": Target(make_checkpoint, ("checkpoint.safetensors", "config.toml"), read_checkpoint),
    "run": Target(
        make_run,
        tuple(f"run/{name}" for name in ("summary.json", "history.csv", "config.toml", "valid_samples.npz")),
        read_run,
    ),
    "study": Target(make_study, ("study/study.sqlite",), read_study),
    "config": Target(make_run, ("run/config.toml",), read_config),
    "spec": Target(make_study, ("study/study.toml",), read_spec),
    "kernels": Target(make_kernels, ("kernels.json",), read_kernels),
}


# Mutations


def mutate(path: Path, rng: random.Random) -> None:
    """Mutate one file in place: its bytes, its structure, its size, or what kind of thing it is."""
    kind = rng.random()
    if kind < 0.03:
        replace_by_other(path, rng)
    elif kind < 0.1:
        grow(path, rng)
    elif kind < 0.7 and structured(path, rng):
        return
    else:
        content = path.read_bytes()
        for _ in range(rng.choice((1, 1, 2, 4))):
            content = damaged_bytes(content, rng)
        path.write_bytes(content)


def replace_by_other(path: Path, rng: random.Random) -> None:
    """Put a link, a named pipe, a folder or nothing in place of the file."""
    path.unlink()
    what = rng.randrange(6)
    if what == 0:
        os.mkfifo(path)
    elif what == 1:
        path.symlink_to("/dev/zero")
    elif what == 2:
        path.symlink_to(path.name)
    elif what == 3:
        path.mkdir()
    elif what == 4:
        path.symlink_to("/dev/stdin")


def grow(path: Path, rng: random.Random) -> None:
    """Make the file, or what it holds when unpacked, very large."""
    content, many = path.read_bytes(), rng.choice((10**5, 10**7, 10**9))
    if path.suffix == ".gz":
        pattern = gzip.decompress(content) if rng.random() < 0.5 else rng.choice((b"1,", b"\0", b"1,2,3,4\n", b"\n"))
        path.write_bytes(packed(pattern, many))
    elif path.suffix == ".npz":
        replace_member(path, rng, many)
    elif path.suffix in (".parquet", ".arrow"):
        write_repeated(path, rng, many // 100)
    elif path.suffix == ".xlsx":
        grow_sheet(path, rng, many // 10)
    elif path.suffix == ".toml":
        ends = (
            "a." * (many // 20_000) + "a = 1\n",
            "a = " + "[" * 50_000,
            "a = " + "9" * 50_000 + "\n",
            "#" * (many // 100),
        )
        path.write_bytes(rng.choice(ends).encode() + content)
    elif path.suffix == ".json":
        path.write_bytes(
            rng.choice((b"[" * 100_000, b"9" * 100_000, content + b" " * (many // 100), b'{"a":' * 50_000))
        )
    elif path.suffix == ".sqlite":
        with closing(sqlite3.connect(path)) as db, suppress(sqlite3.Error):
            names = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            name = rng.choice(names)
            column = rng.choice([row[1] for row in db.execute(f"PRAGMA table_info({name})")])
            one_row = f"rowid = (SELECT min(rowid) FROM {name})"
            db.execute(f"UPDATE {name} SET {column} = zeroblob({min(many, 9 * 10**8)}) WHERE {one_row}")
            db.commit()
    else:
        path.write_bytes(content + content[-min(len(content), 500) :] * (many // 10**5))


def packed(pattern: bytes, n_bytes: int) -> bytes:
    """Return a gzip file of n_bytes that repeat a pattern."""
    out, block = io.BytesIO(), pattern * max(1, 2**20 // len(pattern))
    with gzip.open(out, "wb", compresslevel=9) as file:
        for _ in range(n_bytes // len(block) + 1):
            file.write(block)
    return out.getvalue()


def replace_member(path: Path, rng: random.Random, n_bytes: int) -> None:
    """Write the archive again with one array that claims or holds n_bytes of zeros."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    victim = rng.choice(list(members))
    shape = rng.choice(
        (f"({n_bytes},)", f"({n_bytes // 36}, 6, 6)", f"(24, {n_bytes // 24})", "(0, 6, 6)", f"({n_bytes}, 0)")
    )
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            if name != victim:
                archive.writestr(name, content)
                continue
            with archive.open(name, "w", force_zip64=True) as file:
                file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
                for _ in range(n_bytes // 2**20 if rng.random() < 0.7 else 0):
                    file.write(bytes(2**20))


def write_repeated(path: Path, rng: random.Random, n_rows: int) -> None:
    """Write a column that takes few bytes on disk and many in memory: numbers, texts or lists."""
    import polars as pl

    value = rng.choice((0, "x" * 100, [0] * 20, None))
    frame = pl.select(pl.repeat(pl.lit(value), n_rows).alias("a"), pl.repeat("b", n_rows).alias("label"))
    if path.suffix == ".parquet":
        frame.write_parquet(path, compression="zstd")
    else:
        frame.write_ipc(path, compression="zstd")


def grow_sheet(path: Path, rng: random.Random, n_bytes: int) -> None:
    """Write the workbook again with a sheet of n_bytes."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    cell = rng.choice((b"<c><v>1</v></c>", b'<c r="XFD1048576"><v>1</v></c>', b"<c/>" * 50, b" "))
    block = b"<row>" + cell * (2**16 // len(cell)) + b"</row>"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            grown = b"<sheetData>" + block * (n_bytes // len(block)) if name.endswith("sheet1.xml") else b"<sheetData>"
            archive.writestr(name, content.replace(b"<sheetData>", grown))


def structured(path: Path, rng: random.Random) -> bool:
    """Mutate what the file describes and keep its form sound; False if the kind of file has no such mutation."""
    by_suffix = {
        ".json": mutate_json,
        ".toml": mutate_toml,
        ".csv": mutate_table,
        ".jsonl": mutate_lines,
        ".xlsx": mutate_members,
        ".safetensors": mutate_header,
        ".sqlite": mutate_database,
        ".npz": mutate_members,
        ".gz": mutate_packed,
    }
    if path.suffix not in by_suffix:
        return False
    try:
        by_suffix[path.suffix](path, rng)
    except (ValueError, KeyError, TypeError, UnicodeError, sqlite3.Error):
        return False
    return True


def mutate_json(path: Path, rng: random.Random) -> None:
    value = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(damaged_json(value, rng)), encoding="utf-8")


def mutate_lines(path: Path, rng: random.Random) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    for _ in range(rng.choice((1, 3))):
        at = rng.randrange(len(lines))
        lines[at] = json.dumps(damaged_json(json.loads(lines[at]), rng))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def mutate_toml(path: Path, rng: random.Random) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    at = rng.choice([at for at, line in enumerate(lines) if " = " in line])
    values = (
        "9" * 5_000,
        "-1",
        "1e308",
        "nan",
        "inf",
        "true",
        '""',
        "[]",
        "{}",
        '"\\u001b[2J"',
        "[[1]]",
        "0x7fffffffffffffff",
        "1979-05-27",
    )
    lines[at] = f"{lines[at].split(' = ')[0]} = {rng.choice(values)}"
    if rng.random() < 0.2:
        lines.insert(at, rng.choice(lines))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def mutate_table(path: Path, rng: random.Random) -> None:
    rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"))))
    for _ in range(rng.choice((1, 1, 3, len(rows)))):
        row = rng.choice(rows)
        what = rng.randrange(4)
        if what == 0 and row:
            row[rng.randrange(len(row))] = rng.choice(TEXTS)
        elif what == 1:
            row.append(rng.choice(TEXTS))
        elif what == 2 and row:
            row.pop(rng.randrange(len(row)))
        else:
            rows.insert(rng.randrange(len(rows)), list(row))
    out = io.StringIO()
    csv.writer(out, delimiter=rng.choice(",,,;\t"), lineterminator=rng.choice(("\n", "\r\n"))).writerows(rows)
    path.write_text(out.getvalue(), encoding=rng.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16")))


def mutate_header(path: Path, rng: random.Random) -> None:
    header, body = parts_of(path.read_bytes())
    if rng.random() < 0.7:
        (key,) = header["__metadata__"]
        inner = json.loads(header["__metadata__"][key])
        header["__metadata__"][key] = json.dumps(damaged_json(inner, rng))
    else:
        header = damaged_json(header, rng)
    path.write_bytes(file_bytes(header, body))


def mutate_members(path: Path, rng: random.Random) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    victim = rng.choice(list(members))
    members[victim] = damaged_bytes(members[victim], rng)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(
                rng.choice(("../x.npy", "x" * 300, name)) if name == victim and rng.random() < 0.3 else name, content
            )


def mutate_packed(path: Path, rng: random.Random) -> None:
    path.write_bytes(gzip.compress(damaged_bytes(gzip.decompress(path.read_bytes()), rng), mtime=0))


def mutate_database(path: Path, rng: random.Random) -> None:
    with closing(sqlite3.connect(path)) as db:
        names = [
            name
            for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
        ]
        name = rng.choice(names)
        columns = [row[1] for row in db.execute(f"PRAGMA table_info({name})")]
        column, what = rng.choice(columns), rng.randrange(8)
        if what == 0:
            endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT " + ", ".join(
                f"x AS {c}" for c in columns
            )
            db.executescript(f"DROP TABLE {name}; CREATE VIEW {name} AS {endless} FROM c")
        elif what == 1:
            db.execute(f"DROP TABLE {name}")
        elif what == 2:
            db.execute(f"ALTER TABLE {name} RENAME COLUMN {column} TO other")
        elif what == 3:
            db.execute(f"DELETE FROM {name}")
        else:
            texts = db.execute(f"SELECT rowid, {column} FROM {name}").fetchall()
            for rowid, value in texts[: rng.choice((1, 100))]:
                new = other_value(value, rng)
                with suppress(sqlite3.Error, OverflowError):
                    db.execute(f"UPDATE {name} SET {column} = ? WHERE rowid = ?", (new, rowid))
        db.commit()


def other_value(value: Any, rng: random.Random) -> Any:
    """Return a value of a database's cell that differs from the one that was there."""
    if isinstance(value, bytes) and rng.random() < 0.7:
        return damaged_bytes(value, rng)
    if isinstance(value, str) and rng.random() < 0.7:
        with suppress(ValueError):
            return json.dumps(damaged_json(json.loads(value), rng))
    return rng.choice((None, -1, 2**62, 1e308, "", "nan", b"\0" * 50, "9" * 5_000, "\x1b[2J", "[" * 20_000))


# Trials


def same_kind(error: BaseException, folder: Path) -> str:
    """Return the kind of message that an error has, without its numbers, quotations and paths."""
    message = str(error).replace(str(folder), "")
    return f"{type(error).__name__}: " + re.sub(r"'[^']*'|\"[^\"]*\"|\[.*\]|\d[\d.,e+-]*", "_", message)[:70]


def answer(read: Callable[[Path], str], folder: Path) -> tuple[bool, str]:
    """Read a folder, and return whether that kept the rule and the kind of answer it gave."""
    from chalknet.errors import ChalknetError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return True, read(folder)
    except ChalknetError as error:
        message = str(error)
        is_one_line = message.replace("\n", "?").isprintable() and "\n" not in message and len(message) < 2_000
        return is_one_line, same_kind(error, folder)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return False, f"{same_kind(error, folder)} ({Path(where.filename).name}:{where.lineno})"


def peak_bytes() -> int:
    """Return the largest memory of this process since `reset_peak`, in bytes."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def run_child(name: str, seed: int, first: int, last: int, folder: Path) -> None:
    """Try the files first to last - 1 of one target, and print one line of JSON for each."""
    target, plain = TARGETS[name], folder / "plain"
    if not plain.exists():
        plain.mkdir(parents=True)
        target.make(plain)
    place = folder / "input"
    copy_plain(plain, place)
    target.read(place)
    reset_peak()
    copy_plain(plain, place)
    target.read(place)
    base = peak_bytes()
    for number in range(first, last):
        rng = random.Random(f"{name} {seed} {number}")
        copy_plain(plain, place)
        victim = rng.choice(target.files)
        mutate(place / victim, rng)
        kept = folder / f"mutated-{number}"
        if (place / victim).is_file() and not (place / victim).is_symlink():
            shutil.copy(place / victim, kept)
        print(json.dumps({"begin": number, "file": victim}), flush=True)
        reset_peak()
        began = time.monotonic()
        kept_rule, kind = answer(target.read, place)
        fields = {
            "number": number,
            "file": victim,
            "kept": kept_rule,
            "answer": kind,
            "seconds": time.monotonic() - began,
        }
        print(json.dumps({**fields, "bytes": peak_bytes() - base}), flush=True)


def copy_plain(plain: Path, place: Path) -> None:
    remove(place)
    shutil.copytree(plain, place)


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def trials(name: str, seed: int, count: int, folder: Path) -> Iterator[dict[str, Any]]:
    """Run the trials of one target in child processes; one that hangs or dies is a trial that broke the rule."""
    first = 0
    while first < count:
        command = [sys.executable, __file__, "--child", name, "--seed", str(seed), "--first", str(first)]
        errors = folder / "errors.txt"
        with (
            errors.open("w") as stderr,
            subprocess.Popen(
                [*command, "--count", str(count), "--folder", str(folder)],
                stdout=subprocess.PIPE,
                stderr=stderr,
                stdin=subprocess.DEVNULL,
                text=True,
            ) as child,
        ):
            begun, reports = None, lines_in_time(child)
            for report in reports:
                if "begin" in report:
                    begun = report
                    continue
                first, begun = report["number"] + 1, None
                yield report
            child.kill()
        if begun is not None:
            first = begun["begin"] + 1
            yield {
                "number": begun["begin"],
                "file": begun["file"],
                "kept": False,
                "answer": "took too long" if child.returncode == -9 else "ended the process",
                "seconds": SECONDS,
                "bytes": 0,
            }
        elif child.returncode not in (0, -9):
            raise RuntimeError(f"target {name} cannot read its plain input:\n{errors.read_text()[-2_000:]}")


def lines_in_time(child: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    """Yield the reports of a child until it ends, or until it says nothing for longer than a trial may take."""
    import queue
    import threading

    lines: queue.Queue[str | None] = queue.Queue()
    assert child.stdout is not None
    stream = child.stdout

    def pump() -> None:
        for line in stream:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=pump, daemon=True).start()
    allowed = 120.0  # includes the time to make the plain input
    while True:
        try:
            line = lines.get(timeout=allowed)
        except queue.Empty:
            return
        if line is None:
            child.wait()
            return
        allowed = SECONDS + 5
        yield json.loads(line)


def keep(folder: Path, name: str, report: dict[str, Any], mutated: Path, shortest: dict[str, int]) -> None:
    """Store the mutated file if it is the first or the shortest with its answer."""
    kind = report["answer"]
    size = mutated.stat().st_size if mutated.exists() else sys.maxsize
    if size > MAX_KEPT_BYTES or size >= shortest.get(kind, sys.maxsize):
        return
    if kind not in shortest and len(shortest) >= MAX_KEPT:
        return
    shortest[kind] = size
    stem = f"{name}-{[*shortest].index(kind):02}"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(f"{stem}-*"):
        old.unlink()
    shutil.copy(mutated, folder / f"{stem}-{Path(report['file']).name}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000, help="number of files, over all targets")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", choices=TARGETS, action="append", help="a kind of input; all if not given")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="store the shortest file for each answer here")
    parser.add_argument("--child", choices=TARGETS, help=argparse.SUPPRESS)
    parser.add_argument("--first", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        resource.setrlimit(resource.RLIMIT_DATA, (MAX_BYTES, MAX_BYTES))
        run_child(given.child, given.seed, given.first, given.count, given.folder)
        return 0
    names = given.target or list(TARGETS)
    broken = sum(run_target(name, given.seed, -(-given.count // len(names)), given.keep) for name in names)
    print(f"{broken} files break the rule")
    return 1 if broken else 0


def run_target(name: str, seed: int, count: int, kept: Path | None) -> int:
    """Try count files of one target, print what came of them, and return how many broke the rule."""
    answers: Counter[str] = Counter()
    shortest: dict[str, int] = {}
    slowest, most, broken = 0.0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        for report in trials(name, seed, count, Path(folder)):
            answers[report["answer"]] += 1
            slowest, most = max(slowest, report["seconds"]), max(most, report["bytes"])
            spent = f"{report['seconds']:.1f} s, {report['bytes'] / 1e6:,.0f} MB more"
            if not report["kept"] or report["seconds"] >= SECONDS or report["bytes"] > MORE_BYTES:
                broken += 1
                print(f"BROKEN {name} {report['number']} {report['file']}: {report['answer']}, {spent}", flush=True)
            mutated = Path(folder) / f"mutated-{report['number']}"
            if kept and report["kept"]:
                keep(kept, name, report, mutated, shortest)
            mutated.unlink(missing_ok=True)
    spent = f"slowest {slowest:.1f} s, at most {most / 1e6:,.0f} MB more"
    print(f"{name:12} {count:5} files, {len(answers):3} answers, {spent}, {broken} broken", flush=True)
    return broken


if __name__ == "__main__":
    sys.exit(main())
