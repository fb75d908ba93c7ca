"""A person pauses a function, and resumes it (semantics §9.5)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from stepwell import (
    BatchEvents,
    Cancel,
    Concurrency,
    ConfigurationError,
    Debounce,
    Event,
    RateLimit,
    RunConcurrency,
    Singleton,
    StepError,
    Stepwell,
    Throttle,
    TriggerCron,
)
from stepwell.errors import LimitExceeded, StorageUnavailable
from stepwell.model.place import EVERYWHERE
from stepwell.model.questions import Backlog, Outcomes
from stepwell.testing import Harness, harness


@pytest.fixture
def app() -> Stepwell:
    return Stepwell("shop")


def outcomes(t: Harness, event_id: str) -> list[tuple[str, str]]:
    return [(found.kind, found.reason) for found in t.ask(Outcomes(event_id))]


def statuses(t: Harness, function: Any) -> list[str]:
    return [run.status for run in t.runs(function)]


# Events ---------------------------------------------------------------------------------------------------------------


def test_an_event_for_a_paused_function_starts_no_run_and_says_why(app) -> None:
    @app.create_function(id="bill", trigger="go")
    async def bill(ctx): ...

    @app.create_function(id="other", trigger="go")
    async def other(ctx): ...

    with harness(app) as t:
        t.pause(bill, reason="the bank is down")
        (event_id,) = t.send(Event("go"))

        assert outcomes(t, event_id) == [
            ("paused", "the function has been paused since 2026-01-01T00:00:00.000Z: the bank is down")
        ]
        assert (statuses(t, bill), statuses(t, other)) == ([], ["COMPLETED"])


def test_what_was_skipped_stays_skipped_when_the_function_is_resumed(app) -> None:
    @app.create_function(id="bill", trigger="go")
    async def bill(ctx): ...

    with harness(app) as t:
        t.pause(bill)
        t.send("go")
        assert t.resume(bill)
        t.advance("1h")
        assert statuses(t, bill) == []

        t.send("go")
        assert statuses(t, bill) == ["COMPLETED"]


def test_runs_that_are_held_start_when_the_function_is_resumed(app) -> None:
    @app.create_function(id="bill", trigger="go")
    async def bill(ctx):
        return ctx.event.data["n"]

    with harness(app) as t:
        t.pause(bill, events="hold")
        t.send([Event("go", {"n": n}) for n in range(3)])
        t.advance("1d")
        assert statuses(t, bill) == ["QUEUED"] * 3

        t.resume(bill)
        assert [run.output for run in t.runs(bill)] == [0, 1, 2]


def test_a_run_that_is_held_does_not_start_before_the_moment_of_its_event(app) -> None:
    @app.create_function(id="bill", trigger="go")
    async def bill(ctx):
        return ctx.event.data["n"]

    with harness(app) as t:
        hour = 3_600_000
        start = int(t.now.timestamp() * 1000)
        t.pause(bill, events="hold")
        t.send([Event("go", {"n": 1}, ts=start + hour), Event("go", {"n": 2}, ts=start + 3 * hour)])
        t.advance("2h")
        assert statuses(t, bill) == ["QUEUED"] * 2

        t.resume(bill)
        assert statuses(t, bill) == ["COMPLETED", "QUEUED"]
        t.advance("1h")
        assert statuses(t, bill) == ["COMPLETED"] * 2


@pytest.mark.parametrize(("events", "later"), [("skip", []), ("hold", ["COMPLETED"] * 2)])
def test_ticks_fare_as_events_do(app, events, later) -> None:
    @app.create_function(id="report", trigger=TriggerCron("0 * * * *"))
    async def report(ctx): ...

    with harness(app) as t:
        t.pause(report, events=events)
        t.advance("2h30m")
        assert statuses(t, report) == ["QUEUED"] * len(later)

        t.resume(report)
        assert statuses(t, report) == later
        t.advance("1h")
        assert statuses(t, report) == [*later, "COMPLETED"]


@pytest.mark.parametrize("events", ["skip", "hold"])
def test_whoever_invokes_a_paused_function_is_told_at_once(app, events) -> None:
    @app.create_function(id="child")
    async def child(ctx): ...

    @app.create_function(id="parent", trigger="go")
    async def parent(ctx):
        try:
            await ctx.step.invoke("ask", child)
        except StepError as error:
            return error.name, error.message

    with harness(app) as t:
        t.pause(child, events=events, reason="maintenance")
        t.send("go")

        name, message = t.run(parent).output
        assert name == "InvokeSkipped"
        assert "paused since 2026-01-01T00:00:00.000Z: maintenance" in message
        assert statuses(t, child) == []


def test_a_paused_function_does_not_end_the_run_that_a_new_one_would_replace(app) -> None:
    @app.create_function(id="import", trigger="go", singleton=Singleton("cancel"))
    async def import_(ctx):
        await ctx.step.sleep("fetch", "1h")

    with harness(app) as t:
        t.send("go")
        t.pause(import_)
        (event_id,) = t.send(Event("go"))
        assert [kind for kind, _ in outcomes(t, event_id)] == ["paused"]

        t.advance("1h")
        assert statuses(t, import_) == ["COMPLETED"]


def test_an_event_id_that_started_nothing_is_free(app) -> None:
    @app.create_function(id="bill", trigger="go", idempotency="event.data.cart")
    async def bill(ctx): ...

    with harness(app) as t:
        t.pause(bill)
        sent = [t.send(Event("go", {"cart": 1}, id="one"))[0] for _ in range(2)]
        assert [outcomes(t, event_id)[0][0] for event_id in sent] == ["paused"] * 2

        t.resume(bill)
        t.send(Event("go", {"cart": 1}, id="one"))
        assert statuses(t, bill) == ["COMPLETED"]


def test_a_rate_limit_comes_before_a_pause(app) -> None:
    @app.create_function(id="bill", trigger="go", rate_limit=RateLimit(1, "1h"))
    async def bill(ctx): ...

    with harness(app) as t:
        t.pause(bill)
        sent = t.send([Event("go"), Event("go")])

        assert [outcomes(t, event_id)[0][0] for event_id in sent] == ["paused", "rate-limited"]


@pytest.mark.parametrize("full", [True, False])
def test_events_that_were_collected_are_told_that_nothing_came_of_them(app, full) -> None:
    @app.create_function(id="many", trigger="go", batch_events=BatchEvents(3, timeout="10s"))
    async def many(ctx): ...

    with harness(app) as t:
        sent = [t.send(Event("go"))[0]]
        t.pause(many)
        sent += t.send([Event("go")] * (2 if full else 1))
        t.advance("10s")

        assert [[kind for kind, _ in outcomes(t, event_id)] for event_id in sent] == [["paused"]] * len(sent)
        assert statuses(t, many) == []


def test_events_that_were_collected_start_their_run_later(app) -> None:
    @app.create_function(id="many", trigger="go", batch_events=BatchEvents(3, timeout="10s"))
    async def many(ctx):
        return [event.data["n"] for event in ctx.events]

    with harness(app) as t:
        t.pause(many, events="hold")
        t.send([Event("go", {"n": n}) for n in range(4)])
        t.advance("1h")
        t.resume(many)

        assert [run.output for run in t.runs(many)] == [[0, 1, 2], [3]]


def test_a_debounce_that_ends_in_a_pause_starts_nothing(app) -> None:
    @app.create_function(id="calm", trigger="go", debounce=Debounce("10s"))
    async def calm(ctx): ...

    with harness(app) as t:
        first, second = t.send([Event("go"), Event("go")])
        t.pause(calm)
        t.advance("10s")

        assert [outcomes(t, event_id)[0][0] for event_id in (first, second)] == ["debounced", "paused"]
        assert statuses(t, calm) == []


# Runs -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def resting(app) -> Any:
    @app.create_function(id="rest", trigger="go")
    async def rest(ctx):
        await ctx.step.sleep("one", "1h")
        await ctx.step.sleep("two", "1h")

    return rest


def test_the_runs_that_there_are_go_on_by_themselves(app, resting) -> None:
    with harness(app) as t:
        t.send("go")
        t.pause(resting)
        t.advance("2h")

        assert statuses(t, resting) == ["COMPLETED"]


def test_or_they_wait_from_their_next_rest_on(app, resting) -> None:
    with harness(app) as t:
        t.send("go")
        t.pause(resting, runs="hold")
        t.advance("1d")
        run = t.run(resting)
        assert (run.status, list(run.steps)) == ("RUNNING", ["one"])

        t.resume(resting)
        assert list(t.run(resting).steps) == ["one", "two"]
        t.advance("1h")
        assert statuses(t, resting) == ["COMPLETED"]


def test_or_they_are_cancelled_and_later_ones_are_not(app, resting) -> None:
    with harness(app) as t:
        t.send([Event("go")] * 150)  # more than one decision ends
        t.pause(resting, events="hold", runs="cancel")
        t.send("go")
        t.advance("1s")
        assert statuses(t, resting) == ["CANCELLED"] * 150 + ["QUEUED"]

        t.resume(resting)
        t.advance("2h")
        assert statuses(t, resting) == ["CANCELLED"] * 150 + ["COMPLETED"]


def test_a_run_that_is_held_hears_events_and_can_be_cancelled(app) -> None:
    @app.create_function(id="ask", trigger="go", cancel=Cancel("stop", match="data.n"))
    async def ask(ctx):
        found = await ctx.step.wait_for_event("answer", "answered", match="data.n", timeout="1h")
        return found.data["n"]

    with harness(app) as t:
        t.send([Event("go", {"n": n}) for n in (1, 2)])
        t.pause(ask, runs="hold")
        t.send("answered", {"n": 1})
        t.send("stop", {"n": 2})
        assert statuses(t, ask) == ["RUNNING", "CANCELLED"]

        t.advance("2h")
        t.resume(ask)
        assert t.runs(ask)[0].output == 1


def test_other_choices_take_the_place_of_those_that_were(app, resting) -> None:
    with harness(app) as t:
        t.send("go")
        t.pause(resting, runs="hold", events="hold")
        t.advance("1h")
        t.send("go")
        t.advance("1m")

        t.pause(resting, runs="finish", events="hold")  # what there was goes on, what came later waits
        t.advance("1h")
        assert statuses(t, resting) == ["COMPLETED", "QUEUED"]
        t.resume(resting)
        t.advance("2h")
        assert statuses(t, resting) == ["COMPLETED"] * 2


@pytest.mark.parametrize("limit", ["concurrency", "run_concurrency"])
def test_a_run_that_is_held_takes_no_room_from_others(app, limit) -> None:
    """They share a limit, and the room that becomes free was meant for the one that is held."""
    options = {
        "concurrency": {"concurrency": Concurrency(1, key="'all'", scope="env")},
        "run_concurrency": {"run_concurrency": RunConcurrency(1, key="'all'", scope="env")},
    }

    def function(name: str) -> Any:
        @app.create_function(id=name, trigger=name, **options[limit])
        async def work(ctx):
            await ctx.step.run("work", asyncio.sleep, 60)

        return work

    holder, held, other = (function(name) for name in ("holder", "held", "other"))
    with harness(app) as t:
        t.send([Event("holder"), Event("held"), Event("held"), Event("other")])
        assert (statuses(t, held), statuses(t, other)) == (["QUEUED"] * 2, ["QUEUED"])
        t.pause(held, runs="hold")
        t.advance("2m")
        assert (statuses(t, holder), statuses(t, held), statuses(t, other)) == (
            ["COMPLETED"],
            ["QUEUED"] * 2,
            ["COMPLETED"],
        )

        t.resume(held)
        t.advance("2m")
        assert statuses(t, held) == ["COMPLETED"] * 2


def test_those_that_go_on_start_at_the_rate_of_their_function(app) -> None:
    @app.create_function(id="sync", trigger="go", throttle=Throttle(1, "1m", burst=0))
    async def sync(ctx): ...

    with harness(app) as t:
        t.pause(sync, events="hold")
        t.send([Event("go")] * 3)
        t.advance("1h")
        t.resume(sync)

        assert statuses(t, sync) == ["COMPLETED", "QUEUED", "QUEUED"]
        t.advance("2m")
        assert statuses(t, sync) == ["COMPLETED"] * 3


# What it survives -----------------------------------------------------------------------------------------------------


def test_new_code_does_not_resume_a_function() -> None:
    def version(concurrency: int) -> Stepwell:
        app = Stepwell("shop")

        @app.create_function(id="bill", trigger="go", concurrency=concurrency)
        async def bill(ctx): ...

        return app

    with harness(version(1)) as t:
        t.pause("bill", events="hold", runs="hold")
        t.send("go")
        t.crash(app=version(2))
        t.send("go")
        t.advance("1h")
        assert statuses(t, "bill") == ["QUEUED"] * 2

        t.resume("bill")
        assert statuses(t, "bill") == ["COMPLETED"] * 2


def test_what_waits_costs_nothing_until_it_is_let_go(app) -> None:
    @app.create_function(id="bill", trigger="go")
    async def bill(ctx): ...

    with harness(app) as t:
        t.pause(bill, events="hold")
        t.send([Event("go")] * 5)

        assert len(t.ask(Backlog("paused/shop-bill", 10, EVERYWHERE))) == 5
        t.resume(bill)
        assert t.ask(Backlog("paused/shop-bill", 10, EVERYWHERE)) == []


# What is refused ------------------------------------------------------------------------------------------------------


def test_what_is_no_choice_is_refused(app, resting) -> None:
    with harness(app) as t:
        with pytest.raises(ConfigurationError, match="choose one of 'skip', 'hold'"):
            t.pause(resting, events="drop")
        with pytest.raises(ConfigurationError, match="choose one of 'finish', 'hold', 'cancel'"):
            t.pause(resting, runs="skip")
        with pytest.raises(ConfigurationError, match="500 characters"):
            t.pause(resting, reason="x" * 501)
        assert not t.resume(resting)


def test_a_run_is_not_started_again_while_its_function_is_paused(app) -> None:
    @app.create_function(id="bill", trigger="go")
    async def bill(ctx): ...

    with harness(app) as t:
        t.send("go")
        t.pause(bill)
        with pytest.raises(LimitExceeded, match="stepwell resume shop-bill"):
            t.rerun(t.run(bill))

        t.pause(bill, events="hold")
        assert t.rerun(t.runs(bill)[0]).status == "QUEUED"
        t.resume(bill)
        assert statuses(t, bill) == ["COMPLETED"] * 2


def test_a_pause_of_which_nobody_knows_whether_it_was_written_is_known_once_the_store_answers(app) -> None:
    """I28: the next decision is made by what the store holds, and no later one has to ask it again."""

    @app.create_function(id="bill", trigger="go")
    async def bill(ctx): ...

    with harness(app) as t:
        store = t.engine.store
        commit, read = store.commit, store.read
        unanswered = iter(range(3))

        def unsure(work: Any) -> asyncio.Future[Any]:
            written = commit(work)
            store.commit = commit  # type: ignore[method-assign]
            told = asyncio.get_running_loop().create_future()
            written.add_done_callback(lambda _: told.set_exception(StorageUnavailable("the disk fails", "who knows")))
            return told

        async def silent(question: Any) -> Any:
            if next(unanswered, None) is not None:
                raise StorageUnavailable("the disk fails", "it is read later")
            return await read(question)

        store.commit, store.read = unsure, silent  # type: ignore[method-assign]
        with pytest.raises(StorageUnavailable):
            t.pause(bill, reason="the bank is down")
        store.read = read  # type: ignore[method-assign]
        (event_id,) = t.send(Event("go"))

        assert [kind for kind, _ in outcomes(t, event_id)] == ["paused"]
        t.advance("1s")
        assert t.engine.registry.functions["shop-bill"].pause is not None
        assert t.engine.declaring == 0
