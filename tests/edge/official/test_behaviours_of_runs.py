"""What semantics §6-§8 say of errors, flow control, cancellation and what a function is told, in each official SDK."""

from __future__ import annotations

import time
from http.client import HTTPConnection
from typing import Any

import pytest

from tests.edge.conftest import PATIENCE_S, eventually
from tests.edge.official.conftest import Sdk, one_each

pytestmark = pytest.mark.slow


def noted(sdk: Sdk) -> list[str]:
    return [line["what"] for line in sdk.app.ledger()]


# Errors and retries ---------------------------------------------------------------------------------------------------


def test_what_was_done_is_undone_when_a_later_step_fails(sdk: Sdk) -> None:
    run = sdk.run("rolls-back")

    assert run["status"] == "FAILED"
    assert run["error"]["message"] == "card declined ✗"
    assert noted(sdk) == ["book flight", "book hotel", "charge", "cancel hotel", "cancel flight"]


def test_a_step_that_nobody_catches_ends_the_run_with_its_error(sdk: Sdk) -> None:
    """The run has attempts left, but the step has none."""
    run = sdk.run("broken")

    assert (run["status"], run["error"]["message"]) == ("FAILED", "it never works")
    assert [line["attempt"] for line in sdk.app.ledger()] == [0, 1, 2]
    (step,) = sdk.trace(run["id"])["steps"]
    assert [attempt["status"] for attempt in step["attempts"]] == ["ERRORED", "ERRORED", "FAILED"]


def test_no_retries_is_one_attempt(sdk: Sdk) -> None:
    """Checklist 22."""
    assert sdk.run("one-attempt")["status"] == "FAILED"
    assert sdk.app.did("one-attempt") == 1


def test_attempts_are_counted_from_zero(sdk: Sdk) -> None:
    """Checklist 33, 39, 42."""
    run = sdk.run("attempts")

    assert [line["n"] for line in sdk.app.ledger()] == [0, 1, 2]
    assert (run["status"], run["error"]["message"]) == ("FAILED", "attempt 2 ✗")
    assert run["error"]["stack"]


def test_code_between_steps_is_tried_again_without_them(sdk: Sdk) -> None:
    assert sdk.run("between")["output"] == "two"
    assert [sdk.app.did(what) for what in ("one", "between", "two")] == [1, 4, 1]  # the last time on the way past it


def test_the_pause_before_the_next_attempt_may_be_said_in_each_form(sdk: Sdk) -> None:
    """Checklist 41: a number, a length of time and a moment, of a function and of a step."""
    forms = [f"{place}{form}" for place in ("", "step ") for form in ("number", "length", "moment")]
    runs = [sdk.start("asks-for-time", form=form) for form in forms]

    assert [sdk.dev.ended(run_id)["output"] for run_id in runs] == ["later"] * 6
    for form in forms:
        first, second = (line["at"] for line in sdk.app.ledger() if line["what"] == f"asks {form}")
        assert 0.6 < second - first < 3  # moments on the wire are whole seconds or milliseconds, as the SDK has it


def test_an_error_may_slow_down_all_that_shares_its_queue(sdk: Sdk) -> None:
    """By its name: the official SDKs know no such error (ADR 0030)."""
    first = sdk.start("presses", who="first")
    sdk.noted("presses first")
    eventually(lambda: sdk.dev.get(f"/v2/runs/{first}/why")["gates"][0]["kind"] == "retrying")
    second = sdk.start("presses", who="second")
    gate = sdk.dev.why(second, "pressed")
    assert (gate["runId"], gate["message"]) == (first, "leave me alone")

    assert [sdk.dev.ended(run_id)["status"] for run_id in (first, second)] == ["COMPLETED"] * 2
    before, again = (line["at"] for line in sdk.noted("presses first", 2))
    (other,) = (line["at"] for line in sdk.noted("presses second"))
    assert again - before > 1.5  # moments on the wire may be whole seconds
    assert other - before > 1.5


def test_a_handler_of_failures_may_have_steps_and_fail_itself(sdk: Sdk) -> None:
    """Checklist 97: its own failure starts nothing."""
    run = sdk.run("handled", n=3)

    failed = sdk.noted("failed")[0]
    assert (failed["message"], failed["of"]["n"], failed["run"]) == ("it is handled", 3, run["id"])
    assert sdk.app.did("clean up") == 1
    (seen,) = sdk.noted("seen")
    assert seen == {"what": "seen", "function": f"{sdk.language}-handled", "event_id": run["id"]}
    (handler,) = eventually(lambda: _runs_of(sdk, f"{sdk.language}-handled-failure", "FAILED"))
    assert sdk.dev.get(f"/v2/runs/{handler['id']}")["error"]["message"] == "the handler fails as well"
    assert sdk.run("adds")["output"] == 5  # whatever the failure of the handler had started would have begun by now
    assert sdk.app.did("failed") == 1


def _runs_of(sdk: Sdk, function: str, status: str) -> list[Any]:
    return [run for run in sdk.dev.get("/v2/runs") if run["functionId"] == function and run["status"] == status]


# Flow control ---------------------------------------------------------------------------------------------------------


@one_each
@pytest.mark.feature("F64")
def test_a_limit_with_a_key_holds_for_each_key_apart(sdk: Sdk) -> None:
    runs = [sdk.start("keyed", key=key, gate=gate) for key, gate in (("a", "a1"), ("a", "a2"), ("b", "b1"))]

    sdk.noted("at a1")
    sdk.noted("at b1")
    sdk.dev.why(runs[1], "limited")
    assert sdk.app.did("at a2") == 0
    for gate in ("a1", "a2", "b1"):
        (sdk.app.folder / gate).touch()

    assert [sdk.dev.ended(run_id)["output"] for run_id in runs] == ["a1", "a2", "b1"]


@one_each
@pytest.mark.feature("F65")
def test_functions_may_share_a_limit(sdk: Sdk) -> None:
    one = sdk.start("shared-one", gate="first")
    sdk.noted("at first")
    two = sdk.start("shared-two", gate="second")

    sdk.dev.why(two, "limited")
    assert sdk.app.did("at second") == 0
    for gate in ("first", "second"):
        (sdk.app.folder / gate).touch()

    assert [sdk.dev.ended(run_id)["output"] for run_id in (one, two)] == ["first", "second"]


@one_each
@pytest.mark.feature("F63")
def test_a_run_that_waits_holds_no_slot(sdk: Sdk) -> None:
    """Checklist 103."""
    waiting = sdk.start("resting", rests=True)
    sdk.dev.why(waiting, "waiting")

    assert sdk.run("resting")["output"] == "done"
    sdk.send("rested")
    assert sdk.dev.ended(waiting)["output"] == "done"


@one_each
@pytest.mark.feature("F70")
def test_one_run_for_each_key_of_a_day(sdk: Sdk) -> None:
    key = f"{sdk.version}-{time.time_ns()}"
    for cart in (f"{key}-1", f"{key}-1", f"{key}-2"):
        sdk.send("once", cart=cart)

    assert sorted(line["cart"] for line in sdk.noted("once", 2)) == [f"{key}-1", f"{key}-2"]
    assert sdk.run("adds")["output"] == 5  # a third would have come by now
    assert sdk.app.did("once") == 2


@one_each
def test_an_event_with_an_id_of_its_own_starts_one_run(sdk: Sdk) -> None:
    """Checklist 93."""
    event = {"name": f"{sdk.language}/adds", "data": {}, "id": f"own id {sdk.version}"}

    ids = [sdk.dev.http("POST", "/e/test", event).json["ids"][0] for _ in range(2)]

    assert len({*ids}) == 2
    assert [len(sdk.dev.get(f"/v2/events/{event_id}/runs")["runs"]) for event_id in ids] == [1, 0]


# Cancellation and timeouts --------------------------------------------------------------------------------------------


@one_each
@pytest.mark.feature("F80", "F83", "F86")
@pytest.mark.parametrize("how", ["event", "request"])
def test_a_cancelled_run_begins_no_further_step(sdk: Sdk, how: str) -> None:
    """Checklist 98, I18: the step that runs goes on in the app, and its result is dropped."""
    gate = f"{how} {sdk.version}"
    run_id = sdk.start("stoppable", id=gate, gate=gate)
    sdk.noted(f"at {gate}")
    if how == "event":
        sdk.send("stop", id="another")
        sdk.send("stop", id=gate)
    else:
        assert sdk.dev.http("DELETE", f"/v1/runs/{run_id}").status == 200

    assert sdk.dev.ended(run_id)["status"] == "CANCELLED"
    (told,) = sdk.noted("cancelled")
    assert told["run"] == run_id
    (sdk.app.folder / gate).touch()
    assert sdk.run("adds")["output"] == 5
    assert [sdk.app.did(what) for what in ("after", "failed", "clean up")] == [0, 0, 0]
    assert sdk.dev.http("DELETE", f"/v1/runs/{run_id}").status == 200  # once more changes nothing


@one_each
@pytest.mark.feature("F80")
def test_a_listener_that_has_run_out_cancels_nothing(sdk: Sdk) -> None:
    run_id = sdk.start("listens")
    sdk.noted("rested")
    sdk.dev.why(run_id, "waiting")

    sdk.send("stop-listener")
    sdk.send("go")

    assert sdk.dev.ended(run_id)["output"] == "not cancelled"


@one_each
@pytest.mark.feature("F81", "F82")
def test_a_run_that_takes_too_long_or_begins_too_late_is_cancelled(sdk: Sdk) -> None:
    """Checklist 104."""
    long = sdk.start("ends-in-time")
    first = sdk.start("begins-in-time", gate="early")
    sdk.noted("at early")

    assert sdk.run("begins-in-time", gate="late")["status"] == "CANCELLED"
    (sdk.app.folder / "early").touch()
    assert sdk.dev.ended(first)["output"] == "early"
    assert sdk.dev.ended(long)["status"] == "CANCELLED"
    assert (sdk.app.did("at late"), sdk.app.did("begins")) == (0, 1)


# Triggers and what a function is told ---------------------------------------------------------------------------------


def test_a_function_may_have_several_triggers(sdk: Sdk) -> None:
    """Checklist 105."""
    language = sdk.language
    names = ["several-two", "wild/one", "wild/two.three"]

    assert [sdk.run(name)["output"] for name in names] == [f"{language}/{name}" for name in names]
    assert sdk.run("several.one", n=1)["output"] == f"{language}/several.one"
    assert sdk.dev.get(f"/v2/events/{sdk.send('several.one', n=0)}/runs")["runs"] == []


def test_an_event_of_the_future_starts_its_run_then(sdk: Sdk) -> None:
    """Checklist 95."""
    at = int(time.time() * 1000) + 700
    sdk.dev.http("POST", "/e/test", {"name": f"{sdk.language}/told-itself", "data": {}, "ts": at})

    (told,) = sdk.noted("time")
    assert at / 1000 - 0.002 <= told["at"] < at / 1000 + 5


def test_a_function_is_told_what_it_is_called_for(sdk: Sdk) -> None:
    """Checklist 31, 47."""
    event = {"name": f"{sdk.language}/told-itself", "data": {}, "id": f"told {sdk.version}", "ts": 1_700_000_000_000}
    (event_id,) = sdk.dev.http("POST", "/e/test", event).json["ids"]
    (run,) = sdk.dev.get(f"/v2/events/{event_id}/runs")["runs"]

    assert sdk.dev.ended(run["id"])["output"] == {
        "run": run["id"],
        "attempt": 0,
        "event": [event["id"], event["name"], event["ts"]],
        "events": 1,
    }


def test_a_log_is_silent_while_code_repeats_itself(sdk: Sdk) -> None:
    sdk.run("logs")

    assert [line["text"] for line in sdk.noted("logged", 3) if line["text"] in ("before", "between", "after")] == [
        "before",
        "between",
        "after",
    ]


def test_hooks_see_and_change_what_goes_in_and_out(sdk: Sdk) -> None:
    assert sdk.run("hooked")["output"] == ["by hooks", "SHOUT"]

    (stamped,) = sdk.noted("stamped")
    assert stamped["stamp"] == "hooks"
    assert sdk.app.did("hook") >= 1
    assert sdk.app.did("shout") == 1


def test_types_are_checked_by_what_the_language_checks_them_with(sdk: Sdk) -> None:
    assert sdk.run("typed", id="o1", lines=[1, 2, 3])["output"] == {"id": "o1", "total": 6}
    assert sdk.run("typed", id="o1", lines="none")["status"] == "FAILED"


# What only one language has -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sdk", ["fastapi", "flask"], indirect=True)
def test_a_step_that_is_not_to_be_retried_fails_the_run(sdk: Sdk) -> None:
    """§15, 4: Python says it of the function."""
    run = sdk.run("final-step")

    assert (run["status"], run["error"]["message"]) == ("FAILED", "never again")
    assert sdk.app.did("final-step") == 1


@pytest.mark.parametrize("sdk", ["fastapi", "flask"], indirect=True)
def test_what_cannot_be_written_fails_the_run(sdk: Sdk) -> None:
    """Nothing in its answer says that another attempt is in vain."""
    assert sdk.run("unwritable")["error"]["name"] == "OutputUnserializableError"
    assert sdk.app.did("unwritable") == 2


@pytest.mark.parametrize("sdk", ["fastapi"], indirect=True)
def test_answers_may_come_in_pieces(sdk: Sdk) -> None:
    """Checklist 43."""
    put = HTTPConnection("127.0.0.1", sdk.app.port, timeout=PATIENCE_S)
    put.request("PUT", "/api/streaming")
    assert put.getresponse().status == 200
    put.close()

    run = sdk.dev.ended(sdk.dev.start("streamed/streams"))

    assert run["output"] == ["one", "a", "b", "flaky"]
    assert [sdk.app.did(step) for step in ("one", "a", "b", "flaky stream")] == [1, 1, 1, 2]
