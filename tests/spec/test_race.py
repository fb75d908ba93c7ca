"""First of several: ``ctx.group.race`` and its like (semantics §5.6; F44)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from stepwell import StepError
from stepwell.testing import harness

START = datetime(2026, 1, 1, tzinfo=UTC)  # when a harness begins


def test_the_branch_that_ends_first_wins_and_the_run_ends_at_once_although_a_loser_waits(app) -> None:
    """K34, I9."""

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        async def approved():
            return (await ctx.step.wait_for_event("approval", "approved", timeout="7d")).data["by"]

        async def reminded():
            await ctx.step.sleep("patience", "1d")
            return "nobody"

        return await ctx.group.race([approved(), reminded()])

    with harness(app) as t:
        t.send("ordered", {})
        t.send("ordered", {})
        first, second = t.runs(bill)
        t.advance("1h")
        assert not first.ended
        t.advance("23h")

        t.assert_completed(first, "nobody")
        t.assert_completed(second, "nobody")
        assert first.ended_at == START + timedelta(days=1)
        t.send("approved", {"by": "Eve"})
        t.advance("30d")
        t.assert_completed(first, "nobody")


def test_the_event_may_win_as_well(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        async def approved():
            return (await ctx.step.wait_for_event("approval", "approved", timeout="7d")).data["by"]

        async def reminded():
            await ctx.step.sleep("patience", "1d")
            return "nobody"

        winner = await ctx.group.race([approved(), reminded()])
        await ctx.step.sleep("rest", "7d")
        return winner

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1h")
        t.send("approved", {"by": "Eve"})
        t.advance("30d")

        t.assert_completed(t.run(bill), "Eve")


@pytest.mark.parametrize("fast", range(3))
def test_a_replay_ends_the_race_as_it_ended_at_first(app, fast: int) -> None:
    """I5: also when all branches have their results by then."""
    winners: list[int] = []

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        async def work(n: int) -> int:
            await asyncio.sleep(10 if n == fast else 20 + n)
            return n

        winners.append(await ctx.group.race([ctx.step.run(f"work {n}", work, n) for n in range(3)]))
        await ctx.step.run("more", lambda: asyncio.sleep(60))
        await ctx.step.sleep("rest", "1h")
        return winners[-1]

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("30s")
        t.crash()
        t.advance("2h")

        t.assert_completed(t.run(bill), fast)
        assert set(winners) == {fast}


def test_losers_are_not_cancelled_their_results_are_remembered(app) -> None:
    """K05: each body once."""
    bodies: list[str] = []

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        async def work(name: str, seconds: int) -> str:
            bodies.append(name)
            await asyncio.sleep(seconds)
            return name

        winner = await ctx.group.race([ctx.step.run("slow", work, "slow", 60), ctx.step.run("fast", work, "fast", 10)])
        await ctx.step.run("more", lambda: asyncio.sleep(120))
        return winner

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("5m")

        t.assert_completed(t.run(bill), "fast")
        assert bodies == ["slow", "fast"]
        assert t.run(bill).steps["slow"].output == "slow"


def test_a_branch_that_fails_first_ends_the_race_with_its_error(app) -> None:
    @app.create_function(id="bill", trigger="ordered", retries=0)
    async def bill(ctx):
        def fail() -> None:
            raise ValueError("no card")

        try:
            await ctx.group.race([ctx.step.sleep("rest", "1h"), ctx.step.run("charge", fail)])
        except StepError as error:
            return str(error)

    with harness(app) as t:
        t.send("ordered", {})

        t.assert_completed(t.run(bill), "ValueError: no card")


def test_the_error_of_a_loser_hurts_nobody(app) -> None:
    @app.create_function(id="bill", trigger="ordered", retries=0)
    async def bill(ctx):
        async def fail() -> None:
            await asyncio.sleep(60)
            raise ValueError("no card")

        winner = await ctx.group.race([ctx.step.run("fast", lambda: "fast"), ctx.step.run("charge", fail)])
        await ctx.step.run("more", lambda: asyncio.sleep(120))
        return winner

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("5m")

        t.assert_completed(t.run(bill), "fast")


def test_asyncio_wait_for_the_first_works_as_well(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        tasks = [
            asyncio.create_task(ctx.step.sleep("short", "1h"), name="short"),
            asyncio.create_task(ctx.step.sleep("long", "2h"), name="long"),
        ]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return sorted(task.get_name() for task in done)

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1h")

        t.assert_completed(t.run(bill), ["short"])


def test_rests_that_end_in_one_moment_are_told_apart_by_their_order(app) -> None:
    """K07: the same winner in every call."""
    winners: list[str] = []

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        async def rest(name: str) -> str:
            await ctx.step.sleep(name, "1h")
            return name

        winners.append(await ctx.group.race([rest("a"), rest("b")]))
        await ctx.step.sleep("more", "1h")
        return winners[-1]

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1h")
        t.crash()
        t.advance("1h")

        assert t.run(bill).output in ("a", "b")
        assert len(set(winners)) == 1


def test_a_race_without_branches_fails_at_once_and_says_why(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        await ctx.group.race([])

    with harness(app) as t:
        t.send("ordered", {})

        t.assert_failed(t.run(bill), "a race without branches")
