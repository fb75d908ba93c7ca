"""What the official JavaScript SDKs say with events, against our server: deferred functions, metadata, sessions."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.edge.conftest import eventually
from tests.edge.official.conftest import HERE, NODE, Both, started

pytestmark = pytest.mark.slow


def app(folder: Path, version: str) -> Iterator[Both]:
    command = [str(NODE), str(HERE / "javascript_events.mjs"), version]
    for both in started(folder, lambda port: [*command, str(port)]):
        both.version = version
        yield both


@pytest.fixture(scope="module")
def v4(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """Where only the newer one can say it."""
    yield from app(tmp_path_factory.mktemp("v4"), "v4")


@pytest.fixture(scope="module", params=["v4", "v3"])
def javascript(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    yield from app(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(autouse=True)
def _empty(request: pytest.FixtureRequest) -> None:
    for name in {"v4", "javascript"} & {*request.fixturenames}:
        request.getfixturevalue(name).app.forget()


def noted(both: Both, what: str) -> list[dict[str, Any]]:
    return [line for line in both.app.ledger() if line["what"] == what]


def receipts(both: Both, count: int) -> list[dict[str, Any]]:
    """What the deferred function has noted, once it has so often."""
    return eventually(lambda: found if len(found := noted(both, "receipt")) >= count else None)


def defers(both: Both, run_id: str) -> list[tuple[str, str]]:
    """What the run has put off, and what became of it."""
    return [(step["name"], step["status"]) for step in both.trace(run_id)["steps"] if step["kind"] == "defer"]


# Deferred functions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["defers", "defers-alone", "defers-unchecked", "defers-in-step"])
def test_72_what_is_deferred_starts_once_when_the_run_has_ended(v4: Both, how: str) -> None:
    run = v4.run(f"js/{how}", order=7)

    assert run["output"] == "done"
    (receipt,) = receipts(v4, 1)
    order = {"defers": 7, "defers-in-step": 2}.get(how, 1)
    assert receipt["data"] == {"order": order}
    assert receipt["parents"] == [{"fnSlug": f"js-{how}", "runId": run["id"]}]
    (step,) = [step for step in v4.trace(run["id"])["steps"] if step["kind"] == "defer"]
    assert (step["name"], step["status"]) == ("receipt", "COMPLETED")
    child = v4.dev.ended(step["details"]["run_id"])
    assert (child["functionId"], child["output"], child["deferredBy"]) == ("js-receipt", order, run["id"])
    assert len(noted(v4, "receipt")) == 1


def test_72_a_run_that_fails_starts_what_it_has_deferred(v4: Both) -> None:
    run = v4.run("js/defers-and-fails")

    assert run["status"] == "FAILED"
    (receipt,) = receipts(v4, 1)
    assert receipt["data"] == {"order": 3}


def test_72_a_run_that_is_cancelled_starts_what_it_has_deferred(v4: Both) -> None:
    run_id = v4.dev.start("js/defers-and-waits", gate="never")
    eventually(lambda: noted(v4, "held"))

    assert v4.dev.http("DELETE", f"/v1/runs/{run_id}").status == 200

    (receipt,) = receipts(v4, 1)
    assert receipt["data"] == {"order": 4}


def test_73_what_is_aborted_starts_nothing_and_was_listed_until_then(v4: Both) -> None:
    run_id = v4.dev.start("js/defers-and-waits", gate="open")
    eventually(lambda: noted(v4, "held"))
    (v4.app.folder / "open").touch()

    assert v4.dev.ended(run_id)["output"] == "done"

    listed = [line["defers"] for line in noted(v4, "request") if line["function"] == "js-defers-and-waits"]
    assert listed[0] == {}
    ((hashed, known),) = listed[1].items()
    assert known == {"abortable": True}
    assert listed[-1] == {hashed: {"abortable": False}}
    assert defers(v4, run_id) == [("receipt", "ABORTED")]
    assert noted(v4, "receipt") == []


def test_a_run_defers_twenty_functions_and_no_more(v4: Both) -> None:
    run = v4.run("js/defers-too-many")

    assert run["output"] == "done"
    assert sorted(line["data"]["order"] for line in receipts(v4, 20)) == list(range(20))
    assert defers(v4, run["id"])[-1] == ("receipt 20", "REJECTED")
    (text,) = [note["text"] for note in v4.trace(run["id"])["notes"]]
    assert "20" in text
    assert "limit" in text


def test_what_cannot_be_deferred_is_noted_and_fails_nothing(v4: Both) -> None:
    run = v4.run("js/defers-badly")

    assert run["output"] == "done"
    assert defers(v4, run["id"]) == [("text", "REJECTED"), ("large", "REJECTED"), ("receipt", "COMPLETED")]
    assert [receipt["data"] for receipt in receipts(v4, 1)] == [{"order": 6}]
    reasons = [note["text"] for note in v4.trace(run["id"])["notes"]]
    assert "no JSON object" in reasons[0]
    assert "4,194,304" in reasons[1]


# Metadata -------------------------------------------------------------------------------------------------------------


def said(both: Both, run_id: str) -> dict[tuple[str | None, str], Any]:
    trace = both.trace(run_id)
    names = {step["id"]: step["name"] for step in trace["steps"]}
    return {(names.get(one["stepId"]), one["kind"]): one["values"] for one in trace["run"]["metadata"]}


def test_what_is_said_of_a_run_and_its_steps_is_shown(v4: Both) -> None:
    run = v4.run("js/says")

    assert run["output"] == "done"
    assert said(v4, run["id"]) == {
        (None, "userland.default"): {"phase": 2},
        (None, "userland.ai"): {"b": 2},
        (None, "userland.seen"): {"seen": True},
        ("load", "userland.default"): {"rows": 3},
        ("load", "userland.late"): {"late": True},
        (None, "inngest.score"): {"accuracy": {"value": 0.9}, "valid": {"value": True}},
    }


def test_what_is_too_large_to_be_said_is_noted_and_the_run_goes_on(v4: Both) -> None:
    run = v4.run("js/says-too-much")

    assert run["output"] == "done"
    assert said(v4, run["id"]) == {}
    assert "65,536" in v4.trace(run["id"])["notes"][0]["text"]


# Internal events ------------------------------------------------------------------------------------------------------


def heard(both: Both, what: str, run_id: str) -> dict[str, Any]:
    """The internal event about this run, as the app got it."""

    def look() -> dict[str, Any] | None:
        events = [line["event"] for line in noted(both, what)]
        return next((event for event in events if event["data"].get("run_id") == run_id), None)

    return eventually(look)


def test_55_the_cause_of_an_error_is_told_to_those_who_catch_it(javascript: Both) -> None:
    run = javascript.run("js/catches")

    assert run["output"]["message"] == "it never works"
    assert run["output"]["cause"] == {"name": "TypeError", "message": "a reason"}


def test_97_a_run_that_fails_is_told_of_and_its_handler_runs_once(javascript: Both) -> None:
    run = javascript.run("js/fails")

    failed, finished = heard(javascript, "failed", run["id"]), heard(javascript, "finished", run["id"])
    assert (failed["id"], failed["name"]) == (run["id"], "inngest/function.failed")
    assert finished["id"] != run["id"]
    assert failed["data"] == finished["data"]
    assert failed["data"].keys() == {"function_id", "run_id", "event", "events", "error", "_inngest"}
    assert failed["data"]["function_id"] == "js-fails"
    assert failed["data"]["_inngest"] == {"status": "Failed"}
    assert failed["data"]["events"] == [failed["data"]["event"]]
    error = failed["data"]["error"]
    assert error.keys() == {"error", "name", "message", "stack", "cause"}
    assert (error["name"], error["message"], error["cause"]["message"]) == ("RangeError", "no", "a reason")
    (handled,) = eventually(lambda: noted(javascript, "on-failure"))
    assert handled["event"]["data"]["run_id"] == run["id"]
    assert handled["cause"] == "a reason"
    functions = [run["functionId"] for run in javascript.dev.get("/v2/runs?limit=1000")]
    assert functions.count("js-fails-failure") == len(noted(javascript, "on-failure"))  # and none about the handler's


def test_98_a_run_that_is_cancelled_by_an_event_is_told_of_as_cancelled_and_finished(javascript: Both) -> None:
    run_id = javascript.dev.start("js/is-cancelled", id=3)
    javascript.dev.why(run_id, "sleeping")
    javascript.dev.send("js/stop", id=4)
    javascript.dev.send("js/stop", id=3)

    cancelled, finished = heard(javascript, "cancelled", run_id), heard(javascript, "finished", run_id)
    assert cancelled["id"] == run_id
    assert cancelled["data"] == finished["data"]
    assert cancelled["data"].keys() == {"function_id", "run_id", "event", "events", "_inngest"}
    assert cancelled["data"]["_inngest"] == {"status": "Cancelled"}
    assert noted(javascript, "failed") == []


def test_64_an_invoke_says_where_it_comes_from_and_carries_its_payload(javascript: Both) -> None:
    run = javascript.run("js/parent")

    invoked = run["output"]["data"]
    routing = invoked.pop("_inngest")
    assert invoked == {"n": 1}
    step = javascript.trace(run["id"])["steps"][0]
    assert routing["correlation_id"] == f"{run['id']}.{step['id']}"
    assert (routing["fn_id"], routing["name"], routing["source_fn_v"]) == ("js-child", "call", 1)
    assert routing.keys() == {
        "fn_id",
        "correlation_id",
        "source_app_id",
        "source_fn_id",
        "source_fn_v",
        "expire",
        "name",
    }
    events = javascript.dev.get("/v2/events?internal=true&name=inngest/function.invoked")
    (event,) = [event for event in events if event["data"]["_inngest"] == routing]
    user = {"id": "u1"} if javascript.version == "v3" else None  # v4 has no user any more
    assert (event["v"], event["user"]) == ("2", user)
    assert (
        heard(javascript, "finished", step["details"]["run_id"])["data"]["correlation_id"] == routing["correlation_id"]
    )


# Events and what they start ------------------------------------------------------------------------------------------


def test_93_the_same_id_starts_a_function_once(javascript: Both) -> None:
    sent = {"name": "js/once", "data": {}, "id": "the-same"}
    ids = [javascript.dev.http("POST", "/e/k", sent).json["ids"][0] for _ in range(2)]

    first, second = (javascript.dev.get(f"/v2/events/{id}/runs") for id in ids)
    javascript.dev.ended(first["runs"][0]["id"])
    assert second["runs"] == []
    assert [line["id"] for line in noted(javascript, "once")] == ["the-same"]


def test_104_a_run_that_starts_or_finishes_too_late_is_cancelled(javascript: Both) -> None:
    late = int(time.time() * 1000) + 60_000
    (event_id,) = javascript.dev.http("POST", "/e/k", {"name": "js/starts-late", "ts": late}).json["ids"]
    (waiting,) = javascript.dev.get(f"/v2/events/{event_id}/runs")["runs"]
    finishing = javascript.run("js/finishes-late")
    starting = javascript.dev.ended(waiting["id"])

    assert (finishing["status"], starting["status"], starting["startedAt"]) == ("CANCELLED", "CANCELLED", None)
    assert "finish timeout" in finishing["reason"]
    assert "start timeout" in starting["reason"]
    assert noted(javascript, "started") == []


def test_105_a_star_stands_for_the_rest_of_a_name(javascript: Both) -> None:
    for name in ("a/b", "a/b.c", "ab/c"):
        javascript.dev.send(name)

    eventually(lambda: len([line for line in javascript.app.ledger() if line["what"] in ("a/*", "a/b.*")]) == 3)
    assert sorted(line["name"] for line in noted(javascript, "a/*")) == ["a/b", "a/b.c"]
    assert [line["name"] for line in noted(javascript, "a/b.*")] == ["a/b.c"]


# Sessions -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ({}, {"chat": "c1", "user": "u1"}),
        ({"meta": {"sessions": {"chat": "c2"}}}, {"chat": "c2", "user": "u1"}),
        ({"meta": {"sessions": {"chat": None}}}, {"user": "u1"}),
        ({"meta": {"sessions": None}}, None),
    ],
)
def test_what_a_run_sends_and_invokes_belongs_to_its_sessions(v4: Both, said: Any, kept: Any) -> None:
    meta = {"sessions": {"chat": "c1", "user": "u1"}}
    sent = {"name": "js/parent", "data": {"said": said}, "meta": meta}
    (event_id,) = v4.dev.http("POST", "/e/k", sent).json["ids"]
    (run,) = v4.dev.get(f"/v2/events/{event_id}/runs")["runs"]

    assert v4.dev.ended(run["id"])["output"]["meta"] == meta
    told = eventually(
        lambda: [event for event in v4.dev.get("/v2/events?name=js/child") if event["ts"] >= run["queuedAt"]]
    )
    assert told[0]["meta"] == (None if kept is None else {"sessions": kept})
