"""Whatever happens to a connection, at whatever statement: nothing is lost or done twice, and nobody hears of it."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest

from stepwell.errors import StorageError, StorageUnavailable
from stepwell.model.changes import CreateRun, Decision, Drop, Enqueue, Grant, Park, Plan, PutCell, SaveNote, SaveStep
from stepwell.model.history import Cell
from stepwell.model.item import Lease
from stepwell.model.questions import GetCell, GetItem, GetRun, GetSteps, Notes, Question, ask
from stepwell.storage.interface import Verdict
from stepwell.storage.postgres.store import PostgresStore
from tests.postgres import administrate, asyncpg, at, emptied, server
from tests.postgres import ask as ask_server
from tests.storage.conftest import postgres
from tests.storage.nouns import item, note, run, step

SHARDS = 4
TOKEN = 7
KINDS = {
    "lost before": "lost before",
    "lost after": "lost after",
    "40001": "serialization failure",
    "40P01": "deadlock",
    "55P03": "lock not available",
    "57014": "statement took too long",
    "53300": "too many connections",
}
"""What may go wrong with a statement: the connection before it or after it, or what the server says, by its code."""


class Faults:
    """Connections on which the ``number``-th statement goes wrong, counted over all of them, once."""

    def __init__(self, url: str, number: int = -1, kind: str = "") -> None:
        self.url, self.number, self.kind = url, number, kind
        self.seen: list[str] = []
        self.full = 0
        """How many connections more the server refuses to take."""

    def strike(self, text: str) -> str:
        """What is to go wrong with this statement; empty if nothing."""
        self.seen.append(text)
        return self.kind if len(self.seen) - 1 == self.number else ""

    async def connect(self) -> Any:
        if self.full:
            self.full -= 1
            raise asyncpg.TooManyConnectionsError("sorry, too many clients already")
        return Faulty(self, await asyncpg.connect(self.url))


class Faulty:
    def __init__(self, faults: Faults, raw: Any) -> None:
        self._faults, self._raw = faults, raw
        self.close, self.terminate, self.is_closed = raw.close, raw.terminate, raw.is_closed
        self.transaction = raw.transaction

    async def fetch(self, query: str, *args: Any) -> Sequence[Any]:
        return await self._pass(query, self._raw.fetch(query, *args))

    async def execute(self, query: str, *args: Any) -> str:
        return await self._pass(query, self._raw.execute(query, *args))

    async def executemany(self, command: str, args: Iterable[Sequence[Any]]) -> None:
        await self._pass(command, self._raw.executemany(command, args))

    async def _pass(self, text: str, work: Any) -> Any:
        kind = self._faults.strike(text)
        if not kind:
            return await work
        if kind == "lost after":
            await work
        else:
            work.close()
        if kind.startswith("lost"):
            self._raw.terminate()
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
        await self._raw.execute(f"DO $$ BEGIN RAISE SQLSTATE '{kind}'; END $$")  # the server itself says it
        raise AssertionError("it is an error")


def count_up(key: str, place: int, number: int = 1) -> Callable[[], Plan]:
    def plan() -> Plan:
        known = yield from ask(GetCell(key, 0, place))
        value = (0 if known is None else int(known.value)) + number
        return Decision((PutCell(Cell(key=key, value=str(value), expires_at=9), place),), result=value)

    return plan


def move(here: int, there: int) -> Callable[[], Plan]:
    """One from the cell of a place to that of another: a decision over two shards, in either order."""

    def plan() -> Plan:
        changes = []
        for place, number in ((here, -1), (there, 1)):
            known = yield from ask(GetCell("n", 0, place))
            value = (0 if known is None else int(known.value)) + number
            changes.append(PutCell(Cell(key="n", value=str(value), expires_at=9), place))
        return Decision(tuple(changes))

    return plan


async def script(store: PostgresStore) -> list[Any]:
    """Decisions of every kind of path, and what is there at the end."""
    lease = Lease("r1", TOKEN)

    async def commit(work: Decision | Callable[[], Plan]) -> Verdict:
        """As the engine does: what is refused for now is asked for again."""
        while True:
            try:
                return await store.commit(work)
            except StorageUnavailable:
                continue

    async def read(question: Question[Any]) -> Any:
        while True:
            try:
                return await store.read(question)
            except StorageUnavailable:
                continue

    verdicts = [
        await commit(Decision((CreateRun(run()), Enqueue(item()), Grant("r1", TOKEN, 900)), result="born")),
        await commit(Decision((SaveStep(step()), SaveNote(note("once"))), lease)),
        await commit(Decision((SaveNote(note("never")),), Lease("r1", 1))),
        await commit(count_up("a", 0)),
        await commit(move(3, 1)),
        *sorted(await asyncio.gather(*(commit(count_up("a", 0)) for _ in range(5))), key=lambda found: found.result),
        await commit(Decision((Park(lease, 400, 100),), lease)),
        await commit(Decision((Drop("r1"),), lease)),
    ]
    questions: list[Question[Any]] = [GetRun("r1"), GetSteps("r1"), Notes("r1"), GetItem("r1"), GetCell("a", 0, 0)]
    questions += [GetCell("n", 0, 1), GetCell("n", 0, 3)]
    return [*((verdict.held, verdict.result) for verdict in verdicts), *[await read(q) for q in questions]]


async def play(number: int = -1, kind: str = "") -> tuple[list[Any], list[str]]:
    url = await asyncio.to_thread(emptied, SHARDS)
    faults = Faults(url, kind=kind)
    store = await PostgresStore.open(url, here=True, shards=SHARDS, pool=3, connect=faults.connect)
    try:
        faults.seen.clear()
        faults.number = number
        return await script(store), faults.seen
    finally:
        await store.close()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=KINDS.values())
async def test_a_fault_at_any_statement_changes_nothing(kind: str):
    expected, statements = await play()
    assert {"COMMIT", "ROLLBACK"} <= set(statements)  # what it is about

    for number in range(len(statements)):
        found, seen = await play(number, kind)

        assert found == expected, (kind, number, seen[number])
        assert len(seen) > number


async def test_a_server_that_takes_no_more_connections_for_a_while_is_asked_again():
    faults = Faults(await asyncio.to_thread(emptied, SHARDS))
    store = await PostgresStore.open(faults.url, here=True, shards=SHARDS, pool=3, connect=faults.connect)

    faults.full = 3
    assert (await store.commit(count_up("a", 0))).result == 1
    assert faults.full == 0

    faults.full, faults.number, faults.kind = 3, len(faults.seen) + 2, "lost before"
    assert (await store.commit(count_up("a", 0))).result == 2
    assert faults.full == 0
    await store.close()


async def test_a_process_that_stood_still_for_longer_than_it_is_patient_tries_once_more(
    monkeypatch: pytest.MonkeyPatch,
):
    time = 0.0

    class Late(Faults):
        def strike(self, text: str) -> str:
            nonlocal time
            kind = super().strike(text)
            time += 60 * bool(kind)
            return kind

    monkeypatch.setattr("stepwell.storage.postgres.committer.monotonic_s", lambda: time)
    faults = Late(await asyncio.to_thread(emptied, SHARDS), kind="lost after")
    store = await PostgresStore.open(faults.url, here=True, shards=SHARDS, pool=3, connect=faults.connect)

    faults.number = len(faults.seen) + 1
    assert (await store.commit(count_up("a", 0))).result == 1
    faults.number = len(faults.seen)
    assert await store.read(GetCell("b", 0, 0)) is None
    assert time == 120
    await store.close()


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "here"), [(1, False), (2, True)])
async def test_backends_that_are_terminated_at_random_lose_nothing_and_repeat_nothing(seed: int, here: bool):
    chance = random.Random(seed)
    url = await asyncio.to_thread(emptied, SHARDS)
    store = await PostgresStore.open(url, here=here, shards=SHARDS, pool=4)
    killer = await asyncpg.connect(server())
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 ORDER BY pid OFFSET $2 LIMIT 1"
    name = url.rpartition("/")[2].partition("?")[0]
    news: asyncio.Queue[int] = asyncio.Queue()
    over = False

    async def work(number: int) -> int:
        rounds = 0
        while not over:
            await store.commit(move(number % SHARDS, (number + chance.randrange(1, SHARDS)) % SHARDS))
            await store.commit(count_up(f"a{number}", number))
            rounds += 1
            news.put_nowait(number)
        return rounds

    workers = [asyncio.create_task(work(number)) for number in range(6)]
    for kills in range(40):
        await killer.fetch(kill, name, chance.randrange(4))
        try:
            async with asyncio.timeout(20):
                for _ in range(news.qsize() + 3):
                    await news.get()
        except TimeoutError:
            pytest.fail(f"stuck after {kills} kills")
    over = True
    done = sum(await asyncio.gather(*workers))

    moved = [await store.read(GetCell("n", 0, place)) for place in range(SHARDS)]
    counted = [await store.read(GetCell(f"a{number}", 0, number)) for number in range(6)]
    await store.close()
    await killer.close()
    assert sum(int(each.value) for each in moved if each is not None) == 0
    assert sum(int(each.value) for each in counted if each is not None) == done


async def test_a_process_that_stops_in_the_midst_of_a_transaction_does_not_hold_its_shard_for_ever():
    url = await asyncio.to_thread(emptied, SHARDS)
    store = await PostgresStore.open(url, here=True, shards=SHARDS)
    stopped = await asyncpg.connect(url)
    await stopped.execute("BEGIN; SET LOCAL idle_in_transaction_session_timeout = 100")
    await stopped.execute("UPDATE stepwell.shards SET version = version + 1 WHERE shard = 0")

    assert (await store.commit(count_up("a", 0))).result == 1

    stopped.terminate()
    await store.close()


async def test_a_process_that_stops_in_the_midst_of_a_statement_does_not_hold_its_shard_for_ever(
    monkeypatch: pytest.MonkeyPatch,
):
    """The server has read the statement, and waits for its values: it ends neither the transaction nor the session."""
    monkeypatch.setattr("stepwell.storage.postgres.sessions.STALLED_S", 0.3)
    url = await asyncio.to_thread(emptied, SHARDS)
    store = await PostgresStore.open(url, here=True, shards=SHARDS)
    stopped, beside = await asyncpg.connect(url), await asyncpg.connect(url)
    await stopped.execute("BEGIN; SET LOCAL idle_in_transaction_session_timeout = 100")
    await stopped.execute("SET LOCAL statement_timeout = 200")
    await stopped.execute("UPDATE stepwell.shards SET version = version + 1 WHERE shard = 0")
    await stopped.prepare("SELECT version FROM stepwell.shards WHERE shard = $1")
    await beside.fetch("SELECT version FROM stepwell.shards")
    waiting = asyncio.ensure_future(store.commit(count_up("a", 0)))
    assert (await asyncio.wait([waiting], timeout=0.5))[1] == {waiting}, "the shard is held"

    assert await store.end_stalled() == 1

    assert (await waiting).result == 1
    assert await beside.fetchval("SELECT 1") == 1, "whoever rests is left alone"
    assert await store.end_stalled() == 0
    await beside.close()
    await store.close()


def test_every_transaction_says_so_itself():
    from stepwell.storage.postgres.statements import BEGIN

    assert "SET LOCAL idle_in_transaction_session_timeout" in BEGIN


async def test_a_server_that_is_not_there_is_said():
    with pytest.raises(StorageUnavailable, match="does not answer") as raised:
        await PostgresStore.open("postgresql://me:secret@127.0.0.1:1/shop")

    assert "shop at 127.0.0.1:1" in raised.value.what
    assert "secret" not in str(raised.value)
    assert "check that the server is up" in raised.value.fix


async def test_a_database_that_is_not_there_is_said():
    with pytest.raises(StorageUnavailable, match="there is no database"):
        await PostgresStore.open(at("nothing_is_named_so"))


async def test_an_address_of_something_else_is_refused():
    with pytest.raises(StorageError, match="not the address of a PostgreSQL database"):
        await PostgresStore.open("mysql://localhost/shop")


async def test_a_read_only_database_is_said_and_written_to_again_when_it_can_be(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("stepwell.storage.postgres.committer._AGAIN_S", 0.0)
    url = await asyncio.to_thread(emptied, SHARDS)
    store = await PostgresStore.open(url, here=True, shards=SHARDS)
    await store.commit(count_up("a", 0))
    name = url.rpartition("/")[2].partition("?")[0]

    monkeypatch.setattr("stepwell.storage.postgres.statements.BEGIN", "BEGIN READ ONLY")
    with pytest.raises(StorageUnavailable, match=f"{name}.*read-only"):
        await store.commit(count_up("a", 0))
    monkeypatch.undo()

    assert (await store.commit(count_up("a", 0))).result == 2
    await store.close()


async def test_what_the_server_cannot_do_is_said_at_once():
    """It never gets better, so nobody tries again."""
    url = await asyncio.to_thread(emptied, SHARDS)
    store = await PostgresStore.open(url, here=True, shards=SHARDS)
    refuse = """
        CREATE FUNCTION stepwell_test_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
          BEGIN RAISE 'no cells on Tuesdays' USING ERRCODE = '0A000'; END $$;
        CREATE TRIGGER stepwell_test_refuse BEFORE INSERT ON stepwell.cells
          FOR EACH ROW EXECUTE FUNCTION stepwell_test_refuse()"""
    await asyncio.to_thread(administrate, refuse, url)
    try:
        with pytest.raises(StorageError, match="cannot do what Stepwell asks for") as raised:
            await asyncio.wait_for(store.commit(count_up("n", 1)), 5)
    finally:
        await asyncio.to_thread(administrate, "DROP FUNCTION stepwell_test_refuse CASCADE", url)
    assert not isinstance(raised.value, StorageUnavailable)
    assert "no cells on Tuesdays" in raised.value.why
    assert (await store.commit(count_up("n", 1))).result == 1
    await store.close()


async def test_tables_that_a_migration_changes_meanwhile_are_read_as_they_are_now():
    url = await asyncio.to_thread(emptied, SHARDS)
    store = await PostgresStore.open(url, here=True, shards=SHARDS)
    for _ in range(8):  # until the server knows the statement
        await store.commit(count_up("n", 1))
    text = "ALTER TABLE stepwell.cells ALTER COLUMN value TYPE {}"
    await asyncio.to_thread(administrate, text.format("varchar(99999)"), url)
    try:
        assert (await store.commit(count_up("n", 1))).result == 9
    finally:
        await asyncio.to_thread(administrate, text.format("text"), url)
        await store.close()


async def test_a_pooler_that_forgets_statements_is_found_out_and_served():
    # Given a connection that is another one with each transaction, as far as prepared statements go
    url = await asyncio.to_thread(emptied, SHARDS)

    class Pooled(Faulty):
        async def _pass(self, text: str, work: Any) -> Any:
            if text.lstrip().startswith("BEGIN"):
                await self._raw.execute("DISCARD ALL")
            return await super()._pass(text, work)

    faults = Faults(url)

    async def connect() -> Any:
        size = 100 if store is None or store._session.statements_cached else 0
        return Pooled(faults, await asyncpg.connect(url, statement_cache_size=size))

    store: PostgresStore | None = None
    store = await PostgresStore.open(url, here=True, shards=SHARDS, pool=2, connect=connect)

    results = [(await store.commit(count_up("a", 0))).result for _ in range(5)]

    assert results == [1, 2, 3, 4, 5]
    assert not store._session.statements_cached
    await store.close()


async def test_a_text_may_have_any_character():
    store = await asyncio.to_thread(postgres, SHARDS)
    odd = "a\x00b\ue000c\ue0000\x00"
    run_id = f"r{odd}"
    await store.commit(Decision((CreateRun(run(run_id)), SaveNote(note(odd, run_id=run_id)))))
    await store.commit(Decision((Enqueue(item(run_id)), Grant(run_id, TOKEN, 9), SaveStep(step(odd, run_id=run_id)))))
    await store.commit(Decision((PutCell(Cell(key=odd, value=odd, expires_at=9), 1),), Lease(run_id, TOKEN)))

    found = await store.read(GetRun(run_id))
    assert found is not None
    assert found.id == run_id
    assert [each.text for each in await store.read(Notes(run_id))] == [odd]
    assert [each.id for each in await store.read(GetSteps(run_id))] == [odd]
    assert await store.read(GetCell(odd, 0, 1)) == Cell(key=odd, value=odd, expires_at=9)
    await store.close()


def test_tests_use_a_real_server():
    assert "PostgreSQL" in ask_server(server(), "SELECT version()")[0][0]


async def test_a_look_that_is_under_way_when_a_store_is_closed_leaves_nothing_behind():
    """Whoever looked was stopped, and went away; the database does not answer the look."""
    url = await asyncio.to_thread(emptied, SHARDS)
    looks, ended, silent = asyncio.Event(), threading.Event(), False
    here = asyncio.get_running_loop()

    class Silent(Faulty):
        async def _pass(self, text: str, work: Any) -> Any:
            if not silent:
                return await work
            work.close()
            here.call_soon_threadsafe(looks.set)
            try:
                return await asyncio.Event().wait()
            finally:
                ended.set()

    async def connect() -> Any:
        return Silent(Faults(url), await asyncpg.connect(url))

    store = await PostgresStore.open(url, here=True, shards=SHARDS, pool=3, connect=connect)
    silent = True
    look = asyncio.create_task(store.changed())
    await looks.wait()
    look.cancel()

    await store.close()

    assert ended.is_set()
