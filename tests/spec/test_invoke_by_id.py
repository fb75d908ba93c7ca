"""``step.invoke_by_id``: a function that the program cannot import (semantics §5.5; F41)."""

from __future__ import annotations

import pytest

from stepwell import StepError, Stepwell
from stepwell.errors import ConfigurationError
from stepwell.testing import harness


def _with_report(app: Stepwell) -> Stepwell:
    @app.create_function(id="monthly")
    async def monthly(ctx):
        return {"month": ctx.event.data["month"]}

    return app


def test_a_function_of_the_same_app_is_found_by_its_own_id(app) -> None:
    _with_report(app)

    @app.create_function(id="parent", trigger="go")
    async def parent(ctx):
        return await ctx.step.invoke_by_id("ask", "monthly", data={"month": 3})

    with harness(app) as t:
        t.send("go")

        t.assert_completed(t.run(parent), {"month": 3})


def test_a_function_of_another_app_is_found_by_both_ids_also_from_plain_code(app) -> None:
    reports = _with_report(Stepwell("reports"))

    @app.create_function(id="async", trigger="go")
    async def with_await(ctx):
        return await ctx.step.invoke_by_id("ask", "monthly", app_id="reports", data={"month": 4})

    @app.create_function(id="plain", trigger="go")
    def plain(ctx):
        return ctx.step.invoke_by_id("ask", function_id="monthly", app_id="reports", data={"month": 5}, timeout="1h")

    with harness([app, reports]) as t:
        t.send("go")

        t.assert_completed(t.run(with_await), {"month": 4})
        t.assert_completed(t.run(plain), {"month": 5})


def test_a_function_that_nobody_has_registered_is_a_step_error_at_once(app) -> None:
    @app.create_function(id="parent", trigger="go")
    async def parent(ctx):
        try:
            await ctx.step.invoke_by_id("ask", "yearly", app_id="reports")
        except StepError as error:
            return error.message

    with harness(app) as t:
        t.send("go")

        assert "reports-yearly" in t.run(parent).output


@pytest.mark.parametrize(
    ("function_id", "app_id", "words"),
    [("", None, "function_id=''"), (7, None, "function_id=7"), ("f", "", "app_id=''")],
)
def test_ids_that_cannot_be_are_refused(app, function_id, app_id, words) -> None:
    errors: list[str] = []

    @app.create_function(id="parent", trigger="go")
    async def parent(ctx):
        try:
            await ctx.step.invoke_by_id("ask", function_id, app_id=app_id)
        except ConfigurationError as error:
            errors.append(str(error))

    with harness(app) as t:
        t.send("go")

    assert words in errors[0]


def test_invoke_with_an_id_says_what_to_write(app) -> None:
    errors: list[str] = []

    @app.create_function(id="parent", trigger="go")
    async def parent(ctx):
        try:
            await ctx.step.invoke("ask", "monthly")
        except ConfigurationError as error:
            errors.append(str(error))

    with harness(app) as t:
        t.send("go")

    assert "invoke_by_id(…, 'monthly')" in errors[0]
