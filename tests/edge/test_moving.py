"""Export, import and backup of installations whose runs are in every state."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Final

import pytest

from stepwell import Event, Stepwell
from stepwell.model.changes import PutCell
from stepwell.model.questions import GetCell
from stepwell.server.moving import backup_file, export, import_file
from stepwell.storage.sqlite import SqliteStore
from stepwell.testing.audit import audit_file
from tests.edge import moved_app
from tests.edge.moved_app import begin, bodies, end, results, shop
from tests.storage.nouns import cell, write

pytestmark = pytest.mark.slow

LOAD: Final = 1_000  # numbers from here on are of events sent while something is copied


def silent(done: int, rows: int) -> None:
    """Nobody looks."""


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], tuple[str, object]]:
    """What becomes of the runs where nothing is moved."""
    folder = tmp_path_factory.mktemp("golden")

    async def run() -> None:
        app = shop(folder)
        async with app.embedded(folder / "a.db") as engine:
            await begin(app, engine, folder / "a.db")
            await end(app, engine, folder)

    asyncio.run(run())
    return results(folder / "a.db")


async def test_runs_of_every_state_go_on_where_they_were_imported(
    tmp_path: Path, golden: dict[tuple[str, int], tuple[str, object]]
) -> None:
    app, first, second = shop(tmp_path), tmp_path / "a.db", tmp_path / "b.db"
    async with app.embedded(first, grace=0) as engine:
        await begin(app, engine, first)
    before = bodies(tmp_path)

    exported = await export(str(first), str(tmp_path / "all.gz"), silent, version="1.2.3")
    imported = await import_file(str(tmp_path / "all.gz"), str(second), silent)
    async with app.embedded(second) as engine:
        await end(app, engine, tmp_path)

    assert exported.rows == imported.rows == imported.written
    assert results(second) == golden
    assert len(golden) == moved_app.RUNS + 2
    assert set(bodies(tmp_path).values()) == {1}
    assert before <= bodies(tmp_path)
    assert audit_file(second) == []


async def test_a_backup_taken_live_goes_on_from_its_moment(
    tmp_path: Path, golden: dict[tuple[str, int], tuple[str, object]]
) -> None:
    app, first, second = shop(tmp_path), tmp_path / "a.db", tmp_path / "b.db"
    async with app.embedded(first, grace=0) as engine:
        await begin(app, engine, first)
        load = asyncio.create_task(_load(app))
        size = await asyncio.to_thread(backup_file, str(first), str(second), silent)
        load.cancel()

    assert size == second.stat().st_size
    assert audit_file(second) == []
    async with app.embedded(second) as engine:
        await end(app, engine, tmp_path)
    moved = {key: value for key, value in results(second).items() if key[1] < LOAD}
    assert moved == golden
    assert audit_file(second) == []


async def _load(app: Stepwell) -> None:
    for n in itertools.count(LOAD):
        await app.send(Event("done", {"n": n}))


async def test_a_backup_holds_one_moment_however_long_it_takes(tmp_path: Path) -> None:
    """A backup that is disturbed by a commit begins anew, unless it holds a snapshot."""
    path = tmp_path / "a.db"
    store = SqliteStore.open(path)
    await write(store, *(PutCell(cell(f"before-{n}", value="x" * 5_000), 0) for n in range(3_000)))
    seen: list[int] = []

    def disturb(done: int, rows: int) -> None:
        seen.append(done)
        other = SqliteStore.inline(path)
        asyncio.run_coroutine_threadsafe(_disturb(other, len(seen)), loop).result()

    loop = asyncio.get_running_loop()
    await asyncio.to_thread(backup_file, str(path), str(tmp_path / "b.db"), disturb)

    assert len(seen) > 1
    assert seen == sorted(set(seen))
    restored = SqliteStore.open(tmp_path / "b.db", leader=False)
    assert await restored.read(GetCell("before-2999", 0, 0)) is not None
    assert await restored.read(GetCell("after-1", 0, 0)) is None
    assert await store.read(GetCell("after-1", 0, 0)) is not None
    await restored.close()
    await store.close()


async def _disturb(store: SqliteStore, number: int) -> None:
    await write(store, PutCell(cell(f"after-{number}"), 0))
    await store.close()
