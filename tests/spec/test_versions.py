"""A function is configured anew while there is work: what takes effect when (semantics §9.7; F94)."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from stepwell import (
    Backoff,
    BatchEvents,
    Cancel,
    Concurrency,
    Debounce,
    Event,
    Priority,
    RateLimit,
    Singleton,
    StepError,
    Stepwell,
    Throttle,
    Timeouts,
    TriggerEvent,
)
from stepwell.clock import to_ms
from stepwell.model.questions import FunctionVersions, ListFunctions
from stepwell.testing import Harness, harness
from tests.spec.looking import totals


def version(code: Any = None, **options: Any) -> Stepwell:
    """The app with this configuration of its one function, which notes who was called and when."""
    app = Stepwell("shop")
    options.setdefault("trigger", "go")

    @app.create_function(id="work", **options)
    async def work(ctx):
        return await code(ctx) if code is not None else ctx.event.data.get("n")

    return app


async def at_work(ctx: Any) -> int:
    await ctx.step.sleep("work", "1m")
    n: int = ctx.event.data["n"]
    return n


def stored(t: Harness) -> int:
    (function,) = t.ask(ListFunctions())
    return function.version


def outputs(t: Harness) -> list[Any]:
    return [run.output for run in t.runs("work")]


def statuses(t: Harness) -> list[str]:
    return [run.status for run in t.runs("work")]


def test_a_changed_configuration_is_the_next_version_and_the_same_again_is_none() -> None:
    with harness(version()) as t:
        assert stored(t) == 1
        t.crash(app=version())
        assert stored(t) == 1
        t.crash(app=version(retries=2))
        assert stored(t) == 2
        t.crash(app=version())
        assert stored(t) == 3


def test_each_configuration_is_kept_with_the_moment_at_which_it_came() -> None:
    with harness(version()) as t:
        began = t.now
        t.advance("1h")
        t.crash(app=version(retries=2))
        t.crash(app=version(retries=2))

        found = t.ask(FunctionVersions("shop-work", 9))

        assert [(each.version, each.registered_at) for each in found] == [(2, to_ms(t.now)), (1, to_ms(began))]
        assert [json.loads(each.config)["steps"]["step"]["retries"]["attempts"] for each in found] == [2, 4]
        assert found[0].config == t.ask(ListFunctions())[0].config


def test_a_function_that_leaves_and_comes_back_keeps_the_moments_of_its_versions() -> None:
    with harness(version()) as t:
        began = t.now
        t.crash(app=Stepwell("shop"))
        t.advance("1h")
        t.crash(app=version())

        assert [each.registered_at for each in t.ask(FunctionVersions("shop-work", 9))] == [to_ms(began)]


def test_a_run_says_under_which_version_it_was_created() -> None:
    async def code(ctx):
        await ctx.step.sleep("rest", "1h")

    with harness(version(code)) as t:
        t.send("go")
        t.crash(app=version(code, retries=2))
        t.send("go")
        t.advance("1h")

        assert [run.record.function_version for run in t.runs("work")] == [1, 2]


def test_triggers_are_those_at_the_moment_of_the_event() -> None:
    with harness(version(trigger=TriggerEvent("go", if_="event.data.n > 1"))) as t:
        t.send([Event("go", {"n": n}) for n in (1, 2)])
        t.crash(app=version(trigger="come"))
        t.send([Event("go", {"n": 3}), Event("come", {"n": 4})])

        assert outputs(t) == [2, 4]


def test_a_call_runs_the_code_that_there_is_then() -> None:
    async def old(ctx):
        await ctx.step.sleep("rest", "1h")
        return "old"

    async def new(ctx):
        await ctx.step.sleep("rest", "1h")
        return "new"

    with harness(version(old)) as t:
        t.send("go")
        t.crash(app=version(new))
        t.advance("1h")

        assert outputs(t) == ["new"]


def test_keys_are_worked_out_when_a_run_is_created() -> None:
    """Those that wait under the old key go on waiting for each other; new ones wait by the new key."""

    async def code(ctx):
        await ctx.step.run("work", asyncio.sleep, 60)

    by_user, by_shop = (Concurrency(1, key=f"event.data.{name}") for name in ("user", "shop"))
    with harness(version(code, concurrency=by_user)) as t:
        t.send([Event("go", {"user": 1, "shop": shop}) for shop in (1, 2)])
        t.crash(app=version(code, concurrency=by_shop))
        t.send([Event("go", {"user": 1, "shop": shop}) for shop in (8, 9)])
        t.advance("1s")
        assert statuses(t) == ["RUNNING", "QUEUED", "RUNNING", "RUNNING"]

        t.advance("3m")
        assert statuses(t) == ["COMPLETED"] * 4


def test_so_is_a_priority() -> None:
    def app(expression: str, limit: int) -> Stepwell:
        return version(concurrency=limit, priority=Priority(run=expression), code=held)

    async def held(ctx):
        await ctx.step.run("work", asyncio.sleep, 60)

    with harness(app("event.data.n == 2 ? 100 : 0", 1)) as t:
        t.send([Event("go", {"n": n}) for n in range(3)])
        t.crash(app=app("event.data.n == 1 ? 200 : 0", 1))
        t.advance("61s")  # the one that was ahead has gone first

        assert statuses(t) == ["RUNNING", "QUEUED", "COMPLETED"]
        t.advance("3m")


def test_and_what_cancels_it() -> None:
    with harness(version(at_work, cancel=[Cancel(event="stop")])) as t:
        t.send("go", {"n": 1})
        t.crash(app=version(at_work))
        t.send("go", {"n": 2})
        t.send("stop")
        t.advance("1m")

        assert statuses(t) == ["CANCELLED", "COMPLETED"]


def test_a_limit_counts_at_once_for_those_that_wait() -> None:
    async def code(ctx):
        await ctx.step.run("work", asyncio.sleep, 60)

    with harness(version(code, concurrency=1)) as t:
        t.send([Event("go")] * 6)
        t.advance("1s")
        t.crash(app=version(code, concurrency=3))
        t.advance("1s")
        assert statuses(t).count("RUNNING") == 3

        t.crash(app=version(code))
        t.advance("1s")
        assert statuses(t) == ["RUNNING"] * 6
        t.advance("2m")


def test_so_does_the_rate_of_a_throttle() -> None:
    with harness(version(throttle=Throttle(1, "1h", burst=0))) as t:
        t.send([Event("go", {"n": n}) for n in range(4)])
        assert statuses(t).count("COMPLETED") == 1
        t.crash(app=version(throttle=Throttle(1, "1m", burst=0)))
        t.advance("3m")

        assert statuses(t) == ["COMPLETED"] * 4


@pytest.mark.parametrize(("before", "after", "tries"), [(4, 1, 2), (1, 4, 5), (4, 0, 1)])
def test_retries_and_the_back_off_are_those_of_the_moment_of_the_failure(before, after, tries) -> None:
    bodies: list[int] = []

    async def code(ctx):
        try:
            await ctx.step.run("flaky", flaky)
        except StepError as error:
            return error.message

    def flaky() -> None:
        bodies.append(1)
        raise ValueError("no")

    with harness(version(code, retries=before, backoff=Backoff.fixed("10m"))) as t:
        t.send("go")
        t.crash(app=version(code, retries=after, backoff=Backoff.fixed("1m")))
        assert len(bodies) == 1
        t.advance("10m")  # the next one was settled before
        t.advance("30m")

        assert len(bodies) == max(tries, 2)
        assert outputs(t) == ["no"]


async def in_two_parts(ctx: Any) -> str:
    await ctx.step.sleep("one", "1m")
    await ctx.step.sleep("two", "1h")
    return "done"


@pytest.mark.parametrize(
    ("before", "after", "ended"),
    [
        ("30s", "2h", None),  # more time than its timer knows
        ("30s", "45m", 45 * 60),
        ("30s", None, None),
        ("2h", "10m", 61 * 60),  # less, which the next call after it finds out
        (None, "10m", 61 * 60),
    ],
)
def test_a_finish_timeout_is_that_of_the_moment(before: str | None, after: str | None, ended: int | None) -> None:
    with harness(version(in_two_parts, timeouts=Timeouts(finish=before))) as t:
        t.send("go")
        started = t.now
        t.crash(app=version(in_two_parts, timeouts=Timeouts(finish=after)))
        t.advance("2h")

        run = t.run("work")
        if ended is None:
            assert (run.status, run.output) == ("COMPLETED", "done")
        else:
            assert (run.status, run.ended_at) == ("CANCELLED", started + timedelta(seconds=ended))
            assert "finish timeout" in (run.reason or "")
        t.advance("1d")
        assert (totals(t).items, totals(t).live_runs) == (0, 0)


@pytest.mark.parametrize(
    ("before", "after", "status"),
    [
        ("10m", "2h", "COMPLETED"),
        ("10m", None, "COMPLETED"),
        ("2h", "10m", "CANCELLED"),
        (None, "10m", "CANCELLED"),
    ],
)
def test_so_is_a_start_timeout(before: str | None, after: str | None, status: str) -> None:
    async def code(ctx):
        await ctx.step.run("work", asyncio.sleep, 3_600)

    with harness(version(code, concurrency=1, timeouts=Timeouts(start=before))) as t:
        t.send([Event("go"), Event("go")])
        t.crash(app=version(code, concurrency=1, timeouts=Timeouts(start=after)))
        t.advance("3h")

        assert sorted(statuses(t)) == sorted(["COMPLETED", status])
        late = t.runs("work")[1]
        assert (late.started_at is None) == (status == "CANCELLED")
        assert (totals(t).items, totals(t).live_runs) == (0, 0)


def test_a_window_that_is_open_ends_when_it_was_to_end_and_its_run_is_one_of_the_new_version() -> None:
    with harness(version(debounce=Debounce("10s"))) as t:
        t.send("go", {"n": 1})
        t.crash(app=version())
        t.send("go", {"n": 2})
        assert outputs(t) == [2]
        t.advance("10s")

        runs = sorted(t.runs("work"), key=lambda run: run.output)
        assert [run.output for run in runs] == [1, 2]
        assert [run.record.function_version for run in runs] == [2, 2]


def test_a_batch_that_is_open_takes_the_new_size_and_keeps_its_end() -> None:
    async def code(ctx):
        return [event.data["n"] for event in ctx.events]

    def app(size: int, timeout: str) -> Stepwell:
        return version(code, batch_events=BatchEvents(size, timeout=timeout))

    with harness(app(5, "1m")) as t:
        t.send("go", {"n": 1})
        t.crash(app=app(3, "1h"))
        t.send([Event("go", {"n": n}) for n in (2, 3)])
        assert outputs(t) == [[1, 2, 3]]

        t.send("go", {"n": 4})
        t.advance("59m")
        t.crash(app=app(3, "1m"))
        t.advance("59s")
        assert len(outputs(t)) == 1  # nor does a shorter time close it
        t.advance("1s")
        assert outputs(t) == [[1, 2, 3], [4]]


def test_a_function_that_collects_no_more_starts_each_at_once_and_what_is_open_at_its_end() -> None:
    async def code(ctx):
        return [event.data["n"] for event in ctx.events]

    with harness(version(code, batch_events=BatchEvents(5, timeout="1m"))) as t:
        t.send([Event("go", {"n": n}) for n in (1, 2)])
        t.crash(app=version(code))
        t.send("go", {"n": 3})
        assert outputs(t) == [[3]]
        t.advance("1m")

        assert sorted(outputs(t)) == [[1, 2], [3]]
        assert [run.record.function_version for run in t.runs("work")] == [2, 2]


def test_a_rate_limit_holds_at_once_for_events_from_then_on() -> None:
    with harness(version(rate_limit=RateLimit(1, "1h"))) as t:
        t.send([Event("go", {"n": n}) for n in (1, 2)])
        t.crash(app=version(rate_limit=RateLimit(4, "1h")))
        t.send("go", {"n": 3})
        t.advance("15m")  # of the new rate, after the start under the old one
        t.send([Event("go", {"n": n}) for n in (4, 5)])
        assert outputs(t) == [1, 4]

        t.crash(app=version(rate_limit=RateLimit(1, "1h")))
        t.advance("15m")  # the start before it took no more than this
        t.send("go", {"n": 6})
        t.advance("59m")
        t.send("go", {"n": 7})
        t.advance("1m")
        t.send("go", {"n": 8})
        assert outputs(t) == [1, 4, 6, 8]
        t.crash(app=version())
        t.send([Event("go", {"n": n}) for n in (9, 10)])
        assert outputs(t) == [1, 4, 6, 8, 9, 10]


def test_a_singleton_that_is_one_no_more_lets_others_in_and_one_that_becomes_so_waits_for_none() -> None:
    with harness(version(at_work, singleton=Singleton("skip"))) as t:
        t.send([Event("go", {"n": n}) for n in (1, 2)])
        assert statuses(t) == ["RUNNING"]
        t.crash(app=version(at_work))
        t.send("go", {"n": 3})
        assert statuses(t) == ["RUNNING"] * 2

        t.crash(app=version(at_work, singleton=Singleton("skip")))
        t.send("go", {"n": 4})  # the first still holds the place, the second never did
        assert statuses(t) == ["RUNNING"] * 2
        t.advance("1m")
        t.send("go", {"n": 5})
        t.advance("1m")
        assert outputs(t) == [1, 3, 5]
