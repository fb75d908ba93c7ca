"""Sessions: events and runs that belong together (semantics §1.7)."""

from __future__ import annotations

from typing import Any

import pytest

from stepwell import Context, Event, InvalidEvent, Sync
from stepwell.testing import harness


@pytest.fixture
def child(app) -> Any:
    @app.create_function(id="child", trigger="told")
    async def child(ctx: Context):
        return ctx.event.sessions

    return child


def test_an_event_belongs_to_the_sessions_it_is_given(app, child) -> None:
    with harness(app) as t:
        t.send(Event("told", sessions={"chat": "c1", "user": 7}))
        t.send(Event("told"))

        assert [run.output for run in t.runs(child)] == [{"chat": "c1", "user": "7"}, {}]


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ({}, {"chat": "c1", "user": "u1"}),
        ({"sessions": {"chat": "c2"}}, {"chat": "c2", "user": "u1"}),
        ({"sessions": {"chat": None, "room": "r1"}}, {"user": "u1", "room": "r1"}),
        ({"sessions": None}, {}),
    ],
)
def test_what_a_run_sends_belongs_to_its_sessions_unless_it_says_otherwise(app, child, said: Any, kept: Any) -> None:
    @app.create_function(id="parent", trigger="asked")
    async def parent(ctx: Context):
        await ctx.step.send_event("tell", Event("told", **said))

    with harness(app) as t:
        t.send(Event("asked", sessions={"chat": "c1", "user": "u1"}))

        t.assert_completed(t.run(child), kept)


def test_what_a_run_invokes_and_puts_off_belongs_to_its_sessions(app, child) -> None:
    @app.create_defer(id="later")
    async def later(ctx: Context):
        return ctx.event.sessions

    @app.create_function(id="parent", trigger="asked")
    def parent(ctx: Context[Any, Sync]):
        ctx.defer("later", function=later)
        return [
            ctx.step.invoke("child", child, data={"n": 1}),
            ctx.step.invoke_by_id("again", "child"),
        ]

    with harness(app) as t:
        t.send(Event("asked", sessions={"chat": "c1"}))

        t.assert_completed(t.run(parent), [{"chat": "c1"}] * 2)
        t.assert_completed(t.run(later), {"chat": "c1"})


def test_what_the_end_of_a_run_sends_belongs_to_its_sessions(app, child) -> None:
    @app.create_function(id="watch", trigger="inngest/function.finished")
    async def watch(ctx: Context):
        return ctx.event.sessions

    with harness(app) as t:
        t.send(Event("told", sessions={"chat": "c1"}))

        t.assert_completed(t.run(watch), {"chat": "c1"})


@pytest.mark.parametrize(
    "sessions",
    [{str(n): "x" for n in range(6)}, {"": "x"}, {"k" * 129: "x"}, {"k": "x" * 513}, {"k": ""}, {"k": ["x"]}],
)
def test_sessions_beyond_their_limits_are_refused(app, child, sessions: Any) -> None:
    with harness(app) as t, pytest.raises(InvalidEvent):
        t.send(Event("told", sessions=sessions))


def test_a_wait_gives_the_sessions_of_what_came(app) -> None:
    @app.create_function(id="waits", trigger="asked")
    async def waits(ctx: Context):
        found = await ctx.step.wait_for_event("answer", "told", timeout="1h")
        assert found is not None
        return found.sessions

    with harness(app) as t:
        t.send("asked")
        t.send(Event("told", sessions={"chat": "c9"}))

        t.assert_completed(t.run(waits), {"chat": "c9"})
