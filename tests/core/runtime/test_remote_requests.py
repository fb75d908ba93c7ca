"""Requests that the server makes for steps of apps over HTTP. Numbers are those of the protocol's checklist (§14)."""

from __future__ import annotations

import json

import pytest

from stepwell.model.questions import Attempts, GetRequest
from stepwell.testing.answers import FetchRequest
from tests.core.runtime.flows import DIALECTS
from tests.core.runtime.requesting import API, KEY, MODEL, everything
from tests.core.runtime.scripted import StepFailed, Steps, hashed
from tests.core.runtime.wired import Wired


@DIALECTS
def test_68_a_model_is_asked_by_the_server_and_its_answer_is_the_result(dialect):
    with Wired(dialect) as t:

        @t.function("f")
        async def f(s: Steps):
            return [await s.infer("ask", MODEL, {"model": "m", "n": 1}, auth_key=KEY, format="openai-chat")]

        t.answer_fetch(MODEL, body={"choices": ["yes"], "model": "m-1", "usage": {"prompt_tokens": 3}})
        run = t.finish("f")

        assert run.output == [{"choices": ["yes"], "model": "m-1", "usage": {"prompt_tokens": 3}}]
        assert t.app.asked == ["step", "step"]
        (made,) = t.fetches
        assert (made.method, made.json()) == ("POST", {"model": "m", "n": 1})
        assert made.headers["content-type"] == "application/json"
        details = run.steps["ask"].details
        assert {name: details[name] for name in ("method", "url", "status", "model", "input_tokens")} == {
            "method": "POST",
            "url": MODEL,
            "status": 200,
            "model": "m-1",
            "input_tokens": 3,
        }
        assert (run.steps["ask"].kind, run.steps["ask"].status) == ("aiInfer", "COMPLETED")


@pytest.mark.parametrize(
    ("format", "header", "value"),
    [
        ("openai-chat", "authorization", f"Bearer {KEY}"),
        ("azure-openai", "authorization", f"Bearer {KEY}"),
        ("anthropic", "x-api-key", KEY),
        ("bedrock", "authorization", KEY),
    ],
)
def test_68_the_key_stands_where_the_format_has_it(format, header, value):
    with Wired() as t:

        @t.function("f")
        async def f(s: Steps):
            return await s.infer("ask", MODEL, auth_key=KEY, format=format, headers={"x-more": "1"})

        t.answer_fetch(MODEL, body={})
        t.finish("f")

        (made,) = t.fetches
        assert (made.headers[header], made.headers["x-more"]) == (value, "1")
        assert KEY not in made.url


def test_68_geminis_key_is_in_the_query_once():
    with Wired() as t:

        @t.function("f")
        async def f(s: Steps):
            return await s.infer("ask", f"{MODEL}?key=old&alt=json", auth_key=KEY, format="gemini")

        t.answer_fetch(MODEL, body={})
        run = t.finish("f")

        (made,) = t.fetches
        assert made.url == f"{MODEL}?alt=json&key={KEY}"
        assert "authorization" not in made.headers
        assert run.steps["ask"].details["url"] == f"{MODEL}?alt=…&key=…"


def test_68_headers_that_are_given_win():
    with Wired() as t:

        @t.function("f")
        async def f(s: Steps):
            own = {"AUTHORIZATION": "mine", "Content-Length": "7", "Host": "elsewhere"}
            return await s.infer("ask", MODEL, auth_key=KEY, format="openai-chat", headers=own)

        t.answer_fetch(MODEL, body={})
        t.finish("f")

        (made,) = t.fetches
        assert made.headers["authorization"] == "mine"
        assert not {"content-length", "host"} & made.headers.keys()


@DIALECTS
def test_68_a_500_is_tried_again(dialect):
    with Wired(dialect) as t:

        @t.function("f")
        async def f(s: Steps):
            return [await s.run("before"), await s.infer("ask", MODEL, auth_key=KEY, format="openai-chat")]

        def answer(request: FetchRequest):
            return {"ok": len(t.fetches)}

        t.answer_fetch(MODEL, status=500, body={"error": {"message": "overloaded"}})
        run = t.start("f")
        assert (run.steps["ask"].status, run.steps["ask"].record.attempt) == ("ERRORED", 1)
        t.answer_fetch(MODEL, body=answer)
        t.advance("1h")

        assert run.output == ["before", {"ok": 2}]
        assert t.app.bodies() == {"before": 1}
        (failed,) = t.ask(Attempts(run.id))
        assert b"overloaded" in failed.error
        assert failed.retry_at == t.fetches[1].at


def test_68_the_provider_says_when_to_try_again():
    with Wired() as t:

        @t.function("f")
        async def f(s: Steps):
            return await s.infer("ask", MODEL)

        t.answer_fetch(MODEL, status=429, headers={"Retry-After": "120"})
        t.start("f")
        t.answer_fetch(MODEL, body=1)
        t.advance("1h")

        first, second = t.fetches
        assert second.at - first.at == 120_000


@DIALECTS
def test_68_out_of_attempts_it_is_an_error_that_can_be_caught(dialect):
    with Wired(dialect) as t:

        @t.function("f", retries=2)
        async def f(s: Steps):
            try:
                return await s.infer("ask", MODEL, auth_key=KEY, format="openai-chat")
            except StepFailed as error:
                return error.error

        body = {"error": {"message": f"no such key: {KEY}"}}
        t.answer_fetch(MODEL, status=401, body=body)
        run = t.finish("f")

        assert len(t.fetches) == 3
        hidden = {"error": {"message": "no such key: [key]"}}
        assert run.output == {
            "name": "AIGatewayError",
            "message": "models.test answered with status 401: no such key: [key]",
            "stack": json.dumps(hidden, separators=(",", ":")),
            "data": hidden,
        }
        assert [attempt.attempt for attempt in t.ask(Attempts(run.id))] == [0, 1, 2]


def test_68_the_key_is_kept_until_there_is_a_result_and_nowhere_else():
    with Wired() as t:

        @t.function("f", retries=1)
        async def f(s: Steps):
            return await s.infer("ask", f"{MODEL}?key={KEY}", {"q": 1}, auth_key=KEY, format="gemini")

        t.answer_fetch(MODEL, status=500, body=f"your key is {KEY}")
        run = t.start("f")
        kept = t.ask(GetRequest(run.id, hashed("ask")))
        assert kept is not None
        assert KEY.encode() in kept.content
        assert KEY not in repr(kept) + everything(t)

        t.advance("1h")
        assert run.status == "FAILED"
        assert t.ask(GetRequest(run.id, hashed("ask"))) is None
        assert KEY not in everything(t)


def test_68_an_answer_that_is_no_json_is_a_failure():
    with Wired() as t:

        @t.function("f", retries=0)
        async def f(s: Steps):
            return await s.infer("ask", MODEL)

        t.answer_fetch(MODEL, body="<html>")
        run = t.finish("f")

        assert run.error is not None
        assert run.error.message == "models.test answered with something that is not JSON"


@DIALECTS
@pytest.mark.parametrize("status", [200, 302, 404, 500])
def test_69_to_a_fetch_every_status_is_a_result(dialect, status):
    with Wired(dialect) as t:

        @t.function("f")
        async def f(s: Steps):
            return await s.fetch("get", API, method="PUT", headers={"X-A": "1"}, body="héllo")

        t.answer_fetch(API, method="PUT", status=status, body="nothing", headers={"X-B": "2"})
        run = t.finish("f")

        assert run.output == {
            "url": API,
            "headers": {"content-type": "text/plain; charset=utf-8", "x-b": "2"},
            "body": "nothing",
            "status_code": status,
        }
        (made,) = t.fetches
        assert (made.method, made.headers["x-a"], made.body) == ("PUT", "1", "héllo")
        assert (run.steps["get"].kind, run.steps["get"].details["status"]) == ("fetch", status)


def test_69_without_a_method_it_is_a_post():
    with Wired() as t:

        @t.function("f")
        async def f(s: Steps):
            return await s.fetch("get", API)

        t.answer_fetch(API)
        t.finish("f")

        assert t.fetches[0].method == "POST"


@DIALECTS
def test_69_no_answer_is_tried_again_and_is_an_error_in_the_end(dialect):
    with Wired(dialect) as t:

        @t.function("f", retries=1)
        async def f(s: Steps):
            try:
                return await s.fetch("get", API)
            except StepFailed as error:
                return error.error

        t.answer_fetch(API, body=OSError("the connection broke"))
        run = t.finish("f")

        assert len(t.fetches) == 2
        assert run.output == {"name": "GatewayError", "message": "the connection broke"}


@pytest.mark.parametrize(
    ("opts", "says"),
    [
        ({"url": "ftp://api.test/"}, "is no address of the web"),
        ({"url": "http://ada:secret@api.test/"}, "a name or a password in the address 'http://api.test/'"),
        ({"url": "http://[::1/"}, "is no address"),
        ({"url": "http://api.test:99999/"}, "is no address"),
        ({"url": "http://api.test/" + "a" * 9000}, "the limit is 8,192"),
        ({"url": API, "method": "CONNECT"}, "no method"),
        ({"url": API, "method": "GET\r\nX: 1"}, "no method"),
        ({"url": API, "headers": {"x-a": "1\r\nx-b: 2"}}, "the header 'x-a' cannot be sent"),
        ({"url": API, "body": "x" * 5_000_000}, "the limit is 4194304"),
    ],
)
def test_what_can_never_be_sent_is_an_error_at_once(opts, says):
    with Wired() as t:

        @t.function("f")
        async def f(s: Steps):
            try:
                return await s.fetch("get", **opts)
            except StepFailed as error:
                return error.error

        run = t.start("f")

        assert (run.status, run.output["name"]) == ("COMPLETED", "GatewayError")
        assert says in run.output["message"]
        assert t.ask(GetRequest(run.id, hashed("get"))) is None
