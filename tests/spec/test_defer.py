"""``ctx.defer`` and ``app.create_defer``: what starts when a run has ended (semantics §5.11, F51)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from stepwell import ConfigurationError, Context, Sync
from stepwell.limits import DEFERS_PER_RUN_MAX
from stepwell.testing import harness


class Receipt(msgspec.Struct):
    order: int


@pytest.fixture
def receipt(app) -> Any:
    @app.create_defer(id="receipt")
    async def receipt(ctx: Context[Receipt]):
        return await ctx.step.run("print", lambda: ctx.event.data.order)

    return receipt


def test_72_what_is_deferred_starts_once_when_the_run_has_ended(app, receipt) -> None:
    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx: Context):
        ctx.defer("receipt", function=receipt, data=Receipt(7))
        await ctx.step.run("one", lambda: 1)
        await ctx.step.sleep("nap", "1h")
        return "done"

    with harness(app) as t:
        t.send("paid")
        assert t.runs(receipt) == []
        assert t.run(bill).deferred["receipt"].status == "DEFERRED"
        assert list(t.run(bill).steps) == ["one", "nap"]

        t.advance("1h")

        t.assert_completed(t.run(bill), "done")
        t.assert_completed(t.run(receipt), 7)
        assert t.run(bill).deferred["receipt"].details["run_id"] == t.run(receipt).id
        assert t.run(receipt).event["data"]["_inngest"]["parent_run_id"] == t.run(bill).id


def test_a_plain_function_defers_too_and_may_be_deferred(app) -> None:
    @app.create_defer(id="receipt")
    def receipt(ctx: Context[Receipt, Sync]):
        return ctx.step.run("print", lambda: ctx.event.data.order)

    @app.create_function(id="bill", trigger="paid")
    def bill(ctx: Context[Any, Sync]):
        ctx.step.run("one", lambda: ctx.defer("receipt", function=receipt, data=Receipt(8)) and None)
        ctx.step.sleep("nap", "1h")

    with harness(app) as t:
        t.send("paid")
        t.advance("1h")

        t.assert_completed(t.run(receipt), 8)


def test_it_starts_however_the_run_ends(app, receipt) -> None:
    @app.create_function(id="fails", trigger="paid", retries=1)
    async def fails(ctx: Context):
        ctx.defer("receipt", function=receipt, data=Receipt(1))
        raise ValueError("no")

    @app.create_function(id="is-cancelled", trigger="paid")
    async def is_cancelled(ctx: Context):
        ctx.defer("receipt", function=receipt, data=Receipt(2))
        await ctx.step.sleep("nap", "1d")

    with harness(app) as t:
        t.send("paid")
        t.advance("1h")
        t.cancel(t.run(is_cancelled))

        assert (t.run(fails).status, t.run(is_cancelled).status) == ("FAILED", "CANCELLED")
        assert sorted(run.output for run in t.runs(receipt)) == [1, 2]


def test_73_what_is_aborted_is_not_started(app, receipt) -> None:
    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx: Context):
        late = ctx.defer("late", function=receipt, data=Receipt(1))
        early = ctx.defer("early", function=receipt, data=Receipt(2))
        early.abort()
        await ctx.step.sleep("nap", "1h")
        late.abort()
        late.abort()
        await ctx.step.sleep("nap again", "1h")

    with harness(app) as t:
        t.send("paid")
        assert [step.status for step in t.run(bill).deferred.values()] == ["DEFERRED", "ABORTED"]
        t.advance("2h")

        assert t.run(bill).status == "COMPLETED"
        assert [step.status for step in t.run(bill).deferred.values()] == ["ABORTED", "ABORTED"]
        assert t.runs(receipt) == []


def test_a_body_that_is_tried_again_defers_once_and_the_one_that_is_remembered_still_does(app, receipt) -> None:
    tries: list[int] = []

    @app.create_function(id="bill", trigger="paid", retries=2)
    async def bill(ctx: Context):
        def body() -> None:
            ctx.defer("receipt", function=receipt, data=Receipt(3))
            tries.append(1)
            if len(tries) < 3:
                raise ValueError("not yet")

        await ctx.step.run("one", body)
        await ctx.step.sleep("nap", "1h")

    with harness(app) as t:
        t.send("paid")
        t.advance("1d")

        assert len(tries) == 3
        t.assert_completed(t.run(receipt), 3)


def test_an_id_is_used_once(app, receipt) -> None:
    @app.create_function(id="bill", trigger="paid", retries=0)
    async def bill(ctx: Context):
        ctx.defer("receipt", function=receipt, data=Receipt(1))
        ctx.defer("receipt", function=receipt, data=Receipt(2))

    with harness(app) as t:
        t.send("paid")

        error = t.run(bill).error
        assert error is not None
        assert "'receipt' is put off a second time" in error.message
        t.assert_completed(t.run(receipt), 1)


def test_a_step_may_have_the_same_id(app, receipt) -> None:
    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx: Context):
        ctx.defer("receipt", function=receipt, data=Receipt(1))
        return await ctx.step.run("receipt", lambda: "mine")

    with harness(app) as t:
        t.send("paid")

        t.assert_completed(t.run(bill), "mine")
        t.assert_completed(t.run(receipt), 1)


@pytest.mark.parametrize("data", [{"order": "many"}, None, [1], object()])
def test_wrong_data_is_noted_and_the_run_goes_on(app, receipt, data: Any) -> None:
    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx: Context):
        ctx.defer("receipt", function=receipt, data=data)
        return "done"

    with harness(app) as t:
        t.send("paid")

        t.assert_completed(t.run(bill), "done")
        assert t.run(bill).deferred["receipt"].status == "REJECTED"
        assert "its data" in t.run(bill).trace()
        assert t.runs(receipt) == []


def test_one_too_many_is_noted_and_the_run_goes_on(app, receipt) -> None:
    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx: Context):
        for number in range(DEFERS_PER_RUN_MAX + 1):
            ctx.defer(f"receipt {number}", function=receipt, data=Receipt(number))
        return "done"

    with harness(app) as t:
        t.send("paid")

        t.assert_completed(t.run(bill), "done")
        assert len(t.runs(receipt)) == DEFERS_PER_RUN_MAX
        assert t.run(bill).deferred[f"receipt {DEFERS_PER_RUN_MAX}"].status == "REJECTED"


def test_what_a_run_of_finished_events_defers_is_started_too(app, receipt) -> None:
    @app.create_function(id="watch", trigger="inngest/function.finished")
    async def watch(ctx: Context):
        if ctx.event.data["function_id"] == "shop-bill":
            ctx.defer("receipt", function=receipt, data=Receipt(5))

    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx: Context):
        return None

    with harness(app) as t:
        t.send("paid")

        t.assert_completed(t.run(receipt), 5)


def test_a_run_without_classes_is_given_plain_data_without_our_routing(app) -> None:
    @app.create_defer(id="receipt")
    async def receipt(ctx: Context):
        return ctx.event.data

    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx: Context):
        ctx.defer("receipt", function=receipt, data={"any": "thing"})
        ctx.defer("nothing", function=receipt)

    with harness(app) as t:
        t.send("paid")

        assert [run.output for run in t.runs(receipt)] == [{"any": "thing"}, {}]


@pytest.mark.parametrize("id", ["", " ", None])
def test_what_is_put_off_has_an_id_and_is_made_for_it(app, receipt, id: Any) -> None:
    @app.create_function(id="nameless", trigger="paid", retries=0)
    async def nameless(ctx: Context):
        ctx.defer(id, function=receipt, data=Receipt(1))

    @app.create_function(id="wrong", trigger="paid", retries=0)
    async def wrong(ctx: Context):
        ctx.defer("receipt", function=nameless)

    with harness(app) as t:
        t.send("paid")

        errors = [t.run(function).error for function in (nameless, wrong)]
        assert [error and error.name for error in errors] == ["ConfigurationError"] * 2
        assert "create_defer" in errors[1].message


@pytest.mark.parametrize("option", ["trigger", "on_failure", "batch_events"])
def test_a_deferred_function_has_no_trigger_no_handler_of_failures_and_no_batches(app, option: str) -> None:
    with pytest.raises(ConfigurationError, match=option):
        app.create_defer(id="receipt", **{option: "x"})


def test_the_declaration_says_what_is_missing(app) -> None:
    with pytest.raises(ConfigurationError, match="has no id"):
        app.create_defer()
    with pytest.raises(ConfigurationError, match=r"@app\.create_defer stands before work without its parentheses"):

        @app.create_defer
        async def work(ctx: Context):
            pass
