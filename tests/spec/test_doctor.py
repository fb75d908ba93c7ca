"""``stepwell doctor``: finds rows that do not fit together, and repairs what surely can be (D23)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from stepwell import Concurrency, Debounce, Event, Singleton, Stepwell, Throttle
from stepwell.engine.repair import REPAIRS, repair
from stepwell.storage.checkup import LOOKS, MENDED, Finding, findings, questions
from stepwell.testing import Harness, harness
from tests.tables import tables

HOUR = timedelta(hours=1)


@pytest.fixture
def app() -> Stepwell:
    app = Stepwell("shop")

    @app.create_function(id="sleep", trigger="sleep")
    async def sleep(ctx):
        await ctx.step.run("before", lambda: 1)
        await ctx.step.sleep("rest", HOUR)
        return "slept"

    @app.create_function(id="listen", trigger="listen")
    async def listen(ctx):
        got = await ctx.step.wait_for_event("answer", event="answered", timeout="1d")
        return got is not None

    @app.create_function(id="signal", trigger="signal")
    async def signal(ctx):
        return await ctx.step.wait_for_signal("told", signal="go", timeout="1d")

    @app.create_function(id="ask", trigger="ask")
    async def ask(ctx):
        return await ctx.step.invoke("child", function=sleep)

    @app.create_function(id="one", trigger="one", concurrency=Concurrency(1))
    async def one(ctx):
        await ctx.step.run("wait", rest)
        return "done"

    @app.create_function(id="slow", trigger="slow", throttle=Throttle(limit=1, period="1h"))
    async def slow(ctx):
        return "started"

    @app.create_function(id="edited", trigger="edited", debounce=Debounce(period="1m"))
    async def edited(ctx):
        return "saved"

    @app.create_function(id="alone", trigger="alone", singleton=Singleton(mode="skip"))
    async def alone(ctx):
        await ctx.step.sleep("rest", HOUR)

    @app.create_function(id="fails", trigger="fails", retries=3)
    async def fails(ctx):
        raise ValueError("no")

    @app.create_function(id="paused", trigger="paused")
    async def paused(ctx):
        return "went on"

    return app


async def rest() -> None:
    import asyncio

    await asyncio.sleep(60)


class Doctor:
    def __init__(self, t: Harness) -> None:
        self._t = t
        self.ask = tables(t).ask

    def look(self) -> list[Finding]:
        return [found for look, text in questions(self.now()) for found in findings(look, self.ask(text))]

    def kinds(self) -> list[str]:
        return [found.kind for found in self.look()]

    def repair(self) -> list[bool]:
        """As if a process beside the server did it; the server then begins anew."""
        now = self.now()

        async def mend() -> list[bool]:
            done: list[bool] = []
            for one in self.look():
                if one.kind in REPAIRS:
                    work = lambda one=one: repair(one.kind, one.who, one.shard, now)  # noqa: E731
                    done.append((await self._t.store.commit(work)).result)
            return done

        return self._t._do(mend)

    def now(self) -> int:
        return int(self._t.now.timestamp() * 1000)


def everything(t: Harness) -> None:
    """Runs in each state."""
    t.pause("paused")
    for name in (
        "sleep",
        "listen",
        "signal",
        "ask",
        "one",
        "one",
        "slow",
        "slow",
        "slow",
        "slow",
        "edited",
        "alone",
        "fails",
        "paused",
    ):
        t.send(Event(name))
    t.advance(timedelta(seconds=1))


def test_every_repair_is_for_a_kind_that_is_looked_for():
    assert set(REPAIRS) == set(MENDED)
    assert len({look.kind for look in LOOKS}) == len(LOOKS)


def test_where_all_is_well_nothing_is_found(app: Stepwell):
    with harness(app) as t:
        doctor = Doctor(t)
        everything(t)
        assert doctor.look() == []

        for _ in range(30):
            t.advance(timedelta(minutes=7))
            assert doctor.look() == []


def completed(t: Harness, function: str, output: object) -> None:
    for run in t.runs(function):
        t.assert_completed(run, output)


# Ids that are made up end as those do of which they are made: that is where their rows have to be.
BREAKS: dict[str, tuple[str, Callable[[Harness], object]]] = {
    "run-without-waker": (
        "DELETE FROM items WHERE function_id = 'shop-sleep'",
        lambda t: completed(t, "sleep", "slept"),
    ),
    "run-rests-too-long": (
        "UPDATE items SET at = at + 1000000000 WHERE function_id = 'shop-sleep'",
        lambda t: completed(t, "sleep", "slept"),
    ),
    "item-of-ended-run": (
        "UPDATE runs SET status = 'CANCELLED', ended_at = 5 WHERE function_id = 'shop-fails'",
        lambda t: t.assert_cancelled(t.run("fails")),
    ),
    "item-without-run": (
        "DELETE FROM runs WHERE function_id = 'shop-fails'",
        lambda t: completed(t, "sleep", "slept"),
    ),
    "wait-of-ended-run": (
        "INSERT INTO waits (shard, run_id, id, kind, event_name, since, expires_at, path, value)"
        " SELECT shard, '01HF7YAT0000000000000000' || substr(run_id, 25), 'w', kind, event_name, since, expires_at,"
        " path, value FROM waits"
        " WHERE kind = 'event'",
        lambda t: t.run("listen"),
    ),
    "wait-of-settled-step": (
        "INSERT INTO waits (shard, run_id, id, kind, event_name, since, expires_at, path, value)"
        " SELECT shard, run_id, id, 'event', 'never', 0, 99999999999999, '', '' FROM steps WHERE name = 'before'",
        lambda t: completed(t, "sleep", "slept"),
    ),
    "slot-without-call": (
        "UPDATE items SET lease = 0, at = NULL, backlog = 'fn/shop-one' WHERE function_id = 'shop-one' AND lease <> 0",
        lambda t: completed(t, "one", "done"),
    ),
    "lock-of-ended-run": (
        "UPDATE slots SET holder = 'run:01HF7YAT0000000000000000' || substr(holder, 29) WHERE holder LIKE 'run:%'",
        lambda t: t.run("alone"),
    ),
    "stuck-backlog": (
        "DELETE FROM items WHERE kind = 'throttle'",
        lambda t: completed(t, "slow", "started"),
    ),
    "stuck-window": (
        "DELETE FROM items WHERE kind = 'window'",
        lambda t: t.assert_completed(t.run("edited"), "saved"),
    ),
}


def test_all_that_can_be_repaired_is_broken_here():
    assert set(BREAKS) == set(MENDED)


@pytest.mark.parametrize("kind", BREAKS)
def test_what_was_broken_is_found_and_goes_on_after_the_repair(app: Stepwell, kind: str):
    broken, then = BREAKS[kind]
    with harness(app) as t:
        doctor = Doctor(t)
        everything(t)

        doctor.ask(broken)

        assert kind in doctor.kinds()
        assert doctor.repair()[0]
        assert kind not in doctor.kinds()
        t.crash()
        t.resume("paused")
        t.advance(timedelta(hours=5))
        then(t)
        assert kind not in doctor.kinds()


NAMED = {
    "step-that-nobody-hears": "DELETE FROM waits WHERE kind = 'event'",
    "step-without-child": "UPDATE runs SET parent = NULL WHERE parent IS NOT NULL",
    "run-without-lock": "DELETE FROM slots WHERE holder LIKE 'run:%'",
    "half-ended-run": "UPDATE runs SET ended_at = 5 WHERE function_id = 'shop-sleep'",
    "event-of-run-missing": "DELETE FROM events WHERE name = 'sleep'",
    "step-put-off-for-ever": "UPDATE steps SET status = 'DEFERRED' WHERE name = 'answer'",
}


@pytest.mark.parametrize("kind", NAMED)
def test_what_cannot_be_repaired_is_named(app: Stepwell, kind: str):
    with harness(app) as t:
        doctor = Doctor(t)
        everything(t)
        doctor.ask(NAMED[kind])
        if kind == "step-put-off-for-ever":
            doctor.ask("UPDATE runs SET status = 'CANCELLED', ended_at = 5 WHERE function_id = 'shop-listen'")

        assert kind in doctor.kinds()
        assert kind not in MENDED


def test_every_kind_is_found_here():
    assert {look.kind for look in LOOKS} == {*BREAKS, *NAMED}


@pytest.mark.parametrize("kind", REPAIRS)
def test_a_repair_changes_nothing_where_all_is_well(app: Stepwell, kind: str):
    """What was found may have been a moment of a busy system."""
    with harness(app) as t:
        doctor = Doctor(t)
        everything(t)
        run, holder = t.runs("sleep")[0].id, doctor.ask("SELECT holder FROM slots LIMIT 1")[0][0]
        step = doctor.ask("SELECT id FROM steps WHERE name = 'rest' LIMIT 1")[0][0]
        shards = {
            "slot-without-call": "SELECT shard FROM slots LIMIT 1",
            "stuck-backlog": "SELECT shard FROM items WHERE backlog = 'fn/shop-one'",
            "stuck-window": "SELECT shard FROM items WHERE kind = 'window'",
        }
        shard = doctor.ask(shards.get(kind, f"SELECT shard FROM runs WHERE id = '{run}'"))[0][0]
        who = {
            "wait-of-settled-step": (run, step),
            "slot-without-call": (holder, "fn/shop-one"),
            "lock-of-ended-run": (run, "singleton/shop-alone"),
            "stuck-backlog": ("fn/shop-one",),
            "stuck-window": tuple(doctor.ask("SELECT id FROM items WHERE kind = 'window'")[0]),
        }.get(kind, (run,))
        before = tables(t).version()

        async def mend() -> Any:
            return await t.store.commit(lambda: repair(kind, who, shard, doctor.now()))

        assert t._do(mend).result is False
        assert tables(t).version() == before
