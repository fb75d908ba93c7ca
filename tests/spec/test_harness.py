"""``stepwell.testing.harness``: functions in virtual time, as users test theirs."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from stepwell.errors import ConfigurationError
from stepwell.sdk.app import Stepwell
from stepwell.sdk.context import Context
from stepwell.sdk.events import Event, event
from stepwell.testing import harness


@event("shop/ordered")
class Ordered(msgspec.Struct):
    order: str
    amount: int = 1


class Receipt(msgspec.Struct):
    id: str


@pytest.mark.parametrize("given", ["app.py", None, [], [None], Stepwell, b"x"], ids=repr)
def test_what_is_no_app_is_refused_before_anything_starts(given):
    with pytest.raises(ConfigurationError) as raised:
        harness(given)

    assert all((raised.value.what, raised.value.why, raised.value.fix))


def test_the_name_of_a_file_is_told_to_be_imported():
    with pytest.raises(ConfigurationError, match=r"import the app from app\.py"):
        harness("app.py")


@pytest.mark.parametrize("options", [{"start": "soon"}, {"start": None}, {"retry_interval": -1}], ids=repr)
def test_an_option_that_cannot_be_is_refused(app, options):
    with pytest.raises(ConfigurationError):
        harness(app, **options)


# Sending and looking ------------------------------------------------------------------------------------------


def test_an_event_starts_a_run_and_its_output_and_steps_can_be_looked_at(app):
    @app.create_function(id="bill", trigger=Ordered)
    async def bill(ctx: Context[Ordered]) -> str:
        async def charge(order: str) -> Receipt:
            return Receipt(f"r-{order}")

        receipt = await ctx.step.run("charge", charge, ctx.event.data.order)
        return receipt.id

    with harness(app) as t:
        t.send(Ordered("7"))

        run = t.run(bill)
        t.assert_completed(run, "r-7")
        t.assert_steps(run, "charge")
        assert run.steps["charge"].output == {"id": "r-7"}
        assert run.steps["charge"].attempts == 1
        assert run.event["data"] == {"order": "7", "amount": 1}
        assert run.function_id == "shop-bill"


@pytest.mark.parametrize(
    "given", [("shop/ordered", {"order": "7"}), (Ordered("7"),), (Event("shop/ordered", {"order": "7"}),)]
)
def test_an_event_can_be_sent_by_name_by_class_and_with_all_it_has(app, given):
    @app.create_function(id="bill", trigger=Ordered)
    async def bill(ctx: Context[Ordered]) -> str:
        return ctx.event.data.order

    with harness(app) as t:
        ids = t.send(*given)

        assert len(ids) == 1
        t.assert_completed(t.run(bill), "7")


def test_a_list_of_events_is_sent_at_once(app):
    @app.create_function(id="bill", trigger=Ordered)
    async def bill(ctx: Context[Ordered]) -> str:
        return ctx.event.data.order

    with harness(app) as t:
        ids = t.send([Ordered("1"), Ordered("2")])

        assert len(ids) == 2
        assert [run.output for run in t.runs(bill)] == ["1", "2"]


def test_an_event_id_works_as_it_does_in_production(app):
    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx: Context) -> None: ...

    with harness(app) as t:
        t.send("paid", {}, id="invoice-1")
        t.send("paid", {}, id="invoice-1")

        assert len(t.runs(bill)) == 1


def test_to_ask_for_the_only_run_names_those_there_are(app):
    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx: Context) -> None: ...

    with harness(app) as t:
        with pytest.raises(AssertionError, match="not one run of shop-bill but 0; there is none at all"):
            t.run(bill)
        t.send([Event("paid"), Event("paid")])
        with pytest.raises(AssertionError, match=r"but 2; there are:\n  shop-bill \w+ COMPLETED"):
            t.run(bill)
        with pytest.raises(AssertionError, match="there is no function 'ship'; there are shop-bill"):
            t.run("ship")


# Failing tests explain themselves -----------------------------------------------------------------------------


def test_a_failed_assertion_shows_the_run_as_a_tree(app):
    @app.create_function(id="bill", trigger="go")
    async def bill(ctx: Context) -> None:
        async def charge() -> None:
            if ctx.attempt < 1:
                raise RuntimeError("declined")

        await ctx.step.run("charge", charge)
        await ctx.step.wait_for_event("approval", "approved", timeout="1d")

    with harness(app, retry_interval="20s") as t:
        t.send("go")
        t.advance("1m")
        run = t.run(bill)
        with pytest.raises(AssertionError) as failed:
            t.assert_completed(run)

    assert str(failed.value) == "\n".join(
        [
            "it is RUNNING, not COMPLETED",
            f"run {run.id} of shop-bill: RUNNING (queued 2026-01-01T00:00:00.000Z)",
            "├─ charge  run  COMPLETED  2 attempts  → null",
            "│  └─ attempt 0: RuntimeError: declined, again at 2026-01-01T00:00:20.000Z",
            "├─ approval  waitForEvent  WAITING  until 2026-01-02T00:00:20.000Z",
            "└─ waits for step approval: waiting for approved until 2026-01-02T00:00:20.000Z",
        ]
    )


async def test_it_works_inside_of_an_async_test_too(app):
    @app.create_function(id="nap", trigger="go")
    async def nap(ctx: Context) -> str:
        await ctx.step.sleep("week", "1w")
        return await ctx.step.run("thread", lambda: "rested")

    with harness(app) as t:
        t.send("go")
        await asyncio.sleep(0)
        t.advance("1w")
        t.assert_completed(t.run(nap), "rested")

    await asyncio.sleep(0)
