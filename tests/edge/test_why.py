"""The exact reason why a run has not ended, or ended as it did, or was never started."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import pytest
from rich.console import Console

from stepwell import Cancel, Concurrency, Context, Event, Priority, Stepwell
from stepwell.cli.tree import trace_tree
from stepwell.clock import to_ms
from stepwell.limits import LEASE_LOSSES_MAX, STEP_BYTES_MAX
from stepwell.model.questions import GetRun, Question, RunsOfEvent
from stepwell.model.run import Run
from stepwell.testing import Harness, harness
from stepwell.views.trace import trace_view
from stepwell.views.why import RunWhy, Situation, why_run
from stepwell.views.why.shapes import Postponed
from tests.edge.conftest import Dev, command, eventually

A = TypeVar("A")


class Asking:
    """Reads what a harness has stored."""

    def __init__(self, t: Harness) -> None:
        self._t = t

    async def read(self, question: Question[A]) -> A:
        return self._t.ask(question)


def at_once(work: Coroutine[Any, Any, A]) -> A:
    """The value of what never has to wait."""
    try:
        work.send(None)
    except StopIteration as done:
        value: A = done.value
        return value
    raise AssertionError("it waits")


def stored(t: Harness, function: Any) -> Run:
    run = t.ask(GetRun(t.run(function).id))
    assert run is not None
    return run


def explained(t: Harness, function: Any) -> RunWhy:
    return at_once(why_run(Asking(t), t.engine.registry, stored(t, function), Situation(now=to_ms(t.now))))


def drawn(t: Harness, function: Any) -> str:
    trace = at_once(trace_view(Asking(t), stored(t, function), t.engine.registry.get))
    console = Console(width=200, markup=False, emoji=False)
    with console.capture() as captured:
        console.print(trace_tree(trace, to_ms(t.now)))
    return captured.get()


def text(dev: Dev, run_id: str) -> str:
    return "\n".join(dev.get(f"/v2/runs/{run_id}/why")["text"])


def test_a_run_sleeps_until_a_moment(dev: Dev) -> None:
    run_id = dev.start("shop/sold", amount=101)

    gate = dev.why(run_id, "sleeping")

    assert gate["step"] == "think"
    assert gate["until"] > dev.get(f"/v2/runs/{run_id}")["queuedAt"]
    assert "It sleeps in step 'think' until" in text(dev, run_id)
    assert "(in 1h 59m)" in text(dev, run_id)


def test_a_run_waits_for_an_event_with_a_condition(dev: Dev) -> None:
    run_id = dev.start("shop/requested", id=11)

    gate = dev.why(run_id, "waiting")

    assert (gate["step"], gate["event"]) == ("approval", "shop/approved")
    assert "11" in gate["condition"]
    assert "for an event 'shop/approved' for which" in text(dev, run_id)


def test_a_run_waits_for_the_run_it_invoked_and_why_that_one_waits(dev: Dev) -> None:
    run_id = dev.start("shop/delegated")

    dev.why(dev.why(run_id, "invoking")["runId"], "waiting")
    gate = dev.why(run_id, "invoking")

    assert gate["functionId"] == "shop-approve"
    assert [deeper["kind"] for deeper in gate["child"]["gates"]] == ["waiting"]
    assert "  It waits in step 'approval'" in text(dev, run_id)


def test_a_run_is_held_back_by_its_concurrency_limit(dev: Dev) -> None:
    holder = dev.start("shop/exported", user="u7", gate="why-1")
    dev.why(holder, "executing")
    blocked = [dev.start("shop/exported", user="u7", gate="why-1") for _ in range(2)]
    try:
        first, second = dev.why(blocked[0], "limited"), dev.why(blocked[1], "limited")

        assert (first["value"], first["expression"], first["limit"]) == ("u7", "event.data.user", 1)
        assert (first["used"], first["heldBy"]) == (1, [holder])
        assert (first["position"], second["position"], second["queued"]) == (1, 2, 2)
        assert "event.data.user = 'u7': 1 of 1 in use by " + holder in text(dev, blocked[1])
        assert "number 2 of 2 in line" in text(dev, blocked[1])
    finally:
        dev.open_gate("why-1")
    for run_id in (holder, *blocked):
        dev.ended(run_id)


def test_a_run_that_is_executing_tells_since_when(dev: Dev) -> None:
    run_id = dev.start("shop/exported", user="u8", gate="why-2")

    gate = dev.why(run_id, "executing")

    assert gate["since"] >= dev.get(f"/v2/runs/{run_id}")["startedAt"]
    dev.open_gate("why-2")
    dev.ended(run_id)


@pytest.mark.slow
def test_a_step_is_tried_again_at_a_moment_because_of_its_error(start_dev: Callable[..., Dev]) -> None:
    dev = start_dev("--retry-interval", "1h", "--no-reload")
    run_id = dev.start("shop/failing")

    gate = dev.why(run_id, "retrying")

    assert (gate["step"], gate["retry"], gate["retries"]) == ("decline", 1, 1)
    assert gate["error"]["message"] == "card declined"
    assert "Attempt 2 of 2 of step 'decline' comes at" in text(dev, run_id)
    assert "because of ValueError: card declined" in text(dev, run_id)


def test_a_run_is_scheduled_by_the_ts_of_its_event(dev: Dev) -> None:
    (event_id,) = dev.http("POST", "/e/k", {"name": "shop/ordered", "ts": 4_000_000_000_000}).json["ids"]
    (run,) = dev.get(f"/v2/events/{event_id}/runs")["runs"]

    assert dev.why(run["id"], "scheduled")["at"].startswith("2096-10-02")


def test_a_run_that_failed_names_the_step_its_tries_and_the_line_that_raised(dev: Dev) -> None:
    run_id = dev.start("shop/failing")
    dev.ended(run_id)

    cause = dev.get(f"/v2/runs/{run_id}/why")["cause"]

    assert (cause["kind"], cause["step"], cause["tries"]) == ("failed", "decline", 2)
    assert cause["error"]["name"] == "ValueError"
    assert cause["frame"]["file"].endswith("app.py")
    assert cause["frame"]["code"] == 'raise ValueError("card declined")'
    assert "Step 'decline' failed after 2 attempts: ValueError: card declined." in text(dev, run_id)


@contextmanager
def _dying(times: int, *, every: str) -> Generator[tuple[Harness, Any]]:
    """A run whose process has died so often while its only step was executed."""
    app = Stepwell("shop")

    @app.create_function(id="bill", trigger="shop/ordered")
    async def bill(ctx: Context[dict]) -> None:
        await ctx.step.run("charge", partial(asyncio.sleep, 120))

    with harness(app) as t:
        t.send("shop/ordered", {})
        for _ in range(times):
            t.advance(every)
            t.crash()
        yield t, bill


def test_a_run_whose_processes_died_is_not_said_to_have_failed_itself() -> None:
    with _dying(LEASE_LOSSES_MAX, every="65s") as (t, bill):
        t.run_until_idle()

        why = explained(t, bill)

        assert getattr(why.cause, "tries", None) == 0
        assert why.text[1] == (
            "Stepwell gave it up: WorkerLost: the processes that ran it died 20 times in a row while it was in flight."
        )
        assert why.text[2].startswith("  why: ") and "it may be innocent" in why.text[2]
        assert why.text[3].startswith("  fix: look at the server's log for what ended the processes")


def test_a_run_that_is_left_alone_says_until_when_and_why() -> None:
    with _dying(6, every="10s") as (t, bill):
        why = explained(t, bill)

        (gate,) = why.gates
        assert isinstance(gate, Postponed)
        assert (gate.losses, gate.losses_max) == (6, LEASE_LOSSES_MAX)
        assert why.text[1].startswith("The process that ran it died 6 times in a row. It is left alone, in case it is")
        assert f"goes on at {gate.at[11:19]} UTC (in" in why.text[1]
        assert why.text[1].endswith("After 20 times it is given up.")


def test_notes_that_say_the_same_are_one_with_how_often() -> None:
    with _dying(9, every="65s") as (t, bill):
        t.advance("1s")

        told = "the process that ran it died or lost its lease (9 times)"
        assert [line for line in explained(t, bill).text if line.startswith("Note")] == [f"Note, 1 s ago: {told}."]
        assert [line.strip("├─└ ") for line in drawn(t, bill).splitlines() if "note" in line] == [
            f"note, 1 s ago: {told}"
        ]


def test_errors_of_ours_have_why_and_fix_on_lines_of_their_own() -> None:
    app = Stepwell("shop")

    @app.create_function(id="bill", trigger="shop/ordered", retries=0)
    async def bill(ctx: Context[dict]) -> None:
        await ctx.step.run("read", lambda: "x" * STEP_BYTES_MAX)

    with harness(app) as t:
        t.send("shop/ordered", {})

        what, why, fix = explained(t, bill).text[1:4]

        assert what.startswith(
            "Step 'read' failed after 1 attempt: OutputTooLarge: the step's output has 4194306 bytes"
        )
        assert why == "  why: every later call of the function reads it again"
        assert fix == "  fix: store it elsewhere and return where it is"
        assert [line.lstrip(" │└─") for line in drawn(t, bill).splitlines() if "why:" in line or "fix:" in line] == [
            why.strip(),
            fix.strip(),
        ] * 2


def test_a_run_that_was_cancelled_names_the_event_that_did_it(dev: Dev) -> None:
    run_id = dev.start("shop/requested", id=12)
    dev.why(run_id, "waiting")
    event_id = dev.send("shop/withdrawn", id=12)
    eventually(lambda: dev.get(f"/v2/runs/{run_id}")["status"] == "CANCELLED")

    cause = dev.get(f"/v2/runs/{run_id}/why")["cause"]

    assert (cause["by"], cause["eventId"], cause["eventName"]) == ("event", event_id, "shop/withdrawn")
    assert f"The event 'shop/withdrawn' {event_id} cancelled it" in text(dev, run_id)


def test_a_run_that_was_cancelled_by_hand_says_so(dev: Dev) -> None:
    run_id = dev.start("shop/requested", id=13)
    dev.http("POST", f"/v2/runs/{run_id}/cancel")

    assert dev.get(f"/v2/runs/{run_id}/why")["cause"]["by"] == "operator"


def test_a_run_that_completed_has_nothing_to_explain(dev: Dev) -> None:
    run_id = dev.start("shop/ordered")
    dev.ended(run_id)

    assert dev.get(f"/v2/runs/{run_id}/why")["cause"]["kind"] == "completed"


def test_an_event_whose_condition_was_not_true_started_nothing(dev: Dev) -> None:
    event_id = dev.send("shop/sold", amount=5)

    why = dev.get(f"/v2/events/{event_id}/why")

    assert why["runs"] == []
    assert why["unstarted"] == [
        {"functionId": "shop-large", "because": "condition", "expression": "event.data.amount > 100"}
    ]
    assert "It did not start shop-large: event.data.amount > 100 is not true for it." in why["text"]


def test_an_event_nobody_listens_to_names_those_that_are_like_it(dev: Dev) -> None:
    event_id = dev.send("shop/orderd")

    why = dev.get(f"/v2/events/{event_id}/why")

    assert why["nearest"] == ["shop/ordered"]
    assert why["text"][-2:] == ["No function has a trigger for 'shop/orderd'.", "Did you mean 'shop/ordered'?"]


@pytest.mark.sqlite("one process leads on a file, and another takes over; on PostgreSQL all are peers")
@pytest.mark.slow
def test_without_a_leader_nothing_moves(start_dev: Callable[..., Dev]) -> None:
    dev = start_dev("--no-reload")
    run_id = dev.start("shop/sold", amount=500)
    dev.why(run_id, "sleeping")
    dev.close()

    done = command("why", run_id, "--db", ".stepwell/dev.db", cwd=dev.folder)

    assert "No process is running the engine on this database" in done.out
    assert "It sleeps in step 'think' until" in done.out


def test_a_run_says_under_which_version_of_its_function_it_was_queued() -> None:
    older, newer = Stepwell("shop"), Stepwell("shop")
    for app, retries in ((older, 0), (newer, 1)):

        @app.create_function(id="work", trigger="go", retries=retries)
        async def work(ctx: Context) -> None: ...

    with harness(older) as t:
        t.send("go")
        assert "of the function" not in drawn(t, "work")
    with harness(newer) as t:
        t._do(lambda: t.engine.register("shop", older.configs()))
        t.send("go")
        assert ", under version 2 of the function" in drawn(t, "work")


def test_a_run_in_line_says_by_how_much_its_priority_has_moved_it() -> None:
    app = Stepwell("shop")

    @app.create_function(id="work", trigger="work", concurrency=Concurrency(1), priority=Priority(run="event.data.by"))
    async def work(ctx: Context) -> None:
        await ctx.step.run("hold", asyncio.sleep, 7200)

    def line(t: Harness, event_id: str) -> str:
        (run,) = t.ask(RunsOfEvent(event_id))
        why = at_once(why_run(Asking(t), t.engine.registry, run, Situation(now=to_ms(t.now))))
        return next(line for line in why.text if "in line" in line)

    with harness(app) as t:
        t.send(Event("work", {"by": 0}))
        a_little, much, back = t.send([Event("work", {"by": by}) for by in (1, 120, -3600)])

        assert line(t, much) == "It is number 1 of 3 in line, moved forward by 2m 00s by its priority."
        assert line(t, a_little) == "It is number 2 of 3 in line, moved forward by 1.00 s by its priority."
        assert line(t, back) == "It is number 3 of 3 in line, moved back by 1h 00m by its priority."


def test_a_run_names_the_events_that_would_cancel_it() -> None:
    app = Stepwell("shop")

    @app.create_function(
        id="bill",
        trigger="go",
        cancel=[
            Cancel("order/withdrawn", if_="async.data.order == event.data.order", timeout="1h"),
            Cancel("shop/closed"),
        ],
    )
    async def bill(ctx: Context) -> None:
        await ctx.step.sleep("rest", "1d")

    with harness(app) as t:
        t.send(Event("go", {"order": "a7"}))

        first, second = [line for line in explained(t, bill).text if "cancels it" in line]
        withdrawn = "An event 'order/withdrawn' for which async.data.order == \"a7\" is true"
        assert first == f"{withdrawn} cancels it, until 01:00:00 UTC (in 1h 00m)."
        assert second == "An event 'shop/closed' cancels it, until 2027-01-01 00:00:00 UTC (in 365d 0h)."
        t.advance("2h")
        assert [listener.event for listener in explained(t, bill).listeners] == ["shop/closed"]
        t.advance("1d")
        assert explained(t, bill).listeners == ()
