"""A person does not want to wait: a retry is made now, a sleep is over now (semantics §9)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from stepwell import Concurrency, Context, RetryAfterError, Stepwell, Sync
from stepwell.runtime.operator import retry_now, skip_sleep
from stepwell.testing import Harness, harness
from stepwell.testing.sweep import sweep
from stepwell.testing.tables import Tables

API = "https://api.test/users"


def tried(t: Any, run: Any, step: str | None = None) -> Any:
    return t._do(lambda: retry_now(t.engine, run.id, step))


def skipped(t: Any, run: Any, step: str | None = None) -> list[str]:
    found: list[str] = t._do(lambda: skip_sleep(t.engine, run.id, step))
    return found


def at(t: Any, began: Any) -> float:
    """Seconds since then."""
    seconds: float = (t.now - began).total_seconds()
    return seconds


def test_a_step_that_failed_is_tried_now_and_that_is_an_attempt(app: Stepwell) -> None:
    attempts: list[int] = []

    @app.create_function(id="bill", trigger="go", retries=2)
    async def bill(ctx: Context):
        def charge() -> str:
            attempts.append(ctx.attempt)
            raise RetryAfterError("later", "2h")

        return await ctx.step.run("charge", charge)

    with harness(app) as t:
        t.send("go")
        began = t.now

        for _ in range(2):
            assert tried(t, t.run(bill), "charge").steps == ["charge"]
            t.advance("1s")

        t.assert_failed(t.run(bill), "later")
        assert attempts == [0, 1, 2]
        assert at(t, began) == 2
        assert not tried(t, t.run(bill)).any


def test_code_between_steps_that_failed_is_tried_now(app: Stepwell) -> None:
    attempts: list[int] = []

    @app.create_function(id="bill", trigger="go", retries=2)
    def bill(ctx: Context[Sync]) -> str:
        attempts.append(ctx.attempt)
        if ctx.attempt == 0:
            raise RetryAfterError("later", "2h")
        return "billed"

    with harness(app) as t:
        t.send("go")
        t.advance("1s")

        found = tried(t, t.run(bill))
        t.advance("1s")

        assert (found.steps, found.code) == ([], True)
        t.assert_completed(t.run(bill), "billed")
        assert attempts == [0, 1]


def test_a_sleep_that_is_skipped_is_over_and_the_others_are_not(app: Stepwell) -> None:
    order: list[str] = []

    @app.create_function(id="bill", trigger="go")
    async def bill(ctx: Context):
        async def branch(name: str) -> None:
            await ctx.step.sleep(name, "2h")
            order.append(name)

        await asyncio.gather(branch("first"), branch("second"))
        await ctx.step.sleep("last", "2h")

    with harness(app) as t:
        t.send("go")
        began = t.now

        assert skipped(t, t.run(bill), "second") == ["second"]
        t.advance("1s")
        assert order == ["second"]
        assert skipped(t, t.run(bill)) == ["first"]
        t.advance("1s")
        assert skipped(t, t.run(bill)) == ["last"]
        t.advance("1s")

        t.assert_completed(t.run(bill))
        assert at(t, began) == 3
        assert skipped(t, t.run(bill)) == []


def test_a_call_in_flight_hears_of_it(app: Stepwell) -> None:
    """Beside them a branch works: nobody else may call the function meanwhile."""
    seen: list[tuple[str, float]] = []

    @app.create_function(id="bill", trigger="go", retries=2)
    async def bill(ctx: Context):
        async def work() -> None:
            await asyncio.sleep(3600)

        def charge() -> None:
            seen.append((f"try {len(seen)}", at(t, began)))
            if len(seen) == 1:
                raise RetryAfterError("later", "2h")

        async def rest() -> None:
            await ctx.step.sleep("rest", "2h")
            seen.append(("rested", at(t, began)))

        await ctx.group.parallel([ctx.step.run("work", work), ctx.step.run("charge", charge), rest])

    with harness(app) as t:
        began = t.now
        t.send("go")
        t.advance("60s")
        assert seen == [("try 0", 0)]

        tried(t, t.run(bill), "charge")
        t.advance("60s")
        skipped(t, t.run(bill), "rest")
        t.advance("60s")

        assert seen == [("try 0", 0), ("try 1", 60), ("rested", 120)]
        t.advance("1h")
        t.assert_completed(t.run(bill))


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "while a call is in flight"])
def test_a_request_of_the_engine_is_made_again_now(app: Stepwell, beside: bool) -> None:
    @app.create_function(id="bill", trigger="go", retries=2)
    async def bill(ctx: Context):
        async def work() -> None:
            await asyncio.sleep(3600 if beside else 0)

        asked = ctx.step.fetch("ask", API)
        found, _ = await asyncio.gather(asked, ctx.step.run("work", work))
        return found.status

    with harness(app, retry_interval="2h") as t:
        t.answer_fetch(API, body=lambda request: OSError("away") if len(t.fetches) == 1 else {})
        began = t.now
        t.send("go")
        t.advance("1s")
        assert t.run(bill).steps["ask"].status == "ERRORED"

        tried(t, t.run(bill), "ask")
        t.advance("1s")

        assert t.run(bill).steps["ask"].status == "COMPLETED"
        assert at(t, began) == 2


def test_a_limit_holds_what_is_tried_now(app: Stepwell) -> None:
    @app.create_function(id="bill", trigger="go", retries=2, concurrency=Concurrency(1))
    async def bill(ctx: Context):
        async def work() -> None:
            if ctx.event.data.get("first") and ctx.attempt == 0:
                raise RetryAfterError("later", "2h")
            await asyncio.sleep(3600)

        await ctx.step.run("work", work)

    with harness(app) as t:
        t.send("go", {"first": True})
        first = t.run(bill)
        t.send("go")
        t.advance("1s")

        tried(t, first, "work")
        t.advance("30m")
        assert t.run(bill, id=first.id).steps["work"].status == "ERRORED"
        t.advance("2h")

        assert [run.status for run in t.runs(bill)] == ["COMPLETED", "COMPLETED"]


@pytest.mark.sqlite("is judged at each commit by triggers and queries of SQLite")
@pytest.mark.slow
@pytest.mark.parametrize("beside", [False, True], ids=["alone", "while a call is in flight"])
def test_it_is_done_once_whichever_commit_the_process_dies_at(app: Stepwell, beside: bool) -> None:
    @app.create_function(id="bill", trigger="go", retries=2)
    async def bill(ctx: Context):
        async def work() -> None:
            await asyncio.sleep(240 if beside else 0)

        def charge() -> str:
            if ctx.attempt == 0:
                raise RetryAfterError("later", "2h")
            return "charged"

        async def one_by_one() -> str:
            charged: str = await ctx.step.run("charge", charge)
            await ctx.step.sleep("rest", "2h")
            return charged

        _, charged = await asyncio.gather(ctx.step.run("work", work), one_by_one())
        if ctx.attempt == 0:
            raise RetryAfterError("later", "2h")
        return charged

    def scenario(t: Harness) -> None:
        began = t.now
        t.send("go")
        t.advance("1m")
        tried(t, t.run(bill), "charge")
        t.advance("1m")
        skipped(t, t.run(bill), "rest")
        t.advance("15m" if beside else "1m")
        tried(t, t.run(bill))
        t.advance("1m")

        t.assert_completed(t.run(bill), "charged")
        assert at(t, began) < 7200
        asked = Tables(t.store).ask("SELECT kind FROM notes WHERE kind <> 'lease-lost' ORDER BY rowid")
        assert asked == [("retried-now",), ("sleep-skipped",), ("retried-now",)]

    found = sweep(app, scenario, judged=True)

    assert not found.failures, str(found)
    assert found.points > 8
