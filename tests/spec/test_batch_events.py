"""``batch_events=``: collect events and start one run with all of them (semantics §7.9; F71, I21)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwell import (
    BatchEvents,
    Cancel,
    Concurrency,
    ConfigurationError,
    Debounce,
    Event,
    Priority,
    RateLimit,
    Singleton,
    Stepwell,
    Throttle,
)
from stepwell.testing import Harness, harness
from tests.spec.looking import events, outcomes, totals

START = datetime(2026, 1, 1, tzinfo=UTC)


def work(app: Stepwell, batch: Any, **more: Any) -> Any:
    @app.create_function(id="work", trigger="go", batch_events=batch, **more)
    async def work(ctx):
        assert ctx.event is ctx.events[0]
        return [event.data["n"] for event in ctx.events]

    return work


def seen(t: Harness, function: Any) -> list[tuple[float, Any]]:
    """When runs started, in seconds, and with which events."""
    return [((run.started_at - START).total_seconds(), run.output) for run in t.runs(function) if run.started_at]


def numbered(count: int, first: int = 0, **more: Any) -> list[Event]:
    return [Event("go", {"n": n, **more}) for n in range(first, first + count)]


def test_a_run_starts_when_there_are_enough(app) -> None:
    function = work(app, BatchEvents(3, timeout="1h"))

    with harness(app) as t:
        t.send(numbered(2))
        t.advance("10s")
        assert t.runs(function) == []
        t.send(numbered(2, 2))

        assert seen(t, function) == [(10, [0, 1, 2])]


def test_a_run_starts_when_the_first_has_waited_long_enough(app) -> None:
    function = work(app, BatchEvents(100, timeout="5s"))

    with harness(app) as t:
        t.send("go", {"n": 0})
        t.advance("4s")
        t.send("go", {"n": 1})
        t.advance("4s")
        t.send("go", {"n": 2})
        t.advance("1m")

        assert seen(t, function) == [(5, [0, 1]), (13, [2])]


def test_many_events_at_once_fill_as_many_batches_as_they_do(app) -> None:
    function = work(app, BatchEvents(100, timeout="5s"))

    with harness(app) as t:
        t.send(numbered(250))
        t.advance("5s")

        assert [len(run.output) for run in t.runs(function)] == [100, 100, 50]
        assert [n for run in t.runs(function) for n in run.output] == list(range(250))


def test_a_run_starts_when_the_events_are_large_enough_together(app) -> None:
    function = work(app, BatchEvents(100, timeout="1h"))
    large = "x" * (500 * 1024)

    with harness(app) as t:
        for n in range(30):
            t.send("go", {"n": n, "large": large})

        assert [len(run.output) for run in t.runs(function)] == [21]


def test_each_key_has_its_own_batches(app) -> None:
    function = work(app, BatchEvents(2, timeout="1h", key="event.data.who"))

    with harness(app) as t:
        t.send([Event("go", {"n": n, "who": who}) for n, who in enumerate("abcab")])

        assert [run.output for run in t.runs(function)] == [[0, 3], [1, 4]]


def test_an_event_that_the_condition_leaves_out_starts_at_once(app) -> None:
    function = work(app, BatchEvents(2, timeout="1h", if_="event.data.bulk"))

    with harness(app) as t:
        t.send(numbered(2, bulk=True))
        t.send(numbered(2, 2, bulk=False))
        t.send([Event("go", {"n": 4}), Event("go", {"n": 5, "bulk": "what"})])

        assert [run.output for run in t.runs(function)] == [[0, 1], [2], [3], [4], [5]]


def test_the_same_event_sent_again_is_in_a_batch_again(app) -> None:
    """Ids are not looked at (semantics §7.9)."""
    function = work(app, BatchEvents(2, timeout="1h"))

    with harness(app) as t:
        t.send([Event("go", {"n": n}, id="same") for n in range(2)])

        assert [run.output for run in t.runs(function)] == [[0, 1]]


def test_steps_remember_and_every_attempt_gets_all_events(app) -> None:
    counts: list[int] = []

    @app.create_function(id="work", trigger="go", batch_events=BatchEvents(3))
    async def function(ctx):
        counts.append(len(ctx.events))
        await ctx.step.sleep("rest", "1h")
        await ctx.step.run("a", lambda: None)
        if len(counts) < 3:
            raise RuntimeError("once more")

    with harness(app) as t:
        t.send(numbered(3))
        t.crash()
        t.advance("1d")

        assert t.run(function).status == "COMPLETED"
        assert set(counts) == {3}


def test_an_open_batch_survives_a_crash(app) -> None:
    function = work(app, BatchEvents(3, timeout="1h"))

    with harness(app) as t:
        t.send(numbered(2))
        t.crash()
        t.send(numbered(1, 2))

        assert [run.output for run in t.runs(function)] == [[0, 1, 2]]


def test_an_open_batch_is_run_although_batching_was_taken_away(app) -> None:
    work(app, BatchEvents(3, timeout="1m"))
    plain = Stepwell("shop")
    function = work(plain, None)

    with harness(app) as t:
        t.send(numbered(2))
        t.crash(app=plain)
        t.send(numbered(1, 2))
        t.advance("1m")

        assert sorted(run.output for run in t.runs(function)) == [[0, 1], [2]]


def test_the_events_of_a_removed_function_say_so(app) -> None:
    work(app, BatchEvents(3, timeout="1m"))
    empty = Stepwell("shop")

    @empty.create_function(id="other", trigger="other")
    async def other(ctx): ...

    with harness(app) as t:
        ids = t.send(numbered(2))
        t.crash(app=empty)
        t.advance("1m")

        assert [outcomes(t, each)["shop-work"].kind for each in ids] == ["function-gone"] * 2


def test_what_is_said_of_its_end_has_all_events(app) -> None:
    @app.create_function(id="work", trigger="go", batch_events=BatchEvents(2), retries=0)
    async def function(ctx):
        raise RuntimeError("no")

    with harness(app) as t:
        t.send(numbered(2))

        (failed,) = events(t, "inngest/function.failed")
        data = failed.fields()["data"]
        assert [event["data"]["n"] for event in data["events"]] == [0, 1]
        assert data["event"] == data["events"][0]


def test_each_of_its_events_leads_to_the_run(app) -> None:
    from stepwell.model.questions import RunsOfEvent

    function = work(app, BatchEvents(2))

    with harness(app) as t:
        ids = t.send(numbered(2))

        assert [[run.id for run in t.ask(RunsOfEvent(each))] for each in ids] == [[t.run(function).id]] * 2


def test_limits_and_throttles_hold_for_batches(app) -> None:
    function = work(app, BatchEvents(2, timeout="1s"), concurrency=Concurrency(1), throttle=Throttle(1, "1m", burst=0))

    with harness(app) as t:
        t.send(numbered(6))
        t.advance("1h")

        assert [start for start, _ in seen(t, function)] == [0, 60, 120]


def test_nothing_is_left_behind(app) -> None:
    work(app, BatchEvents(3, timeout="5s"))

    with harness(app) as t:
        t.send(numbered(7))
        t.advance("1m")

        assert (totals(t).live_runs, totals(t).items) == (0, 0)


@pytest.mark.parametrize(
    ("options", "other"),
    [
        ({"debounce": Debounce("1s")}, "debounce"),
        ({"rate_limit": RateLimit(1, "1m")}, "rate_limit"),
        ({"idempotency": "event.data.n"}, "idempotency"),
        ({"singleton": Singleton("skip")}, "singleton"),
        ({"cancel": Cancel("stop")}, "cancel"),
        ({"priority": Priority("1")}, "priority"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_together_is_refused_by_name(app, options: Any, other: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"batch_events: it cannot be together with {other}"):
        work(app, BatchEvents(2), **options)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: BatchEvents(1), "max_size of batch_events is 1"),
        (lambda: BatchEvents(101), "max_size of batch_events is 101"),
        (lambda: BatchEvents(2, timeout="100ms"), "timeout of batch_events is 100ms"),
        (lambda: BatchEvents(2, if_="event.data.n +"), "event.data.n"),
        (lambda: BatchEvents(2, if_=True), "condition of batch_events is True"),  # type: ignore[arg-type]
    ],
)
def test_a_batch_that_cannot_be_is_refused(make: Any, what: str) -> None:
    with pytest.raises(ConfigurationError, match=what):
        make()


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(2, 5),
    timeout=st.integers(1, 10),
    arrivals=st.lists(
        st.tuples(st.integers(0, 6), st.sampled_from("ab"), st.integers(1, 4), st.booleans()), max_size=25
    ),
)
def test_as_in_the_model(size: int, timeout: int, arrivals: list[tuple[int, str, int, bool]]) -> None:
    """I21: each event is in one batch, in the order in which they came, and none is larger or older than it may be."""
    app = Stepwell("shop")
    function = work(app, BatchEvents(size, timeout=timedelta(seconds=timeout), key="event.data.k"))
    open_batches: dict[str, tuple[float, list[int]]] = {}
    expected: list[tuple[float, list[int]]] = []
    now, number = 0.0, 0

    def fire_until(moment: float) -> None:
        for key in [key for key, (opened, _) in open_batches.items() if opened + timeout <= moment]:
            opened, batch = open_batches.pop(key)
            expected.append((opened + timeout, batch))

    with harness(app) as t:
        for gap, key, count, crash in arrivals:
            t.advance(gap * 1000)
            now += gap
            fire_until(now)
            if crash:
                t.crash()
            t.send(numbered(count, number, k=key))
            for n in range(number, number + count):
                _, batch = open_batches.setdefault(key, (now, []))
                batch.append(n)
                if len(batch) == size:
                    expected.append((now, open_batches.pop(key)[1]))
            number += count
        t.advance("10m")
        fire_until(now + 600)

        assert sorted(seen(t, function)) == sorted(expected)
