"""What is kept of code between the steps when it is executed again: exactly, and with parallel branches (ADR 0050)."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random
from typing import Any

import pytest

from stepwell import Context, Stepwell
from stepwell.model.log import all_lines
from stepwell.model.questions import GetLogs
from stepwell.testing import harness


def kept(t: Any, function: Any) -> list[str]:
    """The lines of its run, in their order."""
    return [each.line.text for each in all_lines(t.ask(GetLogs(t.run(function).id)))]


async def said(ctx: Context, text: str) -> None:
    ctx.logger.info(text)


def test_code_that_does_one_thing_at_a_time_says_each_line_once_however_often_it_is_executed(app: Stepwell) -> None:
    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx: Context) -> None:
        for number in range(4):
            ctx.logger.info("before %d", number)
            await ctx.step.run(f"work {number}", said, ctx, f"in {number}")
            ctx.logger.info("between %d", number)
            await ctx.step.sleep(f"nap {number}", "1h")
        ctx.logger.info("ends")

    with harness(app) as t:
        t.send("paid")
        t.advance("1d")

        assert t.run(bill).status == "COMPLETED"
        each = [f"{word} {number}" for number in range(4) for word in ("before", "in", "between")]
        assert kept(t, bill) == [*each, "ends"]


def test_what_a_branch_says_after_its_last_step_comes_again_where_no_remembered_step_is_left(app: Stepwell) -> None:
    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx: Context) -> None:
        async def soon() -> None:
            ctx.logger.info("soon begins")
            await ctx.step.run("soon", said, ctx, "in soon")
            ctx.logger.info("soon ends")

        async def late() -> None:
            for number in range(3):
                ctx.logger.info("late %d", number)
                await ctx.step.sleep(f"late {number}", "1h")

        await asyncio.gather(soon(), late())
        ctx.logger.info("ends")

    with harness(app) as t:
        t.send("paid")
        t.advance("1d")

        assert t.run(bill).status == "COMPLETED"
        once = ["soon begins", "in soon", "late 0", "late 1", "late 2", "ends"]
        # In the second call: "late 0" was asked for before. In the third and the fourth there is one more yet to come.
        assert Counter(kept(t, bill)) == Counter([*once, *["soon ends"] * 2])


def test_what_follows_a_new_result_is_left_out_while_a_branch_is_on_its_way_to_a_remembered_step_outside_of_steps(
    app: Stepwell,
) -> None:
    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx: Context) -> None:
        async def works() -> None:
            await ctx.step.run("work", asyncio.sleep, 1)
            await ctx.step.sleep("nap", "1h")
            ctx.logger.info("after the nap")

        async def awaits() -> None:
            await asyncio.sleep(0.1)  # no step: each call awaits it
            await ctx.step.run("late", said, ctx, "in a body")
            await ctx.step.sleep("rest", "2h")

        await asyncio.gather(works(), awaits())
        ctx.logger.info("ends")

    with harness(app) as t:
        t.send("paid")
        t.advance("1d")

        assert t.run(bill).status == "COMPLETED"
        assert kept(t, bill) == ["in a body", "ends"]


@pytest.mark.parametrize("seed", range(12))
def test_branches_that_await_steps_alone_lose_no_line_and_bodies_say_theirs_once(app: Stepwell, seed: int) -> None:
    chance = Random(seed)
    branches = [
        [chance.choice(["run", "sleep"]) for _ in range(chance.randint(1, 4))] for _ in range(chance.randint(2, 4))
    ]

    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx: Context) -> None:
        async def branch(name: str, kinds: list[str]) -> None:
            ctx.logger.info("%s begins", name)
            for number, kind in enumerate(kinds):
                if kind == "run":
                    await ctx.step.run(f"{name} {number}", said, ctx, f"in {name} {number}")
                else:
                    await ctx.step.sleep(f"{name} {number}", f"{1 + (seed + number) % 5}s")
                ctx.logger.info("%s after %d", name, number)

        ctx.logger.info("begins")
        await asyncio.gather(*(branch(f"b{place}", kinds) for place, kinds in enumerate(branches)))
        ctx.logger.info("ends")

    with harness(app) as t:
        t.send("paid")
        t.advance("1m")

        assert t.run(bill).status == "COMPLETED"
        found = Counter(kept(t, bill))
        steps = [
            (f"b{place}", number, kind) for place, kinds in enumerate(branches) for number, kind in enumerate(kinds)
        ]
        own = {f"b{place} begins" for place in range(len(branches))} | {
            f"{name} after {number}" for name, number, _ in steps
        }
        bodies = {f"in {name} {number}" for name, number, kind in steps if kind == "run"}
        assert found.keys() == own | bodies | {"begins", "ends"}
        assert all(found[line] == 1 for line in (*bodies, "begins", "ends"))
