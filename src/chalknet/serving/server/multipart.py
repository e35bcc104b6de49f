"""Read the files of a multipart/form-data body."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

from chalknet.formatting import count_of, printable
from chalknet.serving.server.guard import RequestError

FIELD = "files"
MAX_HEAD_BYTES = 8_192  # of the headers of a part
MAX_FILE_NAME = 255


@dataclass(frozen=True)
class UploadedFile:
    """A file in a body.

    Attributes:
        name: its name, which is only shown and never opened.
        content: its bytes.
        media_type: its type in lower case, or "".
    """

    name: str
    content: bytes = field(repr=False)
    media_type: str = ""


def read_parts(content: bytes, content_type: str, max_parts: int) -> list[UploadedFile]:
    """Return the files of a body.

    Args:
        content: the body.
        content_type: the Content-Type header, with the boundary.
        max_parts: the largest number of files.

    Raises:
        RequestError: the body is damaged, has other fields than files, or none (400); or too many (413).
    """
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import MultipartParser, parse_options_header

    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # the answer says what is wrong
    boundary = parse_options_header(content_type.encode("latin-1", "replace"))[1].get(b"boundary")
    if not boundary:
        raise RequestError(400, "the Content-Type multipart/form-data has no boundary.")
    collector = _Collector(content, max_parts)
    try:
        parser = MultipartParser(boundary, collector.callbacks())
        parser.write(content)
        parser.finalize()
    except (FormParserError, ValueError) as error:
        raise RequestError(400, f"the multipart body is damaged ({printable(str(error))[:200]}).") from None
    if not collector.has_ended:
        raise RequestError(400, "the multipart body is cut off before its end.")
    if not collector.parts:
        raise RequestError(400, f"the request has no file. Send files in the field {FIELD}.")
    return collector.parts


class _Collector:
    """Collects the parts of a body while it is parsed."""

    def __init__(self, content: bytes, max_parts: int) -> None:
        """Create a collector of a body."""
        self._content, self._max_parts = content, max_parts
        self.parts, self.has_ended = list[UploadedFile](), False
        self._begin_part()

    def callbacks(self) -> Any:
        """Return the functions that the parser calls."""
        return {
            "on_part_begin": self._begin_part,
            "on_part_data": self._add_data,
            "on_part_end": self._end_part,
            "on_header_field": self._add_header_name,
            "on_header_value": self._add_header_value,
            "on_header_end": self._end_header,
            "on_end": self._end,
        }

    def _begin_part(self) -> None:
        self._data, self._headers = list[bytes](), dict[bytes, bytes]()
        self._name = self._value = b""
        self._head_bytes = 0

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        self._data.append(data[start:end])

    def _add_header_name(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._name += data[start:end]

    def _add_header_value(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._value += data[start:end]

    def _end_header(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def _count(self, n_bytes: int) -> None:
        self._head_bytes += n_bytes
        if self._head_bytes > MAX_HEAD_BYTES:
            raise RequestError(400, f"the headers of a part have more than {MAX_HEAD_BYTES:,} bytes.")

    def _end_part(self) -> None:
        from python_multipart.multipart import parse_options_header

        options = parse_options_header(self._headers.get(b"content-disposition", b""))[1]
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if name != FIELD:
            raise RequestError(400, f"the request has a field {name[:60]!r}. Send files in the field {FIELD}.")
        if b"filename" not in options:
            raise RequestError(400, f"field {FIELD} holds a value and no file. In curl: -F {FIELD}=@letter.png")
        if len(self.parts) == self._max_parts:
            raise RequestError(
                413,
                f"a request may have at most {count_of(self._max_parts, 'file')}. Send fewer, or start the server "
                "with a larger max_rows (--max-rows).",
            )
        file_name = printable(options[b"filename"].decode("utf-8", "replace"))[:MAX_FILE_NAME]
        media_type = self._headers.get(b"content-type", b"").split(b";")[0].strip().lower().decode("latin-1")
        self.parts.append(UploadedFile(file_name or f"file {len(self.parts) + 1}", b"".join(self._data), media_type))

    def _end(self) -> None:
        self.has_ended = True
