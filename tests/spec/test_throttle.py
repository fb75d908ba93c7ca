"""``throttle=``: so many starts in a length of time; the others wait their turn (semantics §7.4; F65, I14)."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwell import Concurrency, ConfigurationError, Event, Stepwell, Throttle, Timeouts
from stepwell.model.place import EVERYWHERE
from stepwell.model.questions import Backlog
from stepwell.testing import Harness, harness
from tests.spec.looking import totals

START = datetime(2026, 1, 1, tzinfo=UTC)


def work(app: Stepwell, throttle: Any, **more: Any) -> Any:
    @app.create_function(id="work", trigger="go", throttle=throttle, **more)
    async def work(ctx):
        return ctx.event.data.get("n")

    return work


def starts(t: Harness, function: Any) -> list[float]:
    """Seconds from the beginning, in the order of the runs."""
    return [(run.started_at - START).total_seconds() for run in t.runs(function) if run.started_at]


def numbered(count: int, **more: Any) -> list[Event]:
    return [Event("go", {"n": n, **more}) for n in range(count)]


def test_starts_are_spread_over_the_period(app) -> None:
    function = work(app, Throttle(10, "1m", burst=0))

    with harness(app) as t:
        t.send(numbered(4))
        t.advance("1h")

        assert starts(t, function) == [0, 6, 12, 18]


def test_one_more_may_start_at_once_unless_a_burst_is_given(app) -> None:
    function = work(app, Throttle(10, "1m"))

    with harness(app) as t:
        t.send(numbered(4))
        t.advance("1h")

        assert starts(t, function) == [0, 0, 6, 12]


def test_what_was_not_used_is_there_later_but_never_more_than_the_burst(app) -> None:
    function = work(app, Throttle(1, "1m", burst=2))

    with harness(app) as t:
        t.advance("1d")
        t.send(numbered(5))
        t.advance("1h")

        assert [start - 86_400 for start in starts(t, function)] == [0, 0, 0, 60, 120]


def test_each_key_has_its_own_turns(app) -> None:
    function = work(app, Throttle(1, "1m", burst=0, key="event.data.who"))

    with harness(app) as t:
        t.send([*numbered(2, who="a"), *numbered(2, who="b")])
        t.advance("1h")

        assert sorted(starts(t, function)) == [0, 0, 60, 60]


def test_they_start_in_the_order_in_which_they_came(app) -> None:
    function = work(app, Throttle(1, "1s", burst=0))

    with harness(app) as t:
        for n in range(30):
            t.send("go", {"n": n})
            t.advance(300)
        t.advance("1h")

        assert starts(t, function) == sorted(starts(t, function))
        assert len(starts(t, function)) == 30


def test_steps_and_retries_take_no_turns(app) -> None:
    tried: list[float] = []

    @app.create_function(id="work", trigger="go", throttle=Throttle(1, "1h", burst=0))
    async def function(ctx):
        def fails() -> None:
            tried.append((t.now - START).total_seconds())
            if len(tried) < 3:
                raise RuntimeError("not yet")

        await ctx.step.run("a", fails)
        await ctx.step.sleep("rest", "1s")

    with harness(app) as t:
        t.send("go")
        t.advance("30m")

        assert len(tried) == 3
        assert t.run(function).status == "COMPLETED"


def test_a_run_that_is_cancelled_while_it_waits_gives_its_turn_to_the_next(app) -> None:
    function = work(app, Throttle(1, "1m", burst=0))

    with harness(app) as t:
        t.send(numbered(3))
        t.cancel(t.runs(function)[1])
        t.advance("1h")

        assert [run.status for run in t.runs(function)] == ["COMPLETED", "CANCELLED", "COMPLETED"]
        assert starts(t, function) == [0, 60]


def test_the_time_in_which_a_run_must_start_goes_on_while_it_waits(app) -> None:
    function = work(app, Throttle(1, "1m", burst=0), timeouts=Timeouts(start="90s"))

    with harness(app) as t:
        t.send(numbered(3))
        t.advance("1h")

        assert [run.status for run in t.runs(function)] == ["COMPLETED", "COMPLETED", "CANCELLED"]


def test_a_run_that_then_waits_for_a_slot_takes_its_turn_when_it_starts(app) -> None:
    """I14 counts starts, not permissions to start."""
    began: list[float] = []

    @app.create_function(id="work", trigger="go", throttle=Throttle(1, "1m", burst=0), concurrency=Concurrency(1))
    async def function(ctx):
        began.append((t.now - START).total_seconds())
        await ctx.step.run("long", asyncio.sleep, 300)

    with harness(app) as t:
        t.send(numbered(4))
        t.advance("1h")

        assert began[0] == 0
        assert all(after - before >= 60 for before, after in pairwise(began))
        assert len(began) == 4


def test_whoever_is_next_takes_the_turn_of_one_who_waits_for_a_slot(app) -> None:
    @app.create_function(
        id="work", trigger="go", throttle=Throttle(1, "1m", burst=0), concurrency=Concurrency(1, key="event.data.k")
    )
    async def function(ctx):
        began.append((ctx.event.data["n"], (t.now - START).total_seconds()))
        await ctx.step.run("long", asyncio.sleep, 90 if ctx.event.data["n"] == 1 else 0)

    began: list[tuple[int, float]] = []
    with harness(app) as t:
        t.send([Event("go", {"n": n, "k": k}) for n, k in enumerate("aaab")])
        t.advance("1h")

        assert began == [(0, 0), (1, 60), (3, 120), (2, 180)]  # at 120 s the second of "a" is not done


def test_nobody_is_woken_for_a_turn_that_nobody_can_use(app) -> None:
    """With one limit for all, those who wait for turns would only go from the one backlog to the other, and back."""

    @app.create_function(id="work", trigger="go", throttle=Throttle(1, "1m", burst=0), concurrency=1)
    async def function(ctx):
        if ctx.event.data["n"]:
            await ctx.step.run("long", asyncio.sleep, 3_000)

    with harness(app) as t:
        t.send(numbered(20))
        t.advance("150s")  # one is done, one is long, and one waits until that is done

        assert len(t.ask(Backlog("throttle/shop-work/", 100, EVERYWHERE))) == 17


def test_it_holds_after_a_crash(app) -> None:
    function = work(app, Throttle(1, "1m", burst=0))

    with harness(app) as t:
        t.send(numbered(3))
        t.crash()
        t.advance("1h")

        assert starts(t, function) == [0, 60, 120]


def test_a_new_rate_holds_at_once_for_those_who_wait(app) -> None:
    work(app, Throttle(1, "1d", burst=0))
    faster = Stepwell("shop")
    function = work(faster, Throttle(1, "1m", burst=0))

    with harness(app) as t:
        t.send(numbered(3))
        t.advance("10s")
        t.crash(app=faster)
        t.advance("1h")

        assert starts(t, function) == [0, 60, 120]


def test_a_slower_rate_holds_for_those_who_wait_from_the_last_start_on(app) -> None:
    work(app, Throttle(1, "1m", burst=0))
    slower = Stepwell("shop")
    function = work(slower, Throttle(1, "1h", burst=0))

    with harness(app) as t:
        t.send(numbered(4))
        t.advance("90s")
        t.crash(app=slower)
        t.advance("3h")

        assert starts(t, function) == [0, 60, 3660, 7260]


def test_those_who_wait_start_at_once_when_the_rule_is_gone(app) -> None:
    work(app, Throttle(1, "1d", burst=0))
    free = Stepwell("shop")
    function = work(free, None)

    with harness(app) as t:
        t.send(numbered(3))
        t.advance("10s")
        t.crash(app=free)
        t.advance("1m")

        assert starts(t, function) == [0, 10, 10]


def test_a_new_rate_holds_at_once_without_a_restart_too(app) -> None:
    function = work(app, Throttle(1, "7d", burst=0))
    free = Stepwell("shop")
    work(free, None)

    with harness(app) as t:
        t.send(numbered(3))
        t.advance("1s")
        t._do(lambda: t.engine.register("shop", free.configs()))
        t.advance("1m")

        assert starts(t, function) == [0, 1, 1]


def test_nothing_is_left_behind(app) -> None:
    work(app, Throttle(5, "1s"))

    with harness(app) as t:
        t.send(numbered(50))
        t.advance("1h")

        assert (totals(t).live_runs, totals(t).items, totals(t).blocked) == (0, 0, 0)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: Throttle(0, "1m"), "limit of throttle is 0"),
        (lambda: Throttle(1, "0s"), "period of throttle is 0s"),
        (lambda: Throttle(1, "8d"), "period of throttle is 1w1d"),
        (lambda: Throttle(1, "1m", burst=-1), "burst of throttle is -1"),
        (lambda: Throttle(1, "1m", key="event.data."), "event.data."),
        (lambda: Throttle(1.5, "1m"), "limit of throttle is 1.5"),  # type: ignore[arg-type]
    ],
)
def test_a_throttle_that_cannot_be_kept_is_refused(make: Any, what: str) -> None:
    with pytest.raises(ConfigurationError, match=what):
        make()


@settings(max_examples=60, deadline=None)
@given(
    limit=st.integers(1, 7),
    period=st.integers(1, 60),
    burst=st.integers(0, 4),
    gaps=st.lists(st.tuples(st.integers(0, 20_000), st.sampled_from("ab")), min_size=1, max_size=40),
)
def test_never_more_start_than_rate_and_burst_allow_and_none_waits_longer_than_it_must(
    limit: int, period: int, burst: int, gaps: list[tuple[int, str]]
) -> None:
    """I14, against the model: a bucket of ``burst + 1`` that fills evenly."""
    app = Stepwell("shop")

    @app.create_function(
        id="work", trigger="go", throttle=Throttle(limit, timedelta(seconds=period), burst=burst, key="event.data.k")
    )
    async def function(ctx): ...

    arrivals: dict[str, list[float]] = defaultdict(list)
    with harness(app) as t:
        for gap, key in gaps:
            t.advance(gap)
            t.send("go", {"k": key})
            arrivals[key].append((t.now - START).total_seconds())
        t.advance(timedelta(seconds=period * len(gaps) + 1))
        found: dict[str, list[float]] = defaultdict(list)
        for run in t.runs(function):
            assert run.started_at is not None
            found[run.event["data"]["k"]].append((run.started_at - START).total_seconds())

    for key, came in arrivals.items():
        expected = _model(came, period / limit, burst)
        assert [round(start, 3) for start in found[key]] == pytest.approx(expected, abs=0.0021)


def _model(came: list[float], interval: float, burst: int) -> list[float]:
    starts: list[float] = []
    arrival = 0.0  # the theoretical one
    for moment in came:
        start = max(moment, arrival - burst * interval)
        arrival = max(start, arrival) + interval
        starts.append(start)
    return starts
