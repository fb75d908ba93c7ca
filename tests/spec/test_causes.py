"""What an error was raised from is told with it (protocol §5.6)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stepwell import Context, StepError
from stepwell.testing import harness


def fail() -> None:
    try:
        raise KeyError("the reason")
    except KeyError as reason:
        raise ValueError("no") from reason


def test_whoever_catches_the_error_of_a_step_finds_its_cause(app) -> None:
    @app.create_function(id="bill", trigger="paid", retries=0)
    async def bill(ctx: Context):
        try:
            await ctx.step.run("one", fail)
        except StepError as error:
            await ctx.step.sleep("nap", "1h")  # it is read back
            cause = error.__cause__
            assert isinstance(cause, StepError)
            return [error.name, error.message, cause.name, cause.message, cause.__cause__]

    with harness(app) as t:
        t.send("paid")
        t.advance("1h")

        t.assert_completed(t.run(bill), ["ValueError", "no", "KeyError", "'the reason'", None])


def test_the_cause_of_a_failed_run_is_told_to_others(app) -> None:
    @app.create_function(id="watch", trigger="inngest/function.failed")
    async def watch(ctx: Context):
        return ctx.event.data["error"]["cause"]

    @app.create_function(id="bill", trigger="paid", retries=0)
    async def bill(ctx: Context):
        fail()

    with harness(app) as t:
        t.send("paid")

        t.assert_completed(t.run(watch), {"name": "KeyError", "message": "'the reason'"})


@pytest.mark.parametrize("length", [2, 20])
def test_a_chain_of_causes_is_told_up_to_a_length_and_one_in_a_ring_ends(app, length: int) -> None:
    errors = [ValueError(str(number)) for number in range(length)]
    for number, error in enumerate(errors):
        error.__cause__ = errors[(number + 1) % length]

    @app.create_function(id="bill", trigger="paid", retries=0)
    async def bill(ctx: Context):
        raise errors[0]

    with harness(app) as t:
        t.send("paid")

        cause: Any = json.loads(bytes(t.run(bill).error.cause))
        found = []
        while cause:
            found.append(cause["message"])
            cause = cause.get("cause")
        assert len(found) == min(length, 5)
