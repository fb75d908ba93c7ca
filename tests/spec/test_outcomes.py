"""Every pair of an event and a function that matches ends in a run or in a reason (semantics §7.1, §1.4; F79, I2)."""

from __future__ import annotations

from typing import Any

import pytest

from stepwell import Event, TriggerEvent
from stepwell.model.questions import RunsOfEvent
from stepwell.testing import Harness, harness
from tests.spec.looking import events, outcomes


def of(t: Harness, event_id: str) -> dict[str, str]:
    """What became of an event, by function."""
    found = {run.function_id: "run" for run in t.ask(RunsOfEvent(event_id))}
    for function_id, outcome in outcomes(t, event_id).items():
        assert function_id not in found, "a pair has one outcome"
        found[function_id] = outcome.kind
    return {function_id.removeprefix("shop-"): kind for function_id, kind in found.items()}


@pytest.fixture
def functions(app) -> Any:
    options: dict[str, dict[str, Any]] = {
        "plain": {"trigger": "paid"},
        "once": {"trigger": "paid", "idempotency": "event.data.order"},
        "broken": {"trigger": TriggerEvent("paid", if_="event.data.order < 1")},
        "picky": {"trigger": TriggerEvent("paid", if_="event.data.order == 'b'")},
        "wide": {"trigger": ["paid", "pa/*"]},
    }
    for id, one in options.items():

        @app.create_function(id=id, **one)
        async def function(ctx): ...

    return app


def test_each_function_that_matches_has_one_outcome_for_each_event(functions) -> None:
    with harness(functions) as t:
        first, second, third = t.send(
            [
                Event("paid", {"order": "a"}, id="1"),
                Event("paid", {"order": "a"}, id="2"),
                Event("paid", {"order": "b"}, id="1"),
            ]
        )

        assert of(t, first) == {"plain": "run", "once": "run", "broken": "expression-failed", "wide": "run"}
        assert of(t, second) == {"plain": "run", "once": "idempotent", "broken": "expression-failed", "wide": "run"}
        assert of(t, third) == {
            "plain": "deduplicated",
            "once": "deduplicated",
            "broken": "expression-failed",
            "picky": "run",
            "wide": "deduplicated",
        }


def test_an_outcome_says_when_why_and_which_run_stands_for_it(functions) -> None:
    with harness(functions) as t:
        t.send("paid", {"order": "a"}, id="1")
        t.advance("1h")
        (again,) = t.send("paid", {"order": "c"}, id="1")

        found = outcomes(t, again)["shop-plain"]
        assert found.at == int(t.now.timestamp() * 1000)
        assert found.run_id == t.run("plain").id
        assert found.reason == "event id '1' was seen before"


def test_an_event_that_nothing_matches_has_no_outcome(functions) -> None:
    with harness(functions) as t:
        (id,) = t.send("other")

        assert of(t, id) == {}


def test_outcomes_survive_a_crash_and_are_not_written_twice(functions) -> None:
    with harness(functions) as t:
        t.send("paid", {"order": "a"}, id="1")
        (again,) = t.send("paid", {"order": "a"}, id="1")
        before = outcomes(t, again)
        t.crash()
        t.advance("1d")

        assert outcomes(t, again) == before


def test_what_a_run_sends_has_outcomes_as_what_others_send(app) -> None:
    @app.create_function(id="sender", trigger="go")
    async def sender(ctx):
        await ctx.step.send_event("both", [Event("paid", {"order": 1}), Event("paid", {"order": 1})])

    @app.create_function(id="once", trigger="paid", idempotency="event.data.order")
    async def once(ctx): ...

    with harness(app) as t:
        t.send("go")

        assert [of(t, found.id) for found in events(t, "paid")] == [{"once": "run"}, {"once": "idempotent"}]


def test_hundreds_of_events_each_have_their_outcomes(functions) -> None:
    with harness(functions) as t:
        ids = t.send([Event("paid", {"order": n % 10}, id=str(n % 100)) for n in range(400)])

        found = [of(t, id) for id in ids]
        assert all(set(each) == {"plain", "once", "wide"} | ({"broken"} & each.keys()) for each in found)
        assert sum(each["plain"] == "run" for each in found) == 100
        assert sum(each["once"] == "run" for each in found) == 10
