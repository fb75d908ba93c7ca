"""What semantics §5 says of steps, in each official SDK: the same functions, written in both languages."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.edge.conftest import eventually
from tests.edge.official.conftest import Sdk

pytestmark = pytest.mark.slow

VALUES: list[Any] = [
    None,
    True,
    0,
    -1.5,
    2**53 - 1,
    1e300,
    "",
    "é ∑ 🎉 \u2028 \x00",
    [],
    {},
    [[1, [2, [3]]], None],
    {"op": "StepRun", "id": "x", "data": None},
    {"data": 1, "error": {"name": "E", "message": "m"}},
    {"": {"ключ": "値"}},
]


# Bodies ---------------------------------------------------------------------------------------------------------------


def test_an_id_in_a_loop_is_a_step_in_each_turn(sdk: Sdk) -> None:
    run = sdk.run("loop", times=30)

    assert run["output"] == list(range(30))
    assert sdk.app.did("turn") == 30
    assert [step["repeat"] for step in sdk.trace(run["id"])["steps"]] == list(range(30))


def test_a_run_may_have_many_steps(sdk: Sdk) -> None:
    """As many as a run may have, where one call is enough for them, and as many as are quick where it is not."""
    times = 120 if sdk.language == "py" else 1000
    run = sdk.run("loop" if sdk.language == "py" else "loop-in-one-call", times=times)

    assert run["output"] == list(range(times))
    assert sdk.app.did("turn") == times


def test_any_json_comes_back_from_a_step_as_it_was(sdk: Sdk) -> None:
    run = sdk.run("echoes", values=VALUES)

    assert run["output"] == VALUES
    assert json.dumps(run["output"], sort_keys=True) == json.dumps(VALUES, sort_keys=True)  # 1 is not True
    assert sdk.trace(run["id"])["steps"][0]["name"] == "Schritt é 🎉 0"


def test_large_events_and_results_arrive_whole(sdk: Sdk) -> None:
    assert sdk.run("large", text="ü" * 80_000)["output"] == [80_000, 400_000]


def test_a_body_may_have_arguments(sdk: Sdk) -> None:
    assert sdk.run("adds")["output"] == 5


# Sleeps ---------------------------------------------------------------------------------------------------------------


def test_a_sleep_until_a_moment_is_never_early(sdk: Sdk) -> None:
    """Checklist 56."""
    at = time.time() + 0.5
    sdk.run("until", at=at)

    (woke,) = sdk.noted("woke")
    assert at - 0.002 <= woke["at"] < at + 5


def test_a_sleep_that_is_too_long_fails_the_run_at_once(sdk: Sdk) -> None:
    run = sdk.run("too-long")

    assert (run["status"], run["error"]["name"]) == ("FAILED", "InngestErrTimeoutTooLong")
    assert sdk.app.did("too-long") == 1


# Waits ----------------------------------------------------------------------------------------------------------------


def test_one_event_resumes_all_that_wait_for_it(sdk: Sdk) -> None:
    runs = [sdk.start("hears") for _ in range(3)]
    for run_id in runs:
        sdk.dev.why(run_id, "waiting")

    sdk.send("heard", n=5)

    assert [sdk.dev.ended(run_id)["output"] for run_id in runs] == [5, 5, 5]


def test_a_wait_does_not_hear_what_came_before_it(sdk: Sdk) -> None:
    """I17: nor the event that has started the run."""
    sdk.send("missed")

    assert sdk.run("missed")["output"] is None


def test_a_wait_on_a_condition_that_makes_no_sense_fails_the_run(sdk: Sdk) -> None:
    run = sdk.run("nonsense")

    assert run["status"] == "FAILED"
    assert sdk.app.did("nonsense") == 1


def test_whichever_event_comes_its_branch_goes_on(sdk: Sdk) -> None:
    run_id = sdk.start("either")
    eventually(lambda: len(sdk.trace(run_id)["steps"]) == 2)

    sdk.send("right")
    sdk.noted("got right")
    assert sdk.app.did("got left") == 0
    sdk.send("left")

    assert sdk.dev.ended(run_id)["output"] == ["left", "right"]
    assert (sdk.app.did("got left"), sdk.app.did("got right")) == (1, 1)


def test_a_wait_hears_what_is_sent_beside_it(sdk: Sdk) -> None:
    """Checklist 61."""
    assert sdk.run("says-and-hears", key="k1")["output"] == "k1"


# Parallel -------------------------------------------------------------------------------------------------------------


def test_all_kinds_of_steps_go_on_at_once(sdk: Sdk) -> None:
    """Checklist 50: a member that is tried again does not disturb the others."""
    run = sdk.run("at-once")

    good, flaky, nap, never, child = run["output"]
    assert (good, flaky, nap, never, child) == ("good", "flaky", None, None, 3)
    assert (sdk.app.did("good"), sdk.app.did("flaky member")) == (1, 2)


def test_a_member_that_fails_is_caught_after_the_others_have_run(sdk: Sdk) -> None:
    """Checklist 81."""
    assert sdk.run("member-fails")["output"] == ["this one is bad", "after"]
    assert [sdk.app.did(step) for step in ("good", "bad", "after")] == [1, 1, 1]


def test_groups_within_groups_run_each_step_once(sdk: Sdk) -> None:
    run = sdk.run("nested")

    assert run["output"] == ["a 1", "a 2", "b 1", "b 2"]
    steps = [f"{chain} {step}" for chain in "ab" for step in ("before", "1", "2")]
    assert [sdk.app.did(step) for step in steps] == [1] * 6


# Invoking -------------------------------------------------------------------------------------------------------------


def test_an_invoke_that_takes_too_long_leaves_the_other_running(sdk: Sdk) -> None:
    """Checklist 65."""
    run = sdk.run("invokes-sleeper", timeout=1)

    assert run["output"]["message"] == "Timed out waiting for invoked function to complete"
    (child,) = sdk.noted("sleeper")
    assert sdk.dev.get(f"/v2/runs/{child['run']}")["status"] == "RUNNING"


def test_an_invoke_of_a_run_that_is_cancelled_raises(sdk: Sdk) -> None:
    """Checklist 66."""
    run_id = sdk.start("invokes-sleeper", timeout=3600)
    (child,) = sdk.noted("sleeper")

    assert sdk.dev.http("DELETE", f"/v1/runs/{child['run']}").status == 200

    assert "cancelled" in sdk.dev.ended(run_id)["output"]["message"]


@pytest.mark.feature("F87")
def test_a_run_that_is_cancelled_does_not_cancel_what_it_has_invoked(sdk: Sdk) -> None:
    run_id = sdk.start("invokes-sleeper", timeout=3600)
    (child,) = sdk.noted("sleeper")

    assert sdk.dev.http("DELETE", f"/v1/runs/{run_id}").status == 200

    assert sdk.dev.ended(run_id)["status"] == "CANCELLED"
    assert sdk.dev.get(f"/v2/runs/{child['run']}")["status"] == "RUNNING"


def test_an_invoke_of_nobody_raises_at_once(sdk: Sdk) -> None:
    """Checklist 66."""
    assert f"{sdk.language}-nobody" in sdk.run("invokes-nobody")["output"]


def test_a_function_may_invoke_itself(sdk: Sdk) -> None:
    assert sdk.run("factorial", n=5)["output"] == 120


# Sending --------------------------------------------------------------------------------------------------------------


def test_events_that_a_function_sends_start_all_that_wait_for_their_kind(sdk: Sdk) -> None:
    run = sdk.run("tells")

    one, two, beside = run["output"]
    assert [len(one), len(two), len(beside)] == [1, 2, 1]
    assert sorted(line["n"] for line in sdk.noted("told one", 4)) == [1, 2, 3, 4]
    assert sorted(line["n"] for line in sdk.noted("told two", 3)) == [2, 3, 4]
    assert [sdk.dev.get(f"/v1/events/{event_id}")["data"]["n"] for event_id in [*one, *two]] == [1, 2, 3]


# What only one language has -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sdk", ["v4", "v3"], indirect=True)
def test_a_signal_reaches_the_one_that_waits(sdk: Sdk) -> None:
    """Checklist 62."""
    run_id = sdk.start("signalled", signal="one")
    sdk.dev.why(run_id, "waiting-for-signal")

    assert sdk.run("signals", signal="one")["output"] == "sent"

    assert sdk.dev.ended(run_id)["output"] == {"signal": "one", "data": {"n": 7}}
    assert sdk.dev.http("POST", "/v1/signals", {"signal": "one", "data": 1}).status == 404
    assert sdk.run("signals", signal="nobody waits")["output"] == "sent"


@pytest.mark.parametrize("sdk", ["v4", "v3"], indirect=True)
def test_who_waits_for_a_signal_that_is_taken_fails_or_takes_it_over(sdk: Sdk) -> None:
    """Checklist 63."""
    first = sdk.start("signalled", signal="taken", timeout="2s")
    sdk.dev.why(first, "waiting-for-signal")

    second = sdk.run("signalled", signal="taken")
    third = sdk.start("signalled", signal="taken", conflict="replace")
    sdk.dev.why(third, "waiting-for-signal")
    sdk.dev.http("POST", "/v1/signals", {"signal": "taken", "data": 3})

    assert second["status"] == "FAILED"
    assert "Signal conflict" in second["error"]["message"]
    assert sdk.dev.ended(third)["output"] == {"signal": "taken", "data": 3}
    assert sdk.dev.ended(first)["output"] is None  # it can only be too late now


@pytest.mark.parametrize("sdk", ["v4", "v3"], indirect=True)
def test_what_json_has_no_word_for_is_null_or_gone(sdk: Sdk) -> None:
    assert sdk.run("undefined-ones")["output"] == {"one": "nothing", "two": {"kept": None, "list": [None]}}


@pytest.mark.parametrize("sdk", ["v4", "v3"], indirect=True)
def test_a_call_of_a_model_is_a_step(sdk: Sdk) -> None:
    run = sdk.run("wrapped")

    assert run["output"] == {"text": "HELLO"}
    assert sdk.app.did("model") == 1


@pytest.mark.parametrize("sdk", ["fastapi", "flask"], indirect=True)
def test_a_plain_function_has_plain_steps(sdk: Sdk) -> None:
    assert sdk.run("plain")["output"] == ["first", "a", "b"]
    assert [sdk.app.did(step) for step in ("first", "a", "b")] == [1, 1, 1]


@pytest.mark.parametrize("sdk", ["fastapi", "flask"], indirect=True)
def test_a_step_within_a_step_fails_the_outer_one(sdk: Sdk) -> None:
    run = sdk.run("nested-steps")

    assert (run["status"], run["error"]["message"]) == ("FAILED", "Nested steps are not supported.")
    assert (sdk.app.did("outer"), sdk.app.did("inner")) == (1, 0)
