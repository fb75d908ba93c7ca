"""The official JavaScript SDK against our server: what a function does, seen in the app and through REST.

v4 reports steps while a call goes on (checkpoints) and speaks version 2 of the protocol's dialects; v3 does neither
unless it is told to.
"""

from __future__ import annotations

from http.client import HTTPConnection
from typing import Any

import pytest

from tests.edge.conftest import PATIENCE_S, eventually
from tests.edge.official.conftest import Both

pytestmark = pytest.mark.slow


def calls(both: Both, function: str) -> list[dict[str, Any]]:
    """The requests that the app got for this function, in their order."""
    return [line for line in both.app.ledger() if line["what"] == "request" and line["function"] == function]


# What the Python SDK does, too ----------------------------------------------------------------------------------------


def test_steps_run_once_and_their_results_are_remembered(javascript: Both) -> None:
    run = javascript.run("js/steps")

    assert run["output"] == {"one": {"n": 1}, "two": None, "again": [{"n": 1}, {"n": 1}]}
    assert (javascript.app.did("first"), javascript.app.did("nothing")) == (3, 1)
    names = [(step["name"], step["repeat"], step["status"]) for step in javascript.trace(run["id"])["steps"]]
    assert names == [
        ("first", 0, "COMPLETED"),
        ("nothing", 0, "COMPLETED"),
        ("first", 1, "COMPLETED"),
        ("first", 2, "COMPLETED"),
    ]


def test_a_sleep_holds_nothing_and_one_into_the_past_is_over_at_once(javascript: Both) -> None:
    """Checklist 56, 57, 58."""
    run = javascript.run("js/sleeps")

    assert run["output"] == "awake"
    assert [step["kind"] for step in javascript.trace(run["id"])["steps"]] == ["sleep", "sleep", "sleep"]


def test_a_wait_gets_the_event_that_fits(javascript: Both) -> None:
    """Checklist 59."""
    run_id = javascript.dev.start("js/waits", order=7)
    javascript.dev.why(run_id, "waiting")

    javascript.dev.send("js/approved", order=8)
    javascript.dev.send("js/approved", order=7, by="ada")

    found = {"name": "js/approved", "data": {"order": 7, "by": "ada"}}
    assert javascript.dev.ended(run_id)["output"] == found


def test_a_wait_that_is_too_long_gives_null(javascript: Both) -> None:
    """Checklist 57."""
    assert javascript.run("js/waits", timeout=1)["output"] is None


def test_a_step_that_fails_is_tried_again_and_those_before_it_are_not(javascript: Both) -> None:
    run = javascript.run("js/retries")

    assert run["output"] == "done"
    assert (javascript.app.did("before"), javascript.app.did("flaky")) == (1, 3)
    attempts = [attempt["status"] for attempt in javascript.trace(run["id"])["steps"][1]["attempts"]]
    assert attempts == ["ERRORED", "ERRORED", "COMPLETED"]


def test_a_step_out_of_attempts_raises_where_it_was_called(javascript: Both) -> None:
    """Checklist 51, 55."""
    run = javascript.run("js/catches")

    assert run["output"]["message"] == "it never works"
    assert run["output"]["own"]
    assert javascript.app.did("broken") == 2


def test_the_functions_own_code_has_attempts_of_its_own(javascript: Both) -> None:
    assert javascript.run("js/own-code")["output"] == {"attempt": 1}


def test_a_function_out_of_attempts_fails_with_its_error(javascript: Both) -> None:
    """Checklist 42."""
    run = javascript.run("js/fails")

    assert (run["status"], run["error"]["name"]) == ("FAILED", "TypeError")
    assert javascript.app.did("fails") == 2


def test_an_error_that_is_final_is_not_repeated_and_its_handler_has_an_attempt_more(javascript: Both) -> None:
    """Checklist 97, and §15, 20."""
    run = javascript.run("js/final")

    assert (run["status"], run["error"]["message"]) == ("FAILED", "never again")
    assert javascript.app.did("final") == 1
    (handled,) = eventually(lambda: [line for line in javascript.app.ledger() if line["what"] == "handled"])
    assert handled["function"] == "js-final"
    assert handled["message"] == "never again"
    name = "NonRetriableError" if javascript.version == "v4" else "Error"  # that is all v3 says
    assert handled["error"] == {"name": name, "message": "never again"}
    assert javascript.app.did("on-failure") == 2


def test_an_app_may_say_when_it_wants_to_be_asked_again(javascript: Both) -> None:
    """Checklist 41."""
    assert javascript.run("js/later")["output"] == "later"

    first, second = (line["at"] for line in javascript.app.ledger() if line["what"] == "later")
    assert 0.6 < second - first < 3


@pytest.mark.parametrize("width", [1, 3, 20])
def test_branches_cost_one_call_each_and_one_before_and_after(javascript: Both, width: int) -> None:
    """Checklist 75 for v4, and 76 for v3: there a call follows each of them."""
    run = javascript.run("js/parallel", width=width)

    assert run["output"] == [f"p{n}" for n in range(width)]
    assert [javascript.app.did(f"p{n}") for n in range(width)] == [1] * width
    if width == 1:
        assert javascript.app.did("call") == (1 if javascript.version == "v4" else 2)
    elif javascript.version == "v4":
        assert javascript.app.did("call") == 1 + width + 1
    else:
        assert 1 + width + 1 <= javascript.app.did("call") <= 1 + width + width


def test_functions_invoke_one_another(javascript: Both) -> None:
    """Checklist 64, 66, 67."""
    run = javascript.run("js/invokes")

    by_function, by_reference, without_data, failing, unknown = run["output"]
    assert (by_function["got"]["n"], by_reference["got"]["n"]) == (1, 2)
    assert "got" in without_data
    assert failing["message"] == "the child fails"
    assert "js-nobody" in unknown["message"]


def test_a_step_sends_events_that_start_others(javascript: Both) -> None:
    assert javascript.run("js/sends")["output"] == 2

    eventually(lambda: javascript.app.did("told") == 1)


def test_an_event_cancels_the_run_it_is_about(javascript: Both) -> None:
    run_id = javascript.dev.start("js/cancellable", id=3)
    javascript.dev.why(run_id, "sleeping")

    javascript.dev.send("js/cancel", id=4)
    javascript.dev.send("js/cancel", id=3)

    assert javascript.dev.ended(run_id)["status"] == "CANCELLED"


def test_a_limit_holds_over_calls(javascript: Both) -> None:
    for run_id in [javascript.dev.start("js/limited", key="k") for _ in range(4)]:
        assert javascript.dev.ended(run_id)["status"] == "COMPLETED"

    done = [line["what"] for line in javascript.app.ledger() if line["what"] in ("begin", "end")]
    assert done == ["begin", "end"] * 4


def test_state_that_is_too_large_for_a_call_is_fetched(javascript: Both) -> None:
    """Checklist 45."""
    assert javascript.run("js/large")["output"] == 6_000_000


def test_an_app_that_dies_is_called_again_when_it_is_back(javascript: Both) -> None:
    """Checklist 88: v4 has told us of the first step while its call went on."""
    run_id = javascript.dev.start("js/dies")
    javascript.app.restart()

    assert javascript.dev.ended(run_id)["output"] == "alive"
    assert (javascript.app.did("kept"), javascript.app.did("cut-off")) == (1, 2)


# Parallel code --------------------------------------------------------------------------------------------------------


def test_two_chains_side_by_side_run_each_step_once(javascript: Both) -> None:
    """Checklist 76, 77, 78: v4 races them, and v3 races whatever it does."""
    run = javascript.run("js/chains")

    assert run["output"] == ["a", "b"]
    assert [javascript.app.did(f"{chain} {step}") for chain in "ab" for step in ("one", "two")] == [1] * 4
    assert javascript.app.did("call") == 9


def test_a_race_goes_on_when_the_first_has_come(javascript: Both) -> None:
    """Checklist 82: v4 itself keeps the run open until the loser is done, which v3 does not."""
    run_id = javascript.dev.start("js/race", gate="race")

    eventually(lambda: javascript.app.did("after") == 1)
    if javascript.version == "v3":
        assert javascript.dev.ended(run_id)["output"] == ["quick", "after"]
    assert javascript.app.did("slow") == 0
    (javascript.app.folder / "race").touch()
    eventually(lambda: javascript.app.did("slow") == 1)
    assert javascript.dev.ended(run_id)["output"] == ["quick", "after"]
    assert (javascript.app.did("quick"), javascript.app.did("after"), javascript.app.did("slow")) == (1, 1, 1)


def test_any_is_content_with_the_one_that_works(javascript: Both) -> None:
    assert javascript.run("js/any")["output"] == "good"


def test_a_member_that_fails_spares_the_others(javascript: Both) -> None:
    """Checklist 81: a step, one that fails, a sleep, a wait and an invoke, all at once."""
    run = javascript.run("js/members-fail")

    good, bad, nap, wait, child = run["output"]
    assert (good, bad, nap, wait) == ("good", "this one is bad", None, None)
    assert child["got"]["n"] == 3
    assert (javascript.app.did("good"), javascript.app.did("bad")) == (1, 2)


def test_groups_within_groups(javascript: Both) -> None:
    run = javascript.run("js/nested")

    assert run["output"] == [["a 1", "a 2"], ["b 1", "b 2"], "c"]
    steps = [f"{chain} {step}" for chain in "ab" for step in ("before", "1", "2")]
    assert [javascript.app.did(step) for step in [*steps, "c"]] == [1] * 7


def test_a_wait_hears_what_is_sent_beside_it(javascript: Both) -> None:
    """Checklist 61."""
    run = javascript.run("js/sent-before", key=javascript.version)

    assert run["output"] == {"key": javascript.version}


@pytest.mark.parametrize("dialect", ["", "-one", "-two"])
def test_after_a_group_the_function_goes_on_as_its_dialect_has_it(javascript: Both, dialect: str) -> None:
    """Checklist 76, 79: in version 1 every further step is planned before it is run."""
    run = javascript.run(f"js/afterwards{dialect}")

    assert run["output"] == ["a", "b", "c", "d"]
    assert [javascript.app.did(step) for step in "abcd"] == [1] * 4
    made = calls(javascript, f"js-afterwards{dialect}")
    version = {"": "2" if javascript.version == "v4" else "1", "-one": "1", "-two": "2"}[dialect]
    assert [made[0]["version"], *{call["version"] for call in made[1:]}] == ["-1", version]
    targeted = sum(call["step"] != "step" for call in made)
    assert targeted == (4 if version == "1" else 2)


def test_a_loop_that_uses_one_name_has_a_step_for_each_turn(javascript: Both) -> None:
    run = javascript.run("js/loop")

    assert run["output"] == list(range(30))
    assert javascript.app.did("turn") == 30
    assert [step["repeat"] for step in javascript.trace(run["id"])["steps"]] == list(range(30))


# Errors of steps ------------------------------------------------------------------------------------------------------


def test_a_step_that_is_not_to_be_retried_fails_the_run(javascript: Both) -> None:
    run = javascript.run("js/final-step")

    assert (run["status"], run["error"]["message"]) == ("FAILED", "never again")
    assert javascript.app.did("final-step") == 1


def test_a_step_that_is_not_to_be_retried_may_be_caught(javascript: Both) -> None:
    """Checklist 52."""
    run = javascript.run("js/final-step", caught=True)

    assert run["output"] == "never again"
    assert javascript.app.did("final-step") == 1


@pytest.mark.parametrize("form", ["number", "text", "date"])
def test_a_step_may_say_when_it_wants_to_be_tried_again(javascript: Both, form: str) -> None:
    """Checklist 41."""
    assert javascript.run("js/later-step", form=form)["output"] == "later"

    first, second = (line["at"] for line in javascript.app.ledger() if line["what"] == "later-step")
    assert 0.6 < second - first < 3


def test_each_step_and_the_code_between_them_has_all_attempts(javascript: Both) -> None:
    """Checklist 53, 86."""
    run = javascript.run("js/everything-once")

    assert (run["status"], run["output"]) == ("COMPLETED", "done")
    assert [javascript.app.did(what) for what in ("one", "two")] == [2, 2]


# Checkpoints ----------------------------------------------------------------------------------------------------------

# How many calls three steps one after the other take. Without checkpoints, the last one ends the function.
CHECKPOINTS = {
    ("v4", "sequence"): 1,
    ("v4", "checked"): 1,
    ("v4", "unchecked"): 4,
    ("v4", "buffered"): 1,
    ("v4", "buffered-all"): 1,
    ("v3", "sequence"): 4,
    ("v3", "checked"): 1,
    ("v3", "unchecked"): 4,
    ("v3", "buffered"): 1,
    ("v3", "buffered-all"): 1,
}


@pytest.mark.parametrize("function", ["sequence", "checked", "unchecked", "buffered", "buffered-all"])
def test_three_steps_take_one_call_with_checkpoints_and_four_without(javascript: Both, function: str) -> None:
    """Checklist 70, 84, 85."""
    run = javascript.run(f"js/{function}")

    assert run["output"] == ["a", "b", "c"]
    assert [javascript.app.did(step) for step in "abc"] == [1, 1, 1]
    assert len(calls(javascript, f"js-{function}")) == CHECKPOINTS[javascript.version, function]
    assert [step["status"] for step in javascript.trace(run["id"])["steps"]] == ["COMPLETED"] * 3


def test_a_call_that_has_run_long_enough_leaves_the_rest_to_others(javascript: Both) -> None:
    run = javascript.run("js/short")

    assert run["output"] == ["b", "c"]
    assert [javascript.app.did(step) for step in ("long", "b", "c")] == [1, 1, 1]


def test_checkpoints_sleeps_and_groups_alternate(javascript: Both) -> None:
    run = javascript.run("js/mixed")

    assert run["output"] == ["one", "two", "three", "four", "five"]
    assert [javascript.app.did(step) for step in run["output"]] == [1] * 5


def test_a_checkpoint_that_is_not_of_the_present_call_is_refused(javascript: Both) -> None:
    """Checklist 87, and 86: the same once more changes nothing."""
    run_id = javascript.dev.start("js/held", gate="held")
    eventually(lambda: javascript.app.did("held"))
    (call,) = calls(javascript, "js-held")
    generation = int(call["generation"])
    step = {"id": "0" * 40, "op": "StepRun", "name": "x", "displayName": "x", "data": 1, "mode": "sync", "rawArgs": []}
    body = {"run_id": run_id, "fn_id": "f", "qi_id": "q", "generation_id": generation, "steps": [step], "ts": 1}

    def post(**changed: Any) -> int:
        path = f"/v1/checkpoint/{run_id}/async"
        return javascript.dev.http("POST", path, {**body, **changed}).status

    assert post(generation_id=generation - 1) == 409
    assert post(generation_id=generation + 1) == 409
    assert post(generation_id=None) == 409
    assert post(generation_id=None, qi_id=f"{run_id}.{generation - 1:x}") == 409
    assert post(generation_id=None, qi_id=f"{run_id}.{generation:x}", steps=[]) == 200  # as v3 says it
    assert post(steps=[step | {"op": "Sleep", "name": "1s"}]) == 400
    assert post(run_id="01HF7YAT000000000000000001") == 400
    assert [post(), post(), post(steps=[step | {"data": 2}])] == [200, 200, 200]
    (javascript.app.folder / "held").touch()
    assert javascript.dev.ended(run_id)["output"] == "held"
    assert post() == 409
    (given,) = [each for each in javascript.trace(run_id)["steps"] if each["name"] == "x"]
    assert given["output"] == 1


# Answers --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, 0, "x", [], {}, [{"op": "StepRun", "id": "x"}], {"data": 1, "error": 2}])
def test_whatever_a_function_returns_is_its_output(javascript: Both, value: Any) -> None:
    """Checklist 35."""
    assert javascript.run("js/returns", value=value)["output"] == value


def test_answers_may_come_in_pieces(javascript: Both) -> None:
    """Checklist 43: results, plans, failures and the end, each after spaces that keep the connection alive."""
    put = HTTPConnection("127.0.0.1", javascript.app.port, timeout=PATIENCE_S)
    put.request("PUT", "/api/streaming")
    assert put.getresponse().status == 200
    put.close()

    run = javascript.run("streamed/streams")

    assert run["output"] == ["one", "two", "three"]
    assert [javascript.app.did(step) for step in ("one", "two", "three", "flaky")] == [1, 1, 1, 2]


def test_the_app_is_known_with_what_it_says_of_itself(javascript: Both) -> None:
    """Checklist 17, 18: the same once more is no change."""
    put = HTTPConnection("127.0.0.1", javascript.app.port, timeout=PATIENCE_S)
    put.request("PUT", "/api/inngest")
    answer = put.getresponse()

    assert (answer.status, b'"modified":false' in answer.read()) == (200, True)
    put.close()
    (app,) = [app for app in javascript.dev.http("GET", "/dev").json["apps"] if app["url"].endswith("/api/inngest")]
    assert app["error"] is None
