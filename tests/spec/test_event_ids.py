"""The same ``id`` within 24 hours starts a function once (semantics §1.4, design D8; F3)."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from stepwell import Cancel, Concurrency, Event, TriggerEvent
from stepwell.testing import harness
from tests.spec.looking import events, outcomes, totals

NAMES = ("order-1", "ü☃", "a b", "x" * 512, "0", "null")


@pytest.mark.parametrize("id", NAMES, ids=lambda id: id[:10])
def test_the_same_id_starts_a_function_once(app, id: str) -> None:
    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx): ...

    with harness(app) as t:
        first, second = t.send("paid", id=id), t.send("paid", id=id)

        assert len(t.runs(bill)) == 1
        assert first != second, "each has an internal id of its own"
        assert len(events(t)) == 2, "the second is stored and shown"


def test_the_second_is_shown_as_deduplicated_with_the_run_of_the_first(app) -> None:
    """I2, F79."""

    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx): ...

    with harness(app) as t:
        (first,) = t.send("paid", id="invoice-1")
        (second,) = t.send("paid", id="invoice-1")

        assert outcomes(t, first) == {}
        found = outcomes(t, second)["shop-bill"]
        assert (found.kind, found.run_id) == ("deduplicated", t.run(bill).id)
        assert "invoice-1" in found.reason


def test_it_counts_within_one_request_too(app) -> None:
    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx): ...

    with harness(app) as t:
        ids = t.send([Event("paid", id="a"), Event("paid", id="b"), Event("paid", id="a")])

        assert len(t.runs(bill)) == 2
        assert [list(outcomes(t, id)) for id in ids] == [[], [], ["shop-bill"]]


def test_events_without_an_id_are_never_taken_for_each_other(app) -> None:
    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx): ...

    with harness(app) as t:
        t.send([Event("paid", {"order": 1}), Event("paid", {"order": 1})])

        assert len(t.runs(bill)) == 2


def test_an_empty_id_is_none(app) -> None:
    """K42: no ghost duplicates of an empty id."""

    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx): ...

    with harness(app) as t:
        t.send("paid", id="")
        t.send("paid", id="")

        assert len(t.runs(bill)) == 2


def test_two_functions_on_the_same_event_each_start_once(app) -> None:
    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx): ...

    @app.create_function(id="ship", trigger="paid")
    async def ship(ctx): ...

    with harness(app) as t:
        t.send("paid", id="1")
        t.send("paid", id="1")

        assert (len(t.runs(bill)), len(t.runs(ship))) == (1, 1)


def test_a_function_that_did_not_match_the_first_time_starts_the_second_time(app) -> None:
    @app.create_function(id="paid", trigger="paid")
    async def paid(ctx): ...

    @app.create_function(id="refunded", trigger="refunded")
    async def refunded(ctx): ...

    with harness(app) as t:
        t.send("paid", id="1")
        t.send("refunded", id="1")

        assert (len(t.runs(paid)), len(t.runs(refunded))) == (1, 1)


def test_the_id_counts_for_all_names_that_start_a_function(app) -> None:
    """The scope is function and id, not the name of the event."""

    @app.create_function(id="audit", trigger=["paid", "refunded"])
    async def audit(ctx): ...

    with harness(app) as t:
        t.send("paid", id="1")
        t.send("refunded", id="1")

        assert len(t.runs(audit)) == 1


def test_it_counts_for_24_hours_from_the_first_and_then_a_new_run_really_starts(app) -> None:
    """I19."""

    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx): ...

    with harness(app) as t:
        t.send("paid", id="1")
        t.advance("12h")
        t.send("paid", id="1")
        t.advance("11h59m59s999ms")
        t.send("paid", id="1")
        assert len(t.runs(bill)) == 1, "the second did not make it longer, nor did the end of the run make it shorter"

        t.advance(1)
        t.send("paid", id="1")

        assert [run.status for run in t.runs(bill)] == ["COMPLETED"] * 2


def test_K14_after_24_hours_a_new_run_starts_although_the_first_is_still_queued(app) -> None:
    """K14: the window is over, the first run has not even begun."""

    @app.create_function(id="bill", trigger="paid", concurrency=Concurrency(1))
    async def bill(ctx):
        await ctx.step.run("work", lambda: asyncio.sleep(3_600))

    with harness(app) as t:
        t.send("paid", id="1", ts=t.now + timedelta(days=3))
        t.advance("24h")
        (again,) = t.send("paid", id="1")
        t.advance("10d")

        assert outcomes(t, again) == {}
        assert [run.status for run in t.runs(bill)] == ["COMPLETED"] * 2


def test_a_run_that_failed_still_blocks_its_id(app) -> None:
    @app.create_function(id="bill", trigger="paid", retries=0)
    async def bill(ctx):
        raise RuntimeError("no")

    with harness(app) as t:
        t.send("paid", id="1")
        t.advance("1h")
        t.send("paid", id="1")

        t.assert_failed(t.run(bill))


def test_a_run_that_was_cancelled_still_blocks_its_id(app) -> None:
    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx):
        await ctx.step.sleep("rest", "1d")

    with harness(app) as t:
        t.send("paid", id="1")
        t.cancel(t.run(bill))
        t.send("paid", id="1")

        t.assert_cancelled(t.run(bill))


def test_a_crash_does_not_forget_ids(app) -> None:
    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx): ...

    with harness(app) as t:
        t.send("paid", id="1")
        t.crash(down="23h")
        t.send("paid", id="1")

        assert len(t.runs(bill)) == 1


def test_an_event_the_function_did_not_want_does_not_use_up_its_id(app) -> None:
    @app.create_function(id="bill", trigger=TriggerEvent("paid", if_="event.data.amount > 10"))
    async def bill(ctx): ...

    with harness(app) as t:
        t.send("paid", {"amount": 1}, id="1")
        t.send("paid", {"amount": 20}, id="1")

        assert len(t.runs(bill)) == 1


def test_K15_a_start_that_another_rule_refuses_does_not_use_up_its_id(app) -> None:
    """K15: a decision "no" for one start must not swallow another."""

    @app.create_function(id="bill", trigger="paid", idempotency="event.data.cart")
    async def bill(ctx): ...

    with harness(app) as t:
        t.send("paid", {"cart": "a"}, id="1")
        (refused,) = t.send("paid", {"cart": "a"}, id="2")
        (accepted,) = t.send("paid", {"cart": "b"}, id="2")

        assert outcomes(t, refused)["shop-bill"].kind == "idempotent"
        assert outcomes(t, accepted) == {}
        assert len(t.runs(bill)) == 2


def test_a_duplicate_still_resumes_a_wait(app) -> None:
    """Matching is on receipt; §1.4."""

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        return (await ctx.step.wait_for_event("payment", "paid", timeout="1d")) is not None

    with harness(app) as t:
        t.send("paid", id="1")
        t.send("ordered")
        t.send("paid", id="1")

        t.assert_completed(t.run(bill), True)


def test_a_duplicate_still_cancels(app) -> None:
    @app.create_function(id="bill", trigger="ordered", cancel=Cancel("stopped"))
    async def bill(ctx):
        await ctx.step.sleep("rest", "1d")

    with harness(app) as t:
        t.send("stopped", id="1")
        t.send("ordered")
        t.send("stopped", id="1")

        t.assert_cancelled(t.run(bill))


def test_ids_leave_nothing_behind_when_the_runs_have_ended(app) -> None:
    """I13."""

    @app.create_function(id="bill", trigger="paid", concurrency=Concurrency(1))
    async def bill(ctx): ...

    with harness(app) as t:
        t.send([Event("paid", id=str(n % 5)) for n in range(50)])
        t.run_until_idle()

        assert len(t.runs(bill)) == 5
        assert (totals(t).items, totals(t).leased, totals(t).waits) == (0, 0, 0)


def test_ids_of_two_functions_are_not_taken_for_each_other_whatever_is_in_them(app) -> None:
    """I19: a function ``x`` with the id ``y/z`` is not the function ``x/y`` with the id ``z``."""
    for id in ("x", "x/y"):

        @app.create_function(id=id, trigger="e")
        async def function(ctx): ...

    with harness(app) as t:
        t.send("e", {}, id="y/z")
        t.send("e", {}, id="z")

        assert (len(t.runs("x")), len(t.runs("x/y"))) == (2, 2)
