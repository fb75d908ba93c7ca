"""Stubs of the harness: steps that do not happen."""

from __future__ import annotations

import pytest

from stepwell.errors import NonRetriableError, StepError
from stepwell.sdk.context import Context
from stepwell.testing import TIMEOUT, harness
from tests.spec.test_harness import Ordered, Receipt


@pytest.fixture
def flow(app):
    @app.create_function(id="child", trigger="never")
    async def child(ctx: Context) -> int:
        raise AssertionError("stubbed")

    @app.create_function(id="flow", trigger="go", retries=1)
    async def flow(ctx: Context) -> list[object]:
        async def charge(amount: int) -> Receipt:
            raise AssertionError("stubbed")

        receipt = await ctx.step.run("charge", charge, 5)
        found = await ctx.step.wait_for_event("approval", Ordered, timeout="1d")
        try:
            result: object = await ctx.step.invoke("child", child, data={})
        except StepError as error:
            result = error.name
        return [receipt.id, found.data.order if found else None, result]

    return flow


def test_stubs_stand_in_for_bodies_waits_and_invokes(app, flow):
    with harness(app) as t:
        t.stub("charge", lambda amount: Receipt(f"r{amount}"))
        t.stub("approval", Ordered("9"))
        t.stub("child", 42)
        t.send("go")

        t.assert_completed(t.run(flow), ["r5", "9", 42])
        t.assert_steps(t.run(flow), "charge", "approval", "child")
        assert [step.kind for step in t.run(flow).steps.values()] == ["run", "waitForEvent", "invoke"]


def test_a_stub_may_time_out(app, flow):
    with harness(app) as t:
        t.stub("charge", Receipt("r"))
        t.stub("approval", TIMEOUT)
        t.stub("child", TIMEOUT)
        t.send("go")

        t.assert_completed(t.run(flow), ["r", None, "InngestInvokeTimeoutError"])


def test_a_stub_that_raises_is_tried_again_as_the_step_would_be(app, flow):
    calls: list[int] = []

    async def charge(amount: int) -> Receipt:
        calls.append(amount)
        raise RuntimeError("declined")

    with harness(app) as t:
        t.stub("charge", charge, function=flow)
        t.send("go")
        t.advance("1h")

        assert calls == [5, 5]
        t.assert_failed(t.run(flow), "declined")


def test_a_stub_for_one_function_leaves_the_others_alone(app, flow):
    @app.create_function(id="other", trigger="other")
    async def other(ctx: Context) -> str:
        return await ctx.step.run("charge", lambda: "real")

    with harness(app) as t:
        t.stub("charge", NonRetriableError("no"), function=flow)
        t.send("other")
        t.send("go")

        t.assert_completed(t.run(other), "real")
        t.assert_failed(t.run(flow), "no")


def test_a_stub_that_is_never_used_fails_the_test(app) -> None:
    """A wrong id would let the real body run unnoticed."""

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        return await ctx.step.run("charge", lambda: "for real")

    with (
        pytest.raises(AssertionError, match=r"the stub of step 'chargee' was never used; .*: 'charge'"),
        harness(app) as t,
    ):
        t.stub("chargee", "not really")
        t.send("ordered")

    with pytest.raises(AssertionError, match=r"of shop-bill was never used; .*: none"), harness(app) as t:
        t.stub("charge", function=bill)


def test_an_error_of_the_test_is_not_hidden_by_a_stub_that_was_not_reached(app) -> None:
    with pytest.raises(ZeroDivisionError), harness(app) as t:
        t.stub("charge")
        raise ZeroDivisionError
