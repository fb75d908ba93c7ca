"""An installation as a file: JSON Lines, readable by anything, the same for every backend (ADR 0038).

::

    {"format": "stepwell-export", "version": 1, "manifest": {"id": …, "schema": 1, "counts": {"runs": 2, …}, …}}
    {"runs": {"id": …, "function_id": …, …}}
    …
    {"end": {"rows": 5, "sha256": …}}

Each line between the first and the last is a row, by the names of its columns; what is not there is null. Bytes are
text where they are UTF-8, as JSON is, and else ``{"base64": …}``. The last line has the SHA-256 of all lines before it,
so that a file that was cut off, or damaged, is noticed. What ends with ``.gz`` is compressed.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any, Final

import msgspec

from stepwell.errors import StorageError
from stepwell.storage.moving import Row
from stepwell.storage.tables import TABLES, Table

FORMAT: Final = "stepwell-export"
VERSION: Final = 1
STANDARD: Final = "-"  # standard output, or standard input
END: Final = b'{"end":'  # how the last line begins, and no other


class Header(msgspec.Struct, frozen=True, kw_only=True):
    format: str = FORMAT
    version: int = VERSION
    manifest: msgspec.Raw


class End(msgspec.Struct, frozen=True):
    rows: int
    sha256: str


class Encoded(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bytes that are no text."""

    base64: str


class Trailer(msgspec.Struct, frozen=True):
    end: End


_COLUMNS: Final = {table.name: frozenset(table.columns) for table in TABLES}
_decode = msgspec.json.Decoder(dict[str, dict[str, Any]]).decode
_encode = msgspec.json.Encoder().encode


def written(table: Table, row: Row) -> bytes:
    """A row as a line, without its end."""
    fields: dict[str, Any] = {}
    for name, value in zip(table.columns, row, strict=True):
        if value is not None:
            fields[name] = _text(value) if isinstance(value, bytes) else value
    return _encode({table.name: fields})


def read(table: Table, line: bytes) -> Row:
    """The row in a line. Raises ``ValueError`` and ``msgspec.MsgspecError`` if it is none of this table."""
    found = _decode(line)
    fields = found.get(table.name)
    if fields is None or len(found) != 1:
        raise ValueError(f"a row of {table.name} is missing")
    if not fields.keys() <= _COLUMNS[table.name]:
        raise ValueError(f"{table.name} has no column {min(fields.keys() - _COLUMNS[table.name])}")
    for name in table.blobs:
        value = fields.get(name)
        if value is not None:
            fields[name] = _bytes(value)
    return tuple(map(fields.get, table.columns))


def told(path: str, standard: str) -> str:
    """A file's name, for people."""
    return standard if path == STANDARD else path


def refuse_other_compression(path: str) -> None:
    """Raises ``StorageError`` for a name that promises what we do not do."""
    suffix = Path(path).suffix.lower()
    if suffix in _PROGRAMS:
        program = _PROGRAMS[suffix]
        raise StorageError(
            what=f"{path} would be compressed by {program}, and only .gz is known here",
            why="that comes with Python; others would be one more thing to install",
            fix=f"use a pipe: stepwell export - | {program} > {path}; {program} -dc {path} | stepwell import -",
        )


_PROGRAMS: Final = {".zst": "zstd", ".xz": "xz", ".bz2": "bzip2", ".lz4": "lz4"}


def _text(value: bytes) -> object:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return Encoded(b64encode(value).decode())


def _bytes(value: object) -> bytes:
    if isinstance(value, str):
        return value.encode()
    return b64decode(msgspec.convert(value, Encoded).base64, validate=True)
