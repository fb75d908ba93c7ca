"""Which backend an installation is copied from or to: the composition root of the commands that copy."""

from __future__ import annotations

from contextlib import AsyncExitStack

from stepwell import __version__
from stepwell.clock import SystemClock
from stepwell.ids import RandomIds
from stepwell.storage.exports import ExportSource, ExportTarget
from stepwell.storage.moving import Copied, Progress, Source, Target, copy
from stepwell.storage.sqlite.moving import SqliteSource, SqliteTarget


async def export(store: str, path: str, progress: Progress) -> Copied:
    """Write all that is in a store to a file that does not exist yet, as one moment saw it. ``"-"`` is standard output.

    Raises ``StorageError``.
    """
    async with AsyncExitStack() as stack:
        source = await source_of(store)
        stack.push_async_callback(source.close)
        target = ExportTarget(path)
        stack.push_async_callback(target.close)
        return await copy(source, target, progress)


async def import_file(path: str, store: str, progress: Progress) -> Copied:
    """Read such a file into a store that is empty, or where an import of this very file has begun.

    Raises ``InvalidExport`` and ``StorageError``.
    """
    async with AsyncExitStack() as stack:
        source = ExportSource(path)
        stack.push_async_callback(source.close)
        target = await target_of(store, path)
        stack.push_async_callback(target.close)
        return await copy(source, target, progress)


async def source_of(store: str) -> Source:
    """What a store holds at this moment. Raises ``StorageError``."""
    now = SystemClock().now_ms()
    return SqliteSource(store, id=RandomIds().ulid(now), stepwell=__version__, made_at=now)


async def target_of(store: str, origin: str) -> Target:
    """A store that is empty. Raises ``StorageError``."""
    return SqliteTarget(store, origin)
