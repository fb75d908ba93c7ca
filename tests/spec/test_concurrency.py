"""``concurrency=``: so many steps executing at the same moment, in all or for each key (semantics §7.3, §3.4; F63, F64,
F24)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stepwell import Concurrency, ConfigurationError, Event, Stepwell, Timeouts
from stepwell.testing import Harness, harness
from tests.spec.looking import Meter, holders, totals

START = datetime(2026, 1, 1, tzinfo=UTC)
SLOT = "fn/shop-work"


@pytest.fixture
def meter() -> Meter:
    return Meter()


def work(app: Stepwell, meter: Meter, concurrency: Any, *, id: str = "work", seconds: float = 60, **more: Any) -> Any:
    """A function whose only step takes a minute."""

    @app.create_function(id=id, trigger="go", concurrency=concurrency, **more)
    async def work(ctx):
        key = ctx.event.data.get("key")
        await ctx.step.run("work", meter.work, str(key) if isinstance(key, dict) else key, seconds)

    return work


def go(*keys: Any) -> list[Event]:
    return [Event("go", {"key": key}) for key in keys]


def minutes(t: Harness, function: Any) -> list[float]:
    """When the runs ended, in minutes from the start."""
    return [(run.ended_at - START).total_seconds() / 60 for run in t.runs(function) if run.ended_at]


def nothing_is_left(t: Harness) -> None:
    """I13."""
    assert (totals(t).live_runs, totals(t).items, totals(t).leased) == (0, 0, 0)
    assert holders(t, SLOT) == []


# A limit ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [3, Concurrency(3), [Concurrency(3)], (Concurrency(3),)], ids=repr)
def test_no_more_than_so_many_steps_execute_at_the_same_moment(app, meter, form: Any) -> None:
    """I12."""
    function = work(app, meter, form)

    with harness(app) as t:
        t.send(go(*range(10)))
        t.advance("10m")

        assert meter.most_in_all == 3
        assert minutes(t, function) == [1, 1, 1, 2, 2, 2, 3, 3, 3, 4]
        nothing_is_left(t)


def test_runs_that_wait_for_room_are_queued_and_say_for_what(app, meter) -> None:
    function = work(app, meter, 1)

    with harness(app) as t:
        t.send(go(1, 2))

        first, second = t.runs(function)
        assert (first.status, second.status) == ("RUNNING", "QUEUED")
        assert second.waiting_for == f"room in {SLOT}"
        assert totals(t).blocked == 1
        assert holders(t, SLOT) == [first.id]


def test_they_go_in_the_order_in_which_they_came(app, meter) -> None:
    work(app, meter, 1)

    with harness(app) as t:
        for key in range(20):
            t.send(go(key))
            t.advance("1s")
        t.advance("30m")

        assert meter.order == list(range(20))


@pytest.mark.parametrize("limit", [None, 0, Concurrency(0)], ids=repr)
def test_without_a_limit_all_execute_at_once(app, meter, limit: Any) -> None:
    function = work(app, meter, limit)

    with harness(app) as t:
        t.send(go(*range(100)))
        t.advance("1m")

        assert meter.most_in_all == 100
        assert minutes(t, function) == [1] * 100


def test_the_code_between_steps_needs_a_slot_too(app) -> None:
    meter = Meter()

    @app.create_function(id="work", trigger="go", concurrency=1)
    async def function(ctx):
        await meter.work("between")

    with harness(app) as t:
        t.send(go(1, 2, 3))
        t.advance("3m")

        assert meter.most_in_all == 1
        assert minutes(t, function) == [1, 2, 3]


def test_each_function_has_its_own_limit(app, meter) -> None:
    work(app, meter, 1, id="a")
    work(app, meter, 1, id="b")

    with harness(app) as t:
        t.send(go(1, 2))
        t.advance("2m")

        assert meter.most_in_all == 2


@pytest.mark.parametrize("rest", ["sleep", "wait", "invoke", "back-off"])
def test_what_rests_holds_no_slot(app, rest: str) -> None:
    """I12: thousands may sleep under a limit of one."""
    meter = Meter()

    @app.create_function(id="child")
    async def child(ctx):
        await ctx.step.sleep("rest", "1h")

    @app.create_function(id="work", trigger="go", concurrency=1)
    async def function(ctx):
        await ctx.step.run("before", meter.work, "before", 1)
        if rest == "sleep":
            await ctx.step.sleep("rest", "1h")
        elif rest == "wait":
            await ctx.step.wait_for_event("rest", "never", timeout="1h")
        elif rest == "invoke":
            await ctx.step.invoke("rest", child, data={})
        else:
            await ctx.step.run("rest", fail_first, ctx)
        await ctx.step.run("after", meter.work, "after", 1)

    async def fail_first(ctx: Any) -> None:
        if ctx.attempt == 0:
            raise RuntimeError("busy")

    with harness(app, retry_interval="1h") as t:
        t.send(go(*range(5)))
        t.advance("5s")
        assert meter.order == ["before"] * 5
        assert holders(t, SLOT) == []
        t.advance("1h5s")

        assert [run.status for run in t.runs(function)] == ["COMPLETED"] * 5
        assert meter.most_in_all == 1
        nothing_is_left(t)


def test_steps_of_two_runs_take_turns_at_sleeps(app) -> None:
    """Not a queue of whole runs: §7.3."""
    order: list[str] = []

    @app.create_function(id="work", trigger="go", concurrency=Concurrency(1, key="event.data.user"))
    async def function(ctx):
        name = ctx.event.data["name"]
        await ctx.step.run("first", order.append, f"{name}1")
        await ctx.step.sleep("rest", "1h")
        await ctx.step.run("second", order.append, f"{name}2")

    with harness(app) as t:
        t.send([Event("go", {"user": 7, "name": name}) for name in "ab"])
        t.advance("2h")

        assert order == ["a1", "b1", "a2", "b2"]


# A key -----------------------------------------------------------------------------------------------------------


def test_each_value_of_a_key_has_a_limit_of_its_own(app, meter) -> None:
    function = work(app, meter, Concurrency(1, key="event.data.key"))

    with harness(app) as t:
        t.send(go("a", "a", "b", "a", "b", "c"))
        t.advance("5m")

        assert minutes(t, function) == [1, 2, 1, 3, 2, 1]
        assert set(meter.most.values()) == {1}
        assert meter.most_in_all == 3
        nothing_is_left(t)


@pytest.mark.parametrize(
    ("keys", "together"),
    [
        ([1, 1], False),
        ([1, 2], True),
        ([1, 1.0], False),
        ([1, "1"], True),
        (["a", "A"], True),
        (["", None], True),
        ([False, "false"], True),
        ([False, False], False),
        ([{"a": 1}, {"a": 1}], False),
        (["x" * 5_000, "x" * 5_000], False),
        (["x" * 5_000 + "a", "x" * 5_000 + "b"], True),
        (["ü☃\u0000", "ü☃\u0000"], False),
        (["a/b", "a%2Fb"], True),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_the_text_of_a_key_is_what_counts(app, meter, keys: list[Any], together: bool) -> None:
    work(app, meter, Concurrency(1, key="event.data.key"))

    with harness(app) as t:
        t.send(go(*keys))
        t.advance("5m")

        assert meter.most_in_all == (2 if together else 1)
        nothing_is_left(t)


@pytest.mark.parametrize("key", ["event.data.absent", "event.data.key < 1", "int(event.data.key)"])
def test_events_whose_key_is_missing_or_fails_share_one_limit(app, meter, key: str) -> None:
    function = work(app, meter, Concurrency(1, key=key))

    with harness(app) as t:
        t.send(go("a", "b"))
        t.advance("5m")

        assert minutes(t, function) == [1, 2]


def test_a_constant_key_is_one_limit(app, meter) -> None:
    function = work(app, meter, Concurrency(1, key="'external-api'"))

    with harness(app) as t:
        t.send(go(1, 2))
        t.advance("5m")

        assert minutes(t, function) == [1, 2]


def test_a_key_may_be_built_of_several_parts(app, meter) -> None:
    work(app, meter, Concurrency(1, key="event.data.key.a + '/' + event.data.key.b"))

    with harness(app) as t:
        t.send(go({"a": "x", "b": "1"}, {"a": "x", "b": "2"}, {"a": "x", "b": "1"}))
        t.advance("5m")

        assert meter.most_in_all == 2


def test_the_key_is_evaluated_once_when_the_run_is_created(app, meter) -> None:
    """§3.5: a change of the expression affects new runs only."""
    work(app, meter, Concurrency(1, key="event.data.key"))
    later, second = Stepwell("shop"), Meter()
    work(later, second, Concurrency(1, key="'all'"))

    with harness(app) as t:
        t.send(go("a", "b"))
        t.crash(app=later)
        t.run_until_idle()
        assert second.most_in_all == 2
        t.send(go("c", "d"))
        t.run_until_idle()

        assert second.most["d"] == second.most["c"] == 1
        assert (sorted(second.order[:2]), second.order[2:]) == (["a", "b"], ["c", "d"])


def test_a_deep_backlog_of_one_key_holds_up_no_other(app, meter) -> None:
    function = work(app, meter, Concurrency(1, key="event.data.key"))

    with harness(app) as t:
        t.send(go(*["busy"] * 500, "idle"))
        t.advance("1m")

        t.assert_completed(t.runs(function)[-1])


def test_of_two_limits_both_must_have_room(app, meter) -> None:
    work(app, meter, [Concurrency(3), Concurrency(2, key="event.data.key")])

    with harness(app) as t:
        t.send(go("a", "a", "a", "b", "b", "b"))
        t.advance("10m")

        assert meter.most_in_all == 3
        assert meter.most == {"a": 2, "b": 2}
        nothing_is_left(t)


# Who dies --------------------------------------------------------------------------------------------------------


def test_the_slot_of_a_process_that_died_is_free_for_the_same_run_and_then_the_next(app, meter) -> None:
    """K41, K46, K55: recovered on a limit of one, the run must not wait for itself."""
    function = work(app, meter, 1)

    with harness(app) as t:
        t.send(go(1, 2, 3))
        for _ in range(5):
            t.advance("30s")
            t.crash()
        t.advance("10m")

        assert [run.status for run in t.runs(function)] == ["COMPLETED"] * 3
        nothing_is_left(t)


def test_after_a_crash_all_slots_are_used_again(app, meter) -> None:
    function = work(app, meter, 5)

    with harness(app) as t:
        t.send(go(*range(3)))
        t.advance("1s")
        t.crash(down="1s")
        t.send(go(*range(10)))
        t.run_until_idle()

        assert minutes(t, function) == pytest.approx([62 / 60] * 5 + [122 / 60] * 5 + [182 / 60] * 3)
        nothing_is_left(t)


def test_a_slot_is_not_lost_when_the_function_is_away_for_a_while(app, meter) -> None:
    """K49: whoever recovers the run does not have its function; it waits, and runs when the function is back."""
    function = work(app, meter, 1)
    other = Stepwell("other")

    with harness(app) as t:
        t.send(go(1, 2))
        t.advance("1s")
        t.crash(app=other)
        t.advance("1h")
        assert totals(t).blocked == 2
        assert holders(t, SLOT) == []
        t.crash(app=app)
        t.advance("2m")

        assert [run.status for run in t.runs(function)] == ["COMPLETED"] * 2
        nothing_is_left(t)


def test_many_runs_whose_function_is_away_hold_up_no_other(app, meter) -> None:
    """K48: a page full of what cannot be run starves nobody."""
    work(app, meter, None)
    other = Stepwell("other")

    @other.create_function(id="alive", trigger="live")
    async def alive(ctx):
        await ctx.step.sleep("rest", "1m")

    with harness([app, other]) as t:
        t.send(go(*range(300)))
        t.crash(app=other)
        t.send("live")
        t.advance("1m")

        t.assert_completed(t.run(alive))
        assert totals(t).blocked == 300


def test_K47_a_step_that_takes_hours_is_not_taken_for_lost(app, meter) -> None:
    """K47, K60, K61: a lease that is kept alive is no lost one, however long the step takes."""
    function = work(app, meter, 1, seconds=3_000)

    with harness(app) as t:
        t.send(go("long"))
        t.advance("40m")
        t.send(go("next"))
        t.advance("1h")

        assert meter.order == ["long", "next"]
        assert "lease" not in t.runs(function)[0].trace()
        assert [run.status for run in t.runs(function)] == ["COMPLETED"] * 2


def test_a_run_that_fails_gives_its_slot_to_the_next(app) -> None:
    @app.create_function(id="work", trigger="go", concurrency=1, retries=0)
    async def function(ctx):
        if ctx.event.data["key"] == 1:
            raise RuntimeError("no")

    with harness(app) as t:
        t.send(go(1, 2))
        t.run_until_idle()

        assert [run.status for run in t.runs(function)] == ["FAILED", "COMPLETED"]
        nothing_is_left(t)


def test_a_run_that_wakes_as_the_holder_of_the_slot_is_timed_out_gets_it(app) -> None:
    """Race of timeout and wake on a limit of one, in one decision."""

    @app.create_function(id="work", trigger="go", concurrency=1, timeouts=Timeouts(finish="1h"))
    async def function(ctx):
        if ctx.event.data["key"] == "hang":
            await ctx.step.run("hang", asyncio.sleep, 7_000)
        await ctx.step.sleep("rest", "30m")

    with harness(app) as t:
        t.send("go", {"key": "hang"}, ts=START)
        t.advance("1s")
        t.send("go", {"key": "quick"}, ts=START + timedelta(minutes=30))
        t.advance("2h")

        hung, quick = t.runs(function)
        t.assert_cancelled(hung)
        assert quick.started_at == START + timedelta(hours=1)
        t.assert_completed(quick)


@pytest.mark.parametrize("down", ["59m", "1h", "2h"])
def test_a_slot_that_is_freed_in_the_decision_that_wakes_another_is_not_missed(app, down: str) -> None:
    """I10: after downtime a timeout and a wake on one slot come due together."""

    @app.create_function(id="work", trigger="go", concurrency=1, timeouts=Timeouts(finish="58m"))
    async def function(ctx):
        await ctx.step.run("hang", asyncio.sleep, ctx.event.data["key"])

    with harness(app) as t:
        t.send("go", {"key": 7_000})
        t.send("go", {"key": 1}, ts=START + timedelta(minutes=57))
        t.crash(down=down)
        t.advance("10m")

        hung, quick = t.runs(function)
        t.assert_cancelled(hung)
        t.assert_completed(quick)
        nothing_is_left(t)


# A changed limit -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("before", "after"), [(1, 5), (5, 1), (1, None)], ids=["raised", "lowered", "removed"])
def test_a_changed_limit_applies_at_once_to_what_is_queued(app, before: int, after: int | None) -> None:
    first, second, later = Meter(), Meter(), Stepwell("shop")
    function = work(app, first, before)
    work(later, second, after)

    with harness(app) as t:
        t.send(go(*range(10)))
        t.advance("1s")
        assert first.most_in_all == before
        t.crash(app=later)
        t.advance("20m")

        assert second.most_in_all == (after or 10)
        assert [run.status for run in t.runs(function)] == ["COMPLETED"] * 10
        nothing_is_left(t)


@pytest.mark.parametrize(
    "after",
    [[Concurrency(2)], [Concurrency(2), Concurrency(1, key="event.data.k")]],
    ids=["the first is gone", "the other way round"],
)
def test_each_of_two_limits_stays_what_it_is_if_the_other_goes_or_they_change_places(app, after: Any) -> None:
    first, second, later = Meter(), Meter(), Stepwell("shop")
    function = work(app, first, [Concurrency(1, key="event.data.k"), Concurrency(2)])
    work(later, second, after)

    with harness(app) as t:
        t.send([Event("go", {"k": n % 5}) for n in range(20)])
        t.advance("1s")
        t.crash(app=later)
        t.advance("1h")

        assert second.most_in_all == 2, "what waited before is held by both as it was"
        assert [run.status for run in t.runs(function)] == ["COMPLETED"] * 20
        nothing_is_left(t)


# What is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: Concurrency(-1),
        lambda: Concurrency(1.5),  # type: ignore[arg-type]
        lambda: Concurrency("2"),  # type: ignore[arg-type]
        lambda: Concurrency(True),
        lambda: Concurrency(1, key=""),
        lambda: Concurrency(1, key="event.data."),
        lambda: Concurrency(1, key="async.data.a"),
        lambda: Concurrency(1, key=7),  # type: ignore[arg-type]
        lambda: Concurrency(1, scope="global", key="'a'"),
        lambda: Concurrency(1, scope="env"),
        lambda: Concurrency(1, scope="account"),
        lambda: -1,
        lambda: "2",
        lambda: [Concurrency(1), Concurrency(2), Concurrency(3)],
        lambda: [[1]],
        lambda: {"limit": 1},
    ],
)
def test_a_limit_that_cannot_be_is_refused_with_what_why_and_fix(app, meter, make: Any) -> None:
    with pytest.raises(ConfigurationError) as refused:
        work(app, meter, make())

    assert all((refused.value.what, refused.value.why, refused.value.fix))
    assert app.functions == {}
