"""``step.run``: ids, results and bodies, those that work and those that cannot (semantics §5.1; F32)."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from stepwell import StepError
from stepwell.testing import harness
from tests.spec.test_step_run import Receipt


@pytest.mark.parametrize("name", ["", None, 7], ids=repr)
def test_a_step_without_an_id_fails_the_run_at_once_and_shows_how_to_name_it(app, name: Any) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        await ctx.step.run(name, lambda: None)

    with harness(app) as t:
        t.send("ordered", {})

        run = t.run(bill)
        t.assert_failed(run, "ConfigurationError")
        assert run.error is not None
        assert "why: a step is remembered by its id" in run.error.message
        assert "fix: name it" in run.error.message
        assert len(run.errors) == 1


def test_strange_ids_are_remembered_like_others(app) -> None:
    """K42: blank, huge and NUL ids make no ghosts."""
    names = [" ", "  ", "\t", "a\x00b", "a", "a ", "x" * 10_000, "x" * 10_001, "😀", "\xe9", "e\u0301", "\u202e"]
    bodies: list[str] = []

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        for name in names:
            assert await ctx.step.run(name, lambda name=name: bodies.append(name) or name) == name
        await ctx.step.sleep("rest", "1h")

    with harness(app) as t:
        t.send("ordered", {})
        t.crash()
        t.advance("1h")

        t.assert_completed(t.run(bill))
        t.assert_steps(t.run(bill), *names, "rest")
        assert bodies == names


@pytest.mark.parametrize("text", ["\x00", "a\x00b", "😀", "\u2028", "é\u0301", "\ufeff", "</script>"], ids=ascii)
def test_any_text_comes_back_as_it_was(app, text: str) -> None:
    """K54: NUL and its like."""

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        found = await ctx.step.run("text", lambda: {text: text})
        await ctx.step.sleep("rest", "1h")
        assert found == {text: text}
        return found

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1h")

        t.assert_completed(t.run(bill), {text: text})


@pytest.mark.parametrize("number", [2**53 + 1, -(2**63), 2**64 - 1, 1e308, -0.5, 1e-300], ids=repr)
def test_any_number_comes_back_as_it_was(app, number: float) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        found = await ctx.step.run("number", lambda: number)
        await ctx.step.sleep("rest", "1h")
        return found == number

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1h")

        t.assert_completed(t.run(bill), True)


def _circle() -> list[Any]:
    circle: list[Any] = []
    circle.append(circle)
    return circle


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"order": {"lines": [1, object()]}}, "result.order.lines[1]: object of type object"),
        ({"lock": threading.Lock}, "result.lock: object of type"),
        ([1, {"half": "\ud800"}], "result[1].half: text with half of a surrogate pair"),
        ({(1, 2): 3}, "result: dict with keys of type tuple"),
        (_circle(), "it contains itself"),
        ((number for number in range(3)), "result: object of type generator"),
    ],
    ids=["object", "class", "lone surrogate", "key", "circle", "generator"],
)
def test_a_result_that_is_no_json_fails_the_step_at_once_and_names_the_field(app, value: Any, said: str) -> None:
    """K54, and F32: bad output is not tried again."""

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        await ctx.step.run("before", lambda: 1)
        try:
            await ctx.step.run("bad", lambda: value)
        except StepError as error:
            return error.message

    with harness(app) as t:
        t.send("ordered", {})

        run = t.run(bill)
        t.assert_completed(run)
        assert said in run.output
        assert "why: what a step or function returns is remembered as JSON" in run.output
        assert "fix: return numbers, text, lists" in run.output
        assert run.output.startswith("step 'bad': ")
        assert run.steps["bad"].attempts == 1
        assert run.steps["bad"].error is not None
        assert run.steps["bad"].error.name == "InvalidOutput"
        assert run.steps["before"].output == 1


def test_a_result_that_is_not_what_the_annotation_says_fails_the_step_and_names_the_field(app) -> None:
    def charge() -> Receipt:
        return Receipt("seven", [])  # type: ignore[arg-type]

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        await ctx.step.run("charge", charge)

    with harness(app) as t:
        t.send("ordered", {})

        t.assert_failed(t.run(bill), "result.number: Expected `int`, got `str`")
        assert t.run(bill).steps["charge"].attempts == 1


@pytest.mark.parametrize("given", [7, None, "charge"], ids=repr)
def test_a_body_that_cannot_be_called_fails_the_run_at_once_and_says_so(app, given: Any) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        await ctx.step.run("charge", given)

    with harness(app) as t:
        t.send("ordered", {})

        run = t.run(bill)
        t.assert_failed(run, "ConfigurationError")
        assert run.error is not None
        assert "cannot be the body of a step" in run.error.message
        assert "fix: give a function" in run.error.message


def test_a_coroutine_in_the_place_of_a_function_is_explained(app) -> None:
    """The parentheses too many that everybody writes once."""

    async def charge(amount: int) -> int:
        return amount

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        await ctx.step.run("charge", charge(7))

    with harness(app) as t:
        t.send("ordered", {})

        run = t.run(bill)
        t.assert_failed(run, "ConfigurationError")
        assert run.error is not None
        assert 'ctx.step.run("charge", charge' in run.error.message


def test_a_step_that_does_not_exist_says_which_one_was_meant(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        await ctx.step.waitForEvent("approval", "approved", timeout="1h")

    with harness(app) as t:
        t.send("ordered", {})

        t.assert_failed(t.run(bill), "write wait_for_event")
        assert len(t.run(bill).errors) == 1


def test_an_option_that_does_not_exist_says_which_one_was_meant(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        await ctx.step.options("charge", max_retries=3).run(lambda: None)

    with harness(app) as t:
        t.send("ordered", {})

        t.assert_failed(t.run(bill), "for max_retries write retries")
