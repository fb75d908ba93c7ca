"""The end of a lease matters only to a call that left it behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NoReturn

import pytest

from stepwell import Cancel, Context, Stepwell
from stepwell.protocol.events import Incoming
from stepwell.runtime import caller, dispatcher
from stepwell.testing import harness


def quick(counted: Callable[[], None] = lambda: None) -> Stepwell:
    app = Stepwell("shop")

    @app.create_function(id="quick", trigger="shop/ordered")
    async def run(ctx: Context[Any]) -> str:
        counted()
        return await ctx.step.run("work", lambda: "done")

    return app


@pytest.mark.parametrize("later", [0, 60_000])
def test_nothing_looks_for_work_after_the_last_run_has_ended(monkeypatch: pytest.MonkeyPatch, later: int):
    claims: list[int] = []
    claim = dispatcher.claim

    def counting(draft: Any, **named: Any) -> Any:
        claims.append(draft.now)
        return claim(draft, **named)

    monkeypatch.setattr(dispatcher, "claim", counting)
    app = quick()
    with harness(app) as t:
        t.send("shop/ordered", ts=int(t.now.timestamp() * 1000) + later)
        t.advance(later)
        t.assert_completed(t.run(), "done")
        before = len(claims)

        t.advance("1h")

    assert len(claims) == before


def test_a_run_whose_call_left_its_lease_behind_goes_on_when_that_ends(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    conclusion, calls = caller._conclusion, 0

    def broken(*_: object) -> NoReturn:
        monkeypatch.setattr(caller, "_conclusion", conclusion)
        raise RuntimeError("a bug of ours")

    def counted() -> None:
        nonlocal calls
        calls += 1

    monkeypatch.setattr(caller, "_conclusion", broken)
    with harness(quick(counted)) as t:
        t.send("shop/ordered", {})
        run = t.run()
        assert (calls, run.ended) == (1, False)
        (told,) = [each for each in caplog.records if each.levelname == "ERROR"]
        assert "a call broke off" in told.getMessage() and told.exc_info is not None

        t.advance("31s")

        t.assert_completed(run, "done")
    assert calls == 2


def test_an_event_does_not_end_the_time_for_which_a_run_is_left_alone():
    """ADR 0010: else a run that waits beside what ends its process would take it down without a pause."""
    app = Stepwell("shop")
    begun: list[str] = []

    @app.create_function(id="deadly", trigger="shop/ordered")
    async def deadly(ctx: Context[Any]) -> None:
        async def die() -> None:
            begun.append("die")
            await asyncio.sleep(60)

        await asyncio.gather(
            ctx.step.run("die", die),
            *(ctx.step.wait_for_event(f"w{n}", f"shop/ping{n}", timeout="1h") for n in range(9)),
        )

    with harness(app) as t:
        t.send("shop/ordered", {})
        for _ in range(4):
            t.advance("100ms")
            t.crash()
        before = len(begun)

        for number in range(9):
            t.send(f"shop/ping{number}", {})

        assert len(begun) == before
        t.advance("5s")
        assert len(begun) == before + 1


def test_a_lease_that_was_promised_and_not_used_leaves_its_room_to_others():
    """A run that is cancelled by the very request that starts it is not called."""
    app = Stepwell("shop")

    @app.create_function(id="sleeper", trigger="shop/slept")
    async def sleeper(ctx: Context[Any]) -> int:
        await ctx.step.sleep("rest", "1s")
        return 1

    @app.create_function(id="stillborn", trigger="shop/ordered", cancel=Cancel("shop/cancelled"))
    async def stillborn(ctx: Context[Any]) -> None: ...

    with harness(app) as t:
        t.engine.calls_max = 1
        t.send("shop/slept", {})
        engine = t.engine

        def both() -> None:
            engine.spawn(engine.send([Incoming(name="shop/ordered"), Incoming(name="shop/cancelled")]))

        t._timers.call_at(engine.clock.now_ms() + 1_000, both)
        t.advance("2s")

        t.assert_completed(t.run(sleeper), 1)
