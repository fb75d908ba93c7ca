"""``cancel=Cancel(event, if_=…, match=…, timeout=…)``: events that end a run (semantics §8.1, §3.2, §3.5; F80, F23)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from stepwell import Cancel, Concurrency, ConfigurationError, Event, InvalidExpression, Stepwell, event
from stepwell.model.questions import GetWaits, Notes
from stepwell.testing import harness
from tests.spec.looking import events, totals

START = datetime(2026, 1, 1, tzinfo=UTC)


@event("order/cancelled")
class OrderCancelled(msgspec.Struct):
    order: str = ""


def bill(app, *cancels: Cancel, **options: Any) -> Any:
    @app.create_function(id="bill", trigger="order/placed", cancel=cancels, **options)
    async def bill(ctx):
        await ctx.step.sleep("rest", "10d")
        return "billed"

    return bill


# What cancels ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("named", ["order/cancelled", OrderCancelled], ids=["name", "class"])
def test_an_event_of_the_name_cancels_all_runs_that_listen(app, named: Any) -> None:
    function = bill(app, Cancel(named))

    with harness(app) as t:
        t.send([Event("order/placed") for _ in range(3)])
        t.send("order/other")
        assert {run.status for run in t.runs(function)} == {"RUNNING"}
        t.send(OrderCancelled())

        assert {run.status for run in t.runs(function)} == {"CANCELLED"}


def test_the_run_says_which_event_cancelled_it(app) -> None:
    """§8.3: the cause is in the history."""
    function = bill(app, Cancel("order/cancelled", if_="async.data.order == event.data.order"))

    with harness(app) as t:
        t.send("order/placed", {"order": "7"})
        (id,) = t.send("order/cancelled", {"order": "7"})

        run = t.run(function)
        assert run.reason == f'event order/cancelled {id} (async.data.order == "7")'
        assert run.ended_at == START
        assert [(note.kind, note.text) for note in t.ask(Notes(run.id))] == [("cancelled", run.reason)]


def test_match_compares_a_path_of_both_events(app) -> None:
    function = bill(app, Cancel("order/cancelled", match="data.order"))

    with harness(app) as t:
        t.send([Event("order/placed", {"order": order}) for order in ("a", "b", "c")])
        t.send("order/cancelled", {"order": "b"})

        assert [run.status for run in t.runs(function)] == ["RUNNING", "CANCELLED", "RUNNING"]


@pytest.mark.parametrize(
    ("placed", "cancelled", "equal"),
    [
        ({"order": 7}, {"order": 7}, True),
        ({"order": 7}, {"order": 7.0}, True),
        ({"order": 7}, {"order": "7"}, False),
        ({"order": ""}, {"order": ""}, True),
        ({"order": True}, {"order": True}, True),
        ({"order": None}, {"order": None}, True),
        ({"order": 7}, {}, False),
        ({"order": "☃\u0000"}, {"order": "☃\u0000"}, True),
    ],
    ids=repr,
)
def test_match_compares_as_expressions_do(app, placed: Any, cancelled: Any, equal: bool) -> None:
    function = bill(app, Cancel("order/cancelled", match="data.order"))

    with harness(app) as t:
        t.send("order/placed", placed)
        t.send("order/cancelled", cancelled)

        assert t.run(function).status == ("CANCELLED" if equal else "RUNNING")


@pytest.mark.parametrize(
    ("condition", "data", "cancels"),
    [
        ("async.data.n > event.data.n", {"n": 6}, True),
        ("async.data.n > event.data.n", {"n": 5}, False),
        ("async.data.n == event.data.n || async.data.force", {"n": 0, "force": True}, True),
        ("async.data.n == event.data.n && !async.data.dry", {"n": 5}, True),
        ("async.data.n == event.data.n && !async.data.dry", {"n": 5, "dry": True}, False),
        ("async.data.missing == null", {}, True),
        ("async.data.missing > 3", {}, False),
        ("async.data['n'] == 5", {"n": 5}, True),
        ("int(async.data.text) == 5", {"text": "5"}, True),
        ("int(async.data.text) == 5", {"text": "five"}, False),
        ("async.name == 'order/cancelled'", {}, True),
    ],
)
def test_a_condition_decides(app, condition: str, data: dict[str, Any], cancels: bool) -> None:
    function = bill(app, Cancel("order/cancelled", if_=condition))

    with harness(app) as t:
        t.send("order/placed", {"n": 5})
        t.send("order/cancelled", data)

        assert t.run(function).status == ("CANCELLED" if cancels else "RUNNING")


def test_a_condition_that_fails_for_one_event_is_asked_again_for_the_next(app) -> None:
    function = bill(app, Cancel("order/cancelled", if_="int(async.data.text) == 5"))

    with harness(app) as t:
        t.send("order/placed")
        t.send("order/cancelled", {"text": "five"})
        t.send("order/cancelled", {"text": "5"})

        t.assert_cancelled(t.run(function))


def test_any_of_several_cancels(app) -> None:
    function = bill(app, *(Cancel(name) for name in "abcde"))

    with harness(app) as t:
        for _ in range(5):
            t.send("order/placed")
        for name in "edcba":
            t.send(name)

        assert {run.status for run in t.runs(function)} == {"CANCELLED"}


def test_a_condition_that_is_certainly_false_is_not_listened_for(app) -> None:
    function = bill(app, Cancel("order/cancelled", if_="event.data.kind == 'big' && async.data.ok"))

    with harness(app) as t:
        t.send("order/placed", {"kind": "small"})
        t.send("order/placed", {"kind": "big"})

        small, big = t.runs(function)
        assert t.ask(GetWaits(small.id)) == []
        assert [wait.condition for wait in t.ask(GetWaits(big.id))] == ["async.data.ok"]


# When it cancels -------------------------------------------------------------------------------------------------


def test_an_event_that_came_before_the_run_does_not_cancel_it(app) -> None:
    function = bill(app, Cancel("order/cancelled"))

    with harness(app) as t:
        t.send("order/cancelled")
        t.send("order/placed")
        t.advance("10d")

        t.assert_completed(t.run(function), "billed")


def test_within_one_request_the_order_decides(app) -> None:
    """K01: back to back, nothing between the two."""
    function = bill(app, Cancel("order/cancelled", match="data.order"))

    with harness(app) as t:
        t.send([Event("order/placed", {"order": 1}), Event("order/cancelled", {"order": 1})])
        t.send([Event("order/cancelled", {"order": 2}), Event("order/placed", {"order": 2})])
        t.send([Event("order/placed", {"order": 3}), Event("order/cancelled", {"order": 4})])

        assert [run.status for run in t.runs(function)] == ["CANCELLED", "RUNNING", "RUNNING"]
        assert t.runs(function)[0].steps == {}
        assert len(events(t, "inngest/function.cancelled")) == 1


def test_a_large_request_of_runs_and_their_ends_is_decided_one_by_one(app) -> None:
    calls: list[int] = []

    @app.create_function(id="bill", trigger="order/placed", cancel=Cancel("order/cancelled", match="data.n"))
    async def function(ctx):
        calls.append(ctx.event.data["n"])

    with harness(app) as t:
        t.send(
            [
                each
                for n in range(200)
                for each in (Event("order/placed", {"n": n}), Event("order/cancelled", {"n": n if n % 2 else -1}))
            ]
        )
        t.run_until_idle()

        assert sorted(calls) == list(range(0, 200, 2))
        assert totals(t).waits == totals(t).items == 0


def test_the_event_that_starts_a_run_does_not_cancel_it(app) -> None:
    """It cancels the one before: restart on the newest event."""

    @app.create_function(id="index", trigger="doc/changed", cancel=Cancel("doc/changed", match="data.doc"))
    async def index(ctx):
        await ctx.step.sleep("rest", "1h")

    with harness(app) as t:
        t.send([Event("doc/changed", {"doc": 1}) for _ in range(3)])
        t.send("doc/changed", {"doc": 1})
        t.advance("1h")

        assert [run.status for run in t.runs(index)] == ["CANCELLED"] * 3 + ["COMPLETED"]


def test_an_event_may_cancel_one_run_and_start_another(app) -> None:
    function = bill(app, Cancel("order/cancelled"))

    @app.create_function(id="refund", trigger="order/cancelled")
    async def refund(ctx): ...

    with harness(app) as t:
        t.send("order/placed")
        t.send("order/cancelled")

        t.assert_cancelled(t.run(function))
        t.assert_completed(t.run(refund))


@pytest.mark.parametrize("until", ["1h", timedelta(hours=1), 3_600_000, START + timedelta(hours=1)], ids=repr)
def test_it_listens_only_for_so_long(app, until: Any) -> None:
    function = bill(app, Cancel("order/cancelled", match="data.n", timeout=until))

    with harness(app) as t:
        t.send([Event("order/placed", {"n": n}) for n in (1, 2)])
        t.advance("59m59s999ms")
        t.send("order/cancelled", {"n": 1})
        t.advance(1)
        t.send("order/cancelled", {"n": 2})

        assert [run.status for run in t.runs(function)] == ["CANCELLED", "RUNNING"]


@pytest.mark.parametrize(("days", "cancels"), [(364, True), (366, False)])
def test_it_listens_for_a_year_if_nothing_else_is_said(app, days: int, cancels: bool) -> None:
    """§8.1; the run itself may take longer."""

    @app.create_function(id="work", trigger="go", cancel=Cancel("stop"))
    async def function(ctx):
        await ctx.step.sleep("first", "200d")
        await ctx.step.sleep("second", "200d")

    with harness(app) as t:
        t.send("go")
        t.advance(timedelta(days=days))
        t.send("stop")

        assert (t.run(function).status == "CANCELLED") is cancels


def test_it_listens_for_so_long_from_the_creation_of_the_run_not_from_its_start(app) -> None:
    function = bill(app, Cancel("order/cancelled", timeout="1h"))

    with harness(app) as t:
        t.send("order/placed", ts=START + timedelta(hours=2))
        t.advance("2h")
        t.send("order/cancelled")

        assert t.run(function).status == "RUNNING"


def test_a_listener_ends_with_its_run(app) -> None:
    function = bill(app, Cancel("order/cancelled"))

    with harness(app) as t:
        t.send("order/placed")
        t.advance("10d")
        assert totals(t).waits == 0
        t.send("order/cancelled")

        t.assert_completed(t.run(function), "billed")


def test_it_listens_across_restarts(app) -> None:
    function = bill(app, Cancel("order/cancelled"))

    with harness(app) as t:
        t.send("order/placed")
        t.crash(down="5d")
        t.send("order/cancelled")
        t.crash()

        t.assert_cancelled(t.run(function))


def test_a_run_listens_for_what_was_declared_when_it_was_created(app) -> None:
    """Race of event and a change of the configuration."""
    function = bill(app, Cancel("order/cancelled"))
    later = Stepwell("shop")
    bill(later, Cancel("order/withdrawn"))

    with harness(app) as t:
        t.send("order/placed")
        t.crash(app=later)
        t.send("order/placed")
        t.send("order/cancelled")

        assert [run.status for run in t.runs(function)] == ["CANCELLED", "RUNNING"]
        t.send("order/withdrawn")
        assert [run.status for run in t.runs(function)] == ["CANCELLED"] * 2


@pytest.mark.parametrize("when", ["queued", "running a step", "sleeping", "waiting", "backing off", "blocked"])
def test_K12_whatever_the_run_is_doing_it_is_cancelled_at_once(app, when: str) -> None:
    """K12, I11, I18: nothing of it is left that could wake it."""
    bodies: list[str] = []

    async def work() -> None:
        await asyncio.sleep(60)
        bodies.append("ended")

    def fail() -> None:
        raise RuntimeError("busy")

    @app.create_function(
        id="bill",
        trigger="order/placed",
        cancel=Cancel("order/cancelled", match="data.order"),
        concurrency=Concurrency(1),
    )
    async def function(ctx):
        if when in ("running a step", "blocked"):
            await ctx.step.run("work", work)
        elif when == "sleeping":
            await ctx.step.sleep("rest", "1h")
        elif when == "waiting":
            await ctx.step.wait_for_event("rest", "never", timeout="1h")
        else:
            await ctx.step.run("fail", fail)
        await ctx.step.run("after", lambda: bodies.append("after"))

    with harness(app, retry_interval="1h") as t:
        if when == "blocked":
            t.send("order/placed", {"order": 0})
        t.send(Event("order/placed", {"order": 1}, ts=START + timedelta(hours=1) if when == "queued" else None))
        t.advance("1s")
        t.send("order/cancelled", {"order": 1})

        run = t.runs(function)[-1]
        t.assert_cancelled(run)
        assert run.ended_at == START + timedelta(seconds=1)
        t.advance("2d")
        t.assert_cancelled(run)
        assert bodies == (["ended", "after"] if when == "blocked" else ["ended"] if when == "running a step" else [])
        assert (totals(t).items, totals(t).waits, totals(t).leased) == (0, 0, 0)


def test_event_and_completion_in_one_moment_are_decided_once(app) -> None:
    """Race of event and late result: the loser is silent."""

    @app.create_function(id="bill", trigger="order/placed", cancel=Cancel("order/cancelled"))
    async def function(ctx):
        await asyncio.sleep(60)
        return "billed"

    with harness(app) as t:
        t.send("order/placed")
        t.advance("59s999ms")
        t.send("order/cancelled")
        t.send("order/placed")
        t.advance("1m")
        t.send("order/cancelled")

        first, second = t.runs(function)
        t.assert_cancelled(first)
        t.assert_completed(second, "billed")
        assert len(events(t, "inngest/function.cancelled")) == 1


def test_the_event_a_run_waits_for_may_also_cancel_it(app) -> None:
    """Race of event and cancel within one event: the run is cancelled, and cancelled only."""

    @app.create_function(id="bill", trigger="order/placed", cancel=Cancel("order/cancelled"))
    async def function(ctx):
        await ctx.step.wait_for_event("end", "order/cancelled", timeout="1h")
        return "billed"

    with harness(app) as t:
        t.send("order/placed")
        t.send("order/cancelled")
        t.advance("2h")

        t.assert_cancelled(t.run(function))


def test_a_hundred_runs_are_cancelled_by_one_event_and_only_those_it_names(app) -> None:
    function = bill(app, Cancel("order/cancelled", match="data.customer"))

    with harness(app) as t:
        t.send([Event("order/placed", {"customer": n % 2}) for n in range(200)])
        t.send("order/cancelled", {"customer": 1})

        assert [run.status for run in t.runs(function)] == ["RUNNING", "CANCELLED"] * 100


# What is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "condition",
    [
        "async.data.items.exists(x, x == 1)",
        "async.data.n + 1 == 2",
        "size(async.data.items) > 1",
        "async.data.name.startsWith('a')",
        "lowercase(async.data.name) == 'a'",
        "async.data.n ==",
        "steps.charge == 1",
    ],
)
def test_conditions_beyond_the_restricted_language_are_refused(app, condition: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        bill(app, Cancel("order/cancelled", if_=condition))

    assert isinstance(refused.value, InvalidExpression) or "if_ of cancel" in refused.value.what
    assert all((refused.value.what, refused.value.why, refused.value.fix))
    assert app.functions == {}


@pytest.mark.parametrize(
    "arguments",
    [
        {"event": "order/*"},
        {"event": ""},
        {"event": "  "},
        {"event": "x" * 256},
        {"event": "with\x00nul"},
        {"event": int},
        {"event": "a", "if_": "async.data.n == 1", "match": "data.n"},
        {"event": "a", "match": "data."},
        {"event": "a", "match": ""},
        {"event": "a", "match": "data.n == 1"},
        {"event": "a", "match": "data['"},
        {"event": "a", "timeout": "soon"},
        {"event": "a", "timeout": -1},
        {"event": "a", "timeout": 1.5},
    ],
    ids=repr,
)
def test_a_cancellation_that_cannot_work_is_refused_with_what_why_and_fix(app, arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as refused:
        bill(app, Cancel(**arguments))

    assert all((refused.value.what, refused.value.why, refused.value.fix))
    assert app.functions == {}


def test_five_cancellations_are_possible_and_six_are_refused(app) -> None:
    with pytest.raises(ConfigurationError, match="at most 5"):
        bill(app, *(Cancel(f"e{n}") for n in range(6)))
    assert app.functions == {}

    bill(app, *(Cancel(f"e{n}") for n in range(5)))
    assert len(app.functions) == 1
