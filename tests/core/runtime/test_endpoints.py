"""Runs that an app begins by itself and reports (protocol §8.3-§8.5). Numbers are those of the checklist (§14)."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import datetime, timedelta

import pytest

from stepwell.clock import to_ms
from stepwell.model.questions import GetEvent, GetRun, GetWaits, ListFunctions
from stepwell.runtime.outbound import Reply
from stepwell.testing.invariants import Guard
from stepwell.testing.tables import Tables
from tests.core.runtime.paged import DOMAIN, Paged, completed, sleeping, step
from tests.core.runtime.scripted import hashed

OTHER = "01HF7YAT000000000000000001"


def fails(often):
    """Code of the page itself that fails so often."""
    left = [often]

    def own():
        left[0] -= 1
        if left[0] >= 0:
            raise ValueError("boom")

    return own


# What an app reports --------------------------------------------------------------------------------------------------


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


# Going async ----------------------------------------------------------------------------------------------------------


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


# Silence --------------------------------------------------------------------------------------------------------------


def test_a_page_that_goes_silent_is_called_again():
    with Paged(["a", "b"]) as t:
        run_id = t.new_run()
        t.create(run_id, t._body("a"))
        t.advance("4m")
        assert t.entries == []
        t.advance("2m")

        assert t.run(id=run_id).status == "COMPLETED"
        assert t.bodies == ["a", "b"]
        assert t.report(run_id, step("b")).status == 200, "that much is known"
        assert t.report(run_id, step("c")).status == 409


def test_each_report_keeps_a_page_alive():
    with Paged() as t:
        run_id = t.new_run()
        t.create(run_id)
        for number in range(5):
            t.advance("4m")
            assert t.report(run_id, step(f"s{number}")).status == 200
        t.advance("4m")

        assert t.report(run_id, completed()).status == 200
        assert (t.run(id=run_id).status, t.entries) == ("COMPLETED", [])


def test_a_page_that_was_taken_for_dead_cannot_run_beside_the_one_that_was_called():
    with Paged(["a", ("nap", "1h"), "b"]) as t:
        run_id = t.new_run()
        t.create(run_id, t._body("a"))
        t.advance("6m")

        answer = t.report(run_id, step("c"))
        assert (answer.status, answer.json["status"]) == (409, 409)


def test_why_says_who_has_the_run_and_when_it_would_be_called():
    with Paged(["a", "b"]) as t:
        run_id = t.new_run()
        t.create(run_id)
        t.advance("1m")
        t.report(run_id, t._body("a"))
        t.advance("1m")
        why = t.http("GET", f"/v2/runs/{run_id}/why").json["data"]

        ((gate),) = why["gates"]
        assert (gate["kind"], gate["after"]) == ("reporting", "a")
        moments = [datetime.fromisoformat(gate[name]) for name in ("since", "until")]
        assert [moment - t.now for moment in moments] == [timedelta(minutes=-1), timedelta(minutes=4)]
        assert "executes it by itself" in " ".join(why["text"])


def test_the_silence_of_a_page_outlives_our_process():
    with Paged(["a", "b"]) as t:
        run_id = t.new_run()
        t.create(run_id, t._body("a"))
        t.advance("4m")
        t.kill()
        t.advance("30s")
        assert t.entries == [], "that we were restarted says nothing of the app"
        t.kill()
        t.advance("1m")

        assert t.bodies == ["a", "b"]


def test_a_run_that_is_cancelled_is_its_apps_no_more():
    with Paged() as t:
        run_id = t.new_run()
        token = t.create(run_id).json["data"]["token"]
        t.cancel(run_id)

        assert t.report(run_id, step("a")).status == 409
        assert t.report(run_id, completed()).status == 409
        assert t.create(run_id).status == 200, "it is the one that was begun"
        assert t.http("GET", f"/v1/http/runs/{run_id}/output?token={token}").status == 500


# The result -----------------------------------------------------------------------------------------------------------


def test_a_result_is_waited_for():
    with Paged(["a", ("nap", "4m"), "b"]) as t:
        run_id, token = t.visit()
        waiting = t.begin("GET", f"/v1/http/runs/{run_id}/output?token={token}")
        t.advance("3m")
        assert not waiting.done()
        t.advance("2m")

        assert waiting.result().json == "done"


def test_who_waits_too_long_is_told_so():
    with Paged([("nap", "1h")]) as t:
        run_id, token = t.visit()
        waiting = t.begin("GET", f"/v1/http/runs/{run_id}/output?token={token}")
        t.advance("301s")

        assert (waiting.result().status, waiting.result().json["status"]) == (200, "running")


def test_a_token_is_for_the_result_of_one_run_and_for_a_time():
    with Paged([("nap", "1m")]) as t:
        (run_id, token), (other, _) = t.visit(), t.visit()
        t.advance("1h")
        path = f"/v1/http/runs/{run_id}/output"

        assert t.http("GET", f"{path}?token={token}").status == 200
        assert t.http("GET", f"/v1/http/runs/{other}/output?token={token}").status == 401
        realtime = t.create(t.new_run()).json["data"]["realtime_token"]
        for bad in ("", "x", realtime, token[:-1]):
            assert t.http("GET", f"{path}?token={bad}").status == 401
        t.advance("31d")
        assert t.http("GET", f"{path}?token={token}").status == 401


@pytest.mark.parametrize(
    ("output", "status", "body"),
    [
        ({"status": 201, "headers": {"x-own": "1"}, "body": "hello", "version": 2}, 201, b"hello"),
        ({"status": 404, "headers": None, "body": None}, 404, b""),
        ({"status": 99, "body": "x"}, 200, b'{"status":99,"body":"x"}'),
        ({"answer": 42}, 200, b'{"answer":42}'),
        (None, 200, b"null"),
        ([1], 200, b"[1]"),
    ],
)
def test_what_a_page_has_answered_is_answered_once_more(output, status, body):
    with Paged() as t:
        run_id = t.new_run()
        token = t.create(run_id).json["data"]["token"]
        t.report(run_id, {"id": "0" * 40, "op": "RunComplete", "data": output})
        answer = t.http("GET", f"/v1/http/runs/{run_id}/output?token={token}")

        assert (answer.status, answer.body.replace(b" ", b"")) == (status, body)


def test_an_answer_is_not_ours_and_cannot_act_as_if_it_were():
    """Its headers are for the connection, and the origin, that it was made for (invariants §3)."""
    headers = {
        "Set-Cookie": "a=b",
        "Content-Length": "7",
        "Transfer-Encoding": "chunked",
        "X-Own": "1",
        "Bad Name": "x",
    }
    with Paged() as t:
        run_id = t.new_run()
        token = t.create(run_id).json["data"]["token"]
        html = {**headers, "Content-Type": "text/html", "Access-Control-Allow-Origin": "https://a.test"}
        op = completed("<script></script>")
        op["data"]["headers"] = html
        t.report(run_id, op)
        answer = t.http("GET", f"/v1/http/runs/{run_id}/output?token={token}")

        assert answer.body == b"<script></script>"
        assert answer.headers == {
            "content-type": "text/html",
            "x-own": "1",
            "access-control-allow-origin": "*",
            "cache-control": "no-store",
            "content-security-policy": "sandbox",
            "x-content-type-options": "nosniff",
            "content-length": "17",
        }


# Processes that die ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parts",
    [["a", "b"], ["a", ("nap", "1m"), "b"], ["a", ("group", "b", "c"), "d"]],
    ids=["stays", "sleeps", "group"],
)
@pytest.mark.parametrize("before", [True, False])
def test_88_no_step_is_lost_wherever_the_process_dies(parts, before):
    """The process dies at its first, second, … commit until there is none left; the SDK repeats what was not
    answered."""
    point, struck = 0, True
    while struck:
        point += 1
        struck = _play(list(parts), point, before)
    assert point > len(parts)


def _play(parts, point, before):
    count, struck = 0, False
    with Paged(parts) as t:
        guard = Guard(Tables(t.store), {}, lambda: to_ms(t.now))
        violations = []

        def dies(now_before, work):
            nonlocal count, struck
            if not now_before:
                violations.extend(map(str, guard.check()))
            count += now_before
            if struck or count != point or now_before != before:
                return False
            struck = True
            return True

        t.die_when(dies)
        t.kill()
        run_id, token = t.visit()
        t.advance("1h")

        run = t.run(id=run_id)
        assert run.status == "COMPLETED", point
        assert [each.name for each in run.steps.values() if each.kind == "run"] == sorted(
            set(t.bodies), key=t.bodies.index
        )
        assert max(map(t.bodies.count, t.bodies)) <= 2
        if all(isinstance(part, str) for part in parts):
            assert t.bodies == ["a", "b"]
        elif token is not None:
            assert t.http("GET", f"/v1/http/runs/{run_id}/output?token={token}").json == "done"
        assert violations == []
    return struck
