"""Reads an export, and takes nothing on trust: a file is read once to see that it is whole, before anything is written.

Standard input can be read only once, so there it shows at the end; what was written until then is not served.
"""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import IO, Final, NoReturn

import msgspec

from stepwell.errors import InvalidExport, StorageError
from stepwell.storage.exports.format import (
    END,
    FORMAT,
    STANDARD,
    VERSION,
    Header,
    Trailer,
    read,
    refuse_other_compression,
    told,
)
from stepwell.storage.moving import Batch, Manifest, batched, to_skip
from stepwell.storage.tables import SCHEMA

_LINE_MAX: Final = 64 << 20  # more than any row has: a file without ends of lines is not ours


class ExportSource:
    """A file that was exported, or one on standard input."""

    def __init__(self, path: str) -> None:
        """Raises ``InvalidExport`` if the file is not whole, and ``StorageError`` if it cannot be read."""
        refuse_other_compression(path)
        self._path = path
        self._name = told(path, "what comes in")
        with self._explained():
            if path != STANDARD:
                with closing(_opened(path)) as file:
                    lines = _Lines(file)
                    self.manifest = self._header(lines)
                    for _ in self._rows(lines):
                        pass
            self._file = _opened(path)
            self._lines = _Lines(self._file)
            self.manifest = self._header(self._lines)

    async def batches(self, skip: int) -> AsyncIterator[Batch]:
        with self._explained():
            rows = self._rows(self._lines)
            for _ in range(skip):
                _next(rows)
            counts = self.manifest.counts
            for table, passed in to_skip(counts, skip).items():
                left = counts[table.name] - passed
                for batch in batched(table, (read(table, _next(rows)) for _ in range(left))):
                    yield batch
            for _ in rows:  # none: what is asked for is the last line
                raise ValueError("it has more rows than its first line says")

    async def close(self) -> None:
        self._file.close()

    def _header(self, lines: _Lines) -> Manifest:
        line = next(lines.read(), b"")
        try:
            header = msgspec.json.decode(line, type=Header)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            header = None
        if header is None or header.format != FORMAT:
            raise InvalidExport(
                what=f"{self._name} was not made by 'stepwell export'",
                why="its first line does not say so",
                fix="name a file that 'stepwell export' wrote; what 'stepwell backup' made is a database: copy it",
            )
        if header.version > VERSION:
            raise InvalidExport(
                what=f"{self._name} has format {header.version}; this Stepwell reads formats up to {VERSION}",
                why="it was made by a newer Stepwell",
                fix="upgrade Stepwell here",
            )
        manifest = msgspec.json.decode(header.manifest, type=Manifest)
        if manifest.schema != SCHEMA:
            self._refuse(manifest)
        return manifest

    def _refuse(self, manifest: Manifest) -> NoReturn:
        newer = manifest.schema > SCHEMA
        raise InvalidExport(
            what=f"{self._name} has schema {manifest.schema}; this Stepwell imports schema {SCHEMA}",
            why=f"it was made by {'a newer' if newer else 'an older'} Stepwell, {manifest.stepwell}",
            fix="upgrade Stepwell here"
            if newer
            else f"import it with Stepwell {manifest.stepwell}, and upgrade what it was imported into",
        )

    def _rows(self, lines: _Lines) -> Generator[bytes, None, None]:
        """The lines of the rows. Raises ``InvalidExport`` at the end if anything is missing or was changed."""
        count = 0
        trailer: Trailer | None = None
        for line in lines.read():
            if trailer is not None:
                raise ValueError("something follows its last line")
            if line.startswith(END):
                trailer = msgspec.json.decode(line, type=Trailer)
            else:
                count += 1
                yield line
        if trailer is None:
            raise EOFError(f"it ends after {count} of {self.manifest.rows} rows")
        if trailer.end.sha256 != lines.digest or not count == trailer.end.rows == self.manifest.rows:
            raise ValueError("the checksum in its last line is that of something else")

    @contextmanager
    def _explained(self) -> Generator[None, None, None]:
        try:
            yield
        except EOFError as error:
            raise InvalidExport(
                what=f"{self._name} is cut off",
                why=str(error),
                fix="copy it again, or export again: whatever wrote it was stopped before it was done",
            ) from error
        except (ValueError, msgspec.MsgspecError, zlib.error, gzip.BadGzipFile) as error:
            raise InvalidExport(
                what=f"{self._name} is damaged: {error}",
                why="something changed it after it was written, or while it was copied",
                fix="copy it again, or export again",
            ) from error
        except OSError as error:
            raise StorageError(
                what=f"{self._name} cannot be read: {error.strerror or error}",
                why=str(error),
                fix="check the path, and that this user may read it",
            ) from error


class _Lines:
    """The lines of a file, and the checksum of all before the last."""

    def __init__(self, file: IO[bytes] | gzip.GzipFile) -> None:
        self._file = file
        self._sum = sha256()
        self.digest = ""

    def read(self) -> Iterator[bytes]:
        while line := self._file.readline(_LINE_MAX):
            if not line.endswith(b"\n"):
                raise EOFError("its last line has no end")
            if line.startswith(END):
                self.digest = self._sum.hexdigest()
            self._sum.update(line)
            yield line


def _next(rows: Generator[bytes, None, None]) -> bytes:
    line = next(rows, None)
    if line is None:
        raise EOFError("rows are missing")
    return line


def _opened(path: str) -> IO[bytes] | gzip.GzipFile:
    if path == STANDARD:
        return sys.stdin.buffer
    return gzip.open(path, "rb") if path.endswith(".gz") else Path(path).open("rb")
