"""How runs go on that are called over HTTP. Numbers are those of the checklist of the protocol (§14)."""

from __future__ import annotations

import json

import pytest

from tests.core.runtime.flows import DIALECTS, two_steps
from tests.core.runtime.scripted import (
    Later,
    hashed,
    reply,
)
from tests.core.runtime.wired import Wired


def test_p14_31_the_first_call_says_that_nothing_is_known():
    with Wired() as t:
        t.function("f")(two_steps)
        t.finish("f", {"n": 1})

        first = t.app.requests[0]
        assert (first.method, first.step_id, first.query["fnId"]) == ("POST", "step", "app-f")
        assert (first.body["version"], first.body["steps"], first.body["use_api"]) == (-1, {}, False)
        assert (first.ctx["attempt"], first.ctx["stack"], first.ctx["use_api"]) == (
            0,
            {"stack": [], "current": 0},
            False,
        )


@pytest.mark.parametrize(("retries", "most"), [(0, 1), (4, 5), (20, 21)])
def test_p14_33_the_attempts_are_one_more_than_the_retries(retries, most):
    with Wired() as t:
        t.function("f", retries=retries)(two_steps)
        t.finish("f")

        assert t.app.requests[0].ctx["max_attempts"] == most


def test_p14_34_the_version_of_the_first_answer_is_that_of_all_further_calls():
    with Wired(version=1) as t:
        t.function("f")(two_steps)
        t.finish("f")

        assert [each.body["version"] for each in t.app.requests] == [-1, 1, 1]
        assert [each.headers["X-Inngest-Req-Version"] for each in t.app.requests] == ["-1", "1", "1"]


@pytest.mark.parametrize("output", [None, 0, "x", [], {}, [{"op": "StepRun", "id": "a"}]])
def test_p14_35_whatever_a_200_says_is_the_output(output):
    with Wired() as t:

        @t.function("f")
        async def f(s):
            return output

        t.assert_completed(t.finish("f"), output)
        assert len(t.app.requests) == 1


def test_p14_36_a_single_object_is_an_answer_of_one_op():
    with Wired() as t:
        t.function("f")(two_steps)
        t.app.after = lambda request, found: (
            found._replace(body=found.body.strip()[1:-1]) if found.status == 206 else None
        )

        t.assert_completed(t.finish("f"), ["a", "b"])


def test_p14_37_an_app_that_says_nothing_is_asked_once_more_and_then_has_failed_an_attempt():
    with Wired() as t:
        t.function("f", retries=1)(two_steps)
        t.app.before = lambda request: reply(206, [])

        run = t.finish("f")

        t.assert_failed(run, "neither what comes next nor that it is done")
        assert [each.ctx["attempt"] for each in t.app.requests] == [0, 0, 1, 1]


def test_p14_37_one_empty_answer_is_no_harm():
    with Wired() as t:
        t.function("f")(two_steps)
        t.app.before = lambda request: reply(206, []) if request.number in (0, 2) else None

        t.assert_completed(t.finish("f"), ["a", "b"])
        assert [each.ctx["attempt"] for each in t.app.requests] == [0] * 5


def test_p14_38_a_200_that_no_sdk_has_given_completes_nothing():
    with Wired() as t:
        t.function("f")(two_steps)
        t.app.before = lambda request: reply(200, "OK", sdk=None) if request.number == 0 else None

        t.assert_completed(t.finish("f"), ["a", "b"])
        assert t.app.requests[1].ctx["attempt"] == 1


def test_p14_39_an_error_of_the_function_is_tried_again_with_the_same_memos():
    with Wired() as t:

        @t.function("f")
        async def f(s):
            a = await s.run("a")
            if s.attempt == 0:
                raise ValueError("own code")
            return a

        t.assert_completed(t.finish("f"), "a")
        _, failed, again = t.app.requests
        assert (failed.ctx["attempt"], again.ctx["attempt"]) == (0, 1)
        assert failed.body["steps"] == again.body["steps"] == {hashed("a"): {"data": "a"}}


@pytest.mark.parametrize("status", [400, 500])
def test_p14_39_40_no_retry_ends_the_run_whatever_the_status(status):
    with Wired() as t:
        t.function("f")(two_steps)
        error = {"name": "E", "message": "never", "code": "c"}
        t.app.before = lambda request: reply(status, error, X_Inngest_No_Retry="true")

        run = t.finish("f")

        t.assert_failed(run, "never")
        assert len(t.app.requests) == 1


def test_p14_40_a_bare_400_is_tried_again():
    with Wired() as t:
        t.function("f")(two_steps)
        t.app.before = lambda request: reply(400, {"message": "x"}) if request.number == 0 else None

        t.assert_completed(t.finish("f"), ["a", "b"])


@pytest.mark.parametrize(
    ("after", "seconds"),
    [
        ("5", 5),
        ("0", 1),
        ("172800", 86_400),
        ("2026-01-01T00:00:07Z", 7),
        ("2026-01-01T00:00:07.500Z", 7.5),
        ("Thu, 01 Jan 2026 00:00:09 GMT", 9),
        ("Mon, 01 Jan 2029 00:00:00 GMT", 86_400),
        ("2025-01-01T00:00:00Z", 1),
    ],
)
def test_p14_41_an_app_says_when_it_is_to_be_called_again(after, seconds):
    with Wired(retry_interval=60_000) as t:
        t.function("f")(two_steps)
        t.app.before = lambda request: reply(500, {"message": "x"}, Retry_After=after) if request.number == 0 else None

        t.finish("f", within="3d")

        first, second = t.app.requests[:2]
        assert abs(second.at - first.at - seconds * 1000) <= 1000


def test_p14_41_a_step_says_when_it_is_to_be_tried_again():
    with Wired() as t:

        @t.function("f")
        async def f(s):
            def body():
                if s.attempt == 0:
                    raise Later("40")
                return "late"

            return await s.run("a", body)

        t.assert_completed(t.finish("f"), "late")
        assert t.app.requests[1].at - t.app.requests[0].at == 40_000


def test_p14_42_a_run_out_of_attempts_has_failed_with_what_the_app_said():
    with Wired() as t:
        t.function("f", retries=2)(two_steps)
        t.app.before = lambda request: reply(500, {"code": "unknown", "name": "E", "message": "m", "stack": "s"})

        run = t.finish("f")

        t.assert_failed(run)
        assert len(t.app.requests) == 3
        assert (run.error.name, run.error.message, run.error.stack, run.error.code) == ("E", "m", "s", "unknown")


@pytest.mark.parametrize("inner", ["text", "json"])
def test_p14_43_a_streamed_answer_is_what_is_in_it(inner):
    def streamed(request, found):
        text = found.body.decode()
        body = {"status": found.status, "headers": dict(found.headers), "body": text}
        if inner == "json":
            body["body"] = json.loads(text)
        return reply(201, b"   \n  " + reply(201, body).body, sdk=None, version=None)

    with Wired() as t:

        @t.function("f")
        async def f(s):
            a = await s.run("a")
            if s.attempt == 0:
                raise Later("20")
            return [a]

        t.app.after = streamed
        t.assert_completed(t.finish("f"), ["a"])
        assert t.app.requests[2].at - t.app.requests[1].at == 20_000  # the headers in the chunk count


def test_p14_44_what_a_proxy_says_is_no_answer():
    with Wired() as t:
        t.function("f", retries=1)(two_steps)
        t.app.before = lambda request: reply(502, b"<html>Bad gateway</html>", sdk=None)

        run = t.finish("f")

        t.assert_failed(run)
        assert run.error.name == "Server returned a fatal error"
        assert "502" in run.error.message
        assert len(t.app.requests) == 2


@DIALECTS
def test_p14_45_state_that_is_too_large_for_a_call_is_left_out(dialect):
    with Wired(dialect) as t:

        @t.function("f")
        async def f(s):
            return len(await s.run("a", lambda: "x" * 3_000_000)) + len(await s.run("b", lambda: "x" * 3_000_000))

        t.app.before = lambda request: reply(200, "fetched") if request.body["use_api"] else None
        t.assert_completed(t.finish("f"), "fetched")

        last = t.app.requests[-1]
        assert (last.body["use_api"], last.ctx["use_api"], last.body["events"], last.body["steps"]) == (
            True,
            True,
            [],
            {},
        )
        assert last.ctx["stack"]["stack"] == [hashed("a"), hashed("b")]


def test_p14_47_events_in_calls_have_all_their_members():
    with Wired() as t:
        t.function("f")(two_steps)
        t.send({"name": "f"})

        event = t.app.requests[0].body["event"]
        assert t.app.requests[0].body["events"] == [event]
        assert (event["name"], event["data"], event["user"]) == ("f", {}, {})
        assert isinstance(event["ts"], int)
        assert isinstance(event["id"], str)
