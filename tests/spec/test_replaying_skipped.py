"""Replays of what a pause or a drain skipped, and replays that wait for one (semantics §9.4; F91)."""

from __future__ import annotations

import pytest

from stepwell import (
    RateLimit,
    StepError,
    Stepwell,
    TriggerCron,
)
from stepwell.engine import bulk
from stepwell.engine.draft import Draft
from stepwell.model.changes import Plan
from stepwell.model.order import OrderKind
from stepwell.model.questions import ListOrders
from stepwell.protocol.events import Incoming
from stepwell.runtime.orders import Replay, replay_many
from stepwell.testing import harness
from tests.spec.looking import outcomes
from tests.spec.replaying import broken, numbers, sent, shop

__all__ = ["broken", "shop"]


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
