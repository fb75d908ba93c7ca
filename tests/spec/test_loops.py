"""Functions that start each other for ever are stopped, and it is said (invariants S41)."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from stepwell import Debounce, Event, StepError, Stepwell, TriggerCron
from stepwell.limits import RUN_CHAIN_MAX
from stepwell.model.questions import ListEvents, Outcomes
from stepwell.testing import Harness, harness


def loops(t: Harness) -> list[str]:
    events = t.ask(ListEvents(1_000, internal=True))
    return [found.reason for event in events for found in t.ask(Outcomes(event.id)) if found.kind == "loop"]


def ping_pong(app: Stepwell, **options: Any) -> Any:
    @app.create_function(id="ping", trigger="ping", **options)
    async def ping(ctx):
        await ctx.step.send_event("pong", Event("pong"))

    @app.create_function(id="pong", trigger="pong")
    async def pong(ctx):
        await ctx.step.send_event("ping", Event("ping"))

    return ping, pong


def test_two_functions_that_start_each_other_are_stopped_and_the_chain_is_named(app) -> None:
    ping, pong = ping_pong(app)
    with harness(app) as t:
        t.send("ping")

        assert len(t.runs(ping)) + len(t.runs(pong)) == RUN_CHAIN_MAX + 1
        assert loops(t) == [
            "it would be one more than the 100 runs that may start one another: "
            "… shop-pong → shop-ping → shop-pong → shop-ping → shop-pong; "
            "let one of them stop, or allow more with max_chain"
        ]


@pytest.mark.parametrize(("most", "runs"), [(3, 4), (0, 300)])
def test_how_many_may_be_set_or_that_any_may(app, most, runs) -> None:
    @app.create_function(id="again", trigger="go")
    async def again(ctx):
        if ctx.event.data["n"] < 300:
            await ctx.step.send_event("next", Event("go", {"n": ctx.event.data["n"] + 1}))

    with harness(app, max_chain=most) as t:
        t.send("go", {"n": 1})

        assert len(t.runs(again)) == runs


def test_what_comes_from_outside_begins_a_new_chain(app) -> None:
    ping, pong = ping_pong(app)
    with harness(app, max_chain=1) as t:
        t.send("ping")
        t.send("ping")

        assert (len(t.runs(ping)), len(t.runs(pong))) == (2, 2)


def test_so_does_a_tick(app) -> None:
    @app.create_function(id="tick", trigger=TriggerCron("0 * * * *"))
    async def tick(ctx):
        await ctx.step.send_event("go", Event("go"))

    @app.create_function(id="work", trigger="go")
    async def work(ctx): ...

    with harness(app, max_chain=1) as t:
        t.advance("3h")

        assert len(t.runs(work)) == 3


def test_a_debounce_does_not_break_the_chain(app) -> None:
    ping, _ = ping_pong(app, debounce=Debounce("1s"))
    with harness(app, max_chain=4) as t:
        t.send("ping")
        t.advance("1m")

        assert len(t.runs(ping)) == 3


def test_an_event_that_the_body_of_a_step_sends_by_itself_counts(app) -> None:
    @app.create_function(id="again", trigger="go")
    async def again(ctx):
        await ctx.step.run("send", app.send, Event("go"))

    with harness(app, max_chain=4) as t:
        t.send("go")

        assert len(t.runs(again)) == 5


def test_a_function_that_is_put_off_again_and_again_is_stopped(app) -> None:
    @app.create_defer(id="later")
    async def later(ctx):
        ctx.defer("again", function=later, data={})

    @app.create_function(id="first", trigger="go")
    async def first(ctx):
        ctx.defer("later", function=later, data={})

    with harness(app, max_chain=3) as t:
        t.send("go")

        assert len(t.runs(later)) == 3
        assert len(loops(t)) == 1


@pytest.mark.parametrize("before", [True, False])
def test_a_chain_is_as_long_and_its_end_on_record_once_whenever_the_process_dies(before: bool) -> None:
    """By an event of a step, by an invoke and by what is put off: no death lets one more begin."""
    died, seen, wanted = 0, 0, [("loop", 3), ("shop-again", 4), ("shop-asks", 4), ("shop-first", 1), ("shop-later", 3)]
    for at in range(100):
        app = Stepwell("shop")

        @app.create_function(id="again", trigger="go")
        async def again(ctx):
            await ctx.step.send_event("next", Event("go"))

        @app.create_defer(id="later")
        async def later(ctx):
            ctx.defer("again", function=later, data={})

        @app.create_function(id="first", trigger="go/first")
        async def first(ctx):
            ctx.defer("later", function=later, data={})

        @app.create_function(id="asks", trigger="go/asks", retries=0)
        async def asks(ctx):
            try:
                await ctx.step.invoke("deeper", asks)
            except StepError as error:
                return error.message

        seen = 0

        def dies(when: bool, work: object, at: int = at) -> bool:
            nonlocal seen
            seen += when is before
            return when is before and seen == at + 1

        with harness(app, max_chain=3) as t:
            t.die_when(dies)
            t.crash()
            for event in ("go", "go/first", "go/asks"):
                t.send(event, id=event)
            t.advance("1h")

            runs = Counter(run.function_id for run in t.runs())
            assert sorted([*runs.items(), ("loop", len(loops(t)))]) == wanted
            (top,) = [run for run in t.runs("asks") if run.record.parent is None]
            assert top.status == "COMPLETED"
        if seen <= at:
            break
        died += 1
    assert died >= 15


def test_who_takes_care_of_failures_hears_of_the_last_of_a_chain(app) -> None:
    async def told(ctx): ...

    @app.create_function(id="again", trigger="go", retries=0, on_failure=told)
    async def again(ctx):
        await ctx.step.send_event("next", Event("go"))
        raise ValueError

    with harness(app, max_chain=3) as t:
        t.send("go")

        assert len(t.runs("again-failure")) == len(t.runs(again)) == 4


def test_a_handler_of_failures_that_starts_what_fails_is_stopped(app) -> None:
    @app.create_function(id="fails", trigger="go", retries=0)
    async def fails(ctx):
        raise ValueError

    @app.create_function(id="retry", trigger="inngest/function.failed")
    async def retry(ctx):
        await ctx.step.send_event("again", Event("go"))

    with harness(app, max_chain=3) as t:
        t.send("go")

        assert len(t.runs(fails)) == 4
