"""What follows a step's id may be given by name."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from stepwell import Event
from stepwell.testing import harness


def test_steps_take_their_arguments_by_name_in_async_and_plain_functions(app) -> None:
    @app.create_function(id="child")
    async def child(ctx):
        return ctx.event.data["n"]

    @app.create_function(id="async", trigger="go")
    async def with_await(ctx):
        await ctx.step.sleep("rest", duration="1s")
        await ctx.step.sleep_until("until", moment=datetime(2026, 1, 1, 0, 0, 2, tzinfo=UTC))
        await ctx.step.send_event("tell", events=Event("told", {}))
        n = await ctx.step.invoke("child", function=child, data={"n": 1})
        return [n, (await ctx.step.wait_for_event("wait", event="come", timeout="1h")).name]

    @app.create_function(id="plain", trigger="go")
    def plain(ctx):
        ctx.step.sleep("rest", duration="1s")
        ctx.step.sleep_until("until", moment=datetime(2026, 1, 1, 0, 0, 2, tzinfo=UTC))
        ctx.step.send_event("tell", events=Event("told", {}))
        n = ctx.step.invoke("child", function=child, data={"n": 2})
        return [n, ctx.step.wait_for_event("wait", event="come", timeout="1h").name]

    with harness(app) as t:
        t.send("go")
        t.advance("3s")
        t.send("come")

        t.assert_completed(t.run(with_await), [1, "come"])
        t.assert_completed(t.run(plain), [2, "come"])


@pytest.mark.parametrize("name", ["self", "fn", "context", "args", "kwargs", "id", "name", "options"])
@pytest.mark.parametrize("plain", [False, True])
def test_a_body_may_call_its_arguments_as_it_likes(app, name: str, plain: bool) -> None:
    def body(**given: int) -> int:
        return given[name]

    if plain:

        @app.create_function(id="bill", trigger="go")
        def bill(ctx):
            return ctx.step.run("body", body, **{name: 7})
    else:

        @app.create_function(id="bill", trigger="go")
        async def bill(ctx):
            return await ctx.step.run("body", body, **{name: 7})

    with harness(app) as t:
        t.send("go")

        t.assert_completed(t.run(bill), 7)
