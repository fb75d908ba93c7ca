"""Remembering and replaying (semantics §4.5; F28)."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest

from stepwell import StepError
from stepwell.testing import harness


def test_each_body_runs_once_while_the_code_between_runs_once_per_call(app) -> None:
    story: list[str] = []

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        story.append("call")
        for name in ("a", "b", "c"):
            await ctx.step.run(name, lambda name=name: story.append(name))
            await ctx.step.sleep(f"after {name}", "1h")

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("3h")

        t.assert_completed(t.run(bill))
        assert story == ["call", "a", "call", "b", "call", "c", "call"]


def test_steps_in_a_row_are_done_in_one_call(app) -> None:
    """Semantics §12.1: each is stored in passing."""
    calls: list[int] = []

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        calls.append(1)
        return [await ctx.step.run(f"step {n}", lambda n=n: n) for n in range(50)]

    with harness(app) as t:
        t.send("ordered", {})

        t.assert_completed(t.run(bill), list(range(50)))
        assert calls == [1]


@pytest.mark.parametrize("at", range(6))
def test_wherever_the_process_dies_no_stored_step_runs_again(app, at: int) -> None:
    """I4: a crash before each step in turn."""
    bodies: list[int] = []

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        for n in range(6):
            if n == at and len(bodies) == at:
                await asyncio.sleep(60)
            await ctx.step.run(f"step {n}", lambda n=n: bodies.append(n))
        return "billed"

    with harness(app) as t:
        t.send("ordered", {})
        assert bodies == list(range(at))
        t.crash()
        t.run_until_idle()

        t.assert_completed(t.run(bill), "billed")
        assert bodies == list(range(6))


def test_replays_always_see_the_same_data(app) -> None:
    """I5, through successes, failures, timeouts, events and restarts."""
    seen: list[list[object]] = []

    @app.create_function(id="bill", trigger="ordered", retries=0)
    async def bill(ctx):
        def decline() -> None:
            raise ValueError("no card")

        found: list[object] = []
        seen.append(found)
        found.append(await ctx.step.run("list", lambda: [1, "two", None]))
        with suppress(StepError):
            await ctx.step.run("decline", decline)
            found.append("charged")
        found.append(await ctx.step.wait_for_event("never", "never", timeout="1m"))
        event = await ctx.step.wait_for_event("paid", "paid", timeout="1h")
        found.append((event.id, event.ts, event.data))
        for n in range(3):
            await ctx.step.sleep(f"rest {n}", "1h")
            found.append(n)

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1m")
        t.send("paid", {"amount": 7})
        for _ in range(3):
            t.crash()
            t.advance("1h")

        t.assert_completed(t.run(bill))
        assert all(earlier == seen[-1][: len(earlier)] for earlier in seen)
        assert len(seen) > 4


def test_code_may_branch_on_what_is_remembered(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        rich = await ctx.step.run("look", lambda: ctx.event.data["amount"] > 10)
        await ctx.step.sleep("rest", "1h")
        return await ctx.step.run("gold" if rich else "plain", lambda: rich)

    with harness(app) as t:
        t.send("ordered", {"amount": 11})
        t.send("ordered", {"amount": 9})
        t.advance("1h")

        assert [list(run.steps)[-1] for run in t.runs(bill)] == ["gold", "plain"]


def test_steps_may_be_in_helpers_generators_and_context_managers(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        async def charge(n: int) -> int:
            return await ctx.step.run(f"charge {n}", lambda: n)

        async def charges():
            for n in range(2):
                yield await charge(n)
                await ctx.step.sleep(f"rest {n}", "1h")

        @asynccontextmanager
        async def order():
            await ctx.step.run("open", lambda: "open")
            yield
            await ctx.step.run("close", lambda: "close")

        async with order():
            return [n async for n in charges()]

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("2h")

        t.assert_completed(t.run(bill), [0, 1])
        t.assert_steps(t.run(bill), "open", "charge 0", "rest 0", "charge 1", "rest 1", "close")


def test_a_long_history_is_replayed_in_order(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        total = 0
        for n in range(60):
            total += await ctx.step.run("add", lambda n=n: n)
            if n % 20 == 19:
                await ctx.step.sleep("rest", "1h")
        return total

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("3h")

        t.assert_completed(t.run(bill), sum(range(60)))


def test_catching_what_suspends_a_run_does_not_keep_it_going(app) -> None:
    """A bare ``except:`` is the user's mistake; it must not run what comes after the rest too early."""
    story: list[str] = []

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        try:
            await ctx.step.sleep("rest", "1h")
        except BaseException:
            story.append("swallowed")
        await ctx.step.run("after", lambda: story.append(f"after at {ctx.now():%H:%M}"))

    with harness(app) as t:
        t.send("ordered", {})
        assert "after at 00:00" not in story
        t.advance("1h")

        t.assert_completed(t.run(bill))
        assert story == ["swallowed", "after at 01:00"]
