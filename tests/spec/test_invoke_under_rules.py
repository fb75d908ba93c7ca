"""Whoever invokes a function is answered, whatever rules hold for its starts (K19, I10; semantics §5.5, ADR 0023)."""

from __future__ import annotations

from typing import Any

import pytest

from stepwell import (
    BatchEvents,
    Concurrency,
    Debounce,
    Priority,
    RateLimit,
    RunConcurrency,
    Singleton,
    StepError,
    Stepwell,
    Throttle,
    TriggerEvent,
)
from stepwell.testing import Harness, harness
from tests.spec.looking import events

RULES: dict[str, dict[str, Any]] = {
    "batch": {"batch_events": BatchEvents(10, timeout="1h")},
    "debounce": {"debounce": Debounce("1h")},
    "rate limit": {"rate_limit": RateLimit(1, "1h")},
    "idempotency": {"idempotency": "event.data.n"},
    "singleton": {"singleton": Singleton("skip")},
    "singleton that replaces": {"singleton": Singleton("cancel")},
    "throttle": {"throttle": Throttle(1, "1m")},
    "concurrency": {"concurrency": Concurrency(1)},
    "run concurrency": {"run_concurrency": RunConcurrency(1)},
    "priority": {"priority": Priority("-600")},
}
AT_ONCE = {
    "batch": ("n=7", "n=7"),  # each alone, and at once
    "debounce": ("n=7", "n=7"),
    "rate limit": ("n=7", "rate limit"),
    "idempotency": ("n=7", "this idempotency key"),
    "priority": ("n=7", "n=7"),
}
IN_TIME = {
    "singleton": ("n=7", "singleton"),
    "singleton that replaces": ("was cancelled", "n=7"),
    "throttle": ("n=7", "n=7"),
    "concurrency": ("n=7", "n=7"),
    "run concurrency": ("n=7", "n=7"),
}


def invoking(app: Stepwell, child: Any) -> Any:
    @app.create_function(id="parent", trigger="parent")
    async def parent(ctx: Any) -> str:
        try:
            return str(await ctx.step.invoke("ask", child, data={"n": 7}))
        except StepError as error:
            return error.message

    return parent


def child_of(app: Stepwell, *, slow: bool = False, **rules: Any) -> Any:
    @app.create_function(id="child", trigger="go", **rules)
    async def child(ctx: Any) -> str:
        if slow:
            await ctx.step.run("work", lambda: None)
            await ctx.step.sleep("nap", "10s")
        return f"n={ctx.event.data['n']}"

    return child


def answers(t: Harness, parent: Any) -> list[Any]:
    return [run.output for run in t.runs(parent)]


def fits(found: list[Any], wanted: tuple[str, str]) -> bool:
    return len(found) == 2 and all(part in str(one) for part, one in zip(wanted, found, strict=True))


@pytest.mark.parametrize("rule", AT_ONCE)
def test_an_invoke_is_answered_at_once(app: Stepwell, rule: str) -> None:
    parent = invoking(app, child_of(app, **RULES[rule]))

    with harness(app) as t:
        t.send("parent")
        t.send("parent")

        assert fits(answers(t, parent), AT_ONCE[rule]), answers(t, parent)


@pytest.mark.parametrize("rule", IN_TIME)
def test_an_invoke_beside_another_run_is_answered_in_time(app: Stepwell, rule: str) -> None:
    parent = invoking(app, child_of(app, slow=True, **RULES[rule]))

    with harness(app) as t:
        t.send("parent")
        t.send("parent")
        t.advance("2m")

        assert fits(answers(t, parent), IN_TIME[rule]), answers(t, parent)


@pytest.mark.parametrize("rule", ["batch", "debounce"])
def test_an_invoke_does_not_join_what_is_held_and_leaves_it_alone(app: Stepwell, rule: str) -> None:
    child = child_of(app, **RULES[rule])
    parent = invoking(app, child)

    with harness(app) as t:
        t.send("go", {"n": 1})
        t.send("parent")
        assert answers(t, parent) == ["n=7"]
        t.advance("2h")

        assert [run.output for run in t.runs(child)] in (["n=7", "n=1"], ["n=1", "n=7"])


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("held", ["skip", "hold"])
def test_an_invoke_of_a_paused_function_is_answered_at_once(app: Stepwell, rule: str, held: Any) -> None:
    child = child_of(app, **RULES[rule])
    parent = invoking(app, child)

    with harness(app) as t:
        t.pause(child, events=held)
        t.send("parent")

        assert "paused since" in str(t.run(parent).output)


def test_a_pause_that_cancels_answers_those_who_wait(app: Stepwell) -> None:
    child = child_of(app, slow=True)
    parent = invoking(app, child)

    with harness(app) as t:
        t.send("parent")
        t.pause(child, runs="cancel")
        t.advance("1s")

        assert "was cancelled" in t.run(parent).output


@pytest.mark.parametrize("rule", ["throttle", "concurrency", "run concurrency"])
def test_an_invoke_that_waits_too_long_for_its_turn_is_answered(app: Stepwell, rule: str) -> None:
    child = child_of(app, slow=True, **RULES[rule] if rule != "throttle" else {"throttle": Throttle(1, "6h")})

    @app.create_function(id="parent", trigger="parent")
    async def parent(ctx: Any) -> str:
        try:
            return str(await ctx.step.invoke("ask", child, data={"n": 7}, timeout="5s"))
        except StepError as error:
            return error.name

    with harness(app) as t:
        t.send("go", {"n": 1})
        t.send("parent")
        t.advance("6s")

        assert t.run(parent).output == "InngestInvokeTimeoutError"


def test_the_end_of_a_batch_is_told_once_and_answers_nobody_elses_invoke(app: Stepwell) -> None:
    """Protocol §9.5 has one more event for each further member with a correlation id, to answer whoever has invoked it.
    An invoke is in no batch, so none has one of its own, also where invokes of others are collected."""
    child = child_of(app, slow=True)
    parent = invoking(app, child)

    @app.create_function(
        id="audit", trigger=TriggerEvent("inngest/function.invoked"), batch_events=BatchEvents(2, timeout="1h")
    )
    async def audit(ctx: Any) -> int:
        return len(ctx.events)

    @app.create_function(id="watch", trigger=TriggerEvent("inngest/function.finished"))
    async def watch(ctx: Any) -> None: ...

    with harness(app) as t:
        t.send("parent")
        t.send("parent")
        assert t.run(audit).output == 2

        (told,) = [each.fields()["data"] for each in events(t, "inngest/function.finished")]
        assert (told["function_id"], "correlation_id" in told) == ("shop-audit", False)
        assert answers(t, parent) == [None, None]
        t.advance("11s")
        assert answers(t, parent) == ["n=7", "n=7"]
