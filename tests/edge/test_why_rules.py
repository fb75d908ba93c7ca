"""Why a run has not started, or none did, when a rule of its function says so."""

from __future__ import annotations

from typing import Any

import pytest

from stepwell import BackpressureError, BatchEvents, Debounce, Event, RateLimit, Singleton, Stepwell, Throttle
from stepwell.clock import to_ms
from stepwell.model.questions import GetEvent, ListEvents
from stepwell.server.why import Situation, why_event, why_run
from stepwell.testing import Harness, harness
from tests.edge.test_why import Asking, at_once


@pytest.fixture
def app() -> Stepwell:
    return Stepwell("shop")


def explained(t: Harness, run_id: str) -> Any:
    return at_once(why_run(Asking(t), t.engine.registry, t.run(id=run_id).record, Situation(now=to_ms(t.now))))


def told(t: Harness, event_id: str) -> str:
    event = t.ask(GetEvent(event_id))
    assert event is not None
    return "\n".join(at_once(why_event(Asking(t), t.engine.registry, event, to_ms(t.now))).text)


def test_a_throttled_run_says_when_the_next_starts_and_where_it_stands_in_line(app) -> None:
    @app.create_function(id="work", trigger="go", throttle=Throttle(1, "1m", burst=0, key="event.data.who"))
    async def work(ctx): ...

    with harness(app) as t:
        t.send([Event("go", {"who": "ann"}) for _ in range(4)])
        t.advance("20s")

        why = explained(t, t.runs(work)[2].id)
        (gate,) = why.gates
        assert (gate.value, gate.expression, gate.limit, gate.period_ms) == ("ann", "event.data.who", 1, 60_000)
        assert (gate.position, gate.queued) == (2, 3)
        assert gate.next_at == "2026-01-01T00:01:00.000Z"
        assert "It is number 2 of 3 in line." in why.text


def test_an_event_that_is_held_back_says_for_which_run_and_until_when(app) -> None:
    @app.create_function(id="calm", trigger="go", debounce=Debounce("10s"))
    async def calm(ctx): ...

    @app.create_function(id="many", trigger="go", batch_events=BatchEvents(5, timeout="1m"))
    async def many(ctx): ...

    with harness(app) as t:
        first, second = t.send([Event("go"), Event("go")])

        text = told(t, second)
        assert "It is held back for shop-calm, the newest of the 2 events that came so far" in text
        assert "It is held back for shop-many, one of the 2 events that came so far" in text
        assert "debounced" in told(t, first)
        t.advance("2m")
        assert f"It started shop-calm: run {t.run(calm).id}" in told(t, second)
        assert f"It started shop-many: run {t.run(many).id}" in told(t, first)
        assert f"It started shop-many: run {t.run(many).id}" in told(t, second)


def test_an_event_that_was_dropped_says_by_which_rule_and_for_which_run(app) -> None:
    @app.create_function(id="rate", trigger="go", rate_limit=RateLimit(1, "1h"))
    async def rate(ctx): ...

    @app.create_function(id="one", trigger="go", singleton=Singleton("skip"))
    async def one(ctx):
        await ctx.step.sleep("x", "1h")

    with harness(app) as t:
        _, second = t.send([Event("go"), Event("go")])

        text = told(t, second)
        assert "rate-limited: the rate limit of 1 per 1h was reached" in text
        assert f"singleton: a run with this singleton key has not ended (run {t.run(one).id})" in text


def test_a_run_that_is_held_back_says_until_when_and_who_was_told_so(app) -> None:
    @app.create_function(id="sync", trigger="go")
    async def sync(ctx):
        await ctx.step.run("push", push)

    def push() -> None:
        raise BackpressureError("the CRM says 429", "30s")

    with harness(app) as t:
        t.send([Event("go")])
        t.send([Event("go"), Event("go")])

        first, _, third = t.runs(sync)
        why = explained(t, third.id)
        (gate,) = why.gates
        assert (gate.queue, gate.until, gate.run_id, gate.step) == (
            "function/shop-sync",
            "2026-01-01T00:00:30.000Z",
            first.id,
            "push",
        )
        assert (gate.message, gate.position, gate.queued) == ("the CRM says 429", 2, 2)
        assert why.text[1].endswith(f"step 'push' of run {first.id} was told to wait: the CRM says 429.")


def test_an_event_of_a_loop_names_the_chain(app) -> None:
    @app.create_function(id="again", trigger="go")
    async def again(ctx):
        await ctx.step.send_event("next", Event("go"))

    with harness(app, max_chain=2) as t:
        t.send("go")

        last = max(t.ask(ListEvents(10)), key=lambda event: event.depth)
        assert "It did not start shop-again, loop: it would be one more than the 2 runs" in told(t, last.id)
        assert "shop-again → shop-again" in told(t, last.id)
