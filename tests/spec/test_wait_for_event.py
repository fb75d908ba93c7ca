"""``step.wait_for_event``: rest until an event arrives (semantics §5.3; F35)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from stepwell import Cancel, Context, Event, event
from stepwell.clock import to_ms
from stepwell.model.questions import GetWaits
from stepwell.testing import harness

START = datetime(2026, 1, 1, tzinfo=UTC)  # when a harness begins


@event("approved")
class Approved(msgspec.Struct):
    order_id: str
    by: str = "nobody"


def test_the_first_event_of_the_name_resumes_the_run_and_is_its_result(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        found = await ctx.step.wait_for_event("approval", "approved", timeout="1h")
        return [found.name, found.id, found.ts, found.data]

    with harness(app) as t:
        t.send("ordered", {})
        t.assert_waiting(t.run(bill), "approval")
        t.advance("10m")
        t.send("refused", {"n": 0})
        t.assert_waiting(t.run(bill), "approval")
        (first,) = t.send("approved", {"n": 1})
        t.send("approved", {"n": 2})

        at = START + timedelta(minutes=10)
        t.assert_completed(t.run(bill), ["approved", first, int(at.timestamp() * 1000), {"n": 1}])
        assert t.run(bill).ended_at == at


def test_the_step_shows_what_it_waits_for_until_when_and_what_came(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        await ctx.step.wait_for_event("approval", "approved", match="data.order", timeout="1h")
        await ctx.step.sleep("rest", "1h")

    with harness(app) as t:
        t.send("ordered", {"order": "o-1"})

        step = t.run(bill).steps["approval"]
        assert (step.kind, step.status, step.due) == ("waitForEvent", "WAITING", START + timedelta(hours=1))
        assert step.details["event"] == "approved"
        assert '"o-1"' in step.details["if"].replace("'", '"')
        (came,) = t.send("approved", {"order": "o-1"})
        condition = step.details["if"]
        step = t.run(bill).steps["approval"]
        assert (step.status, step.details["matched"]) == ("COMPLETED", came)
        assert (step.details["if"], step.details["expires_at"]) == (condition, to_ms(START + timedelta(hours=1)))


def test_an_event_class_gives_typed_data_and_the_name(app) -> None:
    seen: list[object] = []

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx: Context):
        found = await ctx.step.wait_for_event("approval", Approved, timeout="1h")
        assert found is not None
        seen.append(found.data)
        await ctx.step.sleep("rest", "1h")

    with harness(app) as t:
        t.send("ordered", {})
        t.send(Approved("o-1", by="Eve"))
        t.advance("1h")

        t.assert_completed(t.run(bill))
        assert seen == [Approved("o-1", "Eve")] * 2


def test_an_event_that_is_not_what_its_class_says_fails_the_run_and_names_the_field(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        await ctx.step.wait_for_event("approval", Approved, timeout="1h")

    with harness(app) as t:
        t.send("ordered", {})
        t.send("approved", {"order_id": 7})

        t.assert_failed(t.run(bill), "data.order_id: Expected `str`, got `int`")
        assert len(t.run(bill).errors) == 1


def test_match_lets_only_events_through_whose_field_equals_that_of_the_trigger(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        found = await ctx.step.wait_for_event("approval", "approved", match="data.order.id", timeout="1h")
        return found.data["n"]

    with harness(app) as t:
        t.send("ordered", {"order": {"id": "a"}})
        t.send("ordered", {"order": {"id": "b"}})
        t.send("approved", {"n": 1, "order": {"id": "c"}})
        t.send("approved", {"n": 2, "order": {}})
        t.send("approved", {"n": 3})
        t.send("approved", {"n": 4, "order": {"id": "b"}})
        t.send("approved", {"n": 5, "order": {"id": "a"}})

        assert [run.output for run in t.runs(bill)] == [5, 4]


@pytest.mark.parametrize(
    ("condition", "yes", "no"),
    [
        ("async.data.amount > event.data.amount", {"amount": 11}, {"amount": 10}),
        ("async.data.by == 'Eve'", {"by": "Eve"}, {"by": "Bob"}),
        ("event.data.amount == 10 && async.data.amount < 3", {"amount": 2}, {"amount": 3}),
        ("async.data.tags.exists(tag, tag == 'paid')", {"tags": ["new", "paid"]}, {"tags": []}),
        ("!(async.data.ok == false)", {"ok": True}, {"ok": False}),
    ],
)
def test_an_expression_over_both_events_decides(app, condition: str, yes: dict[str, Any], no: dict[str, Any]) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        found = await ctx.step.wait_for_event("approval", "approved", if_=condition, timeout="1h")
        return found.data

    with harness(app) as t:
        t.send("ordered", {"amount": 10})
        t.send("approved", no)
        t.assert_waiting(t.run(bill), "approval")
        t.send("approved", yes)

        t.assert_completed(t.run(bill), yes)


def test_an_event_that_cannot_be_compared_does_not_match_and_the_wait_stays(app) -> None:
    """I27: one event whose data are of another shape ends nothing."""

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        found = await ctx.step.wait_for_event(
            "approval", "approved", if_="async.data.amount + 1 > 5 && async.data.list[3] == 1", timeout="1h"
        )
        return found.data["amount"]

    with harness(app) as t:
        t.send("ordered", {})
        for amount in ("text", None, [], {"a": 1}, True):
            t.send("approved", {"amount": amount, "list": [0, 0, 0, 1]})
        t.send("approved", {"amount": 7, "list": []})
        t.assert_waiting(t.run(bill), "approval")
        t.send("approved", {"amount": 8, "list": [0, 0, 0, 1]})

        t.assert_completed(t.run(bill), 8)


def test_a_condition_that_can_never_be_true_ends_with_the_timeout(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        return await ctx.step.wait_for_event(
            "approval", "approved", if_="event.data.vip == true && async.data.ok", timeout="1h"
        )

    with harness(app) as t:
        t.send("ordered", {"vip": False})
        t.send("approved", {"ok": True})
        t.assert_waiting(t.run(bill), "approval")
        t.advance("1h")

        t.assert_completed(t.run(bill), None)


def test_only_events_received_after_the_wait_began_count(app) -> None:
    """I17."""

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        await ctx.step.sleep("rest", "10m")
        return await ctx.step.wait_for_event("approval", "approved", timeout="1h")

    with harness(app) as t:
        t.send("ordered", {})
        t.send("approved", {})
        t.advance("10m")
        t.assert_waiting(t.run(bill), "approval")
        t.advance("1h")

        t.assert_completed(t.run(bill), None)


def test_the_event_that_started_the_run_never_resumes_it(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        found = await ctx.step.wait_for_event("next", "ordered", timeout="1h", lookback="run")
        return found and found.data

    with harness(app) as t:
        t.send("ordered", {"n": 1})
        first = t.run(bill)
        t.assert_waiting(first, "next")
        t.send("ordered", {"n": 2})

        t.assert_completed(first, {"n": 2})


@pytest.mark.slow
def test_back_to_back_the_answer_may_come_before_the_wait_unless_one_looks_back(app) -> None:
    """K01, I17: trigger and answer in one request; with look-back nothing is missed, in a thousand tries."""

    @app.create_function(id="plain", trigger="ordered")
    async def plain(ctx):
        await ctx.step.run("price", lambda: asyncio.sleep(0))
        return await ctx.step.wait_for_event("approval", "approved", match="data.n", timeout="1h") is not None

    @app.create_function(id="looks-back", trigger="ordered")
    async def looks_back(ctx):
        await ctx.step.run("price", lambda: asyncio.sleep(0))
        found = await ctx.step.wait_for_event("approval", "approved", match="data.n", timeout="1h", lookback="run")
        return found is not None

    with harness(app) as t:
        t.send([Event(name, {"n": n}) for n in range(200) for name in ("ordered", "approved")])
        t.advance("1h")

        assert [run.output for run in t.runs(plain)] == [False] * 200
        assert [run.output for run in t.runs(looks_back)] == [True] * 200


def test_back_to_back_in_two_requests_the_wait_sees_the_answer(app) -> None:
    """K01: what was sent after the run had come to its wait is never missed, whatever lies between."""

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        found = await ctx.step.wait_for_event("approval", "approved", match="data.n", timeout="1h")
        return found is not None

    with harness(app) as t:
        for n in range(100):
            t.send("ordered", {"n": n})
            t.advance(n % 50)
            t.send("approved", {"n": n})
        t.run_until_idle()

        assert [run.output for run in t.runs(bill)] == [True] * 100


@pytest.mark.parametrize(
    ("lookback", "found"), [("5m", None), ("15m", 2), ("run", 2), (timedelta(days=1), 2)], ids=repr
)
def test_look_back_takes_the_newest_event_of_that_time(app, lookback: Any, found: int | None) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        await ctx.step.sleep("rest", "10m")
        got = await ctx.step.wait_for_event("approval", "approved", timeout="1h", lookback=lookback)
        return got and got.data["n"]

    with harness(app) as t:
        t.send("ordered", {})
        t.send("approved", {"n": 1})
        t.send("approved", {"n": 2})
        t.advance("2h")

        t.assert_completed(t.run(bill), found)


def test_a_look_back_knows_what_time_it_is(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        condition = "now() > date('2025-01-01') && async.data.order == event.data.order"
        found = await ctx.step.wait_for_event("approval", "approved", if_=condition, lookback="1h", timeout="1h")
        return found.data["order"]

    with harness(app) as t:
        t.send("approved", {"order": "o-1"})
        t.advance("1m")
        t.send("ordered", {"order": "o-1"})

        t.assert_completed(t.run(bill), "o-1")
        assert "async.data.order" in t.run(bill).steps["approval"].details["if"]


def test_without_a_timeout_of_their_own_listeners_and_invokes_wait_for_a_year(app) -> None:
    @app.create_function(id="child", trigger=None)
    async def child(ctx):
        await ctx.step.sleep("rest", "366d")

    @app.create_function(id="bill", trigger="ordered", cancel=Cancel("cancelled"))
    async def bill(ctx):
        await ctx.step.invoke("child", child)

    with harness(app) as t:
        t.send("ordered", {})

        (listener,) = t.ask(GetWaits(t.run(bill).id))
        assert listener.expires_at == to_ms(START + timedelta(days=365))
        assert t.run(bill).steps["child"].due == START + timedelta(days=365)


def test_an_event_that_came_before_a_restart_is_not_forgotten(app) -> None:
    """Race of event and restart: what resumed the run was written with the event."""
    bodies: list[str] = []

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        found = await ctx.step.wait_for_event("approval", "approved", timeout="1h")
        await asyncio.sleep(5)
        await ctx.step.run("charge", lambda: bodies.append(found.data["by"]))

    with harness(app) as t:
        t.send("ordered", {})
        t.crash()
        t.assert_waiting(t.run(bill), "approval")
        t.send("approved", {"by": "Eve"})
        t.crash()
        t.send("approved", {"by": "Bob"})
        t.advance("2h")

        t.assert_completed(t.run(bill))
        assert bodies == ["Eve"]


def test_an_event_and_a_cancel_in_one_moment_are_settled_once(app) -> None:
    """I16, race of event and cancel, both orders."""

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        await ctx.step.wait_for_event("approval", "approved", timeout="1h")

    with harness(app) as t:
        t.send("ordered", {})
        assert t.cancel(t.run(bill))
        t.send("approved", {})
        t.send("ordered", {})
        cancelled, approved = t.runs(bill)
        t.send("approved", {})

        assert not t.cancel(approved)
        t.assert_cancelled(cancelled)
        t.assert_completed(approved)


def test_an_event_while_the_code_beside_the_wait_is_being_retried_is_kept(app) -> None:
    """Race of event and retry: the wait is settled although its run is backing off."""
    tries: list[int] = []

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        def flaky() -> str:
            tries.append(ctx.attempt)
            if ctx.attempt == 0:
                raise ValueError("not yet")
            return "charged"

        approval, charge = await ctx.group.parallel(
            [ctx.step.wait_for_event("approval", "approved", timeout="1h"), ctx.step.run("charge", flaky)]
        )
        return [approval.data["by"], charge]

    with harness(app, retry_interval="10m") as t:
        t.send("ordered", {})
        t.advance("1m")
        t.send("approved", {"by": "Eve"})
        assert t.run(bill).steps["approval"].status == "COMPLETED"
        t.advance("9m")

        t.assert_completed(t.run(bill), ["Eve", "charged"])
        assert tries == [0, 1]


def test_a_duplicate_of_an_event_may_resume_a_wait_although_it_starts_nothing(app) -> None:
    """Semantics §1.4: ids deduplicate starts, not waits."""

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        return (await ctx.step.wait_for_event("again", "ordered", timeout="1h")).data

    with harness(app) as t:
        t.send("ordered", {"n": 1}, id="same")
        t.send("ordered", {"n": 2}, id="same")

        t.assert_completed(t.run(bill), {"n": 2})


def test_an_event_with_a_future_moment_matches_when_it_is_received(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        await ctx.step.wait_for_event("approval", "approved", timeout="1h")

    with harness(app) as t:
        t.send("ordered", {})
        t.send("approved", {}, ts=START + timedelta(days=7))

        t.assert_completed(t.run(bill))


def test_a_wait_and_the_send_it_answers_may_stand_side_by_side(app) -> None:
    """Semantics §5.3: in one group waits are registered before anything is sent."""

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        _, found = await ctx.group.parallel(
            [
                ctx.step.send_event("ask", Event("asked", {"n": 1})),
                ctx.step.wait_for_event("answer", "answered", timeout="1h"),
            ]
        )
        return found and found.data

    @app.create_function(id="answerer", trigger="asked")
    async def answerer(ctx):
        await ctx.step.send_event("answer", Event("answered", ctx.event.data))

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("2h")

        t.assert_completed(t.run(bill), {"n": 1})


def test_a_run_may_wait_again_and_again(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        return [(await ctx.step.wait_for_event("tick", "ticked", timeout="1h")).data["n"] for _ in range(3)]

    with harness(app) as t:
        t.send("ordered", {})
        for n in range(5):
            t.advance("1m")
            t.send("ticked", {"n": n})

        t.assert_completed(t.run(bill), [0, 1, 2])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"event": "approved", "timeout": "1h", "if_": "async.data.x =="}, "InvalidExpression"),
        ({"event": "approved", "timeout": "1h", "if_": ""}, "ConfigurationError"),
        ({"event": "approved", "timeout": "1h", "if_": "nothing.data.x == 1"}, "InvalidExpression"),
        ({"event": "approved", "timeout": "1h", "if_": "async.data.x == 1", "match": "data.x"}, "both match and if_"),
        ({"event": "approved", "timeout": "1h", "match": "data x"}, "is not a path into an event"),
        ({"event": "app/*", "timeout": "1h"}, "a wait looks up one event name"),
        ({"event": "", "timeout": "1h"}, "name"),
        ({"event": dict, "timeout": "1h"}, "'dict' is not an event class"),
        ({"event": "approved", "timeout": "-1h"}, "InvalidDuration"),
        ({"event": "approved", "timeout": timedelta(days=-1)}, "cannot be negative"),
        ({"event": "approved", "timeout": "367d"}, "InngestErrTimeoutTooLong"),
        ({"event": "approved", "timeout": START + timedelta(days=367)}, "InngestErrTimeoutTooLong"),
    ],
)
def test_a_wait_that_cannot_work_fails_the_run_at_once_and_says_why(app, given: dict[str, Any], said: str) -> None:
    options = {name: value for name, value in given.items() if name != "event"}

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        await ctx.step.run("before", lambda: 1)
        await ctx.step.wait_for_event("approval", given["event"], **options)

    with harness(app) as t:
        t.send("ordered", {})

        run = t.run(bill)
        t.assert_failed(run, said)
        assert run.ended_at == START
        assert len(run.errors) <= 1
        assert run.steps["before"].output == 1


def test_a_wait_without_a_timeout_says_that_it_needs_one(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        await ctx.step.wait_for_event("approval", "approved")

    with harness(app, retry_interval="1s") as t:
        t.send("ordered", {})
        t.advance("1m")

        t.assert_failed(t.run(bill), "timeout")


def test_an_event_reaches_a_branch_of_the_call_that_sends_it(app):
    """What one branch sends finds the wait of the branch before it, in however many shards the two are."""

    @app.create_function(id="both", trigger="asked")
    async def both(ctx: Context):
        found, _ = await ctx.group.parallel(
            [
                lambda: ctx.step.wait_for_event("wait", "decided", timeout="1h"),
                lambda: ctx.step.run("send", app.send, Event("decided", {"n": 1})),
            ]
        )
        return found.data["n"]

    with harness(app) as t:
        t.send("asked", {})

        t.assert_completed(t.run(both), 1)
