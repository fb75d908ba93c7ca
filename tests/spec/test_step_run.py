"""``step.run``: a body is run, its result is remembered (semantics §5.1; F32)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from stepwell import Event
from stepwell.limits import LEASE_LOSSES_MAX
from stepwell.testing import harness


@dataclass
class Receipt:
    number: int
    lines: list[str]


def test_a_body_is_run_once_and_its_result_is_given_to_every_later_call(app) -> None:
    bodies: list[str] = []
    seen: list[int] = []

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        total = await ctx.step.run("price", lambda: bodies.append("price") or 42)
        seen.append(total)
        await ctx.step.sleep("rest", "1h")
        return total

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1h")

        t.assert_completed(t.run(bill), 42)
        assert bodies == ["price"]
        assert seen == [42, 42]


def test_arguments_reach_the_body(app) -> None:
    async def price(unit: int, *, count: int) -> int:
        return unit * count

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        return await ctx.step.run("price", price, 6, count=7)

    with harness(app) as t:
        t.send("ordered", {})

        t.assert_completed(t.run(bill), 42)


@pytest.mark.parametrize("value", [None, 0, "", False, [], {}], ids=repr)
def test_a_result_that_is_empty_is_remembered_like_any_other(app, value: object) -> None:
    bodies: list[object] = []

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        result = await ctx.step.run("price", lambda: bodies.append(1) or value)
        await ctx.step.sleep("rest", "1h")
        return [result]

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1h")

        t.assert_completed(t.run(bill), [value])
        assert len(bodies) == 1


def test_the_first_run_and_every_replay_see_a_value_of_the_declared_type(app) -> None:
    seen: list[object] = []

    def charge() -> Receipt:
        return Receipt(7, ["tea"])

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        seen.append(await ctx.step.run("charge", charge))
        await ctx.step.sleep("rest", "1h")

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1h")

        assert seen == [Receipt(7, ["tea"])] * 2
        assert t.run(bill).steps["charge"].output == {"number": 7, "lines": ["tea"]}


def test_without_an_annotation_the_first_run_sees_the_plain_json_that_replays_will_see(app) -> None:
    seen: list[object] = []

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        seen.append(await ctx.step.run("pair", lambda: (1, {"a": Receipt(7, [])})))
        await ctx.step.sleep("rest", "1h")

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1h")

        assert seen == [[1, {"a": {"number": 7, "lines": []}}]] * 2


def test_what_the_code_does_to_a_result_is_not_remembered(app) -> None:
    seen: list[list[int]] = []

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        found = await ctx.step.run("list", lambda: [1])
        seen.append(list(found))
        found.append(2)
        await ctx.step.sleep("rest", "1h")

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1h")

        assert seen == [[1], [1]]


def test_a_plain_body_runs_in_a_thread_and_a_coroutine_in_the_loop(app) -> None:
    threads: dict[str, int] = {}

    def blocking() -> None:
        threads["blocking"] = threading.get_ident()

    async def waiting() -> None:
        threads["waiting"] = threading.get_ident()

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        await ctx.step.run("blocking", blocking)
        await ctx.step.run("waiting", waiting)

    with harness(app) as t:
        t.send("ordered", {})

        t.assert_completed(t.run(bill))
        assert threads["waiting"] == threading.get_ident() != threads["blocking"]


def test_all_that_can_be_called_can_be_a_body(app) -> None:
    class Price:
        def __call__(self) -> int:
            return 3

        def method(self) -> int:
            return 4

    async def later() -> int:
        return 2

    bodies: dict[str, Callable[[], Any]] = {
        "a lambda that gives a coroutine": lambda: later(),
        "an object": Price(),
        "a bound method": Price().method,
        "a partial": partial(max, 1, 5),
        "a class": dict,
    }

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        return [await ctx.step.run(name, body) for name, body in bodies.items()]

    with harness(app) as t:
        t.send("ordered", {})

        t.assert_completed(t.run(bill), [2, 3, 4, 5, {}])


def test_a_body_may_take_its_time(app) -> None:
    async def slow() -> str:
        await asyncio.sleep(3_000)
        return "done"

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        return await ctx.step.run("slow", slow)

    with harness(app) as t:
        t.send("ordered", {})
        assert not t.run(bill).ended

        t.advance("50m")

        t.assert_completed(t.run(bill), "done")
        assert t.run(bill).steps["slow"].attempts == 1


def test_a_result_is_stored_before_later_code_sees_it(app) -> None:
    """I4: what was visible once is never made again."""
    bodies: list[str] = []

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        token = await ctx.step.run("token", lambda: bodies.append("token") or len(bodies))
        await asyncio.sleep(60)  # outside of a step: here the process dies
        return token

    with harness(app) as t:
        t.send("ordered", {})
        t.crash()
        t.run_until_idle()

        t.assert_completed(t.run(bill), 1)
        assert bodies == ["token"]


def test_a_body_whose_process_dies_is_run_again_and_no_attempt_is_spent(app) -> None:
    """I6: at least once, and a lost lease is not the function's fault. K41: recovered between steps, it moves on."""
    attempts: list[int] = []

    @app.create_function(id="bill", trigger="ordered", retries=0, concurrency=1)
    async def bill(ctx):
        async def charge() -> str:
            attempts.append(ctx.attempt)
            await asyncio.sleep(60)
            return "charged"

        await ctx.step.run("before", lambda: None)
        return await ctx.step.run("charge", charge)

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("30s")
        t.crash()
        t.advance("2m")

        t.assert_completed(t.run(bill), "charged")
        assert attempts == [0, 0]
        assert "lost its lease" in t.run(bill).trace()


def test_a_function_that_kills_its_process_again_and_again_is_given_up(app) -> None:
    """K48, K57: poison is contained, and says what it was."""

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        await ctx.step.run("charge", partial(asyncio.sleep, 120))

    @app.create_function(id="other", trigger="ordered")
    async def other(ctx):
        await ctx.step.sleep("rest", "10s")

    with harness(app) as t:
        t.send("ordered", {})
        for _ in range(LEASE_LOSSES_MAX):
            t.advance("65s")
            t.crash()
        t.run_until_idle()

        t.assert_failed(t.run(bill), "WorkerLost")
        t.assert_completed(t.run(other))


def test_runs_that_went_down_with_another_do_not_go_down_with_it_for_ever(app) -> None:
    """ADR 0010: what is innocent gets through between two deaths of what is not."""
    full: list[bool] = []

    @app.create_function(id="glutton", trigger="hungry")
    async def glutton(ctx):
        async def eat() -> None:
            await asyncio.sleep(0.1)
            full.append(True)
            await asyncio.sleep(60)

        await ctx.step.run("eat", eat)

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        await ctx.step.run("charge", partial(asyncio.sleep, 0.25))

    with harness(app) as t:
        t.send([Event("hungry"), *(Event("ordered") for _ in range(10))])
        for _ in range(300):
            t.advance("100ms")
            if full:
                full.clear()
                t.crash()

        assert {run.status for run in t.runs(bill)} == {"COMPLETED"}
        assert t.run(glutton).status == "RUNNING"


def test_the_results_of_two_runs_of_the_same_shape_are_kept_apart(app) -> None:
    """K36, I25."""

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        number = await ctx.step.run("number", lambda: ctx.event.data["number"])
        await ctx.step.sleep("rest", "1h")
        return [number, await ctx.step.run("again", lambda: ctx.event.data["number"])]

    with harness(app) as t:
        for number in range(3):
            t.send("ordered", {"number": number})
        t.advance("1h")

        assert [run.output for run in t.runs(bill)] == [[0, 0], [1, 1], [2, 2]]
        assert [run.steps["number"].output for run in t.runs(bill)] == [0, 1, 2]


def test_K53_a_body_that_takes_longer_than_its_timeout_is_stopped_before_it_is_tried_again(app) -> None:
    """K53, I7: two attempts never overlap."""
    story: list[str] = []

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        async def charge() -> str:
            story.append(f"begin {ctx.attempt}")
            try:
                await asyncio.sleep(60 if ctx.attempt == 0 else 1)
            finally:
                story.append(f"end {ctx.attempt}")
            return "charged"

        return await ctx.step.options("charge", timeout="30s").run(charge)

    with harness(app, retry_interval="10s") as t:
        t.send("ordered", {})
        t.advance("45s")

        t.assert_completed(t.run(bill), "charged")
        assert story == ["begin 0", "end 0", "begin 1", "end 1"]
        step = t.run(bill).steps["charge"]
        assert [error.name for error in step.errors] == ["StepTimeout"]
        assert "longer than 30 s" in step.errors[0].message


def test_the_result_of_a_body_that_ends_after_its_run_was_cancelled_is_dropped(app) -> None:
    """I16, late result against cancel: K31."""
    bodies: list[str] = []

    async def slow() -> str:
        await asyncio.sleep(60)
        bodies.append("slow")
        return "late"

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        await ctx.step.run("slow", slow)
        await ctx.step.run("after", lambda: bodies.append("after"))

    with harness(app) as t:
        t.send("ordered", {})
        assert t.cancel(t.run(bill))
        t.advance("1h")

        t.assert_cancelled(t.run(bill))
        assert "after" not in bodies
        assert t.run(bill).steps == {}


def test_a_step_inside_the_body_of_a_step_fails_at_once_and_says_what_to_do(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        async def outer() -> None:
            await ctx.step.run("inner", lambda: None)

        await ctx.step.run("outer", outer)

    with harness(app) as t:
        t.send("ordered", {})

        run = t.run(bill)
        t.assert_failed(run, "step 'inner' is used inside the body of step 'outer'")
        assert run.error is not None
        assert run.error.name == "StepNested"
        assert "move it out" in run.error.message
        t.assert_steps(run, "outer")
        assert run.steps["outer"].attempts == 1


def test_a_sleep_inside_the_body_of_a_step_fails_at_once_too(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        async def outer() -> None:
            await ctx.step.sleep("inner", "1h")

        await ctx.step.run("outer", outer)

    with harness(app) as t:
        t.send("ordered", {})

        t.assert_failed(t.run(bill), "StepNested")
