"""Under every rule each event has a result for each function that matches: a run, or why there is none and which run
stands for it (semantics §7.1; F79, I2). Also when the process dies before or after any of the commits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import pytest

from stepwell import (
    BatchEvents,
    Debounce,
    Event,
    Priority,
    RateLimit,
    Singleton,
    StepError,
    Stepwell,
    Throttle,
    TriggerCron,
    TriggerEvent,
)
from stepwell.model.questions import GetEvent, ListEvents, Notes, Outcomes
from stepwell.testing import Harness, harness
from stepwell.testing.harness import START
from stepwell.testing.sweep import sweep
from stepwell.views.why.events import explain_event
from tests.edge.test_why import Asking, at_once

HOUR = timedelta(hours=1)
Act = Callable[[Harness], object]


def send(*numbers: int, id: str | None = None, **data: Any) -> Act:
    """Events that are told apart by ``n``."""
    return lambda t: t.send([Event("go", {"n": n, **data}, id=id or f"go/{n}") for n in numbers])


def until(length: timedelta) -> Act:
    return lambda t: t.advance_to(max(START + length, t.now))


class Case(NamedTuple):
    """A function, what is done, and what became of each event: ``run 0`` is the first run there was, and what stands
    behind an arrow is the run that an outcome links to. ``noted`` are notes of runs, ``reasons`` parts of reasons."""

    options: dict[str, Any]
    acts: list[Act]
    became: list[str]
    noted: Sequence[str] = ()
    reasons: Sequence[str] = ()


CASES: dict[str, Case] = {
    "nothing but a trigger": Case({}, [send(1)], ["run 0"]),
    "a rate limit": Case(
        {"rate_limit": RateLimit(1, "1h")},
        [send(1, 2)],
        ["run 0", "rate-limited -> 0"],
        reasons=["the rate limit of 1 per 1h was reached; free again at 2026-01-01T01:00:00.000Z"],
    ),
    "an idempotency key": Case(
        {"idempotency": "event.data.who"},
        [send(1, 2, who="ann"), send(3, who="bob")],
        ["run 0", "idempotent -> 0", "run 1"],
        reasons=["a run with this idempotency key started in the last 24 hours"],
    ),
    "the same event id": Case(
        {},
        [send(1, id="x"), send(2, id="x")],
        ["run 0", "deduplicated -> 0"],
        reasons=["event id 'x' was seen before"],
    ),
    "a debounce": Case(
        {"debounce": Debounce("10s")},
        [send(1, 2), send(3), until(HOUR)],
        ["debounced -> 0", "debounced -> 0", "run 0"],
        reasons=["a newer event came while it was held back, and stands for it"] * 2,
    ),
    "a batch": Case(
        {"batch_events": BatchEvents(2, timeout="1m")},
        [send(1, 2), send(3), until(HOUR)],
        ["run 0", "run 0", "run 1"],
    ),
    "the condition of a batch": Case(
        {"batch_events": BatchEvents(2, timeout="1m", if_="event.data.n > 1")},
        [send(1), send(2), until(HOUR)],
        ["run 0", "run 1"],
        noted=["0 not-collected: it was not collected: the condition event.data.n > 1 is not true for its event"],
    ),
    "the condition of a batch that fails": Case(
        {"batch_events": BatchEvents(2, timeout="1m", if_="event.data.who < 1")},
        [send(1, who="ann")],
        ["run 0"],
        noted=["0 not-collected: it was not collected: the condition event.data.who < 1 failed for its event: "],
    ),
    "a singleton that skips": Case(
        {"singleton": Singleton("skip")},
        [send(1, 2), until(2 * HOUR), send(3)],
        ["run 0", "singleton -> 0", "run 1"],
        reasons=["a run with this singleton key has not ended"],
    ),
    "a singleton that cancels": Case(
        {"singleton": Singleton("cancel")},
        [send(1), send(2)],
        ["run 0", "run 1"],
        noted=[
            "0 cancelled: singleton: run 1 took its place",
            "1 took-the-place: it took the place of run 0, which was",
        ],
    ),
    "a key that fails": Case(
        {"throttle": Throttle(1, "1h", key="event.data.who < 1")},
        [send(1, who="ann")],
        ["run 0"],
        noted=["0 key-failed: the key event.data.who < 1 of throttle failed for its event, so it shares one with all"],
    ),
    "the key of a singleton that fails": Case(
        {"singleton": Singleton("skip", key="event.data.who < 1")},
        [send(1, 2, who="ann")],
        ["run 0", "run 1"],
        noted=[
            f"{n} key-failed: the key event.data.who < 1 of singleton failed for its event, so it does" for n in (0, 1)
        ],
    ),
    "the key of a rate limit that fails": Case(
        {"rate_limit": RateLimit(1, "1h", key="event.data.who < 1")},
        [send(1, 2, who="ann")],
        ["run 0", "rate-limited -> 0"],
        noted=["0 key-failed: the key event.data.who < 1 of rateLimit failed for its event, so it shares one"],
        reasons=["it gives no key (what the expression names is missing or empty, or it failed)"],
    ),
    "the key of a debounce that fails": Case(
        {"debounce": Debounce("10s", key="event.data.who < 1")},
        [send(1, 2, who="ann"), until(HOUR)],
        ["debounced -> 0", "run 0"],
        noted=["0 key-failed: the key event.data.who < 1 of debounce failed for its event, so it shares one"],
        reasons=["a newer event came while it was held back, and stands for it"],
    ),
    "a priority that fails": Case(
        {"priority": Priority("event.data.who < 1 ? 1 : 0")},
        [send(1, who="ann")],
        ["run 0"],
        noted=["0 priority-ignored: the priority event.data.who < 1 ? 1 : 0 failed for its event, so it counts"],
    ),
    "a priority that is no whole number": Case(
        {"priority": Priority("event.data.who")},
        [send(1, who="ann"), send(2), send(3, who=0)],  # it may well be missing
        ["run 0", "run 1", "run 2"],
        noted=["0 priority-ignored: the priority event.data.who gives no whole number for its event, so"],
    ),
    "a condition that is not true": Case(
        {"trigger": TriggerEvent("go", if_="event.data.n > 1")}, [send(1, 2)], ["condition", "run 0"]
    ),
    "a condition that fails": Case(
        {"trigger": TriggerEvent("go", if_="event.data.who < 1")},
        [send(1, who="ann")],
        ["expression-failed"],
        reasons=["string and int have no order"],
    ),
    "a pause": Case(
        {},
        [lambda t: t.pause("work", reason="the bank is down"), send(1), lambda t: t.resume("work"), send(2)],
        ["paused", "run 0"],
        reasons=["the function has been paused since 2026-01-01T00:00:00.000Z: the bank is down"],
    ),
    "a pause while events are collected": Case(
        {"batch_events": BatchEvents(5, timeout="1m")},
        [send(1, 2), lambda t: t.pause("work"), until(HOUR)],
        ["paused", "paused"],
        reasons=["the function has been paused since"] * 2,
    ),
    "a pause while an event is debounced": Case(
        {"debounce": Debounce("1m")},
        [send(1, 2), lambda t: t.pause("work"), until(HOUR)],
        ["debounced -> none", "paused"],
        reasons=["that run was not started", "the function has been paused since"],
    ),
}


def work(app: Stepwell, options: dict[str, Any]) -> None:
    @app.create_function(id="work", **{"trigger": "go", **options})
    async def work(ctx: Any) -> None:
        await ctx.step.sleep("rest", "1h")


class Seen(NamedTuple):
    became: list[str]
    noted: list[str]
    reasons: list[str]


def seen(t: Harness, name: str = "go") -> Seen:
    runs = {run.id: number for number, run in enumerate(t.runs("work"))}
    became, reasons = list[str](), list[str]()
    # By their data: those of one request have ids that no other request has, but in no order that lasts over a crash.
    events = sorted(t.ask(ListEvents(100, name=name, internal=True)), key=lambda event: (event.data, event.id))
    for event in events:
        stored = t.ask(GetEvent(event.id))
        assert stored is not None
        why = at_once(explain_event(Asking(t), t.engine.registry, stored))
        found = [f"run {runs[run.id]}" for run in why.runs if run.id in runs]
        for outcome in why.outcomes:
            link = "" if outcome.run_id is None else f" -> {runs.get(outcome.run_id, 'none')}"
            found.append(f"{outcome.kind}{link}")
            reasons.append(outcome.reason)
        found += [each.because for each in why.unstarted]
        found += [f"held for {each.run_id}" for each in why.held]
        assert len(found) == 1, found
        became += found
    notes = [
        f"{number} {note.kind}: {named(note.text, runs)}" for id, number in runs.items() for note in t.ask(Notes(id))
    ]
    return Seen(became, [note for note in notes if " lease-lost: " not in note], reasons)


def named(text: str, runs: dict[str, int]) -> str:
    for id, number in runs.items():
        text = text.replace(id, str(number))
    return text


def check(t: Harness, case: Case) -> None:
    for act in case.acts:
        act(t)
        t.run_until_idle()
    found = seen(t)
    assert found.became == case.became
    assert_parts(found.noted, case.noted)
    assert_parts(found.reasons, case.reasons)


def assert_parts(found: Sequence[str], parts: Sequence[str]) -> None:
    assert len(found) == len(parts), found
    for text, part in zip(found, parts, strict=True):
        assert part in text


@pytest.mark.parametrize("name", CASES)
def test_each_event_has_a_result_with_its_reason_and_the_run_that_caused_it(name: str) -> None:
    app = Stepwell("shop")
    work(app, CASES[name].options)

    with harness(app) as t:
        check(t, CASES[name])


@pytest.mark.sqlite("is judged at each commit by triggers and queries of SQLite")
@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_the_results_are_the_same_whichever_commit_the_process_dies_at(name: str) -> None:
    app = Stepwell("shop")
    work(app, CASES[name].options)

    found = sweep(app, lambda t: check(t, CASES[name]), judged=True, patience=0.3)

    assert not found.failures, str(found)
    assert found.points >= 2


# Ticks, invokes, and functions that leave -----------------------------------------------------------------------------


def test_ticks_that_are_skipped_because_they_were_missed_are_on_record() -> None:
    app = Stepwell("shop")
    work(app, {"trigger": TriggerCron("0 * * * *", missed="skip")})

    with harness(app) as t:
        t.crash(down="5h30m")

        found = seen(t, "inngest/scheduled.timer")
        assert found.became == ["missed"]
        assert found.reasons == [
            "nothing ran at its moment, nor at 4 since 2026-01-01T01:00:00.000Z before it,"
            " and ticks that are missed are skipped"
        ]
        t.advance("30m")
        assert seen(t, "inngest/scheduled.timer").became == ["missed", "run 0"]


def test_a_run_that_stands_for_ticks_that_were_missed_says_for_how_many() -> None:
    app = Stepwell("shop")
    work(app, {"trigger": TriggerCron("0 * * * *", missed="latest")})

    with harness(app) as t:
        t.crash(down="5h30m")

        found = seen(t, "inngest/scheduled.timer")
        assert found.became == ["run 0"]
        assert found.noted == [
            "0 ticks-missed: of the ticks that were missed only the latest starts a run; left out were 4 since"
            " 2026-01-01T01:00:00.000Z"
        ]
        t.advance("30m")
        assert seen(t, "inngest/scheduled.timer").noted == found.noted, "a tick that comes says nothing"


def test_ticks_that_all_come_late_leave_none_out() -> None:
    app = Stepwell("shop")
    work(app, {"trigger": TriggerCron("0 * * * *", missed="all")})

    with harness(app) as t:
        t.crash(down="3h30m")

        found = seen(t, "inngest/scheduled.timer")
        assert (sorted(found.became), found.noted) == (["run 0", "run 1", "run 2"], [])


def test_an_invoke_that_is_refused_has_a_result_of_its_event() -> None:
    app = Stepwell("shop")
    work(app, {"trigger": "other", "rate_limit": RateLimit(1, "1h")})

    @app.create_function(id="asks", trigger="ask")
    async def asks(ctx: Any) -> str:
        try:
            await ctx.step.invoke_by_id("call", function_id="work", data={"n": 1})
        except StepError as error:
            return str(error)
        return "done"

    with harness(app) as t:
        t.send("ask")
        t.run_until_idle()
        t.send("ask")

        found = seen(t, "inngest/function.invoked")
        assert found.became == ["run 0", "rate-limited -> 0"]
        assert "the rate limit of 1 per 1h was reached" in t.runs("asks")[1].output


def test_events_that_were_held_back_for_a_function_that_left_say_so() -> None:
    app, without = Stepwell("shop"), Stepwell("shop")
    work(app, {"batch_events": BatchEvents(5, timeout="1m")})

    @without.create_function(id="other", trigger="other")
    async def other(ctx: Any) -> None: ...

    with harness(app) as t:
        t.send([Event("go", {"n": n}) for n in range(2)])
        t.crash(app=without)
        t.advance("2m")

        found = {outcome.kind for event in t.ask(ListEvents(9, name="go")) for outcome in t.ask(Outcomes(event.id))}
        assert found == {"function-gone"}
