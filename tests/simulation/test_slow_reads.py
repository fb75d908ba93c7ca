"""A store that answers later than anything may stay unseen: peers go on with what they can know (ADR 0037)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from stepwell import Context, Stepwell
from stepwell.clock import to_ms
from stepwell.ids import RandomIds
from stepwell.model.questions import GetRun, ListRuns, Standings
from stepwell.protocol.events import Incoming
from stepwell.runtime.engine import Engine
from stepwell.runtime.loop import LoopTimers
from stepwell.sdk.pool import THREADS_MAX
from stepwell.sdk.transport import InProcess
from stepwell.storage.sqlite import SqliteStore
from stepwell.testing.loop import VirtualClock, VirtualLoop
from stepwell.testing.node import Door


class Far(Door):
    """Its answers about leases take so many seconds, each the next of these, and the last of them for ever."""

    def __init__(self, store: SqliteStore, *takes: float) -> None:
        super().__init__(store)
        self.takes = list(takes)
        self.looks = 0

    async def read(self, question: Any) -> Any:
        found = await super().read(question)
        if isinstance(question, Standings):
            self.looks += 1
            await asyncio.sleep(self.takes.pop(0) if len(self.takes) > 1 else self.takes[0])
        return found


class Peer:
    def __init__(self, *takes: float) -> None:
        self.loop = VirtualLoop(inline=True)
        clock = VirtualClock(self.loop, to_ms(datetime(2026, 1, 1, tzinfo=UTC)))
        self.store = SqliteStore.inline(shards=1)
        self.door = Far(self.store, *takes)
        self.app = Stepwell("app")
        self.began: list[float] = []

        @self.app.create_function(id="work", trigger="go")
        async def work(ctx: Context[Any]) -> None:
            await ctx.step.run("long", asyncio.sleep, 1)  # by its end what was known is too old
            await ctx.step.run("next", self._begin)

        ids = RandomIds(1)
        transport = InProcess(self.app, clock, THREADS_MAX)
        self.engine = Engine(
            self.door, transport, clock, LoopTimers(clock), ids, ids, peers=True, monotonic=self.loop.time
        )

    async def _begin(self) -> None:
        self.began.append(self.loop.time())

    async def run(self, for_s: float) -> str:
        await self.engine.register("app", self.app.configs())
        await self.engine.lead()
        await self.engine.send([Incoming(name="go", data=b"{}")])
        await asyncio.sleep(for_s)
        (run,) = await self.store.read(ListRuns(limit=10))
        found = await self.store.read(GetRun(run.id))
        assert found is not None
        await self.engine.halt()
        return found.status


@pytest.fixture
def peers() -> Iterator[list[Peer]]:
    made: list[Peer] = []
    yield made
    for peer in made:
        peer.loop.run_until_complete(peer.store.close())
        peer.loop.close()


def test_where_every_answer_is_slow_bodies_begin_all_the_same(peers: list[Peer], caplog: Any) -> None:
    peer = Peer(0.3)
    peers.append(peer)

    with caplog.at_level(logging.WARNING):
        assert peer.loop.run_until_complete(peer.run(10)) == "COMPLETED"

    assert len([record for record in caplog.records if "the store is slow" in record.message]) == 1


def test_one_answer_that_was_slow_is_asked_for_again(peers: list[Peer], caplog: Any) -> None:
    peer = Peer(0.3, 0.3, 0.01)
    peers.append(peer)

    with caplog.at_level(logging.WARNING):
        assert peer.loop.run_until_complete(peer.run(10)) == "COMPLETED"

    assert peer.door.looks >= 3
    assert not [record for record in caplog.records if "the store is slow" in record.message]


def test_nothing_begins_after_a_look_that_took_as_long_as_a_lease_may(peers: list[Peer]) -> None:
    """Then it was perhaps the process that stood still, and the run is another's by now."""
    peer = Peer(20)
    peers.append(peer)

    assert peer.loop.run_until_complete(peer.run(120)) == "RUNNING"
    assert peer.began == []
