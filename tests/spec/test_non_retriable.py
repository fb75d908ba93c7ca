"""``NonRetriableError``: do not try again (semantics §6.3; F57)."""

from __future__ import annotations

import pytest

from stepwell import NonRetriableError, StepError
from stepwell.testing import harness


class NoSuchCard(NonRetriableError):
    pass


@pytest.mark.parametrize("kind", [NonRetriableError, NoSuchCard])
def test_in_a_step_it_ends_the_step_at_once(app, kind: type[Exception]) -> None:
    bodies: list[int] = []

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        def charge() -> None:
            bodies.append(1)
            raise kind("no such card")

        await ctx.step.run("charge", charge)

    with harness(app) as t:
        t.send("ordered", {})

        t.assert_failed(t.run(bill), f"{kind.__name__}: no such card")
        assert t.run(bill).steps["charge"].status == "FAILED"
        assert bodies == [1]


def test_in_the_functions_own_code_it_ends_the_run_at_once(app) -> None:
    calls: list[int] = []

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        calls.append(1)
        raise NonRetriableError("no such order")

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1d")

        t.assert_failed(t.run(bill), "no such order")
        assert calls == [1]
        assert len(t.run(bill).errors) == 1


def test_in_a_step_it_can_be_caught_as_a_step_error(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        def charge() -> None:
            raise NonRetriableError("no such card")

        try:
            await ctx.step.run("charge", charge)
        except StepError as error:
            return [error.name, error.message]

    with harness(app) as t:
        t.send("ordered", {})

        t.assert_completed(t.run(bill), ["NonRetriableError", "no such card"])


def test_on_a_later_attempt_it_ends_the_step_as_well(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        def charge() -> None:
            raise ValueError("not yet") if ctx.attempt == 0 else NonRetriableError("never")

        await ctx.step.run("charge", charge)

    with harness(app, retry_interval="1s") as t:
        t.send("ordered", {})
        t.advance("1m")

        t.assert_failed(t.run(bill), "never")
        assert [error.message for error in t.run(bill).steps["charge"].errors] == ["not yet", "never"]


def test_its_cause_is_shown_with_it(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        try:
            raise LookupError("card 7")
        except LookupError as error:
            raise NonRetriableError("no such card") from error

    with harness(app) as t:
        t.send("ordered", {})

        error = t.run(bill).error
        assert error is not None
        assert error.stack is not None
        assert "LookupError: card 7" in error.stack


def test_a_group_is_final_only_if_all_its_members_are(app) -> None:
    bodies: list[int] = []

    @app.create_function(id="bill", trigger="ordered", retries=1)
    async def bill(ctx):
        def charge() -> None:
            bodies.append(ctx.attempt)
            if ctx.attempt == 0:
                raise ExceptionGroup("several", [NonRetriableError("never"), ValueError("not yet")])
            raise ExceptionGroup("several", [NonRetriableError("never"), NonRetriableError("at all")])

        await ctx.step.options("charge", retries=5).run(charge)

    with harness(app, retry_interval="1s") as t:
        t.send("ordered", {})
        t.advance("1m")

        assert t.run(bill).status == "FAILED"
        assert bodies == [0, 1]
