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
    Singleton,
    Stepwell,
    Throttle,
)
from stepwell.clock import to_ms
from stepwell.errors import StepwellError
from stepwell.model.order import Order, OrderKind
from stepwell.model.questions import ListOrders
from stepwell.runtime.orders import Replay, find_replay, parse_rate, replay_many
from stepwell.testing import harness
from tests.spec.looking import outcomes
from tests.spec.replaying import broken, numbers, sent, shop

__all__ = ["broken", "shop"]


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
