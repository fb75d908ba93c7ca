"""A SQLite file becomes a PostgreSQL deployment: its runs go on there, and nowhere else."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from random import Random
from threading import Thread
from urllib.parse import urlsplit

import pytest

from stepwell.errors import StorageError, StorageUnavailable
from stepwell.model.changes import PutCell
from stepwell.server.moving import export, import_file, target_of
from stepwell.server.promoting import inventory, promote, undo
from stepwell.storage.leader import LeaderLock
from stepwell.storage.postgres.store import PostgresStore
from stepwell.storage.sqlite import SqliteStore
from stepwell.storage.sqlite.moving import SqliteSource
from stepwell.testing.audit import audit_file
from tests import postgres
from tests.edge.conftest import command, eventually
from tests.edge.moved_app import begin, bodies, end, results, shop
from tests.edge.test_moving import golden as golden
from tests.edge.test_moving_killed import MANY, begun, code, content, filled
from tests.storage.nouns import cell, write

pytestmark = pytest.mark.slow

SHARDS = 4


def silent(done: int, rows: int) -> None:
    """Nobody looks."""


@pytest.fixture
def url() -> Iterator[str]:
    with postgres.database() as found:
        yield found


@pytest.fixture
def other() -> Iterator[str]:
    with postgres.database() as found:
        yield found


def refused(path: Path) -> str:
    """Why no server starts on the file."""
    with pytest.raises(StorageError) as raised:
        SqliteStore.open(path)
    return raised.value.what


async def test_what_was_promoted_comes_back_as_it_was(tmp_path: Path, url: str) -> None:
    """Every table, through PostgreSQL with several shards, an export of that, and an import into a file."""
    app, first, last = shop(tmp_path), tmp_path / "a.db", tmp_path / "c.db"
    async with app.embedded(first, grace=0) as engine:
        await begin(app, engine, first)
    before = content(first)
    assert before["logs"]

    promoted = await promote(str(first), url, silent, version="1.2.3", shards=SHARDS)
    exported = await export(url, str(tmp_path / "all.gz"), silent, version="1.2.3")
    await import_file(str(tmp_path / "all.gz"), str(last), silent)

    assert promoted.rows == promoted.written == exported.rows
    assert {name: sorted(rows, key=repr) for name, rows in content(last).items()} == {
        name: sorted(rows, key=repr) for name, rows in before.items()
    }
    ran = bodies(tmp_path)
    async with app.embedded(last) as engine:
        await end(app, engine, tmp_path)
    assert set(bodies(tmp_path).values()) == {1}
    assert ran <= bodies(tmp_path)
    assert {status for status, _ in results(last).values()} == {"COMPLETED", "FAILED"}


@pytest.mark.parametrize("shards", [1, 16])
async def test_runs_of_every_state_go_on_in_postgresql(
    tmp_path: Path, url: str, shards: int, golden: dict[tuple[str, int], tuple[str, object]]
) -> None:
    app, first, last = shop(tmp_path), tmp_path / "a.db", tmp_path / "c.db"
    async with app.embedded(first, grace=0) as engine:
        await begin(app, engine, first)
    ran = bodies(tmp_path)

    await promote(str(first), url, silent, version="1", shards=shards)
    async with app.embedded(url) as engine:
        await end(app, engine, tmp_path)

    await export(url, str(tmp_path / "all.gz"), silent, version="1")
    await import_file(str(tmp_path / "all.gz"), str(last), silent)
    assert results(last) == golden
    assert set(bodies(tmp_path).values()) == {1}
    assert ran <= bodies(tmp_path)
    assert audit_file(last) == []


async def test_rows_of_a_run_are_in_one_shard_with_its_event(tmp_path: Path, url: str) -> None:
    app, first = shop(tmp_path), tmp_path / "a.db"
    async with app.embedded(first, grace=0) as engine:
        await begin(app, engine, first)

    await promote(str(first), url, silent, version="1.2.3", shards=SHARDS)

    def ask(text: str) -> list[tuple[object, ...]]:
        return postgres.ask(url, text)

    def shards() -> list[tuple[object, ...]]:
        return ask("SELECT DISTINCT shard FROM stepwell.runs ORDER BY 1")

    assert len(await asyncio.to_thread(shards)) > 1
    for text in (
        "SELECT r.id FROM stepwell.runs AS r LEFT JOIN stepwell.events AS e ON e.shard = r.shard AND e.id = r.event_id"
        " WHERE e.id IS NULL",
        "SELECT s.id FROM stepwell.steps AS s LEFT JOIN stepwell.runs AS r ON r.shard = s.shard AND r.id = s.run_id"
        " WHERE r.id IS NULL",
        "SELECT i.id FROM stepwell.items AS i LEFT JOIN stepwell.runs AS r ON r.shard = i.shard AND r.id = i.run_id"
        " WHERE r.id IS NULL AND i.run_id IS NOT NULL",
    ):
        assert await asyncio.to_thread(ask, text) == []


async def test_no_server_starts_on_a_file_that_was_promoted(tmp_path: Path, url: str) -> None:
    await asyncio.to_thread(filled, tmp_path / "a.db")

    await promote(str(tmp_path / "a.db"), url, silent, version="1.2.3")

    assert "was promoted" in refused(tmp_path / "a.db")
    again = await promote(str(tmp_path / "a.db"), url, silent, version="1.2.3")
    assert (again.written, again.rows) == (0, 2 * MANY)


async def test_who_had_the_file_open_writes_to_it_no_more(tmp_path: Path, url: str) -> None:
    """A process that only follows takes the lead no sooner than a moment after the leader has ended."""
    await asyncio.to_thread(filled, tmp_path / "a.db")
    store = SqliteStore.open(tmp_path / "a.db", leader=False)
    await write(store, PutCell(cell("in time"), 0))

    await promote(str(tmp_path / "a.db"), url, silent, version="1.2.3")

    with pytest.raises(StorageUnavailable, match=r"promoted to \S+ at "):
        await write(store, PutCell(cell("too late"), 0))
    await store.close()


async def test_a_file_that_a_process_leads_is_not_promoted(tmp_path: Path, url: str) -> None:
    await asyncio.to_thread(filled, tmp_path / "a.db")
    lock = LeaderLock(tmp_path / "a.db")
    lock.acquire()

    with pytest.raises(StorageError, match="a process runs on"):
        await promote(str(tmp_path / "a.db"), url, silent, version="1.2.3")
    lock.release()

    await SqliteStore.open(tmp_path / "a.db").close()


async def test_a_database_that_is_in_use_takes_nothing_and_the_file_stays_open(tmp_path: Path, url: str) -> None:
    await asyncio.to_thread(filled, tmp_path / "a.db")
    await asyncio.to_thread(filled, tmp_path / "b.db")
    await promote(str(tmp_path / "a.db"), url, silent, version="1.2.3")

    with pytest.raises(StorageError, match="it is in use"):
        await promote(str(tmp_path / "b.db"), url, silent, version="1.2.3")

    await SqliteStore.open(tmp_path / "b.db").close()


async def test_a_promotion_that_has_begun_goes_nowhere_else(tmp_path: Path, url: str, other: str) -> None:
    await asyncio.to_thread(filled, tmp_path / "a.db")
    await promote(str(tmp_path / "a.db"), url, silent, version="1.2.3")

    with pytest.raises(StorageError, match="was promoted to"):
        await promote(str(tmp_path / "a.db"), other, silent, version="1.2.3")


async def test_a_promotion_is_taken_back_before_a_server_has_run_there(tmp_path: Path, url: str) -> None:
    await asyncio.to_thread(filled, tmp_path / "a.db")
    before = content(tmp_path / "a.db")
    await promote(str(tmp_path / "a.db"), url, silent, version="1.2.3")

    await undo(str(tmp_path / "a.db"), url)

    store = SqliteStore.open(tmp_path / "a.db")
    await write(store, PutCell(cell("again"), 0))
    await store.close()
    assert len(content(tmp_path / "a.db")["cells"]) == len(before["cells"]) + 1
    await promote(str(tmp_path / "a.db"), url, silent, version="1.2.3")


async def test_what_was_not_promoted_is_not_taken_back(tmp_path: Path, url: str) -> None:
    await asyncio.to_thread(filled, tmp_path / "a.db")

    with pytest.raises(StorageError, match="was not promoted"):
        await undo(str(tmp_path / "a.db"), url)


async def test_a_promotion_is_not_taken_back_once_a_server_has_run_there(tmp_path: Path, url: str) -> None:
    await asyncio.to_thread(filled, tmp_path / "a.db")
    await promote(str(tmp_path / "a.db"), url, silent, version="1.2.3")
    text = "UPDATE stepwell.meta SET value = value + 1 WHERE key = 'epoch'"  # what a server does first
    await asyncio.to_thread(postgres.administrate, text, url)

    with pytest.raises(StorageError, match="a server has run on"):
        await undo(str(tmp_path / "a.db"), url)

    assert "was promoted" in refused(tmp_path / "a.db")


async def test_what_would_be_copied_is_said_by_table_and_state(tmp_path: Path) -> None:
    app, first = shop(tmp_path), tmp_path / "a.db"
    async with app.embedded(first, grace=0) as engine:
        await begin(app, engine, first)
        busy = await inventory(str(first))
    before = first.read_bytes()

    found = await inventory(str(first))

    assert (busy.led, found.led) == (True, False)
    assert found.tables["runs"] == sum(found.runs.values()) >= 100
    assert found.runs["FAILED"] == 10
    assert found.items["window"] == 2
    assert found.rows == sum(found.tables.values())
    assert first.read_bytes() == before


def test_a_promotion_that_is_killed_again_and_again_ends_with_every_row_once(tmp_path: Path, url: str) -> None:
    filled(tmp_path / "a.db")
    before = content(tmp_path / "a.db")
    chance, stopped_at = Random(11), list[int]()
    watching = postgres.kept_connection(url)  # to connect takes longer than a good part of the promotion

    def rows_there() -> int:
        try:
            found = watching.ask("SELECT rows FROM stepwell.moves")
        except postgres.asyncpg.PostgresError:
            return 0
        return int(found[0][0]) if found else 0

    for mark in [0, *sorted(chance.randrange(1, 2 * MANY) for _ in range(5))]:
        process = begun("promote", "a.db", "--to", url, folder=tmp_path)
        eventually(lambda at=mark, one=process: rows_there() >= at or one.poll() is not None)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        stopped_at.append(rows_there())
        if 0 < stopped_at[-1] < 2 * MANY:
            assert "was promoted" in refused(tmp_path / "a.db")
    last = begun("promote", "a.db", "--to", url, "--json", folder=tmp_path)
    out, err = last.communicate()

    assert last.returncode == 0, err
    assert json.loads(out)["rows"] == 2 * MANY
    assert any(0 < rows < 2 * MANY for rows in stopped_at), "no kill came in between"
    assert code("export", "--store", url, "all.gz", folder=tmp_path) == 0
    assert code("import", "all.gz", "--store", "c.db", folder=tmp_path) == 0
    assert content(tmp_path / "c.db") == before


async def test_a_database_that_is_not_whole_is_not_served(tmp_path: Path, url: str) -> None:
    await asyncio.to_thread(filled, tmp_path / "a.db")
    source = SqliteSource(tmp_path / "a.db", id="copy", stepwell="1", made_at=0)
    target = await target_of(url, "a.db")
    await target.begin(source.manifest)
    await source.close()
    await target.close()

    with pytest.raises(StorageError, match="not whole"):
        await PostgresStore.open(url)


async def test_a_connection_that_is_lost_is_said_and_the_same_goes_on(tmp_path: Path, url: str) -> None:
    await asyncio.to_thread(filled, tmp_path / "a.db")
    lost: list[int] = []

    def lose(done: int, rows: int) -> None:
        if done > MANY and not lost:
            lost.append(done)
            text = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{urlsplit(url).path[1:]}'"
            thread = Thread(target=postgres.administrate, args=(text,))
            thread.start()
            thread.join()

    with pytest.raises(StorageUnavailable, match="does not answer"):
        await promote(str(tmp_path / "a.db"), url, lose, version="1")
    done = await promote(str(tmp_path / "a.db"), url, silent, version="1")

    assert done.written == 2 * MANY - lost[0]
    rows = "SELECT count(*) FROM stepwell.events"
    assert await asyncio.to_thread(postgres.ask, url, rows) == [(MANY,)]


async def test_two_who_copy_the_same_do_not_write_a_row_twice(tmp_path: Path, url: str) -> None:
    await asyncio.to_thread(filled, tmp_path / "a.db")
    source = SqliteSource(tmp_path / "a.db", id="copy", stepwell="1", made_at=0)
    one, other = await target_of(url, "a.db"), await target_of(url, "a.db")
    assert (await one.begin(source.manifest), await other.begin(source.manifest)) == (0, 0)
    batch = await anext(source.batches(0))

    await one.write(batch, len(batch.rows))
    with pytest.raises(StorageError, match="another process copies the same"):
        await other.write(batch, len(batch.rows))

    for each in (source, one, other):
        await each.close()


@pytest.mark.sqlite("is about a file: where it is, what is in it, or what its disk does")
def test_the_command_says_what_it_would_do_does_it_and_takes_it_back(tmp_path: Path, url: str) -> None:
    filled(tmp_path / "a.db")

    looked = command("promote", "a.db", "--to", url, "--dry-run", cwd=tmp_path)
    done = command("promote", "a.db", "--to", url, "--shards", "2", cwd=tmp_path)
    refused = command("runs", "--db", "a.db", cwd=tmp_path)
    served = command("dev", "--db", "a.db", "--port", "0", cwd=tmp_path)
    undone = command("promote", "a.db", "--to", url, "--undo", "--json", cwd=tmp_path)
    elsewhere = command("promote", "a.db", "--to", "b.db", cwd=tmp_path)

    assert (looked.code, looked.out.splitlines()[-1]) == (0, "40,000 rows would be copied.")
    assert done.code == 0 and done.out.startswith("40,000 rows are in ") and " at " in done.out
    assert "password" not in done.out and "@" not in done.out
    assert refused.code == 0, "it can still be read"
    assert served.code == 1 and "was promoted: what was in it is at " in served.out + served.err
    assert (undone.code, undone.json) == (0, {"undone": True})
    assert elsewhere.code == 1 and "no PostgreSQL database" in elsewhere.err
