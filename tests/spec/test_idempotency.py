"""``idempotency="event.data.cart"``: one run for each value in 24 hours (semantics §7.6, §3.4; F70, F24)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stepwell import Concurrency, ConfigurationError, Event, StepError, TriggerEvent
from stepwell.testing import harness
from tests.spec.looking import outcomes

START = datetime(2026, 1, 1, tzinfo=UTC)


def checkout(app, key: str = "event.data.cart", **options: Any) -> Any:
    @app.create_function(id="checkout", trigger="checkout", idempotency=key, **options)
    async def checkout(ctx):
        return ctx.event.data

    return checkout


def test_a_value_starts_one_run(app) -> None:
    function = checkout(app)

    with harness(app) as t:
        t.send([Event("checkout", {"cart": cart}) for cart in ("a", "b", "a")])
        t.send("checkout", {"cart": "b"})

        assert [run.output for run in t.runs(function)] == [{"cart": "a"}, {"cart": "b"}]


def test_what_was_not_started_says_why_and_names_the_run_that_stands_for_it(app) -> None:
    """I2, F79."""
    function = checkout(app)

    with harness(app) as t:
        t.send("checkout", {"cart": "a"})
        (again,) = t.send("checkout", {"cart": "a"})

        found = outcomes(t, again)["shop-checkout"]
        assert (found.kind, found.run_id) == ("idempotent", t.run(function).id)
        assert "24 hours" in found.reason


def test_it_counts_for_24_hours_from_the_first_start_and_not_from_the_last_event(app) -> None:
    """I19: a fixed window."""
    function = checkout(app)

    with harness(app) as t:
        t.send("checkout", {"cart": "a"})
        for _ in range(23):
            t.advance("1h")
            t.send("checkout", {"cart": "a"})
        t.advance("59m59s999ms")
        t.send("checkout", {"cart": "a"})
        assert len(t.runs(function)) == 1
        t.advance(1)
        t.send("checkout", {"cart": "a"})

        assert len(t.runs(function)) == 2


@pytest.mark.parametrize("ending", ["failed", "cancelled", "running", "queued"])
def test_it_counts_however_the_first_run_ended_or_did_not(app, ending: str) -> None:
    @app.create_function(id="checkout", trigger="checkout", idempotency="event.data.cart", retries=0)
    async def function(ctx):
        if ending == "failed":
            raise RuntimeError("no")
        await ctx.step.sleep("rest", "10d")

    with harness(app) as t:
        t.send("checkout", {"cart": "a"}, ts=START + timedelta(days=2) if ending == "queued" else None)
        if ending == "cancelled":
            t.cancel(t.run(function))
        t.advance("1h")
        t.send("checkout", {"cart": "a"})

        assert t.run(function).status == ("RUNNING" if ending == "running" else ending.upper())


def test_K14_after_24_hours_a_new_run_starts_although_the_first_is_still_queued(app) -> None:
    """K14."""
    function = checkout(app)

    with harness(app) as t:
        t.send("checkout", {"cart": "a"}, ts=START + timedelta(days=3))
        t.advance("24h")
        t.send("checkout", {"cart": "a"})

        assert [run.status for run in t.runs(function)] == ["QUEUED", "COMPLETED"]


def test_a_crash_does_not_forget_it(app) -> None:
    function = checkout(app)

    with harness(app) as t:
        t.send("checkout", {"cart": "a"})
        t.crash(down="23h")
        t.send("checkout", {"cart": "a"})

        assert len(t.runs(function)) == 1


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ({"cart": "a"}, {"cart": "a", "more": 1}, True),
        ({"cart": 1}, {"cart": 1.0}, True),
        ({"cart": 1}, {"cart": "1"}, False),
        ({"cart": {"a": 1, "b": 2}}, {"cart": {"b": 2, "a": 1}}, True),
        ({"cart": "x" * 9_000 + "a"}, {"cart": "x" * 9_000 + "b"}, False),
        ({"cart": "a b"}, {"cart": "a  b"}, False),
        ({"cart": "ü\u0000"}, {"cart": "ü\u0000"}, True),
        ({"cart": ""}, {"cart": ""}, True),
        ({}, {}, True),
        ({}, {"cart": "a"}, False),
        ({"cart": False}, {"cart": False}, False),
        ({"cart": "false"}, {"cart": "false"}, True),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_the_value_is_what_counts(app, first: Any, second: Any, same: bool) -> None:
    """§3.4: what is missing shares one key; ``false`` always runs."""
    function = checkout(app)

    with harness(app) as t:
        t.send("checkout", first)
        t.send("checkout", second)

        assert len(t.runs(function)) == (1 if same else 2)


def test_events_for_which_the_key_fails_share_one(app) -> None:
    """A start is never lost to an expression."""
    function = checkout(app, key="int(event.data.cart)")

    with harness(app) as t:
        t.send("checkout", {"cart": "a"})
        (again,) = t.send("checkout", {"cart": "b"})
        t.send("checkout", {"cart": "7"})

        assert len(t.runs(function)) == 2
        assert outcomes(t, again)["shop-checkout"].kind == "idempotent"


def test_a_key_that_ends_in_a_slash_is_a_key(app) -> None:
    checkout(app)

    with harness(app) as t:
        t.send("checkout", {"cart": "https://shop.test/carts/"})
        (again,) = t.send("checkout", {"cart": "https://shop.test/carts/"})

        assert outcomes(t, again)["shop-checkout"].reason.startswith("a run with this idempotency key")


def test_what_gives_no_key_is_told_so_and_not_that_its_key_was_used(app) -> None:
    checkout(app)

    with harness(app) as t:
        t.send("checkout", {})
        (event_id,) = t.send("checkout", {"basket": "b"})

        (outcome,) = outcomes(t, event_id).values()
        assert "it gives no idempotency key" in (outcome.reason or "")


def test_two_functions_do_not_share_a_key(app) -> None:
    function = checkout(app)

    @app.create_function(id="mail", trigger="checkout", idempotency="event.data.cart")
    async def mail(ctx): ...

    with harness(app) as t:
        t.send("checkout", {"cart": "a"})

        assert (len(t.runs(function)), len(t.runs(mail))) == (1, 1)


def test_an_event_that_does_not_match_uses_no_key(app) -> None:
    @app.create_function(
        id="checkout",
        trigger=TriggerEvent("checkout", if_="event.data.total > 10"),
        idempotency="event.data.cart",
    )
    async def function(ctx): ...

    with harness(app) as t:
        t.send("checkout", {"cart": "a", "total": 1})
        t.send("checkout", {"cart": "a", "total": 11})

        assert len(t.runs(function)) == 1


def test_a_duplicate_of_an_event_uses_no_second_key(app) -> None:
    function = checkout(app)

    with harness(app) as t:
        t.send("checkout", {"cart": "a"}, id="1")
        (duplicate,) = t.send("checkout", {"cart": "b"}, id="1")
        t.send("checkout", {"cart": "b"}, id="2")

        assert outcomes(t, duplicate)["shop-checkout"].kind == "deduplicated"
        assert [run.output for run in t.runs(function)] == [{"cart": "a"}, {"cart": "b"}]


def test_it_goes_together_with_a_limit(app) -> None:
    function = checkout(app, concurrency=Concurrency(1))

    with harness(app) as t:
        t.send([Event("checkout", {"cart": n % 3}) for n in range(9)])
        t.run_until_idle()

        assert [run.output["cart"] for run in t.runs(function)] == [0, 1, 2]


def test_K19_whoever_invokes_a_function_that_may_not_start_is_told_at_once(app) -> None:
    """K19, I10."""

    @app.create_function(id="child", idempotency="event.data.cart")
    async def child(ctx):
        return "ran"

    @app.create_function(id="parent", trigger="go")
    async def parent(ctx):
        try:
            return await ctx.step.invoke("call", child, data={"cart": "a"})
        except StepError as error:
            return error.message

    with harness(app) as t:
        t.send("go")
        t.send("go")

        first, second = t.runs(parent)
        t.assert_completed(first, "ran")
        assert second.status == "COMPLETED"
        assert "idempotency" in second.output
        assert len(t.runs(child)) == 1


@pytest.mark.parametrize("key", ["", "event.data.", "async.data.a", "frobnicate(event)", 7, "1 +"], ids=repr)
def test_a_key_that_cannot_be_is_refused_with_what_why_and_fix(app, key: Any) -> None:
    with pytest.raises(ConfigurationError) as refused:
        checkout(app, key=key)

    assert all((refused.value.what, refused.value.why, refused.value.fix))
    assert app.functions == {}
