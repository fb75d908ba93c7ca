"""Pages that go silent, their results, and processes that die. Numbers are those of the checklist (§14)."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from stepwell.clock import to_ms
from stepwell.testing.invariants import Guard
from stepwell.testing.tables import Tables
from tests.core.runtime.paged import Paged, completed, step

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
            "content-length": "17",
        }


# Processes that die ---------------------------------------------------------------------------------------------------


@pytest.mark.sqlite("is judged at each commit by triggers and queries of SQLite")
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
        guard = Guard(Tables(t.store), lambda: to_ms(t.now))
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
