"""Replays at a rate, in parts, aborted, and wherever their process dies (semantics §9.4; F91)."""

from __future__ import annotations

import pytest

from stepwell import (
    Event,
    Stepwell,
)
from stepwell.clock import to_ms
from stepwell.engine import bulk
from stepwell.model.order import OrderKind
from stepwell.model.place import place_of
from stepwell.model.questions import GetItem, ListOrders
from stepwell.runtime.orders import Replay, abort_replay, find_replay, parse_rate, replay_many
from stepwell.testing import harness
from tests.spec.dying import DiesAt
from tests.spec.replaying import broken, numbers, sent, shop

__all__ = ["broken", "shop"]


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
            dies = DiesAt(at)
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
            died += dies.died
    assert died >= 15
