"""Why a run has not started, or none did, when a rule of its function says so."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from stepwell import (
    BackpressureError,
    BatchEvents,
    Concurrency,
    Debounce,
    Event,
    RateLimit,
    RunConcurrency,
    Singleton,
    Stepwell,
    Throttle,
    Timeouts,
    TriggerCron,
    TriggerEvent,
)
from stepwell.clock import to_ms
from stepwell.model.questions import GetEvent, ListEvents
from stepwell.protocol.messages import Executing
from stepwell.testing import Harness, harness
from stepwell.views.why import Situation, why_event, why_run
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
        (first,) = t.send([Event("go")])
        assert "It is held back for shop-calm, so far the only event: run " in told(t, first)
        assert "It is held back for shop-many, so far the only event: run " in told(t, first)
        (second,) = t.send([Event("go")])

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


def test_a_run_that_a_limit_of_steps_holds_up_says_which_step_of_which_run_has_to_end(app) -> None:
    @app.create_function(id="work", trigger="go", concurrency=Concurrency(1, key="event.data.who"))
    async def work(ctx):
        await ctx.step.run("print", asyncio.sleep, 600)

    def bodies(run_id: str) -> Mapping[str, Executing]:
        return {"print": Executing("print", 0, "step", 0, to_ms(t.now))} if run_id == first.id else {}

    with harness(app) as t:
        t.send([Event("go", {"who": "ann"}) for _ in range(3)])
        first, second, third = t.runs(work)

        why = explained(t, third.id)
        (gate,) = why.gates
        assert (gate.value, gate.limit, gate.used, gate.held_by) == ("ann", 1, 1, [first.id])
        assert (gate.position, gate.queued, gate.queued_more) == (2, 2, False)
        assert f"The next in line goes on when the call of run {first.id} ends, which began at" in "\n".join(why.text)
        told = at_once(
            why_run(
                Asking(t),
                t.engine.registry,
                t.run(id=second.id).record,
                Situation(now=to_ms(t.now), bodies=bodies),
            )
        )
        assert told.gates[0].holders[0].step == "print"
        assert f"The next in line goes on when step 'print' of run {first.id} ends" in "\n".join(told.text)


def test_a_run_that_waits_for_a_place_says_which_run_has_to_end(app) -> None:
    @app.create_function(id="work", trigger="go", run_concurrency=RunConcurrency(1))
    async def work(ctx):
        await ctx.step.sleep("rest", "1h")

    with harness(app) as t:
        t.send([Event("go") for _ in range(2)])
        first, second = t.runs(work)

        why = explained(t, second.id)
        assert (why.gates[0].of_runs, why.gates[0].held_by) == (True, [first.id])
        assert f"The next in line goes on when run {first.id} ends" in "\n".join(why.text)


def test_a_place_in_a_long_line_is_counted_up_to_a_number(app, monkeypatch) -> None:
    monkeypatch.setattr("stepwell.views.why.live.COUNT_MAX", 2)

    @app.create_function(id="work", trigger="go", throttle=Throttle(1, "1h", burst=0))
    async def work(ctx): ...

    with harness(app) as t:
        t.send([Event("go") for _ in range(5)])

        assert "It is number 3 or later of 3 or more in line." in explained(t, t.runs(work)[4].id).text
        assert "It is number 1 of 2 or more in line." in explained(t, t.runs(work)[1].id).text


def test_a_run_whose_place_another_took_says_which(app) -> None:
    @app.create_function(id="one", trigger="go", singleton=Singleton("cancel"))
    async def one(ctx):
        await ctx.step.sleep("x", "1h")

    with harness(app) as t:
        t.send("go")
        t.send("go")
        first, second = t.runs(one)

        why = explained(t, first.id)
        assert (why.cause.by, why.cause.run_id) == ("singleton", second.id)
        assert f"Its function runs alone, and run {second.id} took its place." in why.text
        assert f"it took the place of run {first.id}, which was cancelled (singleton)" in "\n".join(
            explained(t, second.id).text
        )


def test_an_event_for_a_paused_function_says_since_when_and_why(app) -> None:
    @app.create_function(id="work", trigger="go")
    async def work(ctx): ...

    with harness(app) as t:
        t.pause(work, reason="the bank is down")
        (event_id,) = t.send("go")

        assert "paused: the function has been paused since 2026-01-01T00:00:00.000Z: the bank is down" in told(
            t, event_id
        )


def test_an_event_with_an_id_that_was_seen_says_which_run_it_started(app) -> None:
    @app.create_function(id="work", trigger="go")
    async def work(ctx): ...

    @app.create_function(id="once", trigger="go", idempotency="event.name")
    async def once(ctx): ...

    with harness(app) as t:
        t.send(Event("go", id="x"))
        (second,) = t.send(Event("go", id="x"))
        (third,) = t.send(Event("go", id="y"))

        assert f"deduplicated: event id 'x' was seen before (run {t.runs(work)[0].id})" in told(t, second)
        assert f"in the last 24 hours (run {t.run(once).id})" in told(t, third)


def test_an_event_says_which_condition_was_not_true_for_it_and_which_failed(app) -> None:
    @app.create_function(id="picky", trigger=TriggerEvent("go", if_="event.data.n > 1"))
    async def picky(ctx): ...

    @app.create_function(id="broken", trigger=TriggerEvent("go", if_="event.data.who > 1"))
    async def broken(ctx): ...

    with harness(app) as t:
        (event_id,) = t.send("go", {"n": 1, "who": "ann"})

        assert "It did not start shop-picky: event.data.n > 1 is not true for it." in told(t, event_id)
        assert "It did not start shop-broken, expression-failed: string and int have no order." in told(t, event_id)


def test_a_tick_that_was_missed_says_that_it_was_skipped(app) -> None:
    @app.create_function(id="daily", trigger=TriggerCron("0 0 * * *", missed="skip"))
    async def daily(ctx): ...

    with harness(app) as t:
        t.crash(down="2d1h")

        (tick,) = t.ask(ListEvents(9, name="inngest/scheduled.timer", internal=True))
        assert "It did not start shop-daily, missed: nothing ran at its moment, nor at 1 since" in told(t, tick.id)


def test_an_event_left_out_for_a_run_that_never_came_says_so(app) -> None:
    @app.create_function(id="calm", trigger="go", debounce=Debounce("10s"))
    async def calm(ctx): ...

    with harness(app) as t:
        (first,) = t.send("go")
        t.send("go")
        assert "that run is still to come" in told(t, first)
        t.pause(calm)
        t.advance("1m")

        assert "that run was not started" in told(t, first)


def test_an_event_that_came_while_its_function_was_archived_says_so_before_and_after_that_is_over(app) -> None:
    @app.create_function(id="work", trigger="go")
    async def work(ctx): ...

    with harness(app) as t:
        t.archive(work)
        (missed,) = t.send([Event("go")])
        assert "It did not start shop-work, which is archived: nothing starts it now." in told(t, missed)

        t.advance("1m")
        t.unarchive(work)
        assert "It did not start shop-work, which was registered, changed or unarchived after it" in told(t, missed)


def test_a_run_says_when_a_timeout_of_its_function_cancels_it(app) -> None:
    @app.create_function(id="work", trigger="go", run_concurrency=1, timeouts=Timeouts(start="5m", finish="1h"))
    async def work(ctx):
        await ctx.step.sleep("rest", "30m")

    with harness(app) as t:
        t.send([Event("go"), Event("go")])
        begun, waiting = (explained(t, run.id) for run in t.runs(work))

        assert [(each.timeout, each.at) for each in begun.deadlines] == [("finish", "2026-01-01T01:00:00.000Z")]
        assert [(each.timeout, each.at) for each in waiting.deadlines] == [("start", "2026-01-01T00:05:00.000Z")]
        assert "Its start timeout cancels it at 00:05:00 UTC (in 5m 00s) if it has not begun by then." in waiting.text
        t.advance("45m")
        assert [explained(t, run.id).deadlines for run in t.runs(work)] == [(), ()]
