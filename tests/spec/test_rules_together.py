"""Several rules on one function: what one frees is never lost because another holds up who was woken for it (semantics
§7.1, §7.3; I10, I13)."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest

from stepwell import Cancel, Concurrency, Event, Priority, RunConcurrency, Stepwell, Throttle, Timeouts
from stepwell.testing import Harness, harness
from tests.spec.looking import items, totals

PRINTER = Concurrency(1, key="'printer'", scope="env")


def statuses(t: Harness, function: Any) -> list[str]:
    return [run.status for run in t.runs(function)]


@pytest.mark.parametrize("by_hand", [True, False])
def test_a_place_goes_on_to_the_next_if_who_was_woken_for_it_never_starts(app, by_hand: bool) -> None:
    place, timeouts = RunConcurrency(1, key="'desk'", scope="env"), Timeouts(start="70m")

    @app.create_function(id="first", trigger="first", run_concurrency=place)
    async def first(ctx):
        await ctx.step.sleep("a while", "1h")

    @app.create_function(id="work", trigger="go", run_concurrency=place, concurrency=PRINTER, timeouts=timeouts)
    async def work(ctx): ...

    @app.create_function(id="printer", trigger="print", concurrency=PRINTER)
    async def printer(ctx):
        await ctx.step.run("print", asyncio.sleep, 3600)

    with harness(app) as t:
        t.send("first")
        t.send("go")
        t.advance("25m")
        t.send("go")  # both wait for the place
        t.advance("5m")
        t.send("print")  # has the slot when the place is free, so that who is woken for the place waits for the slot
        t.advance("35m")
        if by_hand:
            t.cancel(t.runs(work)[0])
        t.advance("1d")

        assert statuses(t, work) == ["CANCELLED", "COMPLETED"]
        assert totals(t).items == 0


@pytest.mark.parametrize("rule", [{"concurrency": PRINTER}, {"run_concurrency": 1}], ids=str)
def test_a_place_is_handed_on_if_who_was_woken_for_it_is_cancelled_with_who_had_it(app, rule: Any) -> None:
    @app.create_function(id="work", trigger="go", cancel=Cancel("stop", match="data.n"), **rule)
    async def work(ctx):
        await ctx.step.run("print", asyncio.sleep, 3600)

    with harness(app) as t:
        for n in (1, 1, 2):
            t.send(Event("go", {"n": n}))
        t.advance("1m")
        t.send(Event("stop", {"n": 1}))  # one decision ends the first, which wakes the second, which it ends as well
        t.advance("2h")

        assert statuses(t, work) == ["CANCELLED", "CANCELLED", "COMPLETED"]
        assert totals(t).items == 0


@pytest.mark.parametrize("more", [{"run_concurrency": 1}, {"throttle": Throttle(1, "7d", burst=0)}], ids=str)
def test_a_slot_goes_on_to_the_next_if_who_was_woken_for_it_waits_for_something_else(app, more: Any) -> None:
    @app.create_function(id="slow", trigger="slow", concurrency=PRINTER, **more)
    async def slow(ctx):
        await ctx.step.sleep("a while", "6d")

    @app.create_function(id="other", trigger="other", concurrency=PRINTER)
    async def other(ctx):
        await ctx.step.run("print", asyncio.sleep, 10)

    with harness(app) as t:
        t.send("slow")  # sleeps, and has the place, or has taken the turn
        t.send("other")  # has the slot for 10 s
        t.advance("1s")
        t.send("slow")  # waits for the slot, and then for the place or its turn
        t.send("other")  # waits for the slot behind it
        t.advance("1m")

        assert statuses(t, other) == ["COMPLETED"] * 2


@pytest.mark.parametrize(
    "limits",
    [
        {"concurrency": [Concurrency(1, key="event.data.user"), Concurrency(2)]},
        {"concurrency": [Concurrency(2), Concurrency(1, key="event.data.user")]},
        {"concurrency": Concurrency(1, key="event.data.user"), "run_concurrency": 2},
        {"concurrency": 2, "run_concurrency": RunConcurrency(1, key="event.data.user")},
        {"run_concurrency": [RunConcurrency(1, key="event.data.user"), RunConcurrency(2)]},
    ],
    ids=str,
)
def test_room_that_who_was_woken_for_it_cannot_use_is_not_idle_while_another_can(app, limits: Any) -> None:
    @app.create_function(id="work", trigger="go", **limits)
    async def work(ctx):
        await ctx.step.run("work", asyncio.sleep, ctx.event.data["seconds"])

    with harness(app) as t:
        t.send("go", {"user": "x", "seconds": 10})
        t.send("go", {"user": "y", "seconds": 20})
        t.advance("1s")
        t.send("go", {"user": "a", "seconds": 3600})  # these three wait for one of the two
        t.send("go", {"user": "a", "seconds": 3600})  # is woken second, and its user has one under way
        t.send("go", {"user": "b", "seconds": 10})
        t.advance("1m")

        assert statuses(t, work) == ["COMPLETED", "COMPLETED", "RUNNING", "QUEUED", "COMPLETED"]


def test_a_slot_waits_with_who_was_woken_for_it_until_somebody_serves_them_again(app) -> None:
    @app.create_function(id="first", trigger="first", concurrency=PRINTER)
    async def first(ctx):
        await ctx.step.run("print", asyncio.sleep, 10)

    with harness(app) as t:
        t.send("first")
        t.advance("1s")
        t.send([Event("first")] * 2)
        serves = t.engine.caller.transport.serves
        t.engine.caller.transport.serves = lambda function_id: False  # type: ignore[method-assign]
        t.advance("1m")
        second, third = (items(t, run)[0] for run in t.runs(first)[1:])
        assert (second.backlog, third.backlog) == ("unserved/shop-first", "env/printer")

        t.engine.caller.transport.serves = serves  # type: ignore[method-assign]
        t._do(lambda: t.engine.register("shop", app.configs()))
        t.advance("1m")
        assert statuses(t, first) == ["COMPLETED"] * 3


@pytest.mark.parametrize("priority", [None, Priority("event.data.n")])
def test_runs_that_wait_for_one_another_do_not_wait_for_ever(app, priority: Any) -> None:
    @app.create_function(id="work", trigger="go", concurrency=1, run_concurrency=2, priority=priority)
    async def work(ctx):
        n = ctx.event.data["n"]
        if n == 0:
            await ctx.step.run("first", asyncio.sleep, 3)
            await ctx.step.sleep("a while", "5s")
            await ctx.step.send_event("done", Event("done"))
        if n == 1:
            await ctx.step.run("long", asyncio.sleep, 10)
            await ctx.step.wait_for_event("wait", "done", timeout="30d", lookback="1h")

    with harness(app) as t:
        t.send("go", {"n": 0})
        t.advance("500ms")
        t.send("go", {"n": 1})
        t.advance("4s")
        t.send("go", {"n": 200})
        t.advance("1d")

        assert statuses(t, work) == ["COMPLETED"] * 3


@pytest.mark.parametrize("seed", range(60))
def test_whatever_rules_there_are_everybody_comes_to_an_end(seed: int) -> None:
    random = Random(seed)
    app = Stepwell("shop")
    pool = [
        PRINTER,
        Concurrency(random.choice((1, 2))),
        Concurrency(1, key="event.data.k"),
    ]

    def define(id: str) -> None:
        rules: dict[str, Any] = {}
        if random.random() < 0.7:
            rules["concurrency"] = random.sample(pool, random.choice((1, 2)))
        if random.random() < 0.6:
            rules["run_concurrency"] = RunConcurrency(random.choice((1, 2)), key=random.choice((None, "event.data.k")))
        if random.random() < 0.5:
            rules["throttle"] = Throttle(1, f"{random.choice((5, 60))}s", burst=random.choice((0, 1)))
        if random.random() < 0.3:
            rules["priority"] = Priority("event.data.k * 30")

        @app.create_function(id=id, trigger=id, retries=0, **rules)
        async def work(ctx):
            for n in range(ctx.event.data["steps"]):
                await ctx.step.run(f"step {n}", asyncio.sleep, ctx.event.data["s"])
                await ctx.step.sleep(f"rest {n}", ctx.event.data["s"] * 1000)

    names = ["one", "two", "three"]
    for name in names:
        define(name)
    with harness(app) as t:
        for _ in range(30):
            data = {"k": random.randrange(3), "steps": random.randrange(3), "s": random.choice((0, 1, 7))}
            t.send(random.choice(names), data)
            t.advance(random.choice((0, 100, 3_000)))
            live = [run for run in t.runs() if not run.ended]
            if live and random.random() < 0.2:
                t.cancel(random.choice(live))
        t.advance("2h")

        assert {run.status for run in t.runs()} <= {"COMPLETED", "CANCELLED"}
        assert totals(t).items == 0
