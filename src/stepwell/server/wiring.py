"""The one composition root: an engine on a SQLite file, leading it or following whoever leads, or a peer among others
on a PostgreSQL database."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from stepwell.clock import Clock, MeasuredClock, SystemClock, monotonic_s
from stepwell.errors import ConfigurationError
from stepwell.ids import RandomIds
from stepwell.limits import CALLS_MAX, LEASE, POOL_DEFAULT
from stepwell.model.settings import Settings
from stepwell.protocol.messages import Answer, Call, Progress, Reports, Superseded, Transport
from stepwell.runtime.engine import Engine
from stepwell.runtime.logs import log
from stepwell.runtime.loop import Loop, LoopTimers
from stepwell.runtime.outbound import HttpOutbound
from stepwell.runtime.remote import Remote
from stepwell.runtime.signed import Signed
from stepwell.runtime.workers import Workers
from stepwell.storage.address import is_postgres, shown
from stepwell.storage.interface import Store
from stepwell.storage.leader import LeaderLock
from stepwell.storage.sqlite import SqliteStore

if TYPE_CHECKING:
    from stepwell.server.operations import Operation
    from stepwell.storage.postgres.store import PostgresStore

_USUAL = Settings()
_MS = type(LEASE)(milliseconds=1)
_TAKE_OVER_MS = 250  # how soon a follower notices that the leader has ended
_MEASURED_FIRST = 3
_MEASURE_MS = 10_000  # clocks drift apart by less than a millisecond in this time


class Member:
    """This process's part in a store. On a SQLite file the leader runs the engine, the others send and read; on a
    PostgreSQL database every process leads, and has no ``lock``.

    The lock is the operating system's, so it is free the moment its holder ends, however it ended. ``upkeep`` goes on
    for as long as the engine does.
    """

    def __init__(
        self,
        engine: Engine,
        lock: LeaderLock | None,
        apps: Mapping[str, Sequence[Mapping[str, Any]]],
        outbound: HttpOutbound | None = None,
        upkeep: Loop | None = None,
    ) -> None:
        self.engine = engine
        self._lock = lock
        self._apps = apps
        self._outbound = outbound
        self._upkeep = upkeep
        self._watch = Loop("leadership", self._try_to_lead, engine.clock, engine.timers)

    @property
    def leads(self) -> bool:
        return self.engine.leads

    async def start(self) -> None:
        """Register the functions, and lead if nobody does. Raises ``ConfigurationError`` and ``StorageError``."""
        try:
            if self._upkeep is not None:
                self._upkeep.start()
            for app_id, configs in self._apps.items():
                await self.engine.register(app_id, configs)
            await self._try_to_lead(0)
        except BaseException:
            await self.stop(0)
            raise
        if not self.engine.leads:
            await self.engine.load()
            log.info("another process leads this file; this one sends and reads")
            self._watch.start()

    async def stop(self, grace_ms: int, drained: Callable[[], Awaitable[None]] | None = None) -> None:
        """Let the calls in flight finish for so long, then give the file free. ``drained`` is called in between."""
        await self._watch.stop()
        await self.engine.drain(grace_ms)
        if drained is not None:
            await drained()
        if self._outbound is not None:
            await self._outbound.close()
        if self._lock is not None:
            self._lock.release()
        if self._upkeep is not None:
            await self._upkeep.stop()
        await self.engine.store.close()

    async def _try_to_lead(self, now: int) -> int | None:
        if self._lock is not None and not self._lock.acquire():
            return now + _TAKE_OVER_MS
        await self.engine.lead()
        return None


async def open_store(
    address: str,
    transport: Transport,
    apps: Mapping[str, Sequence[Mapping[str, Any]]],
    *,
    durability: Literal["full", "normal"] = "full",
    pool: int = POOL_DEFAULT,
    shards: int | None = None,
    lease_ms: int = LEASE // _MS,
    calls_max: int = CALLS_MAX,
    settings: Settings = _USUAL,
    retention_ms: int | None = None,
    calls: Signed | None = None,
    outbound: HttpOutbound | None = None,
    workers: Workers | None = None,
) -> Member:
    """An engine on a store that calls functions through ``transport``.

    The address is that of a PostgreSQL database (``postgresql://…``), which any number of processes may run, or the
    path of a SQLite file, which one at a time runs; ``":memory:"`` is private, not durable. ``durability`` is a file's.
    ``pool`` is how many connections to a database this process may have, ``shards`` how many shards a new one gets.
    After ``lease_ms`` without a sign of life what a process was doing goes to another.

    ``apps`` maps app ids to the configurations of their functions. With ``calls`` those of other apps, which are
    served over HTTP or by ``workers`` that connect, are called as well. ``outbound`` makes the requests that the engine
    owes to steps; without one they may go anywhere. Raises ``StorageError``, and ``ConfigurationError`` for what does
    not fit the store.
    """
    peers, lock, upkeep = is_postgres(address), None, None
    store: Store
    clock: Clock
    if peers:
        store, clock, upkeep = await _open_postgres(address, pool, shards)
    else:
        clock = SystemClock()
        store, lock = _open_sqlite(address, durability)
    own = None if outbound is not None else HttpOutbound()
    engine = Engine(
        store,
        transport,
        clock,
        LoopTimers(clock),
        RandomIds(),
        RandomIds(),
        calls_max=calls_max,
        settings=settings,
        retention_ms=retention_ms,
        shared=address != ":memory:",
        peers=peers,
        lease_ms=lease_ms,
        outbound=outbound or own,
    )
    if calls is not None:
        there = Remote(
            calls,
            lambda id: _address(engine, id),
            clock,
            RandomIds(),
            lambda id: id in engine.registry.departed,
            workers=workers,
            owner=lambda id: _owner(engine, id),
        )
        engine.caller.transport = Both(transport, there)
    return Member(engine, lock, apps, own, upkeep)


def _open_sqlite(path: str, durability: Literal["full", "normal"]) -> tuple[Store, LeaderLock | None]:
    if path == ":memory:":
        return SqliteStore.open(path, durability=durability), None
    path = os.path.realpath(path)  # the locks beside a file must be the same for all names it has
    return SqliteStore.open(path, durability=durability), LeaderLock(path)


async def _open_postgres(address: str, pool: int, shards: int | None) -> tuple[Store, Clock, Loop]:
    """The store, its time, and the loop that goes on measuring that and ends what has stopped."""
    store = await _postgres(address).open(address, here=True, shards=shards, pool=pool)
    clock = MeasuredClock(monotonic_s)

    async def measure() -> None:
        asked = clock.monotonic()
        clock.measure(await store.now_ms(), asked, clock.monotonic())

    async def look_after(now: int) -> int:
        await measure()
        await store.end_stalled()
        return now + _MEASURE_MS

    try:
        for _ in range(_MEASURED_FIRST):  # the first answers are slow
            await measure()
    except BaseException:
        await store.close()
        raise
    return store, clock, Loop("clock", look_after, clock, LoopTimers(clock))


def _postgres(address: str) -> type[PostgresStore]:
    """The store on PostgreSQL, whose driver not everybody has. Raises ``ConfigurationError``."""
    try:
        from stepwell.storage.postgres.store import PostgresStore
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "asyncpg":
            raise
        raise ConfigurationError(
            what=f"the database {shown(address)} cannot be opened",
            why="the driver for PostgreSQL, asyncpg, is not installed",
            fix='pip install "stepwell[postgres]"',
        ) from None
    return PostgresStore


def _address(engine: Engine, function_id: str) -> str | None:
    function = engine.registry.of_run(function_id)
    return None if function is None else function.url


def _owner(engine: Engine, id: str) -> str:
    function = engine.registry.of_run(id)
    return "" if function is None else function.app_id


class _Nobody:
    """Serves no function."""

    async def call(self, call: Call, progress: Progress) -> Answer:
        raise Superseded

    def serves(self, function_id: str) -> bool:
        return False


class Both:
    """Calls functions in this process where they are here, and over HTTP where an app serves them."""

    def __init__(self, here: Transport, there: Transport) -> None:
        self.here, self._there = here, there

    async def call(self, call: Call, progress: Reports) -> Answer:
        transport = self.here if self.here.serves(call.function_id) else self._there
        return await transport.call(call, progress)

    def serves(self, function_id: str) -> bool:
        return self.here.serves(function_id) or self._there.serves(function_id)


async def all_routes() -> list[Operation]:
    """What a server of this version answers, on an engine that nobody uses."""
    from stepwell.server.guard import Guard
    from stepwell.server.rest import Rest

    clock = SystemClock()
    store = SqliteStore.open(":memory:")
    await store.close()
    return Rest(_silent(store, clock), None, Guard()).all_routes()


async def api_document() -> bytes:
    """The REST API as an OpenAPI document in JSON."""
    from stepwell.server.openapi import document

    return msgspec.json.encode(document(await all_routes()))


NOBODY: Transport = _Nobody()
"""The transport of a process that has no functions: runs wait until one comes that has them."""


async def open_for_reading(address: str) -> tuple[Engine, bool]:
    """An engine that only answers questions about a store, and whether any process runs it, as far as can be told.

    Nothing is changed. Raises ``StorageError`` and ``ConfigurationError``.
    """
    clock = SystemClock()
    if is_postgres(address):
        engine = _silent(await _postgres(address).reading(address), clock)
        await engine.load()
        # Who runs it has a lease now and then, and is not known otherwise.
        return engine, True
    engine = _silent(SqliteStore.reading(address), clock)
    await engine.load()
    return engine, LeaderLock(address).held()


def _silent(store: Store, clock: Clock) -> Engine:
    return Engine(store, NOBODY, clock, LoopTimers(clock), RandomIds(), RandomIds())
