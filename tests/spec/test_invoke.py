"""``step.invoke``: start another function and take its result (semantics §5.5; F40)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from stepwell import Event, Stepwell, event
from stepwell.protocol.events import Incoming
from stepwell.testing import harness

START = datetime(2026, 1, 1, tzinfo=UTC)  # when a harness begins


@event("report/asked")
@dataclass
class Ask:
    number: int


@dataclass
class Report:
    number: int
    pages: list[str]


def test_the_result_of_the_child_is_the_result_of_the_step(app) -> None:
    @app.create_function(id="child")
    async def child(ctx):
        return [ctx.event.name, ctx.event.data]

    @app.create_function(id="parent", trigger="go")
    async def parent(ctx):
        return await ctx.step.invoke("ask", child, data={"n": 1})

    with harness(app) as t:
        t.send("go", {})

        t.assert_completed(t.run(parent), ["inngest/function.invoked", {"n": 1}])
        t.assert_completed(t.run(child))


def test_types_go_through_both_ways_and_replays_see_them_too(app) -> None:
    seen: list[object] = []

    @app.create_function(id="child", trigger=Ask)
    async def child(ctx) -> Report:
        seen.append(ctx.event.data)
        return Report(ctx.event.data.number, ["a"])

    @app.create_function(id="parent", trigger="go")
    async def parent(ctx):
        seen.append(await ctx.step.invoke("ask", child, data=Ask(7)))
        await ctx.step.sleep("rest", "1h")

    with harness(app) as t:
        t.send("go", {})
        t.advance("1h")

        assert seen == [Ask(7), Report(7, ["a"]), Report(7, ["a"])]


@pytest.mark.parametrize("value", [None, 0, "", []], ids=repr)
def test_an_empty_result_is_a_result(app, value: object) -> None:
    @app.create_function(id="child")
    async def child(ctx):
        return value

    @app.create_function(id="parent", trigger="go")
    async def parent(ctx):
        return [await ctx.step.invoke("ask", child)]

    with harness(app) as t:
        t.send("go", {})

        t.assert_completed(t.run(parent), [value])


def test_the_parent_rests_while_the_child_takes_its_time_and_both_are_linked(app) -> None:
    @app.create_function(id="child")
    async def child(ctx):
        await ctx.step.sleep("rest", "7d")
        return "done"

    @app.create_function(id="parent", trigger="go")
    async def parent(ctx):
        return await ctx.step.invoke("ask", child)

    with harness(app) as t:
        t.send("go", {})

        step = t.run(parent).steps["ask"]
        assert (step.status, step.kind) == ("INVOKING", "invoke")
        assert step.details["run_id"] == t.run(child).id
        assert step.details["function_id"] == "shop-child"
        assert t.run(child).record.parent == t.run(parent).id
        t.advance("7d")
        t.assert_completed(t.run(parent), "done")
        assert t.run(parent).ended_at == START + timedelta(days=7)


def test_a_waiting_parent_holds_no_slot(app) -> None:
    """I12: parent and child share the limit of one."""

    @app.create_function(id="self", trigger="go", concurrency=1)
    async def recurse(ctx):
        depth = ctx.event.data.get("depth", 0)
        if depth < 3:
            return 1 + await ctx.step.invoke("deeper", recurse, data={"depth": depth + 1})
        return 0

    with harness(app) as t:
        t.send("go", {})

        assert [run.output for run in t.runs(recurse)] == [3, 2, 1, 0]


def test_a_function_of_another_app_can_be_invoked(app) -> None:
    other = Stepwell("office")

    @other.create_function(id="child")
    async def child(ctx):
        return "from the office"

    @app.create_function(id="parent", trigger="go")
    async def parent(ctx):
        return await ctx.step.invoke("ask", child)

    with harness([app, other]) as t:
        t.send("go", {})

        t.assert_completed(t.run(parent), "from the office")


def test_children_in_parallel_give_their_results_in_the_order_of_the_branches(app) -> None:
    @app.create_function(id="child")
    async def child(ctx):
        await ctx.step.sleep("rest", ctx.event.data["rest"])
        return ctx.event.data["n"]

    @app.create_function(id="parent", trigger="go")
    async def parent(ctx):
        return await ctx.group.parallel(
            [ctx.step.invoke(f"ask {n}", child, data={"n": n, "rest": f"{10 - n}m"}) for n in range(5)]
        )

    with harness(app) as t:
        t.send("go", {})
        t.advance("6m")
        assert not t.run(parent).ended
        t.advance("4m")

        t.assert_completed(t.run(parent), [0, 1, 2, 3, 4])
        assert t.run(parent).ended_at == START + timedelta(minutes=10)


def test_children_that_end_in_one_moment_wake_their_parent_once(app) -> None:
    """K07, I4."""
    bodies: list[str] = []

    @app.create_function(id="child")
    async def child(ctx):
        await ctx.step.sleep("rest", "1h")

    @app.create_function(id="parent", trigger="go")
    async def parent(ctx):
        await asyncio.gather(*(ctx.step.invoke(f"ask {n}", child) for n in range(20)))
        await ctx.step.run("after", lambda: bodies.append("after"))

    with harness(app) as t:
        t.send("go", {})
        t.advance("1h")

        t.assert_completed(t.run(parent))
        assert bodies == ["after"]


def test_K10_each_invoke_starts_one_child_whatever_happens(app) -> None:
    """K03, K10: restarts while the child runs, and while the parent is about to go on."""

    @app.create_function(id="child")
    async def child(ctx):
        await ctx.step.sleep("rest", "1h")
        return "done"

    @app.create_function(id="parent", trigger="go")
    async def parent(ctx):
        found = await ctx.step.invoke("ask", child)
        await asyncio.sleep(5)
        return found

    with harness(app) as t:
        t.send("go", {})
        t.crash(down="30m")
        t.advance("30m")
        t.crash()
        t.advance("1m")

        t.assert_completed(t.run(parent), "done")
        assert len(t.runs(child)) == 1


@pytest.mark.slow
def test_K10_parents_that_wait_after_a_restart_can_be_cancelled(app) -> None:
    """K10, I18: hundreds of them."""

    @app.create_function(id="child")
    async def child(ctx):
        await ctx.step.sleep("rest", "1h")

    @app.create_function(id="parent", trigger="go")
    async def parent(ctx):
        await ctx.step.invoke("ask", child)

    with harness(app) as t:
        t.send([Event("go", {}) for _ in range(150)])
        t.crash(down="1m")
        assert all(t.cancel(run) for run in t.runs(parent))
        t.advance("1d")

        assert {run.status for run in t.runs(parent)} == {"CANCELLED"}
        assert {run.status for run in t.runs(child)} == {"COMPLETED"}


def test_the_childs_retries_and_limits_are_its_own(app) -> None:
    @app.create_function(id="child", retries=2, concurrency=1)
    async def child(ctx):
        def charge() -> int:
            if ctx.attempt < 2:
                raise ValueError("not yet")
            return ctx.attempt

        return await ctx.step.run("charge", charge)

    @app.create_function(id="parent", trigger="go", retries=0)
    async def parent(ctx):
        return await ctx.step.invoke("ask", child)

    with harness(app, retry_interval="1m") as t:
        t.send([Event("go", {}) for _ in range(3)])
        t.advance("1h")

        assert [run.output for run in t.runs(parent)] == [2, 2, 2]


def test_a_function_with_a_trigger_can_be_invoked_as_well(app) -> None:
    @app.create_function(id="child", trigger="ordered")
    async def child(ctx):
        return ctx.event.data["n"]

    @app.create_function(id="parent", trigger="go")
    async def parent(ctx):
        return await ctx.step.invoke("ask", child, data={"n": 2})

    with harness(app) as t:
        t.send("ordered", {"n": 1})
        t.send("go", {})

        t.assert_completed(t.run(parent), 2)
        assert [run.output for run in t.runs(child)] == [1, 2]


def test_a_function_that_invokes_itself_for_ever_is_stopped_and_says_so(app) -> None:
    @app.create_function(id="self", trigger="go")
    async def recurse(ctx):
        await ctx.step.invoke("deeper", recurse)

    with harness(app) as t:
        t.send("go", {})
        t.run_until_idle()

        assert all(run.status == "FAILED" for run in t.runs(recurse))
        assert "shop-self → shop-self" in str(t.runs(recurse)[-1].error)
        assert len(t.runs(recurse)) == 101


@pytest.mark.parametrize("data", [7, "text", [1]], ids=repr)
def test_data_that_is_no_object_fails_the_run_at_once_and_says_what_to_do(app, data: object) -> None:
    @app.create_function(id="child")
    async def child(ctx):
        pass

    @app.create_function(id="parent", trigger="go")
    async def parent(ctx):
        await ctx.step.invoke("ask", child, data=data)

    with harness(app) as t:
        t.send("go", {})

        t.assert_failed(t.run(parent), "is invoked with data of type")
        t.assert_failed(t.run(parent), "fix: wrap it")
        assert t.runs(child) == []


def test_data_that_is_no_json_names_the_field(app) -> None:
    @app.create_function(id="child")
    async def child(ctx):
        pass

    @app.create_function(id="parent", trigger="go")
    async def parent(ctx):
        await ctx.step.invoke("ask", child, data={"card": {"lock": object()}})

    with harness(app) as t:
        t.send("go", {})

        t.assert_failed(t.run(parent), "data.card.lock: object of type object")


@pytest.mark.parametrize("target", ["shop-child", None], ids=repr)
def test_what_is_no_function_fails_the_run_at_once_and_says_what_to_give(app, target: object) -> None:
    @app.create_function(id="child")
    async def child(ctx):
        pass

    @app.create_function(id="parent", trigger="go")
    async def parent(ctx):
        await ctx.step.invoke("ask", target)

    with harness(app) as t:
        t.send("go", {})

        run = t.run(parent)
        t.assert_failed(run, "ConfigurationError")
        t.assert_failed(run, "is not a function")
        assert len(run.errors) == 1


def test_what_a_child_was_given_is_kept_also_if_its_parent_was_invoked_from_outside(app) -> None:
    """I3: the event of an invoke is written down, whoever listens to it."""

    @app.create_function(id="child")
    async def child(ctx):
        await ctx.step.sleep("rest", "1h")
        return ctx.event.data["order"]

    @app.create_function(id="parent", trigger="inngest/function.invoked")
    async def parent(ctx):
        return await ctx.step.invoke("child", child, data={"order": "A-17"})

    with harness(app) as t:
        t._do(lambda: t.engine.invoke("shop-parent", Incoming(name="invoke")))
        t.advance("1h")

        t.assert_completed(t.run(parent), "A-17")
        t.assert_completed(t.run(child), "A-17")
