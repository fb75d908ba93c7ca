"""Branches side by side: ``ctx.group.parallel``, ``gather``, ``TaskGroup`` (semantics §5.6; F43, F44)."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from enum import Enum
from random import Random

import pytest

from stepwell import Concurrency, ConfigurationError, Context, Event, StepError, Stepwell, Sync
from stepwell.testing import harness

START = datetime(2026, 1, 1, tzinfo=UTC)  # when a harness begins


@pytest.mark.parametrize("branches", [1, 2, 100])
def test_each_branch_runs_once_and_results_come_in_the_order_of_the_branches(app, branches: int) -> None:
    """K05, I4, I6: unequal durations and a restart in the middle; one continuation."""
    chance = Random(branches)
    durations = [10, *(chance.randint(1, 100) for _ in range(branches - 1))]
    finished: list[int] = []
    after: list[int] = []

    @app.create_function(id="bill", trigger="ordered", retries=0)
    async def bill(ctx):
        async def work(n: int) -> int:
            await asyncio.sleep(durations[n])
            finished.append(n)
            return n

        found = await ctx.group.parallel([ctx.step.run(f"work {n}", work, n) for n in range(branches)])
        await ctx.step.run("after", lambda: after.append(len(found)))
        return list(found)

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("5s")
        stored = list(t.run(bill).steps)
        t.crash()
        t.advance("5m")

        t.assert_completed(t.run(bill), list(range(branches)))
        assert Counter(finished) == Counter(range(branches))
        assert len(stored) == sum(duration <= 5 for duration in durations)
        assert after == [branches]


@pytest.mark.parametrize("way", ["parallel", "callables", "gather", "TaskGroup"])
def test_branches_run_at_the_same_time(app, way: str) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        async def work(n: int) -> int:
            await asyncio.sleep(60)
            return n

        if way == "parallel":
            return await ctx.group.parallel([ctx.step.run(f"work {n}", work, n) for n in range(3)])
        if way == "callables":
            return await ctx.group.parallel([lambda n=n: ctx.step.run(f"work {n}", work, n) for n in range(3)])
        if way == "gather":
            return await asyncio.gather(*(ctx.step.run(f"work {n}", work, n) for n in range(3)))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ctx.step.run(f"work {n}", work, n)) for n in range(3)]
        return [task.result() for task in tasks]

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1m")

        t.assert_completed(t.run(bill), [0, 1, 2])
        assert t.run(bill).ended_at == START + timedelta(minutes=1)


def test_branches_may_have_several_steps_and_each_goes_at_its_own_pace(app) -> None:
    story: list[str] = []

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        async def branch(name: str, pause: str):
            await ctx.step.run(f"{name} 1", lambda: story.append(f"{name} 1"))
            await ctx.step.sleep(f"{name} rest", pause)
            await ctx.step.run(f"{name} 2", lambda: story.append(f"{name} 2"))
            return name

        return await ctx.group.parallel([branch("slow", "2h"), branch("fast", "1h")])

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1h")
        assert story == ["slow 1", "fast 1", "fast 2"]
        t.crash()
        t.advance("1h")

        t.assert_completed(t.run(bill), ["slow", "fast"])
        assert story == ["slow 1", "fast 1", "fast 2", "slow 2"]


def test_sleeps_waits_and_invokes_that_end_in_one_moment_continue_the_run_once(app) -> None:
    """K07, I4."""
    after: list[str] = []

    @app.create_function(id="child")
    async def child(ctx):
        await ctx.step.sleep("rest", "1h")
        return "child"

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        found = await ctx.group.parallel(
            [
                ctx.step.sleep("sleep", "1h"),
                ctx.step.sleep_until("until", START + timedelta(hours=1)),
                ctx.step.wait_for_event("wait", "never", timeout="1h"),
                ctx.step.invoke("ask", child),
            ]
        )
        await ctx.step.run("after", lambda: after.append("after"))
        return list(found)

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1h")

        t.assert_completed(t.run(bill), [None, None, None, "child"])
        assert after == ["after"]
        assert t.run(bill).ended_at == START + timedelta(hours=1)


def test_a_body_and_a_sleep_side_by_side_take_as_long_as_the_longer(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        await ctx.group.parallel(
            [
                ctx.step.run("work", lambda: asyncio.sleep(600)),
                ctx.step.sleep("rest", "5m"),
                ctx.step.sleep("long rest", "20m"),
            ]
        )

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1h")

        t.assert_completed(t.run(bill))
        assert t.run(bill).ended_at == START + timedelta(minutes=20)


def test_a_branch_that_fails_is_raised_after_all_others_have_ended(app) -> None:
    story: list[str] = []

    @app.create_function(id="bill", trigger="ordered", retries=0)
    async def bill(ctx):
        def fail(name: str) -> None:
            raise ValueError(name)

        async def slow() -> None:
            await asyncio.sleep(60)
            story.append("slow")

        try:
            await ctx.group.parallel(
                [ctx.step.run("slow", slow), ctx.step.run("b", fail, "b"), ctx.step.run("a", fail, "a")]
            )
        except StepError as error:
            story.append(str(error))

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("2m")

        t.assert_completed(t.run(bill))
        assert story == ["slow", "ValueError: b"]


def test_branches_are_tried_again_each_by_itself(app) -> None:
    bodies: Counter[str] = Counter()

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        def flaky(failures: int) -> int:
            bodies[f"after {failures}"] += 1
            if ctx.attempt < failures:
                raise ValueError("not yet")
            return failures

        return await ctx.group.parallel([ctx.step.run(f"flaky {n}", flaky, n) for n in range(4)])

    with harness(app, retry_interval="1m") as t:
        t.send("ordered", {})
        t.advance("1h")

        t.assert_completed(t.run(bill), [0, 1, 2, 3])
        assert bodies == {"after 0": 1, "after 1": 2, "after 2": 3, "after 3": 4}
        assert t.run(bill).ended_at == START + timedelta(minutes=3)


def test_no_more_bodies_run_at_once_than_the_limit_allows(app) -> None:
    """I12: branches count like runs of their own."""
    running, most = 0, 0

    @app.create_function(id="bill", trigger="ordered", concurrency=Concurrency(3))
    async def bill(ctx):
        async def work() -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(60)
            running -= 1

        await ctx.group.parallel([ctx.step.run(f"work {n}", work) for n in range(10)])

    with harness(app) as t:
        t.send([Event("ordered", {}), Event("ordered", {})])
        t.advance("1h")

        assert {run.status for run in t.runs(bill)} == {"COMPLETED"}
        assert most == 3


def test_the_continuation_comes_after_the_last_branch_is_stored(app) -> None:
    """K06, I10: a restart at each minute of a group of unequal branches."""
    for minute in range(1, 8):
        after: list[str] = []

        async def code(ctx, after=after):
            async def work(n: int) -> None:
                await asyncio.sleep(60 * n)

            await ctx.group.parallel([ctx.step.run(f"work {n}", work, n) for n in range(1, 7)])
            await ctx.step.run("after", lambda: after.append("after"))

        app = Stepwell("shop")
        app.create_function(id="bill", trigger="ordered")(code)
        with harness(app) as t:
            t.send("ordered", {})
            t.advance(f"{minute}m")
            t.crash()
            t.advance("1h")

            t.assert_completed(t.run())
            assert after == ["after"], minute


def test_a_cancel_stops_all_branches(app) -> None:
    """I18."""
    story: list[str] = []

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        async def branch(n: int):
            await ctx.step.sleep(f"rest {n}", "1h")
            await ctx.step.run(f"work {n}", lambda: story.append("work"))

        await ctx.group.parallel([branch(n) for n in range(3)])

    with harness(app) as t:
        t.send("ordered", {})
        assert t.cancel(t.run(bill))
        t.advance("1d")

        t.assert_cancelled(t.run(bill))
        assert story == []


def test_groups_may_be_nested(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        async def pair(n: int):
            return list(
                await ctx.group.parallel(
                    [ctx.step.run(f"{n} a", lambda: f"{n} a"), ctx.step.sleep(f"{n} b", f"{n + 1}h")]
                )
            )

        return list(await ctx.group.parallel([pair(0), pair(1)]))

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("2h")

        t.assert_completed(t.run(bill), [["0 a", None], ["1 a", None]])


def test_an_empty_group_is_over_at_once(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        return list(await ctx.group.parallel([]))

    with harness(app) as t:
        t.send("ordered", {})

        t.assert_completed(t.run(bill), [])


def test_asyncio_timeout_around_steps_that_rest_counts_the_time_of_one_call(app) -> None:
    """Code outside of steps is repeated, so its clocks begin anew: a limit over rests needs the step's own."""

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        async with asyncio.timeout(60):
            await ctx.step.sleep("rest", "1h")
            return "rested"

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1h")

        t.assert_completed(t.run(bill), "rested")


def test_asyncio_timeout_around_a_body_ends_it(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        try:
            async with asyncio.timeout(60):
                await ctx.step.run("work", lambda: asyncio.sleep(600))
        except TimeoutError:
            return "too late"

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1h")

        t.assert_completed(t.run(bill), "too late")
        assert t.run(bill).ended_at == START + timedelta(minutes=1)


# Modes ----------------------------------------------------------------------------------------------------------------


class ParallelMode(Enum):
    """As in the official SDK."""

    WAIT = "wait"
    RACE = "race"


class TextMode(str, Enum):  # noqa: UP042 - as older code has it
    RACE = "race"


MODES = [None, "wait", "race", ParallelMode.WAIT, ParallelMode.RACE, TextMode.RACE]
COLOURS = ["async", "plain"]


@pytest.mark.parametrize("mode", MODES, ids=repr)
@pytest.mark.parametrize("colour", COLOURS)
def test_in_every_mode_each_branch_goes_at_its_own_pace_and_results_come_in_order(app, colour: str, mode) -> None:
    story: list[str] = []

    if colour == "async":

        @app.create_function(id="bill", trigger="ordered")
        async def bill(ctx):
            async def branch(name: str, pause: str):
                await ctx.step.sleep(f"{name} rest", pause)
                return await ctx.step.run(name, lambda: story.append(name) or name)

            return list(await ctx.group.parallel((branch("slow", "2h"), branch("fast", "1h")), parallel_mode=mode))
    else:

        @app.create_function(id="bill", trigger="ordered")
        def plain(ctx: Context[dict, Sync]):
            def branch(name: str, pause: str):
                ctx.step.sleep(f"{name} rest", pause)
                return ctx.step.run(name, lambda: story.append(name) or name)

            return list(
                ctx.group.parallel((lambda: branch("slow", "2h"), lambda: branch("fast", "1h")), parallel_mode=mode)
            )

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1h")
        assert story == ["fast"]
        t.crash()
        t.advance("1h")

        t.assert_completed(t.run(), ["slow", "fast"])
        assert story == ["fast", "slow"]


@pytest.mark.parametrize(
    ("mode", "raised", "after"),
    [
        (None, "ValueError: in 3h", timedelta(hours=9)),
        ("wait", "ValueError: in 3h", timedelta(hours=9)),
        ("race", "ValueError: in 2h", timedelta(hours=2)),
    ],
)
@pytest.mark.parametrize("colour", COLOURS)
def test_the_mode_decides_which_failure_is_raised_and_when(app, colour: str, mode, raised: str, after) -> None:
    """At the first call and at each that repeats it."""
    seen: list[str] = []

    def fail(pause: str) -> None:
        raise ValueError(f"in {pause}")

    if colour == "async":

        @app.create_function(id="bill", trigger="ordered", retries=0)
        async def bill(ctx):
            async def branch(pause: str):
                await ctx.step.sleep(f"rest {pause}", pause)
                await ctx.step.run(f"fail {pause}", fail, pause)

            rest = ctx.step.sleep("long rest", "9h")
            try:
                await ctx.group.parallel([rest, branch("3h"), branch("2h")], parallel_mode=mode)
            except StepError as error:
                seen.append(str(error))
            await ctx.step.run("moment", lambda: None)
            await ctx.step.sleep("later", "1d")
    else:

        @app.create_function(id="bill", trigger="ordered", retries=0)
        def plain(ctx: Context[dict, Sync]):
            def branch(pause: str):
                ctx.step.sleep(f"rest {pause}", pause)
                ctx.step.run(f"fail {pause}", fail, pause)

            def rest():
                ctx.step.sleep("long rest", "9h")

            try:
                ctx.group.parallel([rest, lambda: branch("3h"), lambda: branch("2h")], parallel_mode=mode)
            except StepError as error:
                seen.append(str(error))
            ctx.step.run("moment", lambda: None)
            ctx.step.sleep("later", "1d")

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("9h")
        t.crash()
        t.advance("1d")

        t.assert_completed(t.run())
        assert t.run().steps["moment"].record.ended_at == (START + after).timestamp() * 1000
        assert len(seen) > 1
        assert set(seen) == {raised}


# Wrong usage ----------------------------------------------------------------------------------------------------------

_NO_BRANCHES = {
    "None": None,
    "a number": 7,
    "numbers": [1, 2],
    "results": ["R1", "R2"],
}


@pytest.mark.parametrize("kind", ["parallel", "race"])
@pytest.mark.parametrize("wrong", _NO_BRANCHES)
@pytest.mark.parametrize("colour", COLOURS)
def test_what_is_no_branch_is_refused_with_a_reason(app, colour: str, wrong: str, kind: str) -> None:
    said = _refused(app, colour, lambda group: getattr(group, kind)(_NO_BRANCHES[wrong]))

    what = _NO_BRANCHES[wrong]
    assert said.what in (
        f"the branches of a group are {what}",
        "branch 1 of a group is 1",
        "branch 1 of a group is 'R1'",
    )
    assert said.why
    assert "[ctx.step.run(" in said.fix if colour == "async" else "[lambda: ctx.step.run(" in said.fix


@pytest.mark.parametrize("mode", ["WAIT", "first", 1, True, "", [], Enum("Other", {"RACE": "RACE"}).RACE], ids=repr)
@pytest.mark.parametrize("colour", COLOURS)
def test_an_unknown_mode_is_refused_with_a_reason(app, colour: str, mode: object) -> None:
    said = _refused(app, colour, lambda group: group.parallel([], parallel_mode=mode))

    assert said.what == f"the parallel_mode is {mode!r}"
    assert "the failure of a branch" in said.why
    assert '"wait" or "race"' in said.fix


@pytest.mark.parametrize("mistake", ["a branch", "the mode", "all of it"])
def test_the_steps_beside_a_mistake_are_not_left_waiting(app, mistake: str) -> None:
    """Python would warn of coroutines that nobody has awaited, which the settings of these tests make an error."""

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        step = ctx.step.run("work", lambda: 1)
        if mistake == "a branch":
            await ctx.group.parallel([step, 1])
        elif mistake == "the mode":
            await ctx.group.parallel([step], parallel_mode="soon")
        else:
            await ctx.group.parallel(step)

    with harness(app) as t:
        t.send("ordered", {})

        t.assert_failed(t.run(bill), "ConfigurationError")
        assert list(t.run(bill).steps) == []


def test_a_callable_that_gives_nothing_to_await_is_refused_with_a_reason(app) -> None:
    said = _refused(app, "async", lambda group: group.parallel([lambda: 7]))

    assert said.what == "a branch of a group has given 7"
    assert "async def" in said.fix


def _refused(app: Stepwell, colour: str, use) -> ConfigurationError:
    caught: list[ConfigurationError] = []

    if colour == "async":

        @app.create_function(id="bill", trigger="ordered")
        async def bill(ctx):
            try:
                await use(ctx.group)
            except ConfigurationError as error:
                caught.append(error)
                raise
    else:

        @app.create_function(id="bill", trigger="ordered")
        def plain(ctx: Context[dict, Sync]):
            try:
                use(ctx.group)
            except ConfigurationError as error:
                caught.append(error)
                raise

    with harness(app) as t:
        t.send("ordered", {})
        t.assert_failed(t.run(), "ConfigurationError")
    (error,) = caught  # and it is not tried again
    return error
