"""Cancelling many runs by one order (semantics §8.3; F86)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from stepwell import ConfigurationError, InvalidExpression, Stepwell
from stepwell.clock import to_ms
from stepwell.engine import bulk
from stepwell.model.order import Order, OrderKind
from stepwell.model.place import place_of
from stepwell.model.questions import GetItem, ListOrders, Notes
from stepwell.runtime.orders import Selection, cancel_many, count_many, end_cancellation
from stepwell.testing import Harness, harness
from tests.spec.dying import DiesAt


@pytest.fixture
def sleepers(app: Stepwell) -> Stepwell:
    @app.create_function(id="sleep", trigger="go")
    async def sleep(ctx):
        await ctx.step.sleep("rest", "1d")

    @app.create_function(id="other", trigger="go")
    async def other(ctx):
        await ctx.step.sleep("rest", "1d")

    return app


def order(t: Harness, function: str = "shop-sleep", **more: Any) -> Order:
    selection = Selection(app_id="shop", function_id=function, **more)
    return t._do(lambda: cancel_many(t.engine, selection))


def statuses(t: Harness, function: str) -> list[str]:
    return [run.status for run in t.runs(function)]


def test_all_runs_of_a_function_are_cancelled_and_those_of_others_are_not(sleepers: Stepwell) -> None:
    with harness(sleepers) as t:
        for n in range(3):
            t.send("go", {"n": n})

        assert t.cancel_runs("sleep") == 3

        assert statuses(t, "sleep") == ["CANCELLED"] * 3
        assert statuses(t, "other") == ["RUNNING"] * 3


def test_it_takes_those_that_have_not_begun_as_well(sleepers: Stepwell) -> None:
    with harness(sleepers) as t:
        t.send("go")
        t.send("go", ts=to_ms(t.now + timedelta(hours=2)))
        assert statuses(t, "sleep") == ["RUNNING", "QUEUED"]

        assert t.cancel_runs("sleep") == 2


def test_a_condition_on_the_event_chooses(sleepers: Stepwell) -> None:
    with harness(sleepers) as t:
        t.send("go", {"n": 1})
        t.send("go", {"n": 2})
        t.send("go", {"n": "many"})
        t.send("go", {})

        assert t.cancel_runs("sleep", if_="event.data.n > 1") == 1

        assert statuses(t, "sleep") == ["RUNNING", "CANCELLED", "RUNNING", "RUNNING"]


def test_runs_are_chosen_by_when_they_were_created(sleepers: Stepwell) -> None:
    with harness(sleepers) as t:
        moments = []
        for _ in range(4):
            t.send("go")
            moments.append(to_ms(t.now))
            t.advance("1m")

        order(t, started_after=moments[1], started_before=moments[2])

        assert statuses(t, "sleep") == ["RUNNING", "CANCELLED", "CANCELLED", "RUNNING"]


def test_runs_that_come_later_are_not_touched(sleepers: Stepwell) -> None:
    """Also those that are created in the same millisecond, after the order."""
    with harness(sleepers) as t:
        t.send("go")
        order(t, started_before=to_ms(t.now))
        t.send("go")

        assert statuses(t, "sleep") == ["CANCELLED", "RUNNING"]


def test_how_far_it_has_come_can_be_read(sleepers: Stepwell) -> None:
    with harness(sleepers) as t:
        t.send("go", {"n": 1})
        t.send("go", {"n": 2})

        made = order(t, condition="event.data.n == 2")
        (done,) = t.ask(ListOrders(OrderKind.CANCEL, 10))

        assert (made.ended_at, made.examined, made.done) == (None, 0, 0)
        assert (done.id, done.ended_at, done.examined, done.done) == (made.id, to_ms(t.now), 2, 1)


def test_each_run_says_by_what_it_was_cancelled(sleepers: Stepwell) -> None:
    with harness(sleepers) as t:
        t.send("go")
        made = order(t)
        run = t.runs("sleep")[0]

        assert run.record.reason == f"cancellation {made.id}"
        assert [note.kind for note in t.ask(Notes(run.id))] == ["cancelled"]


def test_clean_up_functions_start_for_each_run(sleepers: Stepwell) -> None:
    @sleepers.create_function(id="tidy", trigger="inngest/function.cancelled")
    async def tidy(ctx):
        return ctx.event.data["run_id"]

    with harness(sleepers) as t:
        t.send("go")
        t.send("go")
        t.cancel_runs("sleep")

        assert [run.output for run in t.runs("tidy")] == [run.id for run in t.runs("sleep")]


def test_no_decision_ends_more_than_a_bounded_number_of_runs(
    sleepers: Stepwell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "RUNS_PER_DECISION_MAX", 2)
    ended: list[int] = []
    with harness(sleepers) as t:
        for _ in range(5):
            t.send("go")
        t.engine.observers.append(
            lambda changes: ended.append(sum(type(change).__name__ == "FinishRun" for change in changes))
        )

        assert t.cancel_runs("sleep") == 5

    assert max(ended) <= 2
    assert sum(ended) == 5


def test_a_process_that_dies_is_followed_by_one_that_goes_on(
    sleepers: Stepwell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever it dies, before or after a commit, each run is cancelled and counted once."""
    monkeypatch.setattr(bulk, "RUNS_PER_DECISION_MAX", 2)
    died = 0
    for at in range(20):
        with harness(sleepers) as t:
            for _ in range(5):
                t.send("go")
            dies = DiesAt(at)
            t.die_when(dies)
            t.crash()  # from here on commits are watched
            order(t)  # by a client that asks again if its process died meanwhile
            t.advance("1s")

            orders = t.ask(ListOrders(OrderKind.CANCEL, 10))
            assert all(made.ended_at for made in orders)
            assert sum(made.done for made in orders) == 5
            assert (statuses(t, "sleep"), statuses(t, "other")) == (["CANCELLED"] * 5, ["RUNNING"] * 5)
            died += dies.died
    assert died >= 12


def test_an_order_that_is_ended_cancels_nothing_more(sleepers: Stepwell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "RUNS_PER_DECISION_MAX", 2)
    with harness(sleepers) as t:
        for _ in range(9):
            t.send("go")

        async def begin_and_end() -> str:
            made = await cancel_many(t.engine, Selection(app_id="shop", function_id="shop-sleep"))
            await end_cancellation(t.engine, made.id)
            return made.id

        ended = t._do(begin_and_end)

        assert statuses(t, "sleep").count("RUNNING") >= 5
        assert t.ask(ListOrders(OrderKind.CANCEL, 10)) == []
        assert t.ask(GetItem(f"order/{ended}", place_of(ended))) is None


def test_what_would_be_cancelled_can_be_counted_before(sleepers: Stepwell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "RUNS_PER_DECISION_MAX", 2)
    with harness(sleepers) as t:
        for n in range(5):
            t.send("go", {"n": n})
        t.send("go", {"n": 9}, ts=to_ms(t.now + timedelta(hours=1)))
        selection = Selection(app_id="shop", function_id="shop-sleep", condition="event.data.n >= 3")

        assert t._do(lambda: count_many(t.engine, selection)) == 3
        assert "CANCELLED" not in statuses(t, "sleep")


@pytest.mark.parametrize(
    ("selection", "told"),
    [
        ({"condition": "event.data."}, InvalidExpression),
        ({"started_before": 1 << 50}, ConfigurationError),
        ({"started_after": 20, "started_before": 10}, ConfigurationError),
    ],
)
def test_what_selects_nothing_that_could_be_is_refused(
    sleepers: Stepwell, selection: dict[str, Any], told: type[Exception]
) -> None:
    with harness(sleepers) as t, pytest.raises(told):
        order(t, **selection)
