"""The official Python SDK against our server: what a function does, seen in the app and through REST."""

from __future__ import annotations

import pytest

from tests.edge.conftest import eventually
from tests.edge.official.conftest import Both

pytestmark = pytest.mark.slow


def test_steps_run_once_and_their_results_are_remembered(python: Both) -> None:
    """Checklist 49."""
    run = python.run("py/steps")

    assert run["output"] == {"one": {"n": 1}, "two": None, "again": [{"n": 1}, {"n": 1}]}
    assert (python.app.did("first"), python.app.did("nothing")) == (3, 1)
    names = [(step["name"], step["repeat"], step["status"]) for step in python.trace(run["id"])["steps"]]
    assert names == [
        ("first", 0, "COMPLETED"),
        ("nothing", 0, "COMPLETED"),
        ("first", 1, "COMPLETED"),
        ("first", 2, "COMPLETED"),
    ]


def test_a_sleep_holds_nothing_and_one_into_the_past_is_over_at_once(python: Both) -> None:
    """Checklist 56, 57, 58."""
    run = python.run("py/sleeps")

    assert run["output"] == "awake"
    assert [step["kind"] for step in python.trace(run["id"])["steps"]] == ["sleep", "sleep"]


def test_a_wait_gets_the_event_that_fits(python: Both) -> None:
    """Checklist 59."""
    run_id = python.dev.start("py/waits", order=7)
    python.dev.why(run_id, "waiting")

    python.dev.send("py/approved", order=8)
    python.dev.send("py/approved", order=7, by="ada")

    assert python.dev.ended(run_id)["output"] == {"order": 7, "by": "ada"}


def test_a_wait_that_is_too_long_gives_none(python: Both) -> None:
    """Checklist 57."""
    assert python.run("py/waits", timeout=1)["output"] is None


def test_a_step_that_fails_is_tried_again_and_those_before_it_are_not(python: Both) -> None:
    """Checklist 50."""
    run = python.run("py/retries")

    assert run["output"] == "done"
    assert (python.app.did("before"), python.app.did("flaky")) == (1, 3)
    attempts = [attempt["status"] for attempt in python.trace(run["id"])["steps"][1]["attempts"]]
    assert attempts == ["ERRORED", "ERRORED", "COMPLETED"]


def test_a_step_out_of_attempts_raises_where_it_was_called(python: Both) -> None:
    """Checklist 51, 55."""
    run = python.run("py/catches")

    assert run["output"] == {"name": "ValueError", "message": "it never works"}
    assert python.app.did("broken") == 2


def test_the_functions_own_code_has_attempts_of_its_own(python: Both) -> None:
    """Checklist 39."""
    assert python.run("py/own-code")["output"] == {"attempt": 1}


def test_a_function_out_of_attempts_fails_with_its_error(python: Both) -> None:
    """Checklist 42."""
    run = python.run("py/fails")

    assert (run["status"], run["error"]["name"]) == ("FAILED", "KeyError")
    assert python.app.did("fails") == 2


def test_an_error_that_is_final_is_not_repeated_and_its_handler_runs(python: Both) -> None:
    """Checklist 39, 97."""
    run = python.run("py/final")

    assert (run["status"], run["error"]["message"]) == ("FAILED", "never again")
    assert python.app.did("final") == 1
    (handled,) = eventually(lambda: [line for line in python.app.ledger() if line["what"] == "on-failure"])
    assert handled["function"] == "py-final"
    assert handled["error"]["message"] == "never again"


def test_an_app_may_say_when_it_wants_to_be_asked_again(python: Both) -> None:
    """Checklist 41."""
    assert python.run("py/later")["output"] == "later"

    first, second = (line["at"] for line in python.app.ledger() if line["what"] == "later")
    assert 0.6 < second - first < 3


@pytest.mark.parametrize("width", [1, 3, 20])
def test_branches_cost_one_call_each_and_one_before_and_after(python: Both, width: int) -> None:
    """Checklist 75."""
    run = python.run("py/parallel", width=width)

    assert run["output"] == [f"p{n}" for n in range(width)]
    assert [python.app.did(f"p{n}") for n in range(width)] == [1] * width
    assert python.app.did("call") == 1 + width + 1


def test_a_race_of_two_chains_costs_nine_calls(python: Both) -> None:
    """Checklist 77."""
    run = python.run("py/race")

    assert run["output"] == ["a", "b"]
    assert [python.app.did(f"{chain} {step}") for chain in "ab" for step in ("one", "two")] == [1] * 4
    assert python.app.did("call") == 9


def test_functions_invoke_one_another(python: Both) -> None:
    """Checklist 64."""
    run = python.run("py/invokes")

    by_function, by_id, failing = run["output"]
    assert (by_function["got"]["n"], by_id["got"]["n"]) == (1, 2)
    assert by_function["got"]["_inngest"]["fn_id"] == "py-child"  # protocol §6.4: it is given as it is
    assert failing["message"] == "the child fails"


def test_a_step_sends_events_that_start_others(python: Both) -> None:
    assert python.run("py/sends")["output"] == 2

    eventually(lambda: python.app.did("told") == 1)


def test_an_event_cancels_the_run_it_is_about(python: Both) -> None:
    run_id = python.dev.start("py/cancellable", id=3)
    python.dev.why(run_id, "sleeping")

    python.dev.send("py/cancel", id=4)
    python.dev.send("py/cancel", id=3)

    assert python.dev.ended(run_id)["status"] == "CANCELLED"


def test_a_limit_holds_over_calls(python: Both) -> None:
    for run_id in [python.dev.start("py/limited", key="k") for _ in range(4)]:
        assert python.dev.ended(run_id)["status"] == "COMPLETED"

    assert [line["what"] for line in python.app.ledger()] == ["begin", "end"] * 4


def test_state_that_is_too_large_for_a_call_is_fetched(python: Both) -> None:
    """Checklist 45."""
    assert python.run("py/large")["output"] == 6_000_000


def test_an_app_that_dies_is_called_again_when_it_is_back(python: Both) -> None:
    run_id = python.dev.start("py/dies")
    python.app.restart()

    assert python.dev.ended(run_id)["output"] == "alive"
    assert (python.app.did("kept"), python.app.did("cut-off")) == (1, 2)


def test_97_a_run_that_fails_is_told_of_with_the_exact_words(python: Both) -> None:
    run = python.run("py/fails")

    events = python.dev.get("/v2/events?internal=true&name=inngest/function.failed&limit=100")
    (event,) = [event for event in events if event["data"]["run_id"] == run["id"]]
    assert event["id"] == run["id"]
    assert event["data"].keys() == {"function_id", "run_id", "event", "events", "error", "_inngest"}
    error = event["data"]["error"]
    assert error.keys() == {"error", "name", "message", "stack"}
    assert (error["error"], error["name"]) == ("invalid status code: 500", run["error"]["name"])


def test_98_a_run_that_is_cancelled_is_told_of_as_cancelled(python: Both) -> None:
    run_id = python.dev.start("py/cancellable", id=5)
    python.dev.why(run_id, "sleeping")
    python.dev.send("py/cancel", id=5)
    python.dev.ended(run_id)

    events = python.dev.get("/v2/events?internal=true&limit=100")
    about = [event["name"] for event in events if event["data"].get("run_id") == run_id]
    assert about == ["inngest/function.cancelled"]  # nobody listens to the ends of runs, so that one is not written
