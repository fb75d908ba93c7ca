"""``debounce=``: wait until events stop coming, then start one run with the newest (semantics §7.7; F67, I20)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwell import ConfigurationError, Debounce, Event, RateLimit, Singleton, Stepwell, TriggerCron
from stepwell.model.place import EVERYWHERE
from stepwell.model.questions import GetCell
from stepwell.testing import Harness, harness
from tests.spec.looking import outcomes, totals

START = datetime(2026, 1, 1, tzinfo=UTC)


def work(app: Stepwell, debounce: Any, **more: Any) -> Any:
    trigger = more.pop("trigger", "go")

    @app.create_function(id="work", trigger=trigger, debounce=debounce, **more)
    async def work(ctx):
        return ctx.event.data.get("n")

    return work


def seen(t: Harness, function: Any) -> list[tuple[float, Any]]:
    """When runs started, in seconds, and with which event."""
    return [((run.started_at - START).total_seconds(), run.output) for run in t.runs(function) if run.started_at]


def test_one_run_starts_with_the_newest_when_none_has_come_for_the_period(app) -> None:
    function = work(app, Debounce("10s"))

    with harness(app) as t:
        for n in range(5):
            t.send("go", {"n": n})
            t.advance("9s")
        assert t.runs(function) == []
        t.advance("1s")

        assert seen(t, function) == [(46, 4)]


def test_the_next_event_opens_a_new_window(app) -> None:
    function = work(app, Debounce("10s"))

    with harness(app) as t:
        t.send("go", {"n": 0})
        t.advance("10s")
        t.send("go", {"n": 1})
        t.advance("1m")

        assert seen(t, function) == [(10, 0), (20, 1)]


def test_it_is_put_off_no_longer_than_the_timeout(app) -> None:
    function = work(app, Debounce("10s", timeout="25s"))

    with harness(app) as t:
        for n in range(10):
            t.send("go", {"n": n})
            t.advance("5s")
        t.advance("1m")

        assert seen(t, function) == [(25, 4), (50, 9)]


def test_each_key_has_a_window_and_those_without_a_value_share_one(app) -> None:
    """A key that is missing, fails or is literally ``false`` has no value (semantics §3.4)."""
    function = work(app, Debounce("10s", key="event.data.now ? false : event.data.who"))

    with harness(app) as t:
        t.send([Event("go", {"now": False, "who": who, "n": n}) for n, who in enumerate("abab")])
        t.send([Event("go", {"now": True, "n": 8}), Event("go", {"n": 9})])
        t.advance("10s")

        assert sorted(run.output for run in t.runs(function)) == [2, 3, 9]


def test_the_newest_is_so_by_its_own_moment_and_an_older_one_changes_nothing(app) -> None:
    function = work(app, Debounce("10s"))

    with harness(app) as t:
        t.send(Event("go", {"n": "newer"}, ts=START))
        t.advance("6s")
        (late,) = t.send(Event("go", {"n": "older"}, ts=START - timedelta(minutes=1)))
        t.advance("4s")

        assert seen(t, function) == [(10, "newer")]
        assert outcomes(t, late)["shop-work"].run_id == t.run(function).id


def test_what_was_left_out_names_the_run_that_stands_for_it(app) -> None:
    """I2, F79."""
    function = work(app, Debounce("10s"))

    with harness(app) as t:
        first, second, third = t.send([Event("go", {"n": n}) for n in range(3)])
        t.advance("10s")

        run = t.run(function).id
        assert [
            (outcomes(t, each)["shop-work"].kind, outcomes(t, each)["shop-work"].run_id) for each in (first, second)
        ] == [("debounced", run)] * 2
        assert outcomes(t, third) == {}


def test_a_window_survives_a_crash_and_a_restart_long_after(app) -> None:
    function = work(app, Debounce("10s"))

    with harness(app) as t:
        t.send("go", {"n": 0})
        t.crash()
        t.advance("5s")
        t.send("go", {"n": 1})
        t.crash(down="1h")

        assert [run.output for run in t.runs(function)] == [1]


def test_an_event_that_came_before_a_deploy_starts_what_there_is_then(app) -> None:
    work(app, Debounce("10s"))
    newer = Stepwell("shop")

    @newer.create_function(id="work", trigger="go")
    async def function(ctx):
        return "new"

    with harness(app) as t:
        t.send("go", {"n": 0})
        t.crash(app=newer)
        t.advance("10s")

        assert [run.output for run in t.runs(function)] == ["new"]


def test_an_event_whose_function_was_removed_meanwhile_says_so(app) -> None:
    """I2: nothing vanishes."""
    work(app, Debounce("10s"))
    empty = Stepwell("shop")

    @empty.create_function(id="other", trigger="other")
    async def other(ctx): ...

    with harness(app) as t:
        (event_id,) = t.send("go", {"n": 0})
        t.crash(app=empty)
        t.advance("10s")

        assert outcomes(t, event_id)["shop-work"].kind == "function-gone"


def test_a_rate_limit_counts_events_before_they_are_held(app) -> None:
    """Semantics §7.2, 3."""
    function = work(app, Debounce("10s"), rate_limit=RateLimit(1, "1m"))

    with harness(app) as t:
        t.send("go", {"n": 0})
        (dropped,) = t.send("go", {"n": 1})
        t.advance("1m")

        assert [run.output for run in t.runs(function)] == [0]
        assert outcomes(t, dropped)["shop-work"].kind == "rate-limited"


def test_an_idempotency_key_counts_when_the_run_starts(app) -> None:
    function = work(app, Debounce("10s"), idempotency="event.data.cart")

    with harness(app) as t:
        t.send([Event("go", {"cart": 1, "n": n}) for n in range(3)])
        t.advance("10s")
        (again,) = t.send("go", {"cart": 1, "n": 9})
        t.advance("1m")

        assert [run.output for run in t.runs(function)] == [2]
        assert outcomes(t, again)["shop-work"].kind == "idempotent"


def test_a_singleton_is_asked_when_the_run_would_start(app) -> None:
    function = work(app, Debounce("10s"), singleton=Singleton("skip"))

    with harness(app) as t:
        t.send("go", {"n": 0}, ts=START + timedelta(hours=1))
        t.advance("10s")
        (second,) = t.send("go", {"n": 1}, ts=START + timedelta(hours=2))
        t.advance("10s")

        assert len(t.runs(function)) == 1
        assert outcomes(t, second)["shop-work"].kind == "singleton"


def test_ticks_and_invokes_are_not_held(app) -> None:
    function = work(app, Debounce("1h"), trigger=["go", TriggerCron("* * * * *")])

    @app.create_function(id="parent", trigger="parent")
    async def parent(ctx):
        return await ctx.step.invoke("child", function, data={"n": 7})

    with harness(app) as t:
        t.send("parent")
        assert t.run(parent).output == 7
        t.advance("2m")

        assert len(t.runs(function)) == 3


def test_nothing_is_left_behind(app) -> None:
    work(app, Debounce("10s"))

    with harness(app) as t:
        t.send([Event("go", {"n": n}) for n in range(3)])
        t.advance("1m")

        assert (totals(t).live_runs, totals(t).items) == (0, 0)
        assert t.ask(GetCell("debounce/shop-work/", int(t.now.timestamp() * 1000), EVERYWHERE)) is None


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: Debounce("500ms"), "period of debounce is 500ms"),
        (lambda: Debounce("8d"), "period of debounce is 1w1d"),
        (lambda: Debounce("10s", timeout="5s"), "timeout of debounce is 5s"),
        (lambda: Debounce("soon"), "soon"),
    ],
)
def test_a_debounce_that_cannot_be_kept_is_refused(make: Any, what: str) -> None:
    with pytest.raises(ConfigurationError, match=what):
        make()


@settings(max_examples=60, deadline=None)
@given(
    period=st.integers(1, 20),
    timeout=st.none() | st.integers(0, 60),
    arrivals=st.lists(
        st.tuples(st.integers(0, 15), st.sampled_from("ab"), st.integers(-30, 30), st.booleans()), max_size=30
    ),
)
def test_as_in_the_model(period: int, timeout: int | None, arrivals: list[tuple[int, str, int, bool]]) -> None:
    """I20: each event starts a run or was left out for one, and the newest of a window starts it, on time."""
    app = Stepwell("shop")
    longest = None if timeout is None else period + timeout
    function = work(app, Debounce(f"{period}s", timeout=f"{longest}s" if longest else None, key="event.data.k"))
    model: dict[str, dict[str, Any]] = {}
    expected: list[tuple[float, int]] = []
    now = 0.0

    def fire_until(moment: float) -> None:
        over = [key for key, window in model.items() if window["at"] <= moment]
        expected.extend((model[key]["at"], model.pop(key)["n"]) for key in over)

    with harness(app) as t:
        for n, (gap, key, age, crash) in enumerate(arrivals):
            t.advance(gap * 1000)
            now += gap
            fire_until(now)
            if crash:
                t.crash()
            t.send(Event("go", {"n": n, "k": key}, ts=START + timedelta(seconds=now + min(age, 0))))
            ts = now + min(age, 0)
            window = model.setdefault(key, {"opened": now, "ts": ts, "n": n, "at": now + period})
            if ts >= window["ts"]:
                end = now + period if longest is None else min(now + period, window["opened"] + longest)
                window.update(ts=ts, n=n, at=end)
        t.advance("10m")
        fire_until(now + 600)

        assert sorted(seen(t, function)) == sorted(expected)
