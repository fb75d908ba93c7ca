"""Writes an export. The file gets its name when it is whole, so that one of that name always is."""

from __future__ import annotations

import errno
import gzip
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import IO, Final

import msgspec

from stepwell.errors import StorageError, StorageUnavailable
from stepwell.storage.exports.format import STANDARD, End, Header, Trailer, refuse_other_compression, written
from stepwell.storage.moving import Batch, Manifest

_LEVEL: Final = 3  # of gzip: JSON becomes little smaller with more, and that takes three times as long


class ExportTarget:
    """A file that does not exist yet, or standard output."""

    def __init__(self, path: str) -> None:
        """Raises ``StorageError`` if there is such a file, or it cannot be written."""
        refuse_other_compression(path)
        self._path = path
        self._part = Path(f"{path}.part")
        self._sum = sha256()
        self._rows = 0
        with self._explained():
            if path == STANDARD:
                self._file: IO[bytes] = sys.stdout.buffer
            else:
                self._refuse_existing()
                # Only for its owner, as the database is: there are events in it.
                descriptor = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                self._file = os.fdopen(descriptor, "wb")
        self._gzip = gzip.GzipFile("", "wb", _LEVEL, self._file, mtime=0) if path.endswith(".gz") else None

    async def begin(self, manifest: Manifest) -> int:
        self._write(msgspec.json.encode(Header(manifest=msgspec.Raw(msgspec.json.encode(manifest)))))
        return 0

    async def write(self, batch: Batch, done: int) -> None:
        for row in batch.rows:
            self._write(written(batch.table, row))
        self._rows = done

    async def finish(self) -> None:
        self._write(msgspec.json.encode(Trailer(End(self._rows, self._sum.hexdigest()))))
        with self._explained():
            if self._gzip is not None:
                self._gzip.close()
            self._file.flush()
            if self._path == STANDARD:
                return
            os.fsync(self._file.fileno())
            self._file.close()
            self._refuse_existing()
            self._part.replace(self._path)
            _sync_folder(Path(self._path).parent)

    async def close(self) -> None:
        if self._path == STANDARD or self._file.closed:
            return
        with suppress(OSError):  # a full disk has said so before
            self._file.close()
        with suppress(OSError):
            self._part.unlink()

    def _write(self, line: bytes) -> None:
        line += b"\n"
        self._sum.update(line)
        with self._explained():
            (self._gzip or self._file).write(line)

    def _refuse_existing(self) -> None:
        if Path(self._path).exists():
            raise StorageError(
                what=f"{self._path} exists",
                why="an export never replaces anything: it may be the only one",
                fix="name another file, or remove this one first",
            )

    @contextmanager
    def _explained(self) -> Generator[None, None, None]:
        try:
            yield
        except BrokenPipeError as error:
            raise StorageError(
                what="whoever reads the export has ended", why=str(error), fix="see what it says, and export again"
            ) from error
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            raise (StorageUnavailable if full else StorageError)(
                what=f"{self._path} cannot be written: {error.strerror or error}",
                why="the disk is full" if full else str(error),
                fix="free some space, or name a file on another disk; .gz takes a fraction of it"
                if full
                else "name a file in a directory that this user may write to",
            ) from error


def _sync_folder(folder: Path) -> None:
    """Make the new name durable."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
