"""What the official JavaScript SDKs say with events, against our server: deferred functions, metadata, sessions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.edge.conftest import eventually
from tests.edge.official.conftest import HERE, NODE, Both, started

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def v4(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    command = [str(NODE), str(HERE / "javascript_events.mjs"), "v4"]
    for both in started(tmp_path_factory.mktemp("v4"), lambda port: [*command, str(port)]):
        both.version = "v4"
        yield both


@pytest.fixture(autouse=True)
def _empty(v4: Both) -> None:
    v4.app.forget()


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

    listed = [line["defers"] for line in noted(v4, "request")]
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
