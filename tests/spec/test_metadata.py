"""``ctx.metadata``, ``ctx.step.metadata`` and ``ctx.step.score`` (semantics §5.10, F50)."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from stepwell import Context, NotRunning, Sync
from stepwell.limits import METADATA_BYTES_MAX
from stepwell.model.questions import GetMetadata
from stepwell.testing import harness


def said(t: Any, function: Any) -> dict[tuple[str, int | None, str], Any]:
    """What is known of its run: by step, attempt and kind."""
    run = t.run(function)
    names = {step.record.id: name for name, step in run.steps.items()} | {"": ""}
    return {
        (names[one.step_id], one.attempt if one.attempt >= 0 else None, one.kind): json.loads(one.values)
        for one in t.ask(GetMetadata(run.id))
    }


def test_a_step_says_something_about_the_run_once(app) -> None:
    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx: Context):
        await ctx.step.metadata("begun", {"phase": 1, "who": "ada"})
        await ctx.step.metadata("tokens", {"in": 7}, kind="ai")
        await ctx.step.sleep("nap", "1h")
        await ctx.step.metadata("done", {"phase": 2})
        await ctx.step.score("judge", "accuracy", 0.9)
        await ctx.step.score("check", "valid", True)

    with harness(app) as t:
        t.send("paid")
        assert said(t, bill) == {
            ("", None, "userland.default"): {"phase": 1, "who": "ada"},
            ("", None, "userland.ai"): {"in": 7},
        }
        t.advance("1h")

        assert t.run(bill).status == "COMPLETED"
        assert said(t, bill) == {
            ("", None, "userland.default"): {"phase": 2},
            ("", None, "userland.ai"): {"in": 7},
            ("", None, "inngest.score"): {"accuracy": {"value": 0.9}, "valid": {"value": True}},
        }


def test_a_body_says_something_about_its_step_its_attempt_and_its_run(app) -> None:
    tries: list[int] = []

    @app.create_function(id="bill", trigger="paid", retries=1)
    def bill(ctx: Context[Any, Sync]):
        def body() -> int:
            tries.append(1)
            ctx.metadata({"rows": len(tries)})
            ctx.metadata({"n": len(tries)}, target="attempt", kind="try")
            ctx.metadata({"seen": True}, target="run")
            if len(tries) == 1:
                raise ValueError("not yet")
            return 1

        ctx.step.run("load", body)

    with harness(app) as t:
        t.send("paid")
        t.advance("1h")

        assert t.run(bill).status == "COMPLETED"
        assert said(t, bill) == {
            ("load", None, "userland.default"): {"rows": 2},
            ("load", 0, "userland.try"): {"n": 1},
            ("load", 1, "userland.try"): {"n": 2},
            ("", None, "userland.default"): {"seen": True},
        }


def test_what_is_too_large_is_noted_and_the_run_goes_on(app) -> None:
    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx: Context):
        await ctx.step.metadata("large", {"text": "x" * METADATA_BYTES_MAX})
        for number in range(20):
            await ctx.step.metadata(f"many {number}", {"text": "x" * 60_000}, kind=f"k{number}")
        return "done"

    with harness(app) as t:
        t.send("paid")

        t.assert_completed(t.run(bill), "done")
        assert len(said(t, bill)) == 17  # of 60,000 bytes and a little in 1 MiB
        trace = t.run(bill).trace()
        assert trace.count("metadata is not kept") == 4
        assert "65,536" in trace
        assert "1,048,576" in trace


@pytest.mark.parametrize("values", ["text", None, [1]])
def test_metadata_is_values_by_name(app, values: Any) -> None:
    @app.create_function(id="bill", trigger="paid", retries=0)
    async def bill(ctx: Context):
        await ctx.step.metadata("wrong", values)

    with harness(app) as t:
        t.send("paid")

        assert t.run(bill).error.name == "ConfigurationError"


@pytest.mark.parametrize(("name", "value"), [("", 1), ("x" * 129, 1), ("a", math.nan), ("a", math.inf), ("a", "1")])
def test_a_score_has_a_name_and_is_a_number_or_a_boolean(app, name: str, value: Any) -> None:
    @app.create_function(id="bill", trigger="paid", retries=0)
    async def bill(ctx: Context):
        await ctx.step.score("judge", name, value)

    with harness(app) as t:
        t.send("paid")

        assert t.run(bill).error.name == "ConfigurationError"


def test_outside_of_a_body_there_is_nothing_to_speak_of(app) -> None:
    @app.create_function(id="bill", trigger="paid", retries=0)
    async def bill(ctx: Context):
        try:
            ctx.metadata({"n": 1})
        except NotRunning as error:
            return error.fix

    with harness(app) as t:
        t.send("paid")

        assert "ctx.step.metadata" in t.run(bill).output


@pytest.mark.parametrize("how", [{"kind": ""}, {"kind": "k" * 128}, {"target": "span"}])
def test_a_kind_and_a_target_are_what_they_may_be(app, how: Any) -> None:
    @app.create_function(id="bill", trigger="paid", retries=0)
    async def bill(ctx: Context):
        await ctx.step.run("one", lambda: ctx.metadata({"n": 1}, **how))

    with harness(app) as t:
        t.send("paid")

        assert t.run(bill).error.code == "step_errored"
