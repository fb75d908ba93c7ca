"""What the live log says of changes; and that it says less when too much happens."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from stepwell.cli.story import Story
from stepwell.errors import InvalidOutput
from stepwell.model.changes import (
    Block,
    Change,
    CreateRun,
    FinishRun,
    Grant,
    SaveAttempt,
    SaveEvent,
    SaveNote,
    SaveOutcome,
    SaveStep,
    SettleStep,
    StartRun,
)
from stepwell.model.event import Event
from stepwell.model.failure import Failure
from stepwell.model.history import Note, Outcome
from stepwell.model.run import Run
from stepwell.model.step import Attempt, Step
from stepwell.views.wording import printable
from tests.edge.conftest import Dev, eventually

PARENT = "01HF7YAT00000000000000000A"
UNWRITABLE = """
from stepwell import Context, Stepwell

app = Stepwell("shop")


@app.create_function(id="bill", trigger="shop/ordered", retries=0)
async def bill(ctx: Context[dict]) -> object:
    return object()
"""
NOW = 1_700_000_000_000
ERROR = Failure("ValueError", "card\n  declined").json()
OURS = Failure("InvalidOutput", str(InvalidOutput("a set is\nno JSON", "a list is", "use one"))).json()


def run(**more: Any) -> Run:
    given: dict[str, Any] = {
        "id": "r1",
        "function_id": "shop-bill",
        "event_id": "e1",
        "queued_at": NOW,
        "scheduled_at": NOW,
    }
    return Run(**{**given, **more})


def step(**more: Any) -> Step:
    given: dict[str, Any] = {
        "run_id": "r1",
        "id": "s1",
        "name": "charge",
        "kind": "run",
        "status": "COMPLETED",
        "started_at": NOW,
    }
    return Step(**{**given, **more})


def told(*changes: Change, story: Story | None = None, now: int = NOW) -> list[str]:
    story = story or Story(lambda run_id: None)
    return [line.text for line in story.lines(changes, now)]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (SaveEvent(Event(id="e1", name="shop/ordered", ts=NOW, received_at=NOW)), "shop/ordered  e1"),
        (CreateRun(run(started_at=NOW)), "started  r1"),
        (CreateRun(run()), "queued  r1"),
        (StartRun("r1", NOW), "started  r1"),
        (SaveStep(step(ended_at=NOW + 1240)), "charge  1.24 s"),
        (SaveStep(step(ended_at=NOW, repeat=2)), "charge #2  0 ms"),
        (SaveStep(step(status="FAILED", ended_at=NOW, output=ERROR)), "charge  failed: ValueError: card declined"),
        (
            SaveStep(step(status="ERRORED", attempt=1, due=NOW + 15_000, output=ERROR)),
            "charge  ValueError: card declined; retry 1 in 15.0 s",
        ),
        (
            SaveStep(step(status="ERRORED", attempt=1, due=NOW + 15_000, output=OURS)),
            "charge  InvalidOutput: a set is no JSON; retry 1 in 15.0 s\nwhy: a list is\nfix: use one",
        ),
        (
            SaveStep(step(status="WAITING", kind="waitForEvent", due=None, details=b'{"event":"a/b"}')),
            "charge  waits for a/b until ?",
        ),
        (SaveStep(step(status="INVOKING", details=b'{"function_id":"shop-x"}')), "charge  invokes shop-x"),
        (
            SaveAttempt(
                Attempt(
                    run_id="r1", step_id="", attempt=0, started_at=NOW, ended_at=NOW, error=ERROR, retry_at=NOW + 50
                )
            ),
            "function's own code: ValueError: card declined; retry 1 in 50 ms",
        ),
        (
            SaveOutcome(Outcome(event_id="e1", function_id="f", kind="deduplicated", at=NOW, reason="seen")),
            "not started, deduplicated: seen",
        ),
        (SaveNote(Note(run_id="r1", at=NOW, kind="lease-lost", text="the process died")), "the process died"),
        (FinishRun("r1", "COMPLETED", NOW), "completed"),
        (FinishRun("r1", "FAILED", NOW, ERROR), "FAILED: ValueError: card declined"),
        (FinishRun("r1", "FAILED", NOW, OURS), "FAILED: InvalidOutput: a set is no JSON\nwhy: a list is\nfix: use one"),
        (FinishRun("r1", "CANCELLED", NOW, reason="event x"), "cancelled by event x"),
        (FinishRun("r1", "CANCELLED", NOW, reason="cancelled by an operator"), "cancelled by an operator"),
        (FinishRun("r1", "CANCELLED", NOW, reason="finish timeout: 2 s"), "cancelled by its finish timeout: 2 s"),
        (
            FinishRun("r1", "CANCELLED", NOW, reason=f"run {PARENT}, which invoked it, was cancelled"),
            f"cancelled together with run {PARENT}, which invoked it",
        ),
        (FinishRun("r1", "CANCELLED", NOW, reason="a mistake"), "cancelled: a mistake"),
        (FinishRun("r1", "CANCELLED", NOW), "cancelled"),
    ],
)
def test_each_change_that_matters_is_one_line(change: Change, text: str) -> None:
    assert told(change) == [text]


@pytest.mark.parametrize(
    "change",
    [
        SaveEvent(Event(id="e1", name="inngest/function.finished", ts=NOW, received_at=NOW)),
        SaveNote(Note(run_id="r1", at=NOW, kind="cancelled", text="by hand")),
        SaveAttempt(Attempt(run_id="r1", step_id="s1", attempt=0, started_at=NOW, ended_at=NOW, error=ERROR)),
        Grant("r1", 1, NOW),
    ],
)
def test_what_others_tell_already_is_left_out(change: Change) -> None:
    assert told(change) == []


def test_a_step_that_was_waiting_is_told_by_its_name_when_it_is_settled() -> None:
    story = Story(lambda run_id: None)
    told(CreateRun(run(started_at=NOW)), SaveStep(step(status="SLEEPING", kind="sleep", due=NOW + 500)), story=story)

    assert told(SettleStep("r1", "s1", "COMPLETED", NOW + 501), story=story) == ["charge  slept 501 ms"]


def test_a_run_that_began_before_we_listened_is_looked_up() -> None:
    story = Story(lambda run_id: (run(started_at=NOW - 2_000), [step(status="WAITING", kind="waitForEvent")]))

    settled, ended = story.lines([SettleStep("r1", "s1", "TIMED_OUT", NOW), FinishRun("r1", "COMPLETED", NOW)], NOW)

    assert (settled.function, settled.text) == ("shop-bill", "charge  timed out after 0 ms")
    assert ended.text == "completed  2.00 s"


def test_an_attempt_of_a_run_that_began_before_we_listened_names_its_function() -> None:
    story = Story(lambda run_id: (run(started_at=NOW - 2_000), []))
    tried = Attempt(run_id="r1", step_id="", attempt=0, started_at=NOW, ended_at=NOW, error=ERROR, retry_at=NOW)

    (told,) = story.lines([SaveAttempt(tried)], NOW)

    assert told.function == "shop-bill"


@pytest.mark.sqlite("one process leads on a file, and another takes over; on PostgreSQL all are peers")
@pytest.mark.slow
def test_a_process_that_takes_over_says_so(start_dev: Callable[..., Dev]) -> None:
    first = start_dev("--no-reload")
    eventually(lambda: first.http("GET", "/health").status == 200)
    second = start_dev("--no-reload")
    second.said("another process runs what is in .stepwell/dev.db")

    first.close()

    second.said("this one runs the functions now")


@pytest.mark.slow
def test_why_and_fix_of_an_error_stay_below_its_line(start_dev: Callable[..., Dev]) -> None:
    dev = start_dev("--no-reload", app=UNWRITABLE)
    dev.start("shop/ordered")

    assert re.search(r"FAILED: InvalidOutput: [^\n]+\n {12,}why: [^\n]+\n {12,}fix: ", dev.said("FAILED"))


def test_a_note_about_a_run_that_began_before_we_listened_names_its_function() -> None:
    story = Story(lambda run_id: (run(started_at=NOW - 2_000), []))

    (noted,) = story.lines([SaveNote(Note(run_id="r1", at=NOW, kind="lost", text="the process died"))], NOW)

    assert (noted.function, noted.text) == ("shop-bill", "the process died")


def test_a_run_that_is_held_back_is_told_once_and_when_it_goes_on() -> None:
    story = Story(lambda run_id: None)
    told(CreateRun(run(started_at=NOW)), story=story)

    lines = told(Block("r1", "fn/x"), Block("r1", "fn/x"), Grant("r1", 1, NOW), Grant("r1", 2, NOW), story=story)

    assert lines == ["waits: its concurrency limit is reached", "goes on"]


@pytest.mark.parametrize(
    ("backlog", "why"),
    [
        ("unserved/shop-bill", "no process serves it"),
        ("paused/shop-bill", "its function is paused"),
        ("throttle/shop-bill/", "its turn to start has not come"),
        ("run/fn/shop-bill/", "its limit of runs under way is reached"),
    ],
)
def test_a_run_that_is_held_back_says_by_what(backlog: str, why: str) -> None:
    story = Story(lambda run_id: None)
    told(CreateRun(run(started_at=NOW)), story=story)

    assert told(Block("r1", backlog), story=story) == [f"waits: {why}"]


def test_very_much_at_once_becomes_one_sentence_and_the_failures() -> None:
    story = Story(lambda run_id: None)
    failed = FinishRun("r1", "FAILED", NOW, ERROR)
    batches: list[list[Change]] = [[CreateRun(run(started_at=NOW)), SaveStep(step(ended_at=NOW))], [failed]]

    text, failures = story.summary(batches)

    assert text == "0 events, 1 run started, 1 step, 1 run ended, 1 of them failed"
    assert failures == [failed]
    assert story.lines(failures, NOW)[0].function == "shop-bill"


def test_what_a_terminal_would_take_for_orders_is_left_out() -> None:
    assert printable("\x1b[31mred\x1b]0;title\x07 \x9b2J\ttab\nline") == "[31mred]0;title 2J\ttab\nline"
