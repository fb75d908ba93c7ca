"""Runs that an app begins by itself and reports (protocol §8.3-§8.5). Numbers are those of the checklist (§14)."""

from __future__ import annotations

import json

import pytest

from stepwell.model.questions import GetEvent, GetRun, ListFunctions
from tests.core.runtime.paged import DOMAIN, Paged, completed, sleeping, step
from tests.core.runtime.scripted import hashed


def test_89_a_page_that_runs_its_steps_has_a_run_of_them():
    with Paged(["a", "b"]) as t:
        run_id, _ = t.visit()

        run = t.run(id=run_id)
        assert (run.status, [each.name for each in run.steps.values()]) == ("COMPLETED", ["a", "b"])
        assert t.entries == []


def test_89_what_a_create_answers():
    with Paged() as t:
        told = t.create(t.new_run()).json["data"]

        again = t.create(t.new_run()).json["data"]
        assert told["fn_id"] == again["fn_id"] and told["app_id"] == again["app_id"], "the same for the same page"
        assert told["token"] and told["realtime_token"]
        assert t.create(t.new_run(), path="/other").json["data"]["fn_id"] != told["fn_id"]


def test_89_a_create_that_comes_twice_is_one_run():
    """SDKs repeat it when its answer was lost."""
    with Paged() as t:
        run_id = t.new_run()
        answers = [t.create(run_id, step("a")) for _ in range(2)]

        assert [each.status for each in answers] == [200, 200]
        assert [each.name for each in t.run(id=run_id).steps.values()] == ["a"]
        assert len(t.runs(f"{DOMAIN}-POST /page")) == 1


def test_89_another_run_cannot_have_the_same_id():
    with Paged() as t:
        run_id = t.new_run()
        t.create(run_id)

        for other in ({"path": "/other"}, {"body": '{"q":1}'}):
            answer = t.create(run_id, **other)
            assert (answer.status, answer.json["status"]) == (409, 409)
        t.function("f")(None)
        taken = t.start("f")
        assert t.create(taken.id).status == 409


def test_a_report_that_comes_twice_changes_nothing():
    with Paged() as t:
        run_id = t.new_run()
        t.create(run_id, step("a"))
        ops = (step("b"), step("b", "other"), completed(), completed())
        answers = [t.report(run_id, op) for op in ops]

        assert [each.status for each in answers] == [200] * 4
        assert [each.output for each in t.run(id=run_id).steps.values()] == ["a", "b"]


def test_what_is_put_off_rides_along_and_changes_nothing_of_that():
    with Paged(["a", "b"]) as t:
        run_id = t.new_run()
        later = {"id": hashed("d"), "op": "DeferAdd", "opts": {"fn_slug": "app-x", "input": {}}}
        t.create(run_id, t._body("a"), later)
        assert t.report(run_id, later).status == 200
        t.advance("4m")

        assert t.entries == [], "the page goes on"
        assert [t.report(run_id, sleeping("nap", "1h"), later).status for _ in range(2)] == [200, 200]


def test_the_aliases_do_the_same():
    with Paged() as t:
        run_id = t.new_run()

        told = t.http("POST", "/v1/http/runs", t.creation(run_id, [step("a")]))
        assert t.report(run_id, completed('"x"'), prefix="/v1/http/runs").status == 200

        token = told.json["data"]["token"]
        for prefix in ("/v1/http/runs", "/v1/checkpoint"):
            assert t.http("GET", f"{prefix}/{run_id}/output?token={token}").json == "x"


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"run_id": "x"}, "not the id of a run"),
        ({"run_id": 1}, "run_id"),
        ({"event": None}, "event"),
        ({"steps": {"op": 1}}, "ops cannot be read"),
        ({"steps": [{"op": "Dance", "id": "x"}]}, "Dance"),
    ],
)
def test_what_cannot_be_read_is_refused(changed, told):
    with Paged() as t:
        answer = t.http("POST", "/v1/checkpoint", t.creation(t.new_run()) | changed)

        assert (answer.status, answer.json["status"]) == (400, 400)
        assert told in answer.json["error"]
        assert t.runs() == []


@pytest.mark.parametrize(
    "data",
    [
        {"domain": "ftp://pages.test"},
        {"domain": "http://user:secret@pages.test"},
        {"domain": "http://pages.test/path"},
        {"domain": "http://pages.test?x=1"},
        {"domain": "pages.test"},
        {"domain": ""},
        {"method": "CONNECT"},
        {"method": "GET /x HTTP/1.1\r\nX:"},
        {"path": "page"},
        {"path": "/" + "x" * 3_000},
        {"content_type": "a\r\nX-Own: b"},
    ],
)
def test_a_request_that_could_not_be_made_again_is_refused(data):
    with Paged() as t:
        assert t.create(t.new_run(), **data).status == 400
        assert t.ask(ListFunctions()) == []


def test_what_is_too_large_is_refused_and_not_stored():
    with Paged() as t:
        run_id = t.new_run()
        assert t.create(run_id, body="x" * 600_000).status == 413
        assert t.runs() == []

        t.create(run_id)
        large = "x" * 4_200_000
        assert t.report(run_id, step("a", large)).status == 413
        assert t.report(run_id, completed("x" * 8_500_000)).status == 413
        for number in range(8):
            assert t.report(run_id, step(f"s{number}", "x" * 4_000_000)).status == 200
        assert t.report(run_id, step("s8", "x" * 4_000_000)).status == 413, "32 MiB are kept of one run"
        assert t.run(id=run_id).status == "RUNNING"
        assert len(t.run(id=run_id).steps) == 8
        assert t.http("POST", "/v1/checkpoint", b"x" * (32 * 1024 * 1024 + 1)).status == 413


def test_an_app_cannot_have_pages_without_end(monkeypatch):
    monkeypatch.setattr("stepwell.engine.endpoints.ENDPOINTS_PER_APP_MAX", 3)
    with Paged() as t:
        for number in range(3):
            assert t.create(t.new_run(), path=f"/{number}").status == 200
        answer = t.create(t.new_run(), path="/one-too-many")

        assert (answer.status, answer.json["status"]) == (429, 429)
        assert "functionId" in answer.json["fix"]
        assert t.create(t.new_run(), path="/0").status == 200
        assert t.create(t.new_run(), domain="http://other.test").status == 200


def test_a_page_that_is_changed_is_the_next_version_of_its_function():
    with Paged() as t:
        for retries in (3, 3, 5):
            t.http("POST", "/v1/checkpoint", t.creation(t.new_run()) | {"retries": retries})

        (found,) = t.ask(ListFunctions())
        assert (found.id, found.app_id, found.version) == (f"{DOMAIN}-POST /page", DOMAIN, 2)


def test_the_name_of_a_page_goes_before_its_path_and_has_an_end():
    with Paged() as t:
        t.create(t.new_run(), fn="mine", path="/1")
        t.create(t.new_run(), fn="mine", path="/2")
        t.create(t.new_run(), path="/" + "x" * 1_000)
        t.create(t.new_run(), path="/" + "x" * 999)

        functions = sorted(each.id for each in t.ask(ListFunctions()))
        assert functions[2] == f"{DOMAIN}-mine"
        assert [len(each) for each in functions[:2]] == [255, 255]


def test_the_event_of_a_run_starts_what_listens_for_it():
    with Paged() as t:
        t.function("listener", trigger="inngest/http.request")(None)
        run_id = t.new_run()
        t.create(run_id, body='{"q": 1}', ip="192.0.2.1")

        event = t.ask(GetEvent(t.ask(GetRun(run_id)).event_id))
        assert (event.name, json.loads(event.data)["ip"]) == ("inngest/http.request", "192.0.2.1")
        assert len(t.runs("listener")) == 1
