"""``concurrency=`` beside its model (semantics §7.3; F63 to F66, I12, I13): who is busy, for each key of each limit.

A slot is taken when there is room under every limit of its function, by the limit of this function. It is kept from one
step of a call to the next, though functions that allow more under the same key may have filled it up meanwhile. No body
begins without a slot of its own. Whoever waits for room under a key waits because there is none. Which of several that
wait for different keys comes first is not said, so the model follows.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stepwell import Concurrency, Event, Stepwell
from stepwell.model.questions import Count
from stepwell.testing import Harness, harness
from stepwell.testing.tables import Tables
from tests.simulation.models.machine import DAY, KEYS, check

pytestmark = pytest.mark.sqlite("sees each slot that is taken by a trigger of SQLite")
FUNCTIONS = ("one", "two")
LIMITS = {
    "function": lambda limit: Concurrency(limit),
    "key": lambda limit: Concurrency(limit, key="event.data.k"),
    "env": lambda limit: Concurrency(limit, key="event.data.k", scope="env"),
    "account": lambda limit: Concurrency(limit, key="'all'", scope="account"),
}
SHAPES = (("function",), ("key",), ("env",), ("account",), ("function", "key"), ("env", "account"), ("key", "env"))
SHARED = {"env", "account"}
# Two functions are more often than by chance such as share a limit.
PAIRS = [pair for pair in product(SHAPES, SHAPES) for _ in range(4 if SHARED & {*pair[0]} & {*pair[1]} else 1)]
PARTS_MAX = 10  # 100 of those who wait in each, and there are hardly more than that
Pool = tuple[str, ...]

_TAKEN = """
CREATE TEMP TABLE taken (key TEXT, holder TEXT, used INTEGER);
CREATE TEMP TRIGGER slot_taken AFTER INSERT ON slots WHEN new.holder NOT LIKE 'run:%'
BEGIN INSERT INTO taken SELECT new.key, new.holder, count(*) - 1 FROM slots WHERE key = new.key; END;
"""


class Busy:
    """The bodies at work. A process that dies takes all of its own with it."""

    def __init__(self) -> None:
        self.at_work: dict[int, tuple[str, tuple[Pool, ...]]] = {}
        self.begun = 0
        self.wrong: list[str] = []

    def begin(self, run_id: str, pools: tuple[Pool, ...], most: tuple[int, ...], slots: tuple[int, ...]) -> int:
        """A body begins. ``most`` is how many may be at work in each pool, ``slots`` what its run has there."""
        mine = sum(run_id == other for other, _ in self.at_work.values())
        for pool, limit, held in zip(pools, most, slots, strict=True):
            if self.under(pool) >= limit:
                self.wrong.append(f"{self.under(pool)} are busy under {pool} already, and {limit} may be")
            if mine >= held:
                self.wrong.append(f"{mine} bodies of {run_id} are at work already, which has {held} slots of {pool}")
        self.begun += 1
        self.at_work[self.begun] = (run_id, pools)
        return self.begun

    def end(self, body: int) -> None:
        self.at_work.pop(body, None)

    def forget(self, run_id: str) -> None:
        self.at_work = {body: found for body, found in self.at_work.items() if found[0] != run_id}

    def under(self, pool: Pool) -> int:
        return sum(pool in pools for _, pools in self.at_work.values())


class ConcurrencyMachine(RuleBasedStateMachine):
    t: Harness

    @initialize(shapes=st.sampled_from(PAIRS), data=st.data())
    def begin(self, shapes: tuple[tuple[str, ...], tuple[str, ...]], data: st.DataObject) -> None:
        self.shapes = dict(zip(FUNCTIONS, shapes, strict=True))
        self.busy = Busy()
        self.version = self.app(data)
        self.paused: set[str] = set()
        self.t = harness(self.version).__enter__()
        self.tables = Tables(self.t.store)
        self.tables.ask(_TAKEN)

    def app(self, data: st.DataObject) -> Stepwell:
        app = Stepwell("shop")
        self.limits = {id: tuple(data.draw(st.integers(1, 3)) for _ in self.shapes[id]) for id in FUNCTIONS}
        for id in FUNCTIONS:
            limits = [LIMITS[name](limit) for name, limit in zip(self.shapes[id], self.limits[id], strict=True)]

            @app.create_function(id=id, trigger=id, concurrency=limits, retries=1)
            async def work(ctx: Any, id: str = id) -> None:
                seconds = ctx.event.data["s"]
                await ctx.step.run("first", self.work, ctx, id, seconds)
                await ctx.step.sleep("rest", 3_000)
                if seconds == 5 and ctx.attempt == 0:
                    raise RuntimeError("once")
                await asyncio.gather(*(ctx.step.run(name, self.work, ctx, id, seconds) for name in ("left", "right")))

        return app

    async def work(self, ctx: Any, id: str, seconds: int) -> None:
        pools = self.pools(id, ctx.event.data["k"])
        body = self.busy.begin(ctx.run_id, pools, self.most(id), self.held(ctx.run_id))
        await asyncio.sleep(seconds)
        self.busy.end(body)

    def pools(self, id: str, key: str) -> tuple[Pool, ...]:
        found = {"function": ("fn", id), "key": ("fn", id, key), "env": ("env", key), "account": ("account", "all")}
        return tuple(found[name] for name in self.shapes[id])

    def most(self, id: str) -> tuple[int, ...]:
        """How many may be busy under each limit of a function, by whatever functions have the same."""
        allowed = [dict(zip(self.shapes[each], self.limits[each], strict=True)) for each in FUNCTIONS]
        return tuple(
            max(each.get(name, 0) for each in allowed) if name in ("env", "account") else limit
            for name, limit in zip(self.shapes[id], self.limits[id], strict=True)
        )

    def held(self, run_id: str) -> tuple[int, ...]:
        """How many slots a run has under each of its limits."""
        text = "SELECT count(*) FROM slots WHERE key = ? AND (holder = ? OR holder LIKE ? || '/%')"
        return tuple(self.tables.ask(text, key, run_id, run_id)[0][0] for key in self.tables.slots(run_id))

    @rule(id=st.sampled_from(FUNCTIONS), keys=st.lists(st.sampled_from(KEYS), min_size=1, max_size=5), data=st.data())
    def send(self, id: str, keys: list[str], data: st.DataObject) -> None:
        seconds = data.draw(st.sampled_from((0, 1, 5, 20)))
        self.t.send([Event(id, {"k": key, "s": seconds}) for key in keys])

    @rule(ms=st.sampled_from((0, 1_000, 3_000, 7_000, 60_000)))
    def wait(self, ms: int) -> None:
        self.t.advance(ms)

    @rule(down=st.sampled_from((0, 3_000, 100_000)), data=st.data(), changes=st.booleans())
    def crash(self, down: int, data: st.DataObject, changes: bool) -> None:
        """The limits that there are next hold at once, also for what waits."""
        self.who_took_a_slot_had_room()
        self.busy.at_work.clear()
        if changes:
            self.version = self.app(data)
        self.t.crash(down=down, app=self.version)
        self.t.advance(0)
        for _ in range(PARTS_MAX):
            if not self.owes():
                break
            self.t.advance(10)
        assert not self.owes(), "who waits under the limits of before is asked within a bounded time"

    @precondition(lambda self: self.live())
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """A body at work goes on in the app, and holds no slot any more: it is left out of the account."""
        run_id = data.draw(st.sampled_from(self.live()))
        self.busy.forget(run_id)
        self.t.cancel(run_id)
        self.t.advance(0)

    @rule(id=st.sampled_from(FUNCTIONS), runs=st.sampled_from(("finish", "hold")))
    def pause_or_resume(self, id: str, runs: str) -> None:
        if id in self.paused:
            self.t.resume(id)
        else:
            self.t.pause(id, events="hold", runs=runs)  # type: ignore[arg-type]
        self.paused ^= {id}
        self.t.advance(0)

    @invariant()
    def who_began_had_room(self) -> None:
        assert not hasattr(self, "busy") or not self.busy.wrong, self.busy.wrong

    @invariant()
    def who_took_a_slot_had_room(self) -> None:
        if not hasattr(self, "t"):
            return
        for key, used, slots, id in self.tables.ask(
            "SELECT t.key, t.used, r.slots, substr(r.function_id, 6) FROM taken AS t "
            "JOIN runs AS r ON r.id = substr(t.holder, 1, 26)"
        ):
            limit = self.limits[id][json.loads(slots).index(key)]
            assert used < limit, f"{id} took a slot of {key}, of which {used} were taken, and {limit} may be"
        self.tables.ask("DELETE FROM taken")

    @invariant()
    def who_waits_for_room_finds_none(self) -> None:
        for backlog, slots, id, data in self.waiting():
            number = json.loads(slots).index(backlog)
            pool = self.pools(id, json.loads(data)["k"])[number]
            limit = self.limits[id][number]
            assert self.busy.under(pool) >= limit, f"{pool} has room: {self.busy.under(pool)} of {limit}"

    def waiting(self) -> Iterator[Any]:
        if hasattr(self, "t"):
            yield from self.tables.ask(
                "SELECT i.backlog, r.slots, substr(r.function_id, 6), e.data FROM items AS i "
                "JOIN runs AS r ON r.id = i.run_id JOIN events AS e ON e.id = r.event_id "
                "WHERE i.backlog IS NOT NULL AND instr(r.slots, '\"' || i.backlog || '\"')"
            )

    def owes(self) -> bool:
        """Whether some of those who wait are still to be asked by limits that have changed (ADR 0029)."""
        return bool(self.tables.ask("SELECT 1 FROM items WHERE kind IN ('review', 'release')"))

    def live(self) -> list[str]:
        if not hasattr(self, "t"):
            return []
        return [run_id for (run_id,) in self.tables.ask("SELECT id FROM runs WHERE ended_at IS NULL ORDER BY id")]

    def teardown(self) -> None:
        if not hasattr(self, "t"):
            return
        try:
            for id in self.paused:
                self.t.resume(id)
            self.t.advance(DAY)
            self.who_began_had_room()
            self.who_took_a_slot_had_room()
            left = self.t.ask(Count(int(self.t.now.timestamp() * 1000)))
            assert (left.live_runs, left.items, left.leased, left.blocked) == (0, 0, 0, 0)
            assert self.tables.ask("SELECT * FROM slots") == []
        finally:
            self.t.__exit__(None, None, None)


@pytest.mark.slow
def test_no_more_are_busy_than_may_be_and_nobody_waits_for_room_that_there_is() -> None:
    check(ConcurrencyMachine, steps=40, shrinks=False)
