"""The same id used again: repetitions are told apart by their turn (semantics §4.5; F29)."""

from __future__ import annotations

import asyncio

import pytest

from stepwell.testing import harness


def test_an_id_may_be_used_again_in_a_loop_and_each_turn_has_its_own_result(app) -> None:
    bodies: list[int] = []

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        found = [await ctx.step.run("line", lambda turn=turn: bodies.append(turn) or turn) for turn in range(3)]
        await ctx.step.sleep("rest", "1h")
        return found

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1h")

        t.assert_completed(t.run(bill), [0, 1, 2])
        t.assert_steps(t.run(bill), "line", "line:1", "line:2", "rest")
        assert bodies == [0, 1, 2]


def test_turns_are_counted_anew_in_every_call(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        for _ in range(3):
            await ctx.step.sleep("rest", "1h")
        return "rested"

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("2h")
        t.assert_waiting(t.run(bill), "rest:2")
        t.crash()
        t.advance("1h")

        t.assert_completed(t.run(bill), "rested")


def test_different_kinds_of_steps_share_one_count(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        await ctx.step.run("again", lambda: 1)
        await ctx.step.sleep("again", "1h")
        return await ctx.step.run("again", lambda: 3)

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1h")

        t.assert_completed(t.run(bill), 3)
        t.assert_steps(t.run(bill), "again", "again:1", "again:2")


def test_an_id_that_looks_like_the_turn_of_another_is_a_step_of_its_own(app) -> None:
    """K42: "line" for the second time and "line:1" are two steps, and neither is given the other's result."""
    bodies: list[str] = []

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        found = [
            await ctx.step.run("line", lambda: bodies.append("a") or "first"),
            await ctx.step.run("line", lambda: bodies.append("b") or "second"),
            await ctx.step.run("line:1", lambda: bodies.append("c") or "another"),
        ]
        await ctx.step.sleep("rest", "1h")
        return found

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1h")

        t.assert_completed(t.run(bill), ["first", "second", "another"])
        assert bodies == ["a", "b", "c"]


def test_an_id_that_looks_like_a_turn_may_also_come_first(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        found = [await ctx.step.run(name, lambda turn=turn: turn) for turn, name in enumerate(["a:1", "a", "a", "a:1"])]
        await ctx.step.sleep("rest", "1h")
        return found

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1h")

        t.assert_completed(t.run(bill), [0, 1, 2, 3])


@pytest.mark.parametrize("crash", [False, True])
def test_the_same_id_in_two_parallel_branches_fails_at_once_and_says_what_to_do(app, crash: bool) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        if crash:
            await ctx.step.sleep("rest", "1h")
        await ctx.group.parallel([ctx.step.sleep("twin", "1h"), ctx.step.sleep("twin", "2h")])

    with harness(app) as t:
        t.send("ordered", {})
        if crash:
            t.crash()
            t.advance("1h")

        run = t.run(bill)
        t.advance("1h" if not run.ended else 0)
        t.assert_failed(run, "a second step 'twin' begins while the first is under way")
        assert run.error is not None
        assert "fix: give each branch an id of its own" in run.error.message
        assert len(run.errors) == 1


def test_the_same_id_under_gather_fails_as_well(app) -> None:
    async def slow() -> int:
        await asyncio.sleep(1)
        return 1

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        return await asyncio.gather(ctx.step.run("twin", slow), ctx.step.run("twin", slow))

    with harness(app) as t:
        t.send("ordered", {})
        t.run_until_idle()

        t.assert_failed(t.run(bill), "a second step 'twin'")
