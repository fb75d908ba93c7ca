"""What goes wrong between a server and an app: no run is lost, no recorded step runs again, and the trace says why."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.edge import wild_app
from tests.edge.conftest import Dev, eventually
from tests.edge.wild_app import STEPS, Wild

pytestmark = pytest.mark.slow

FATAL = "Server returned a fatal error"
BROKE = "the connection broke before the answer was there"


@pytest.fixture(scope="module")
def wild() -> Iterator[Wild]:
    with wild_app.running() as app:
        yield app


@pytest.fixture
def served(dev: Dev, wild: Wild) -> Dev:
    """A server that knows the app."""
    wild.release.clear()
    register(dev, wild)
    return dev


def register(dev: Dev, app: Wild, **changed: Any) -> None:
    assert dev.http("POST", "/fn/register", app.registration(**changed)).status == 200


def failures(dev: Dev, run_id: str) -> list[dict[str, Any]]:
    """The attempts at the function that failed, as its trace tells them."""
    attempts: list[dict[str, Any]] = dev.get(f"/v2/runs/{run_id}/trace")["attempts"]
    return [each["error"] for each in attempts]


def ran(app: Wild, run_id: str) -> list[int]:
    return [app.ran[run_id, step] for step in STEPS]


@pytest.mark.parametrize(
    ("fault", "name", "told"),
    [
        ("half", "Error", BROKE),
        ("half-head", "Error", BROKE),
        ("half-in-pieces", "Error", BROKE),
        ("nothing", "Error", BROKE),
        ("reset", "Error", BROKE),
        ("no-http", "Error", "what answered does not speak HTTP"),
        ("error", "ValueError", "the database is away"),
        ("error-of-nobody", FATAL, "status 500, and not from an SDK: Internal Server Error"),
        ("429-seconds", FATAL, "status 429, and not from an SDK: slow down"),
        ("429-date", FATAL, "status 429, and not from an SDK: slow down"),
        ("429-sdk", "Error", "slow down"),
        ("html", FATAL, "status 502, and not from an SDK: <html><head><title>502 Bad Gateway"),
        ("html-200", FATAL, "status 200, and not from an SDK: <html>"),
        ("no-json", "Error", "the answer is not JSON"),
        ("no-ops", "Error", "the ops cannot be read"),
        ("no-utf-8", "Error", "the answer is not JSON"),
        ("empty", "Error", "the answer is not JSON"),
        ("bomb", "Error", "the answer is larger than"),
        ("no-gzip", "Error", "the answer says that it is packed, and cannot be unpacked"),
        ("oversized", "Error", "the answer is larger than"),
        ("redirect", FATAL, "it redirects to http://127.0.0.1:1/elsewhere, and calls do not follow"),
        ("loop", FATAL, "it redirects to /api/inngest, and calls do not follow"),
        ("no-utf-8-redirect", FATAL, "it redirects to /caf?, and calls do not follow"),
        ("too-short", "Error", "what answered does not speak HTTP"),
        ("too-long", "Error", BROKE),
        ("no-sdk", FATAL, 'status 200, and not from an SDK: "done"'),
        ("not-found", FATAL, "status 404, and not from an SDK: 404 page not found"),
    ],
)
def test_a_bad_answer_costs_an_attempt_and_nothing_else(
    served: Dev, wild: Wild, fault: str, name: str, told: str
) -> None:
    run = served.ended(served.start("wild/go", fault=fault))

    assert (run["status"], run["output"]) == ("COMPLETED", ["A", "B", "C"])
    assert ran(wild, run["id"]) == [1, 2, 1]
    (failure,) = failures(served, run["id"])
    assert failure["name"] == name
    assert told in failure["message"]
    shown = served.cli("run", run["id"]).out
    assert told[:40] in " ".join(shown.split())


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("reset", BROKE),
        ("half", BROKE),
        ("html", "status 502, and not from an SDK"),
        ("no-json", "the answer is not JSON"),
        ("bomb", "the answer is larger than"),
        ("redirect", "it redirects to"),
        ("error", "the database is away"),
    ],
)
def test_a_bad_answer_about_one_of_several_steps_is_an_attempt_of_that_step(
    served: Dev, wild: Wild, fault: str, told: str
) -> None:
    run = served.ended(served.start("wild/go", fault=fault, group=True))

    assert (run["status"], run["output"]) == ("COMPLETED", ["A", "B", "C"])
    assert ran(wild, run["id"]) == [1, 2, 1]
    trace = served.get(f"/v2/runs/{run['id']}/trace")
    tried = {step["name"]: [attempt["status"] for attempt in step["attempts"]] for step in trace["steps"]}
    assert (tried["b"], trace["attempts"]) == (["ERRORED", "COMPLETED"], [])
    (failed,) = [step["attempts"][0]["error"] for step in trace["steps"] if step["name"] == "b"]
    assert told in failed["message"]


@pytest.mark.parametrize("fault", ["twice", "drips"])
def test_an_answer_that_is_odd_and_right_is_taken(served: Dev, wild: Wild, fault: str) -> None:
    """What came a second time is not taken for the answer to the next call on that connection."""
    run = served.ended(served.start("wild/go", fault=fault))

    assert run["output"] == ["A", "B", "C"]
    assert ran(wild, run["id"]) == [1, 1, 1]
    assert failures(served, run["id"]) == []


@pytest.mark.parametrize("fault", ["429-seconds", "429-date", "429-sdk"])
def test_who_asks_for_a_pause_gets_it(served: Dev, wild: Wild, fault: str) -> None:
    """Also a proxy, which is no SDK and may be who limits the rate."""
    began = len(wild.times)

    served.ended(served.start("wild/go", fault=fault))

    refused, again = wild.times[began + 1 : began + 3]
    assert 0.9 < again - refused < 3


def test_an_answer_that_is_late_is_an_answer(served: Dev, wild: Wild) -> None:
    run_id = served.start("wild/go", fault="late")
    served.why(run_id, "executing")

    wild.release.set()

    assert served.ended(run_id)["output"] == ["A", "B", "C"]
    assert ran(wild, run_id) == [1, 1, 1]


def test_an_answer_that_comes_after_the_end_changes_nothing(served: Dev, wild: Wild) -> None:
    run_id = served.start("wild/go", fault="late")
    eventually(lambda: wild.ran[run_id, "b"])

    assert served.http("POST", f"/v2/runs/{run_id}/cancel").status == 200
    wild.release.set()
    other = served.ended(served.start("wild/go"))

    assert other["output"] == ["A", "B", "C"]
    assert served.ended(run_id)["status"] == "CANCELLED"
    steps = served.get(f"/v2/runs/{run_id}/trace")["steps"]
    assert [(step["name"], step["status"]) for step in steps][:1] == [("a", "COMPLETED")]
    assert ran(wild, run_id) == [1, 1, 0]


def test_an_app_that_never_answers_and_dies_is_called_again(served: Dev) -> None:
    with wild_app.running() as first:
        register(served, first)
        run_id = served.start("wild/go", fault="never")
        eventually(lambda: first.ran[run_id, "b"])
        port = first.port
    with wild_app.running(port) as second:
        run = served.ended(run_id)

        assert run["output"] == ["A", "B", "C"]
        assert ([first.ran[run_id, step] for step in STEPS], ran(second, run_id)) == ([1, 1, 0], [0, 1, 1])
    messages = [each["message"] for each in failures(served, run_id)]
    assert BROKE in messages[0]
    assert all("the call failed" in message for message in messages)


def test_an_app_that_is_not_there_is_waited_for_while_attempts_last(served: Dev) -> None:
    with wild_app.running() as gone:
        register(served, gone, retries=1)
    run = served.ended(served.start("wild/go"))

    assert run["status"] == "FAILED"
    assert f"nobody answers at 127.0.0.1:{gone.port}" in run["error"]["message"]
    assert len(failures(served, run["id"])) == 2


def test_an_app_without_tls_at_an_address_with_it_is_called_when_it_says_the_right_one(served: Dev, wild: Wild) -> None:
    register(served, wild, url=wild.url.replace("http:", "https:"))
    run_id = served.start("wild/go")
    (failure, *_) = eventually(lambda: failures(served, run_id))

    register(served, wild)

    assert served.ended(run_id)["output"] == ["A", "B", "C"]
    assert "no TLS connection" in failure["message"]
    assert ran(wild, run_id) == [1, 1, 1]


def test_an_app_that_moves_in_the_middle_of_a_run_is_called_where_it_is(served: Dev, wild: Wild) -> None:
    with wild_app.running() as before:
        register(served, before)
        run_id = served.start("wild/go", fault="late")
        eventually(lambda: before.ran[run_id, "b"])
        register(served, wild)
        before.release.set()

        assert served.ended(run_id)["output"] == ["A", "B", "C"]
        assert [before.ran[run_id, step] for step in STEPS] == [1, 1, 0]
        assert ran(wild, run_id) == [0, 0, 1]


def test_a_server_that_is_killed_in_the_middle_of_a_call_is_followed_by_one_that_goes_on(
    start_dev: Callable[..., Dev], wild: Wild
) -> None:
    wild.release.clear()
    options = ("--no-discovery", "--no-poll", "--retry-interval", "100ms", "--db", "wild.db")
    first = start_dev(*options, target=None)
    register(first, wild)
    run_id = first.start("wild/go", fault="late")
    eventually(lambda: wild.ran[run_id, "b"])

    first.signal(signal.SIGKILL)
    first.exit_code()
    wild.release.set()
    second = start_dev(*options, target=None)

    run = second.ended(run_id)
    assert run["output"] == ["A", "B", "C"]
    assert ran(wild, run_id) == [1, 2, 1]
    notes = [note["text"] for note in second.get(f"/v2/runs/{run_id}/trace")["notes"]]
    assert any("the process that ran it died" in note for note in notes)
    assert "the process that ran it died" in " ".join(second.cli("run", run_id).out.split())


def test_faults_one_after_the_other_end_in_the_last_of_them(served: Dev, wild: Wild) -> None:
    """A run whose attempts are spent says what happened at each."""
    register(served, wild, retries=0)

    run = served.ended(served.start("wild/go", fault="html"))

    assert (run["status"], run["error"]["name"]) == ("FAILED", FATAL)
    assert ran(wild, run["id"]) == [1, 1, 0]
    assert "502 Bad Gateway" in served.cli("why", run["id"]).out
