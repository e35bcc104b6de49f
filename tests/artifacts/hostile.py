"""Invalid safetensors files, as a careless or hostile program could write them."""

from __future__ import annotations

import json
import struct

import numpy as np

TYPE = {"float32": "F32", "float64": "F64", "float16": "F16", "int8": "I8", "bool": "BOOL"}


def file_bytes(header: object, body: bytes = b"", length: int | None = None) -> bytes:
    """Return a file from a header (JSON-ready or bytes), its length (true or false) and what follows."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def parts_of(whole: bytes) -> tuple[dict[str, object], bytes]:
    """Return the header of a file and what follows it."""
    (length,) = struct.unpack("<Q", whole[:8])
    return json.loads(whole[8 : 8 + length]), whole[8 + length :]


def with_tensor(whole: bytes, name: str, value: np.ndarray) -> bytes:
    """Return a file with one array replaced, of any dtype and shape, and correct offsets."""
    header, body = parts_of(whole)
    parts, entries = [], {"__metadata__": header.pop("__metadata__")}
    start = 0
    for key, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, end = entry["data_offsets"]
        data = value.tobytes() if key == name else body[begin:end]
        shape, kind = (list(value.shape), TYPE[str(value.dtype)]) if key == name else (entry["shape"], entry["dtype"])
        entries[key] = {"dtype": kind, "shape": shape, "data_offsets": [start, start + len(data)]}
        parts.append(data)
        start += len(data)
    return file_bytes(entries, b"".join(parts))


def with_entry(whole: bytes, key: str, entry: str) -> bytes:
    """Return a file with another text in its header."""
    header, body = parts_of(whole)
    return file_bytes({**header, "__metadata__": {key: entry}}, body)


def files_that_lie(whole: bytes, key: str, tensor: str) -> dict[str, bytes]:
    """Return what is wrong -> bytes, made from a valid file with an entry `key` and an array `tensor`."""
    header, body = parts_of(whole)
    names = [name for name in header if name != "__metadata__"]

    def changed(**fields):
        return file_bytes({**header, tensor: {**header[tensor], **fields}}, body)

    begin, end = header[tensor]["data_offsets"]
    text = json.dumps(header)
    entry = header["__metadata__"][key]
    twice = json.dumps({tensor: header[tensor]})[1:-1]
    found = {f"cut at {n}": whole[:n] for n in range(0, len(whole), 1_000)}
    found |= {f"header of {n}": file_bytes(header, body, n) for n in (0, 1, len(whole), 2**31, 2**63, 2**64 - 1)}
    found |= {f"type {kind}": changed(dtype=kind) for kind in ("BF16", "F8_E4M3", "F4", "I8", "X", 7, None, ["F32"])}
    shapes = ([], [0], [-1, 4], [10**10, 784], [2**63, 2], [0, 2**62], [1] * 100, "5", None)
    found |= {f"shape {str(shape)[:20]}": changed(shape=shape) for shape in shapes}
    found |= {
        f"offsets {offsets}": changed(data_offsets=offsets)
        for offsets in ([begin, 10**10], [end, begin], [begin, end + 8], [begin + 4, end], [0, 8], [-8, 8], [], None)
    }
    shape, dtype = header[tensor]["shape"], TYPE_OF[header[tensor]["dtype"]]
    arrays = {f"array of {other.__name__}": np.ones(shape, other) for other in (np.float16, np.int8, np.bool_)}
    arrays |= {f"array of shape {other}": np.ones(other, dtype) for other in ((), (0,), (1, 1, 1), (2, 3, 4))}
    arrays |= {"not finite": np.full(shape, np.nan, dtype), "infinite": np.full(shape, np.inf, dtype)}
    found |= {name: with_tensor(whole, tensor, value) for name, value in arrays.items()}
    found |= {
        "name twice": file_bytes(f"{text[:-1]}, {twice}}}".encode(), body),
        "entry twice": file_bytes(
            text.replace('"__metadata__": {', '"__metadata__": {' + json.dumps({key: "{}"})[1:-1] + ", ").encode(), body
        ),
        "all the same bytes": file_bytes({**header, **dict.fromkeys(names, header[tensor])}, body),
        "no entry": file_bytes({name: header[name] for name in names}, body),
        "entry no text": file_bytes({**header, "__metadata__": {key: 5}}, body),
        "header not UTF-8": file_bytes(text.encode().replace(b"weight", b"\xff\xfe\xfd\xfcht"), body),
        "header not JSON": file_bytes(b"{" * 500, body),
        "header nested": file_bytes(b"[" * 100_000, body),
        "entry nested": with_entry(whole, key, "[" * 500_000),
        "entry nested and whole": with_entry(whole, key, '{"a":' * 50_000 + "1" + "}" * 50_000),
        "entry not JSON": with_entry(whole, key, entry[:-2]),
        "entry a list": with_entry(whole, key, "[]"),
        "entry a number of many digits": with_entry(whole, key, "1" * 5_000),
        "key twice in the entry": with_entry(whole, key, entry[:-1] + ", " + entry[1:]),
        "entry of empty lists": with_entry(whole, key, "[" + "[]," * 1_300_000 + "[]]"),
        "a name of a megabyte": file_bytes({**header, "x" * 2**20: {**header[tensor], "shape": [1]}}, body),
        "a name with escapes": file_bytes({**header, "a\nb\x1b[2J": {**header[tensor], "shape": [1]}}, body),
        "text": b"not a model\n" * 100,
        "zeros": bytes(5_000),
    }
    return found


TYPE_OF = {"F32": np.float32, "F64": np.float64}
