"""Our own SDK over the wire: the functions that run embedded run served, too, in each kind of web framework."""

from __future__ import annotations

import pytest

from tests.edge.conftest import eventually
from tests.edge.official.conftest import Both

pytestmark = pytest.mark.slow


def test_steps_take_one_call_or_one_each(own: Both) -> None:
    run = own.run("own/steps")

    assert run["output"] == [f"s{n}" for n in range(5)]
    assert [own.app.did(f"s{n}") for n in range(5)] == [1] * 5
    # Before the sleep and after it; or for each step, for the sleep, and for the end.
    assert own.app.did("call") == (7 if own.version.endswith("by-step") else 2)


def test_a_plain_function_is_served_as_well(own: Both) -> None:
    assert own.run("own/plain")["output"] == ["first", "a", "b"]
    assert (own.app.did("first"), own.app.did("a"), own.app.did("b")) == (1, 1, 1)


def test_each_branch_goes_on_when_its_own_step_is_done(own: Both) -> None:
    run = own.run("own/branches")

    assert run["output"] == ["slow", "quick", "now"]
    assert [line["what"] for line in own.app.ledger()] == ["now", "quick", "slow"]


def test_attempts_are_those_of_the_step(own: Both) -> None:
    """Checklist 50, 51."""
    run = own.run("own/retries")

    assert run["output"] == ["done", "ValueError", "it never works"]
    assert (own.app.did("before"), own.app.did("flaky"), own.app.did("broken")) == (1, 3, 2)


def test_what_the_code_before_it_has_spent_is_not_spent_of_a_step(own: Both) -> None:
    run = own.run("own/stumbles")

    assert run["output"] == "done"
    told = [line["attempt"] for line in own.app.ledger() if line["what"] == "work"]
    (step,) = own.dev.get(f"/v2/runs/{run['id']}/trace")["steps"]
    assert [attempt["attempt"] for attempt in step["attempts"]] == told
    # Who goes step by step cannot tell an attempt at the step from one at the code before it (protocol §5.2).
    assert told == ([1, 2] if own.version.endswith("by-step") else [0, 1])


def test_a_run_that_fails_has_its_handler(own: Both) -> None:
    """Checklist 97."""
    run = own.run("own/fails")

    assert (run["status"], run["error"]["message"]) == ("FAILED", "never again")
    (handled,) = eventually(lambda: [line for line in own.app.ledger() if line["what"] == "handled"])
    assert handled["error"] == "never again"


def test_waits_invokes_and_events(own: Both) -> None:
    """Checklist 59, 64."""
    run_id = own.dev.start("own/waits", order=7)
    own.dev.why(run_id, "waiting")
    own.dev.send("own/approved", order=7)

    assert own.dev.ended(run_id)["output"] == {"order": 7}
    invoking = own.run("own/invokes")
    assert invoking["output"] == {"got": {"n": 1}}
    eventually(lambda: own.app.did("told") == 1)
    (told,) = own.dev.get("/v2/events?name=own/told")
    assert told["sentBy"] == invoking["id"]  # a chain of runs that start one another is seen


def test_a_cancelled_run_is_called_no_more(own: Both) -> None:
    run_id = own.dev.start("own/cancellable", id=3)
    own.dev.why(run_id, "sleeping")
    own.dev.send("own/cancel", id=3)

    assert own.dev.ended(run_id)["status"] == "CANCELLED"


def test_a_limit_holds_for_branches_and_runs(own: Both) -> None:
    """Checklist 23."""
    for run_id in [own.dev.start("own/limited") for _ in range(3)]:
        assert own.dev.ended(run_id)["status"] == "COMPLETED"

    running = most = 0
    for line in own.app.ledger():
        running += 1 if line["what"] == "begin" else -1
        most = max(most, running)
    assert (most <= 2, running) == (True, 0)


def test_state_that_is_too_large_for_a_call_is_fetched(own: Both) -> None:
    """Checklist 45."""
    assert own.run("own/large")["output"] == 6_000_000


def test_an_app_that_dies_goes_on_with_what_was_reported(own: Both) -> None:
    """Checklist 88."""
    run_id = own.dev.start("own/dies")
    own.app.restart()

    assert own.dev.ended(run_id)["output"] == "alive"
    assert (own.app.did("kept"), own.app.did("dies")) == (1, 2)


def test_a_signal_reaches_the_run_that_waits_for_it(own: Both) -> None:
    """Checklist 62."""
    run_id = own.dev.start("own/signals")
    eventually(lambda: own.dev.get(f"/v2/runs/{run_id}/trace")["steps"])

    assert own.run("own/signaller")["output"] == [run_id, None]
    assert own.dev.ended(run_id)["output"] == {"n": 1}


def test_72_what_a_run_has_put_off_starts_when_it_has_ended(own: Both) -> None:
    run = own.run("own/defers")

    assert run["output"] == "done"
    eventually(lambda: own.app.did("receipt") == 2)
    found = [line["data"] for line in own.app.ledger() if line["what"] == "receipt"]
    assert sorted(data["order"] for data in found) == [2, 3]
    steps = [step for step in own.trace(run["id"])["steps"] if step["kind"] == "defer"]
    assert [(step["name"], step["status"]) for step in steps] == [
        ("aborted", "ABORTED"),
        ("in a body", "COMPLETED"),
        ("at the end", "COMPLETED"),
    ]


def test_what_is_logged_comes_over_the_wire(own: Both) -> None:
    run = own.run("own/logs")

    assert run["status"] == "FAILED"
    found = own.dev.get(f"/v2/runs/{run['id']}/logs")["lines"]
    own_code = [line["text"] for line in found if line["step"] is None]
    # Who goes step by step repeats the code between the steps in each call, so of it nothing is kept.
    assert own_code == ([] if own.version.endswith("by-step") else ["begins", "sleeps", "fails"])
    assert [(line["step"], line["attempt"], line["text"]) for line in found if line["step"]] == [
        ("loud", 0, "attempt 0"),
        ("loud", 1, "attempt 1"),
    ]
