"""Starting many runs again by one order (semantics §9.4; F91)."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from stepwell import (
    BatchEvents,
    Concurrency,
    ConfigurationError,
    Debounce,
    Event,
    InvalidExpression,
    NotFound,
    RateLimit,
    Singleton,
    StepError,
    Stepwell,
    Throttle,
    TriggerCron,
)
from stepwell.clock import to_ms
from stepwell.engine import bulk
from stepwell.engine.draft import Draft
from stepwell.errors import StepwellError
from stepwell.model.changes import Plan
from stepwell.model.order import Order, OrderKind
from stepwell.model.place import place_of
from stepwell.model.questions import GetItem, ListOrders
from stepwell.protocol.events import Incoming
from stepwell.runtime.orders import Replay, abort_replay, find_replay, parse_rate, replay_many
from stepwell.testing import Harness, harness
from tests.spec.looking import outcomes


@pytest.fixture
def broken() -> set[int]:
    """The numbers for which the function fails."""
    return {1, 3, 4}


@pytest.fixture
def shop(app: Stepwell, broken: set[int]) -> Stepwell:
    @app.create_function(id="bill", trigger="go", retries=0, idempotency="event.data.n", rate_limit=RateLimit(20, "1h"))
    async def bill(ctx):
        if ctx.event.data["n"] in broken:
            raise ValueError("declined")
        return ctx.event.data["n"]

    @app.create_function(id="other", trigger="go", retries=0)
    async def other(ctx):
        raise ValueError("no")

    return app


def sent(t: Harness, *numbers: int) -> None:
    for n in numbers:
        t.send("go", {"n": n})


def numbers(t: Harness, function: str = "bill") -> dict[int, list[str]]:
    """By the number of the event, the states of the runs, the first one first."""
    found: dict[int, list[str]] = {}
    for run in t.runs(function):
        found.setdefault(run.event["data"]["n"], []).append(run.status)
    return found


def test_what_failed_is_started_again_once(shop: Stepwell, broken: set[int]) -> None:
    with harness(shop) as t:
        sent(t, 1, 2, 3)
        broken.clear()

        order = t.replay("bill")

        assert numbers(t) == {1: ["FAILED", "COMPLETED"], 2: ["COMPLETED"], 3: ["FAILED", "COMPLETED"]}
        assert numbers(t, "other") == {1: ["FAILED"], 2: ["FAILED"], 3: ["FAILED"]}
        assert (order.what.matched, order.done, order.skipped, order.ended_at) == (2, 2, 0, to_ms(t.now))


def test_each_run_names_its_original_and_the_replay(shop: Stepwell) -> None:
    with harness(shop) as t:
        sent(t, 1)
        order = t.replay("bill")

        first, again = t.runs("bill")
        assert again.record.original == first.id
        assert again.record.rerun is not None and again.record.rerun.replay == order.id


def test_what_the_replay_itself_makes_is_not_replayed_by_it(shop: Stepwell) -> None:
    with harness(shop) as t:
        sent(t, 1)
        t.replay("bill")
        assert numbers(t) == {1: ["FAILED"] * 2}

        t.replay("bill")
        assert numbers(t) == {1: ["FAILED"] * 4}  # both are runs that failed


@pytest.mark.parametrize(
    ("statuses", "again"),
    [
        (["completed"], {2}),
        (["FAILED"], {1}),
        (["cancelled"], {9}),
        (["failed", "cancelled"], {1, 9}),
        (["completed", "failed", "cancelled", "skipped"], {1, 2, 9}),
    ],
)
def test_runs_are_chosen_by_how_they_ended(app: Stepwell, statuses: list[str], again: set[int]) -> None:
    @app.create_function(id="work", trigger="go", retries=0)
    async def work(ctx):
        if ctx.event.data["n"] == 1:
            raise ValueError("no")
        if ctx.event.data["n"] > 2:
            await ctx.step.sleep("rest", "1h")

    with harness(app) as t:
        sent(t, 1, 2, 9, 8)
        t.cancel(t.runs("work")[2])

        order = t.replay("work", statuses=statuses)

        assert {n for n, states in numbers(t, "work").items() if len(states) == 2} == again
        assert order.what.matched == len(again)


def test_runs_are_chosen_by_their_event(shop: Stepwell) -> None:
    with harness(shop) as t:
        sent(t, 1, 3, 4)
        t.send("go", {"n": "many"})

        order = t.replay("other", if_="event.data.n >= 3")

        assert {n for n, states in numbers(t, "other").items() if len(states) == 2} == {3, 4}
        assert (order.examined, order.what.matched) == (4, 2)


def test_runs_are_chosen_by_when_they_were_created(shop: Stepwell) -> None:
    with harness(shop) as t:
        moments = []
        for n in (1, 3, 4):
            moments.append(t.now)
            sent(t, n)
            t.advance("3h")

        order = t.replay("bill", since=moments[1], until=moments[1] + timedelta(hours=1))

        assert {n for n, states in numbers(t).items() if len(states) == 2} == {3}
        assert order.examined < 6  # nor were all of them looked at


def test_a_run_whose_events_were_held_back_was_created_when_it_began(app: Stepwell) -> None:
    @app.create_function(id="work", trigger="go", debounce=Debounce("6h"))
    async def work(ctx): ...

    with harness(app) as t:
        sent(t, 1)
        t.advance("6h")
        assert t.run("work").status == "COMPLETED"

        assert t.replay("work", since=t.now - timedelta(minutes=1), statuses=["completed"]).done == 1


def test_all_functions_of_an_app_are_meant_without_one(shop: Stepwell) -> None:
    with harness(shop) as t:
        sent(t, 1, 2)

        assert t.replay().done == 3
        assert t.replay(statuses=["completed"]).done == 1


def test_nothing_but_limits_keeps_a_run_from_being_replayed(app: Stepwell) -> None:
    busy: list[int] = []

    @app.create_function(id="work", trigger="go", retries=0, concurrency=Concurrency(1), throttle=Throttle(1, "1m", 0))
    async def work(ctx):
        busy.append(to_ms(t.now))
        raise ValueError("no")

    with harness(app) as t:
        for n in range(3):
            t.send("go", {"n": n}, id=str(n))
        t.advance("10m")
        busy.clear()

        order = t.replay("work")
        t.advance("10m")

        assert order.done == 3
        assert all(later - sooner >= 60_000 for sooner, later in pairwise(busy))
        assert len(busy) == 3


def test_what_runs_alone_is_not_started_beside_itself(app: Stepwell) -> None:
    @app.create_function(id="work", trigger="go", retries=0, singleton=Singleton("skip"))
    async def work(ctx):
        if ctx.event.data["n"] < 3:
            raise ValueError("no")
        await ctx.step.sleep("rest", "1h")

    with harness(app) as t:
        sent(t, 1, 2, 3)

        order = t.replay("work")

        assert (order.done, order.skipped, order.what.matched) == (0, 2, 2)
        assert all(outcomes(t, run.record.event_id) == {} for run in t.runs("work"))


def test_a_batch_is_replayed_with_all_of_its_events(app: Stepwell) -> None:
    @app.create_function(id="work", trigger="go", batch_events=BatchEvents(2, timeout="1m"))
    async def work(ctx):
        return [event.data["n"] for event in ctx.events]

    with harness(app) as t:
        t.send([Event("go", {"n": n}) for n in range(2)])
        t.replay("work", statuses=["completed"])

        assert [run.output for run in t.runs("work")] == [[0, 1], [0, 1]]


# Skipped --------------------------------------------------------------------------------------------------------------


def test_what_a_pause_skipped_is_started_for_the_first_time_and_once(app: Stepwell) -> None:
    @app.create_function(id="work", trigger="go")
    async def work(ctx):
        return ctx.event.data["n"]

    with harness(app) as t:
        t.pause("work")
        ids = [t.send("go", {"n": n}, id=str(n))[0] for n in range(3)]
        t.advance("1h")
        t.resume("work")
        sent(t, 7)

        first = t.replay("work", statuses=["skipped"], if_="event.data.n != 1")
        second = t.replay("work", statuses=["skipped"])
        third = t.replay("work", statuses=["skipped"])

        assert [order.done for order in (first, second, third)] == [2, 1, 0]
        assert [run.output for run in t.runs("work")] == [7, 0, 2, 1]
        assert [run.record.original for run in t.runs("work")] == [None] * 4
        assert [run.record.rerun.replay for run in t.runs("work")[1:] if run.record.rerun] == [first.id] * 2 + [
            second.id
        ]
        assert [outcomes(t, event_id) for event_id in ids] == [{}] * 3


def test_skipped_events_are_chosen_by_when_that_was(app: Stepwell) -> None:
    @app.create_function(id="work", trigger="go")
    async def work(ctx): ...

    with harness(app) as t:
        t.pause("work")
        moments = []
        for n in range(3):
            moments.append(t.now)
            sent(t, n)
            t.advance("1h")
        t.resume("work")

        t.replay("work", statuses=["skipped"], since=moments[1], until=moments[1])

        assert list(numbers(t, "work")) == [1]


def test_what_a_drain_skipped_is_started_for_the_first_time_and_once(app: Stepwell) -> None:
    @app.create_function(id="work", trigger="go")
    async def work(ctx):
        return ctx.event.data["n"]

    with harness(app) as t:
        t.pause("work")
        (paused,) = t.send("go", {"n": 1})
        t.resume("work")
        t.drain("work")
        (drained,) = t.send("go", {"n": 2})
        t.undrain("work")

        assert t.replay("work", statuses=["skipped"], dry_run=True).what.matched == 2
        assert [t.replay("work", statuses=["skipped"]).done for _ in range(2)] == [2, 0]
        assert sorted(run.output for run in t.runs("work")) == [1, 2]
        assert [outcomes(t, event_id) for event_id in (paused, drained)] == [{}, {}]


def test_events_that_a_rule_left_out_are_not_skipped_events(app: Stepwell) -> None:
    @app.create_function(id="work", trigger="go", rate_limit=RateLimit(1, "1h"))
    async def work(ctx): ...

    with harness(app) as t:
        sent(t, 1, 2)

        assert t.replay("work", statuses=["skipped"]).what.matched == 0
        assert list(numbers(t, "work")) == [1]


@pytest.mark.parametrize("target", ["work", None])
def test_a_replay_waits_while_its_function_is_drained(app: Stepwell, target: str | None) -> None:
    @app.create_function(id="work", trigger="go", retries=0)
    async def work(ctx):
        raise ValueError("no")

    with harness(app) as t:
        (event_id,) = t.send("go", {"n": 1})
        t.drain(target)
        order = t.replay("work")
        t.advance("1h")
        assert (order.done, order.skipped, order.ended_at) == (0, 0, None)
        assert outcomes(t, event_id) == {}  # it has a run, and nothing more to say

        t.undrain(target)
        t.advance("10s")
        assert numbers(t, "work") == {1: ["FAILED", "FAILED"]}


def test_of_two_replays_that_go_on_at_one_moment_one_starts_what_was_skipped(app: Stepwell) -> None:
    @app.create_function(id="work", trigger="go")
    async def work(ctx): ...

    with harness(app) as t:
        t.pause("work")
        sent(t, 1)
        t.resume("work")
        replay = Replay(app_id="shop", function_id="shop-work", statuses=("SKIPPED",))
        first, second = (t._do(lambda: replay_many(t.engine, replay, dry_run=True)).what for _ in range(2))

        def both(draft: Draft) -> Plan:
            bulk.order(draft, OrderKind.REPLAY, first)
            bulk.order(draft, OrderKind.REPLAY, second)
            return draft.decision()
            yield

        t._do(lambda: t.engine.commit_patiently(both))

        assert numbers(t, "work") == {1: ["COMPLETED"]}
        assert sorted((order.done, order.skipped) for order in t.ask(ListOrders(OrderKind.REPLAY, 9))) == [
            (0, 1),
            (1, 0),
        ]


def test_what_a_run_has_invoked_in_vain_is_not_started_without_it(app: Stepwell) -> None:
    @app.create_function(id="work", trigger="go")
    async def work(ctx):
        return ctx.event.data["n"]

    @app.create_function(id="parent", trigger="ask")
    async def parent(ctx):
        try:
            await ctx.step.invoke("call", function=work, data={"n": 1})
        except StepError as error:
            return error.name

    with harness(app) as t:
        t.pause("work")
        t.send("ask")
        sent(t, 2)
        t._do(lambda: t.engine.invoke("shop-work", Incoming(name="", data=b'{"n":3}')))  # by hand
        t.resume("work")

        assert t.run(parent).status == "COMPLETED"
        assert t.replay("work", statuses=["skipped"], dry_run=True).what.matched == 2
        order = t.replay("work", statuses=["skipped"])
        assert (order.what.matched, order.done, order.skipped) == (2, 2, 0)
        assert sorted(numbers(t, "work")) == [2, 3]


def test_a_tick_that_was_skipped_can_be_started(app: Stepwell) -> None:
    @app.create_function(id="report", trigger=TriggerCron("0 * * * *"))
    async def report(ctx):
        return ctx.event.data["scheduledAt"]

    with harness(app) as t:
        t.pause("report")
        t.advance("1h")
        t.resume("report")

        t.replay("report", statuses=["skipped"])

        run = t.run("report")
        assert (run.status, run.record.cron) == ("COMPLETED", "0 * * * *")


def test_a_replay_waits_while_its_function_is_paused(shop: Stepwell) -> None:
    with harness(shop) as t:
        sent(t, 1, 3)
        t.pause("bill")
        order = t.replay("bill")
        assert (order.done, order.skipped, order.ended_at) == (0, 0, None)

        t.advance("1h")
        t.resume("bill")
        t.advance("10s")

        assert [len(states) for states in numbers(t).values()] == [2, 2]


# Over time ------------------------------------------------------------------------------------------------------------


def test_starts_are_spread_over_time(shop: Stepwell) -> None:
    with harness(shop) as t:
        sent(t, 1, 3, 4)
        began = to_ms(t.now)

        order = t.replay("bill", rate="2/m")
        t.advance("10m")

        again = [run.record.queued_at - began for run in t.runs("bill")[3:]]
        assert order.done == 1
        assert again == [0, 30_000, 60_000]
        assert t._do(lambda: find_replay(t.engine, order.id)).done == 3


@pytest.mark.parametrize(("rate", "most"), [("7/s", 1), ("250/s", 25), ("100000/s", 100), ("1/7m", 1)])
def test_no_span_of_time_has_more_starts_than_the_rate(app: Stepwell, rate: str, most: int) -> None:
    @app.create_function(id="work", trigger="go")
    async def work(ctx): ...

    with harness(app) as t:
        t.send([Event("go", {"n": n}) for n in range(60)])
        t.replay("work", statuses=["completed"], rate=rate)
        t.advance("10h")

        limit, period = parse_rate(rate)
        starts = sorted(run.record.queued_at for run in t.runs("work")[60:])
        assert len(starts) == 60
        for first, start in enumerate(starts):
            for last in range(first, len(starts)):
                assert last - first + 1 <= most + (starts[last] - start) * limit / period


def test_a_replay_that_was_stopped_for_long_does_not_catch_up(shop: Stepwell) -> None:
    with harness(shop) as t:
        sent(t, 1, 3, 4)
        t.replay("bill", rate="1/m")
        t.crash(down="1h")
        back = to_ms(t.now)
        t.advance("10m")

        assert [run.record.queued_at - back for run in t.runs("bill")[4:]] == [0, 60_000]


def test_a_replay_that_is_aborted_starts_nothing_more(shop: Stepwell) -> None:
    with harness(shop) as t:
        sent(t, 1, 3, 4)
        order = t.replay("bill", rate="1/m")

        aborted = t._do(lambda: abort_replay(t.engine, order.id))
        t.advance("1h")
        again = t._do(lambda: abort_replay(t.engine, order.id))

        assert (aborted.done, aborted.aborted, again) == (1, True, aborted)
        assert len(t.runs("bill")) == 4
        assert t.ask(GetItem(f"order/{order.id}", place_of(order.id))) is None


def test_a_dry_run_counts_and_does_nothing(shop: Stepwell) -> None:
    with harness(shop) as t:
        sent(t, 1, 2, 3)

        found = t.replay("bill", dry_run=True, if_="event.data.n > 1")

        assert (found.id, found.what.matched) == ("", 1)
        assert len(t.runs("bill")) == 3
        assert t.ask(ListOrders(OrderKind.REPLAY, 9)) == []


def test_the_same_request_makes_one_replay(shop: Stepwell) -> None:
    with harness(shop) as t:
        sent(t, 1)
        replay = Replay(app_id="shop", function_id="shop-bill")

        ids = {t._do(lambda: replay_many(t.engine, replay, key="k")).id for _ in range(2)}

        assert len(ids) == 1
        assert len(t.runs("bill")) == 2


# Whoever dies ---------------------------------------------------------------------------------------------------------


def test_no_decision_starts_more_than_a_bounded_number(shop: Stepwell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "RUNS_PER_DECISION_MAX", 2)
    made: list[int] = []
    with harness(shop) as t:
        t.send([Event("go", {"n": n}) for n in range(7)])
        t.engine.observers.append(
            lambda changes: made.append(sum(type(change).__name__ == "CreateRun" for change in changes))
        )

        assert t.replay("other").done == 7

    assert max(made) == 2
    assert sum(made) == 7


def test_whenever_the_process_dies_each_run_is_started_again_once(
    app: Stepwell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "RUNS_PER_DECISION_MAX", 2)

    @app.create_function(id="bill", trigger="go", retries=0)
    async def bill(ctx):
        if ctx.event.data["n"] % 2:
            raise ValueError("no")

    died = 0
    for at in range(24):
        with harness(app) as t:
            t.pause("bill")
            sent(t, 100)
            t.resume("bill")
            sent(t, *range(5))
            seen = 0

            def dies(before: bool, work: object, at: int = at) -> bool:
                nonlocal seen, died
                seen += 1
                died += seen == at + 1
                return seen == at + 1

            t.die_when(dies)
            t.crash()  # from here on commits are watched
            every = ["completed", "failed", "skipped"]
            replay = Replay(app_id="shop", function_id="shop-bill", statuses=every)
            t._do(lambda replay=replay: replay_many(t.engine, replay, key="once"))
            t.advance("1s")

            (order,) = t.ask(ListOrders(OrderKind.REPLAY, 10))
            assert order.ended_at is not None
            assert (order.done, order.skipped, order.what.matched) == (6, 0, 6)
            assert {n: len(states) for n, states in numbers(t).items()} == {0: 2, 1: 2, 2: 2, 3: 2, 4: 2, 100: 1}
    assert died >= 15


# What cannot be -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"statuses": ["running"]}, ConfigurationError),
        ({"statuses": []}, ConfigurationError),
        ({"if_": "event.data."}, InvalidExpression),
        ({"rate": "10"}, ConfigurationError),
        ({"rate": "0/s"}, ConfigurationError),
        ({"rate": "-1/s"}, ConfigurationError),
        ({"rate": "1/0s"}, ConfigurationError),
        ({"rate": "many/s"}, ConfigurationError),
        ({"rate": "1/fortnight"}, ConfigurationError),
        ({"name": "x" * 300}, ConfigurationError),
        ({"name": "a\nb"}, ConfigurationError),
    ],
)
def test_what_cannot_be_replayed_is_refused(shop: Stepwell, asked: dict[str, Any], error: type[StepwellError]) -> None:
    with harness(shop) as t:
        with pytest.raises(error):
            t.replay("bill", **asked)
        assert t.ask(ListOrders(OrderKind.REPLAY, 9)) == []


def test_what_is_not_there_cannot_be_replayed(shop: Stepwell) -> None:
    with harness(shop) as t:
        for replay in (Replay(app_id="shop", function_id="shop-nobody"), Replay(app_id="nobody")):
            with pytest.raises(NotFound):
                t._do(lambda replay=replay: replay_many(t.engine, replay))
        with pytest.raises(NotFound):
            t._do(lambda: find_replay(t.engine, "01HF7YAT00000000000000000A"))


def test_moments_that_cannot_be_are_refused(shop: Stepwell) -> None:
    with harness(shop) as t:
        hour = timedelta(hours=1)
        for since, until in ((t.now, t.now - hour), (None, t.now + hour)):
            with pytest.raises(ConfigurationError):
                t.replay("bill", since=since, until=until)


@pytest.mark.parametrize(
    ("text", "found"),
    [("10/s", (10, 1_000)), ("100/m", (100, 60_000)), ("1/30s", (1, 30_000)), ("5 / h", (5, 3_600_000))],
)
def test_a_rate_is_how_many_in_which_time(text: str, found: tuple[int, int]) -> None:
    assert parse_rate(text) == found


def test_a_cancellation_is_no_replay(shop: Stepwell) -> None:
    with harness(shop) as t:
        t.cancel_runs("bill")
        (order,) = t.ask(ListOrders(OrderKind.CANCEL, 9))
        assert isinstance(order, Order)
        with pytest.raises(NotFound):
            t._do(lambda: find_replay(t.engine, order.id))
