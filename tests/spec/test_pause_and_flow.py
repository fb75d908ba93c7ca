"""A paused function whose runs other rules hold up as well; and a process that dies at any commit (semantics §9.5)."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from stepwell import Concurrency, Event, RunConcurrency, Stepwell, Throttle, Timeouts, TriggerCron
from stepwell.testing import Harness, crash_sweep, harness
from tests.spec.looking import items


@pytest.fixture
def app() -> Stepwell:
    return Stepwell("shop")


def statuses(t: Harness, function: Any) -> list[str]:
    return [run.status for run in t.runs(function)]


@pytest.mark.parametrize("limit", [{"concurrency": 1}, {"throttle": Throttle(1, "1h", burst=0)}])
def test_runs_that_wait_their_turn_are_cancelled_with_the_others(app: Stepwell, limit: dict[str, Any]) -> None:
    @app.create_function(id="work", trigger="go", **limit)
    async def work(ctx: Any) -> None:
        await ctx.step.run("work", asyncio.sleep, 60)
        await ctx.step.sleep("rest", "3h")

    with harness(app) as t:
        t.send([Event("go")] * 4)
        t.pause(work, runs="cancel")
        t.advance("2m")

        assert statuses(t, work) == ["CANCELLED"] * 4


def test_a_backlog_that_is_let_go_keeps_its_order_under_a_limit(app: Stepwell) -> None:
    order: list[int] = []

    @app.create_function(id="work", trigger="go", concurrency=1)
    async def work(ctx: Any) -> None:
        order.append(ctx.event.data["n"])
        await ctx.step.run("work", asyncio.sleep, 1)

    with harness(app) as t:
        for n in range(300):  # more than one claim takes
            t.send(Event("go", {"n": n}))
            if n == 20:
                t.pause(work, events="hold", runs="hold")
            t.advance("10ms")
        held = len(order)
        t.advance("1h")
        assert len(order) <= held + 1, "the one that had begun"

        t.resume(work)
        t.advance("10s")
        t.pause(work, events="hold", runs="hold")  # once more, in the middle
        t.advance("1h")
        t.resume(work)
        t.send(Event("go", {"n": 300}))
        t.advance("10m")
        assert order == list(range(301))


def test_a_backlog_is_not_emptied_run_by_run_into_the_pause(app: Stepwell) -> None:
    @app.create_function(id="work", trigger="go", concurrency=Concurrency(2), run_concurrency=RunConcurrency(2))
    async def work(ctx: Any) -> None:
        await ctx.step.run("work", asyncio.sleep, 60)

    with harness(app) as t:
        t.send([Event("go")] * 40)
        t.pause(work, runs="hold")
        t.advance("1h")
        held = [items(t, run)[0].backlog for run in t.runs(work) if not run.ended]
        assert held.count("paused/shop-work") <= 4, "no more than were woken by the two that ended, for each limit"
        assert statuses(t, work).count("COMPLETED") == 2

        t.resume(work)
        t.advance("61s")

        assert statuses(t, work).count("COMPLETED") == 4, "both slots are used again"
        t.advance("1h")
        assert set(statuses(t, work)) == {"COMPLETED"}


def test_what_waits_for_its_rate_goes_on_waiting_for_it(app: Stepwell) -> None:
    started: list[tuple[float, int]] = []

    @app.create_function(id="work", trigger="go", throttle=Throttle(1, "10s", burst=0))
    async def work(ctx: Any) -> None:
        started.append((t.now.timestamp(), ctx.event.data["n"]))

    with harness(app) as t:
        for n in range(6):
            t.send(Event("go", {"n": n}))
            t.advance("1ms")
        t.advance("15s")
        t.pause(work, runs="hold")
        t.advance("5m")
        assert [n for _, n in started] == [0, 1]
        t.resume(work)
        t.advance("1m")

        assert [n for _, n in started] == list(range(6))
        assert all(later - earlier >= 10 for (earlier, _), (later, _) in pairwise(started))


def test_a_run_that_is_held_before_its_start_can_be_too_late_for_it(app: Stepwell) -> None:
    @app.create_function(id="work", trigger="go", timeouts=Timeouts(start="1h"))
    async def work(ctx: Any) -> None: ...

    with harness(app) as t:
        t.pause(work, events="hold")
        t.send("go")
        t.advance("59m")
        assert statuses(t, work) == ["QUEUED"]
        t.advance("1m")
        assert statuses(t, work) == ["CANCELLED"]
        t.resume(work)
        t.advance("1h")
        assert statuses(t, work) == ["CANCELLED"]


def test_and_one_that_has_started_for_its_end(app: Stepwell) -> None:
    @app.create_function(id="work", trigger="go", timeouts=Timeouts(finish="1h"))
    async def work(ctx: Any) -> None:
        await ctx.step.sleep("rest", "30m")

    with harness(app) as t:
        t.send("go")
        t.pause(work, runs="hold")
        t.advance("1h")

        assert statuses(t, work) == ["CANCELLED"]


def test_a_wait_that_times_out_meanwhile_has_timed_out(app: Stepwell) -> None:
    @app.create_function(id="ask", trigger="go")
    async def ask(ctx: Any) -> Any:
        found = await ctx.step.wait_for_event("answer", "answered", timeout="1h")
        await ctx.step.sleep("rest", "1h")
        return found

    with harness(app) as t:
        t.send("go")
        t.pause(ask, runs="hold")
        t.advance("90m")
        t.send("answered")
        t.advance("5h")
        assert statuses(t, ask) == ["RUNNING"]

        t.resume(ask)
        t.advance("59m")
        assert statuses(t, ask) == ["RUNNING"], "the next sleep begins when the run goes on"
        t.advance("1m")
        assert t.run(ask).output is None


@pytest.mark.parametrize(("runs", "status"), [("hold", "RUNNING"), ("cancel", "FAILED")])
def test_whoever_has_invoked_a_run_that_is_paused_waits_for_it_or_hears_of_its_end(
    app: Stepwell, runs: str, status: str
) -> None:
    @app.create_function(id="child")
    async def child(ctx: Any) -> int:
        await ctx.step.sleep("rest", "1h")
        return 1

    @app.create_function(id="parent", trigger="go")
    async def parent(ctx: Any) -> Any:
        return await ctx.step.invoke("ask", child, timeout="10h")

    with harness(app) as t:
        t.send("go")
        t.pause(child, runs=runs)
        t.advance("5h")
        assert statuses(t, parent) == [status]
        t.resume(child)
        if runs == "hold":
            assert t.run(parent).output == 1


@pytest.mark.parametrize(("events", "later"), [("skip", []), ("hold", [1])])
def test_what_a_run_has_put_off_fares_as_an_event_does(app: Stepwell, events: str, later: list[int]) -> None:
    """Nobody waits for it."""

    @app.create_defer(id="later")
    async def afterwards(ctx: Any) -> int:
        found: int = ctx.event.data["n"]
        return found

    @app.create_function(id="now", trigger="go")
    async def now(ctx: Any) -> None:
        ctx.defer("one", function=afterwards, data={"n": 1})

    with harness(app) as t:
        t.pause(afterwards, events=events)
        t.send("go")
        t.advance("1h")
        assert statuses(t, now) == ["COMPLETED"]
        t.resume(afterwards)

        assert [run.output for run in t.runs(afterwards)] == later


@pytest.mark.slow
@pytest.mark.parametrize(
    ("events", "runs", "done"),
    [
        ("hold", "hold", [0, 1, 2, 3, 4]),
        ("hold", "finish", [0, 1, 2, 3, 4]),
        ("hold", "cancel", [None, None, None, 3, 4]),
        ("skip", "hold", [0, 1, 2, 4]),
    ],
)
def test_a_process_may_die_at_any_commit_of_a_pause(
    app: Stepwell, events: str, runs: str, done: list[int | None]
) -> None:
    @app.create_function(id="work", trigger="go", concurrency=1)
    async def work(ctx: Any) -> Any:
        await ctx.step.sleep("rest", "1m")
        return ctx.event.data["n"]

    @app.create_function(id="tick", trigger=TriggerCron("*/10 * * * *"))
    async def tick(ctx: Any) -> None: ...

    def play(t: Harness) -> None:
        t.send([Event("go", {"n": n}) for n in range(3)])
        t.pause(work, events=events, runs=runs)
        t.pause(tick, events=events)
        t.send(Event("go", {"n": 3}))
        t.advance("25m")
        t.resume(work)
        t.resume(tick)
        t.send(Event("go", {"n": 4}))
        t.advance("10m")

        assert [run.output for run in t.runs(work)] == done
        assert statuses(t, tick) == ["COMPLETED"] * (3 if events == "hold" else 1)

    assert crash_sweep(app, play).points > 10
