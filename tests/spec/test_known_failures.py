"""What went wrong in systems like this one, as far as it is about rules for starts, clocks and cancels, and has no
place among the sentences about one feature. The numbers are those of docs/reference/known-failures.md."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stepwell import (
    BatchEvents,
    Debounce,
    Event,
    RateLimit,
    Singleton,
    StepError,
    Stepwell,
    TriggerCron,
)
from stepwell.model.changes import Decision, HoldEvent
from stepwell.testing import Harness, crash_sweep, harness
from stepwell.testing.faults import Faults
from stepwell.testing.plans import Action, Plan
from stepwell.testing.programs import Do, Spec
from stepwell.testing.world import World
from tests.spec.looking import outcomes, totals

START = datetime(2026, 1, 1, tzinfo=UTC)


def work(app: Stepwell, **options: Any) -> Any:
    @app.create_function(id="work", trigger="go", **options)
    async def work(ctx: Any) -> Any:
        return [event.data.get("n") for event in ctx.events]

    return work


def dies_when_an_event_is_held(before: bool) -> Any:
    """The process dies at the first commit that holds an event back, before or after it takes effect."""
    died: list[object] = []

    def dies(is_before: bool, made: object) -> bool:
        holds = isinstance(made, Decision) and any(isinstance(change, HoldEvent) for change in made.changes)
        # What a plan comes to is known only afterwards: it is the only kind of work here before its commit.
        if died or is_before != before or not (holds or (before and callable(made))):
            return False
        died.append(made)
        return True

    return dies


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_K16_an_error_between_the_first_event_of_a_batch_and_its_timer_loses_neither(app, before: bool) -> None:
    """I21: they are one commit, and who sends again meets all of it or nothing."""
    function = work(app, batch_events=BatchEvents(10, timeout="5s"))

    with harness(app) as t:
        t.die_when(dies_when_an_event_is_held(before))
        t.send("go", {"n": 0})
        t.send("go", {"n": 1})
        t.advance("5s")

        assert t.run(function).output == [0, 1]


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_K17_an_older_event_that_comes_right_after_a_debounce_was_written_changes_nothing(app, before: bool) -> None:
    """I20: the window and its timer are there together."""
    function = work(app, debounce=Debounce("10s"))

    with harness(app) as t:
        t.die_when(dies_when_an_event_is_held(before))
        t.send(Event("go", {"n": "newer"}, ts=START))
        (older,) = t.send(Event("go", {"n": "older"}, ts=START - timedelta(seconds=1)))
        t.advance("10s")

        run = t.run(function)
        assert (run.output, run.started_at) == (["newer"], START + timedelta(seconds=10))
        assert outcomes(t, older)["shop-work"].run_id == run.id


def test_K18_an_event_in_the_last_second_before_the_maximum_is_the_newest_and_one_after_it_opens_a_window(app) -> None:
    """I20."""
    function = work(app, debounce=Debounce("10s", timeout="25s"))

    with harness(app) as t:
        for moment, n in ((0, 0), (9_000, 1), (18_000, 2), (24_999, 3), (25_000, 4)):
            t.advance_to(START + timedelta(milliseconds=moment))
            t.send("go", {"n": n})
        t.advance("1m")

        found = [((run.started_at - START).total_seconds(), run.output) for run in t.runs(function) if run.started_at]
        assert found == [(25.0, [3]), (35.0, [4])]


@pytest.mark.parametrize(
    ("rule", "answer"),
    [
        ({"debounce": Debounce("1h")}, [7]),
        ({"batch_events": BatchEvents(10, timeout="1h")}, [7]),
        ({"rate_limit": RateLimit(1, "1h")}, "rate limit"),
        ({"singleton": Singleton("skip")}, "singleton"),
        ({"idempotency": "'once'"}, "idempotency"),
        ({}, "paused"),
    ],
    ids=["debounced", "batched", "rate limited", "singleton", "idempotent", "paused"],
)
def test_K19_whoever_invokes_a_function_under_a_rule_gets_an_answer(app, rule: dict[str, Any], answer: Any) -> None:
    """I10: at once, whether it starts or not."""
    function = work(app, **rule)

    @app.create_function(id="parent", trigger="parent")
    async def parent(ctx: Any) -> Any:
        try:
            return await ctx.step.invoke("child", function, data={"n": 7})
        except StepError as error:
            return str(error)

    with harness(app) as t:
        if not rule:
            t.pause(function)
        elif isinstance(answer, str):
            t.send("go", {"n": 1}, ts=START + timedelta(days=1) if "singleton" in rule else None)
        t.send("parent")

        output = t.run(parent).output
        assert output == answer or (isinstance(answer, str) and answer in output)


def test_K21_a_run_that_takes_the_place_of_another_has_it_whole_wherever_the_process_dies() -> None:
    """I22: the place is given up and taken in one decision."""
    app = Stepwell("shop")

    @app.create_function(id="work", trigger="go", singleton=Singleton("cancel"))
    async def work(ctx: Any) -> Any:
        await ctx.step.sleep("rest", "1m")
        return ctx.event.data["n"]

    def replace(t: Harness) -> None:
        for n in range(3):
            t.send(Event("go", {"n": n}, id=f"go/{n}"))
            alive = [run for run in t.runs("work") if not run.ended]
            assert len(alive) <= 1
        t.advance("1h")
        assert [run.output for run in t.runs("work") if run.status == "COMPLETED"] == [2]
        assert totals(t).items == 0

    assert crash_sweep(app, replace).points > 3


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_K45_a_leader_whose_database_fails_does_not_double_ticks_beside_the_next_one(seed: int) -> None:
    """I23, I28: whoever goes on believing that it leads writes nothing."""
    plan = Plan(
        seed=seed,
        functions=(Spec(id="f0", program=(Do("do"),), cron="* * * * *", missed="all"),),
        actions=tuple(Action(kind="depose", after_ms=150_000, delay_ms=400_000) for _ in range(6)),
        faults=Faults(commit_fails=0.2, commit_unsure=0.2, read_fails=0.2),
    )

    report = World(plan).play()

    assert report.violations == ()
    assert report.reached["two at once"] == 6
    assert report.reached["tick"] >= 15


def test_K50_what_a_leader_has_not_done_because_its_store_hangs_the_next_one_does(app) -> None:
    """I23: half-started, with an insert that never comes back; each tick once in the end."""

    @app.create_function(id="report", trigger=TriggerCron("0 * * * *", missed="all"))
    async def report(ctx: Any) -> Any:
        return ctx.event.data["scheduledAt"][11:13]

    with harness(app) as t:
        t.advance("90m")
        t.engine.store.commit = lambda work: asyncio.get_running_loop().create_future()  # type: ignore[method-assign]
        t.advance("2h")
        assert [run.output for run in t.runs(report)] == ["01"]
        t.crash()
        t.advance("1h")

        assert [run.output for run in t.runs(report)] == ["01", "02", "03", "04"]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [({"debounce": Debounce("10s")}, [[2]]), ({"batch_events": BatchEvents(10, timeout="10s")}, [[0, 1, 2]])],
    ids=["debounce", "batch"],
)
def test_K65_what_is_held_back_is_there_however_long_nobody_is(app, rule: dict[str, Any], expected: Any) -> None:
    """I20, I21: a window ends when it starts its run, and not before."""
    function = work(app, **rule)

    with harness(app) as t:
        t.send([Event("go", {"n": n}) for n in range(3)])
        t.crash(down="400d")
        t.run_until_idle()

        assert [run.output for run in t.runs(function)] == expected
        assert totals(t).items == 0
