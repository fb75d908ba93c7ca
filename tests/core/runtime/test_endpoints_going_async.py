"""Runs that an app has begun by itself and left to the server (protocol §8.4). Numbers: the checklist (§14)."""

from __future__ import annotations

import json
from base64 import b64encode

import pytest

from stepwell.model.questions import GetWaits
from stepwell.runtime.outbound import Reply
from tests.core.runtime.paged import DOMAIN, Paged, completed, sleeping, step
from tests.core.runtime.pages import fails
from tests.core.runtime.scripted import hashed


@pytest.mark.parametrize(
    "parts",
    [
        ["a", ("nap", "1h"), "b"],
        [("nap", "1h"), "a"],
        ["a", ("group", "b", "c"), "d"],
        [("group", "a", "b"), ("nap", "1m"), ("group", "c", "d")],
        ["a", fails(1), "b"],
        [fails(2), "a"],
    ],
    ids=["sleep", "sleep first", "group", "groups", "own code", "own code first"],
)
def test_90_a_page_that_has_left_its_run_is_called_until_it_is_done(parts):
    with Paged(list(parts)) as t:
        run_id, token = t.visit()
        assert token is not None, "the page has left the run"
        t.advance("1d")

        assert t.run(id=run_id).status == "COMPLETED"
        assert all(t.bodies.count(name) == 1 for name in t.bodies)
        answer = t.http("GET", f"/v1/http/runs/{run_id}/output?token={token}")
        assert (answer.status, answer.json) == (200, "done")


def test_the_members_of_a_group_are_asked_for_and_then_once_what_comes_next():
    with Paged(["a", ("group", "b", "c"), "d"]) as t:
        t.visit()
        t.run_until_idle()

        asked = [entry.get("X-Inngest-Step-ID") for entry in t.entries]
        assert {*asked[:2]} == {hashed("b"), hashed("c")}
        assert asked[2:] == [None, None], "one runs the last step, and one comes to the end"


def test_after_a_group_of_the_first_version_all_steps_are_planned():
    with Paged([("group", "b", "c"), "d"]) as t:
        run_id = t.new_run()
        ops = [{**step(name), "op": "StepPlanned", "data": None} for name in ("b", "c")]
        t.http("POST", "/v1/checkpoint", t.creation(run_id, ops) | {"request_version": 1})
        t.run_until_idle()

        assert t.run(id=run_id).status == "COMPLETED"
        assert t.entries[-1]["X-Inngest-Force-Step-Plan"] == "true"
        assert t.entries[-1]["X-Inngest-Req-Version"] == "1"
        assert sorted(t.bodies) == ["b", "c", "d"]


def test_a_page_that_ends_waits_for_nothing_any_more():
    with Paged() as t:
        run_id = t.new_run()
        wait = {"id": hashed("w"), "op": "WaitForEvent", "name": "x", "opts": {"timeout": "1h"}}
        t.create(run_id, wait, completed())

        assert t.run(id=run_id).status == "COMPLETED"
        assert t.ask(GetWaits(run_id)) == []


def test_90_a_page_is_called_with_the_request_of_its_user():
    with Paged([("nap", "1h"), "a", ("group", "b", "c")]) as t:
        run_id = t.new_run()
        data = {"method": "PUT", "path": "/a b/%C3%A9", "query_params": "q=1&r=%20", "body": '{ "q" : 1 }'}
        t.create(run_id, sleeping("nap", "1h"), content_type="text/plain; charset=utf-8", **data)
        t.advance("2h")

        assert t.run(id=run_id).status == "COMPLETED"
        first = t.entries[0]
        assert (first["method"], first["url"]) == ("PUT", f"{DOMAIN}/a%20b/%C3%A9?q=1&r=%20")
        assert (first["body"], first["Content-Type"]) == ('{ "q" : 1 }', "text/plain; charset=utf-8")
        assert (first["X-Run-ID"], first["X-Inngest-Signature"], first["X-Inngest-Req-Version"]) == (run_id, "", "2")
        assert "X-Inngest-Step-ID" not in first
        assert sum("X-Inngest-Step-ID" in entry for entry in t.entries) == 2
        assert len({entry["X-Request-ID"] for entry in t.entries}) == len(t.entries)


def test_an_app_of_go_writes_bodies_in_base64():
    with Paged([("nap", "1h")]) as t:
        for body, sdk in (("eyJxIjoxfQ==", "inngest-go:v0.14.0"), ("not base64", "inngest-go:v0.14.0")):
            path = {"fn": body, "body": body}
            t.http(
                "POST", "/v1/checkpoint", t.creation(t.new_run(), [sleeping("nap", "1h")], **path), x_inngest_sdk=sdk
            )
        t.create(t.new_run(), sleeping("nap", "1h"), fn="js", body="eyJxIjoxfQ==")
        t.advance("2h")

        assert {entry["body"] for entry in t.entries} == {'{"q":1}', "not base64", "eyJxIjoxfQ=="}


GO = "inngest-go:v0.14.0"


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("body", [b'{"total":3}', b"\xff\x00"])
def test_an_app_of_go_ends_a_page_with_an_opcode_of_its_own(body, wrapped):
    answer = {"status": 201, "headers": {"X-Own": "1"}, "body": b64encode(body).decode()}
    end = {"id": "0" * 40, "op": "SyncRunComplete", "data": {"data": answer} if wrapped else answer}
    with Paged() as t:
        run_id = t.new_run()
        token = t.http("POST", "/v1/checkpoint", t.creation(run_id), x_inngest_sdk=GO).json["data"]["token"]
        assert t.report(run_id, step("a"), end).status == 200

        assert (t.run(id=run_id).status, [*t.run(id=run_id).steps]) == ("COMPLETED", ["a"])
        shown = t.http("GET", f"/v1/http/runs/{run_id}/output?token={token}")
        assert (shown.status, shown.headers["x-own"], shown.body) == (201, "1", body)


def test_an_app_of_go_that_is_called_again_ends_a_page_the_same_way():
    end = {"id": "0" * 40, "op": "SyncRunComplete", "data": {"data": {"status": 200, "body": "b2s="}}}
    with Paged([("nap", "1h")]) as t:
        run_id = t.new_run()
        created = t.http("POST", "/v1/checkpoint", t.creation(run_id, [sleeping("nap", "1h")]), x_inngest_sdk=GO)
        t.app.request = answering(end)
        t.advance("2h")

        token = created.json["data"]["token"]
        assert t.http("GET", f"/v1/http/runs/{run_id}/output?token={token}").body == b"ok"


def answering(op):
    async def request(*_, **__):
        return Reply(206, {"x-inngest-sdk": GO, "x-inngest-req-version": "2"}, json.dumps(op).encode())

    return request


def test_what_an_app_asks_for_when_it_has_run_long_enough_is_to_be_called_again():
    with Paged(["a", "b"]) as t:
        run_id = t.new_run()
        t.create(run_id, t._body("a"))
        assert t.report(run_id, {"id": "0" * 40, "op": "DiscoveryRequest"}).status == 200
        t.run_until_idle()

        assert t.run(id=run_id).status == "COMPLETED"
        assert t.bodies == ["a", "b"]


def test_a_page_out_of_attempts_fails():
    with Paged([fails(9)]) as t:
        run_id, token = t.visit()
        t.advance("1h")

        run = t.run(id=run_id)
        assert (run.status, len(t.entries)) == ("FAILED", 3)
        answer = t.http("GET", f"/v1/http/runs/{run_id}/output?token={token}")
        assert (answer.status, answer.json["message"]) == (500, "boom")


def test_what_a_page_reports_is_not_its_own_any_more_once_it_has_left_the_run():
    with Paged([("nap", "1h"), "b"]) as t:
        run_id, _ = t.visit()

        assert t.report(run_id, step("c")).status == 409
        assert t.report(run_id, completed()).status == 409
        assert t.report(run_id, sleeping("nap", "1h")).status == 200, "it may come twice"
        t.advance("2h")
        assert [each.name for each in t.run(id=run_id).steps.values()] == ["nap", "b"]
