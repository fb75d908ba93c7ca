"""``step.send_event``: send once, however often it is tried (semantics §5.9; F48)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from stepwell import Event, event
from stepwell.testing import harness


@event("told")
@dataclass
class Told:
    n: int


def test_events_are_sent_and_their_ids_are_the_result(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        return await ctx.step.send_event("tell", [Event("told", {"n": 1}), Told(2)])

    @app.create_function(id="hear", trigger="told")
    async def hear(ctx):
        return [ctx.event.id, ctx.event.data["n"]]

    with harness(app) as t:
        t.send("ordered", {})

        ids = t.run(bill).output
        assert len(set(ids)) == 2
        assert [run.output for run in t.runs(hear)] == [[ids[0], 1], [ids[1], 2]]


def test_one_event_needs_no_list(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        return await ctx.step.send_event("tell", Told(1))

    with harness(app) as t:
        t.send("ordered", {})

        assert len(t.run(bill).output) == 1


def test_replays_do_not_send_again(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        first = await ctx.step.send_event("tell", Told(1))
        await ctx.step.sleep("rest", "1h")
        return [first, await ctx.step.send_event("tell", Told(2))]

    @app.create_function(id="hear", trigger="told")
    async def hear(ctx):
        return ctx.event.data["n"]

    with harness(app) as t:
        t.send("ordered", {})
        t.crash()
        t.advance("1h")

        t.assert_completed(t.run(bill))
        assert [run.output for run in t.runs(hear)] == [1, 2]


def test_what_was_sent_before_the_process_died_is_not_sent_twice(app) -> None:
    """I2, exactly once in effect: the same step gives its events the same ids in each attempt."""

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        # The send and a body in one group: both are under way when the process dies.
        await ctx.group.parallel(
            [ctx.step.send_event("tell", Told(1)), ctx.step.run("slow", lambda: asyncio.sleep(60))]
        )

    @app.create_function(id="hear", trigger="told")
    async def hear(ctx):
        pass

    with harness(app) as t:
        t.send("ordered", {})
        for _ in range(3):
            t.crash()
            t.advance("10s")
        t.advance("2m")

        t.assert_completed(t.run(bill))
        assert len(t.runs(hear)) == 1


def test_two_runs_and_two_turns_send_different_events(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        return [(await ctx.step.send_event("tell", Told(n)))[0] for n in range(3)]

    @app.create_function(id="hear", trigger="told")
    async def hear(ctx):
        return ctx.event.data["n"]

    with harness(app) as t:
        t.send([Event("ordered", {}), Event("ordered", {})])

        assert len({id for run in t.runs(bill) for id in run.output}) == 6
        assert sorted(run.output for run in t.runs(hear)) == [0, 0, 1, 1, 2, 2]


def test_an_id_of_ones_own_deduplicates_over_runs(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        await ctx.step.send_event("tell", Event("told", {}, id="the same"))

    @app.create_function(id="hear", trigger="told")
    async def hear(ctx):
        pass

    with harness(app) as t:
        t.send([Event("ordered", {}), Event("ordered", {})])

        assert len(t.runs(hear)) == 1


def test_sending_outside_of_a_step_is_allowed_and_repeats_with_every_call(app) -> None:
    """Semantics §1.2."""

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        await app.send(Told(1))
        await ctx.step.sleep("rest", "1h")

    @app.create_function(id="hear", trigger="told")
    async def hear(ctx):
        pass

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1h")

        assert len(t.runs(hear)) == 2


def test_an_empty_list_sends_nothing(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        return await ctx.step.send_event("tell", [])

    with harness(app) as t:
        t.send("ordered", {})

        t.assert_completed(t.run(bill), [])


@pytest.mark.parametrize(
    ("events", "said"),
    [
        (7, "7 is not an event"),
        ({"name": "told"}, "is not an event"),
        ("told", "'told' is not an event"),
        ([Event("told", {}), None], "None is not an event"),
        (Event("told", [1]), "data of event 'told' is of type list"),
        (Event("told", {"a": {"b": object()}}), "data.a.b: object of type object"),
        (Told("one"), "data.n: Expected `int`, got `str`"),  # type: ignore[arg-type]
        ([Event("told", {})] * 5_001, "5001 events are sent at once"),
        (Event("told", {"text": "x" * 600_000}), "EventTooLarge"),
    ],
    ids=["number", "dict", "name", "None in list", "list as data", "no JSON", "wrong type", "too many", "too large"],
)
def test_an_event_that_cannot_be_sent_fails_at_once_names_the_field_and_sends_none(
    app, events: object, said: str
) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        await ctx.step.send_event("tell", events)

    @app.create_function(id="hear", trigger="told")
    async def hear(ctx):
        pass

    with harness(app) as t:
        t.send("ordered", {})

        t.assert_failed(t.run(bill), said)
        assert t.run(bill).steps["tell"].attempts == 1
        assert t.runs(hear) == []
