"""Requests that the server makes for steps of apps over HTTP. Numbers are those of the protocol's checklist (§14)."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from stepwell.engine import progress
from stepwell.errors import StorageUnavailable
from stepwell.model.changes import Decision, DropRequest
from stepwell.model.questions import Attempts, GetRequest, GetStep
from stepwell.protocol.realtime import Topic
from stepwell.runtime.outbound import ADDRESS_NOT_ALLOWED, Unreachable
from stepwell.runtime.realtime import Subscription
from stepwell.testing.answers import FetchRequest
from stepwell.testing.tables import Tables
from stepwell.testing.views import RunView
from tests.core.runtime.scripted import Javascript, Python, StepFailed, Steps, hashed, pause
from tests.core.runtime.wired import Wired

DIALECTS = pytest.mark.parametrize("dialect", [Javascript, Python])
MODEL = "https://models.test/v1/chat/completions"
API = "https://api.test/things"
KEY = "sk-planted-0123456789"


def everything(t: Wired) -> str:
    """All that the store has, except what is to be sent."""
    return "".join(str(row) for row in Tables(t.store).all() if row[0] != "requests")


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


@DIALECTS
def test_requests_of_a_group_are_made_at_the_same_time(dialect):
    with Wired(dialect) as t:

        @t.function("f")
        async def f(s: Steps):
            return await s.group(*(lambda n=n: s.fetch(f"get-{n}", f"{API}/{n}") for n in range(3)))

        for n in range(3):
            t.answer_fetch(f"{API}/{n}", body=f"{n}", after="10s")
        run = t.finish("f")

        assert [each["body"] for each in run.output] == ["0", "1", "2"]
        assert len({made.at for made in t.fetches}) == 1
        assert t.app.asked == ["step", "step"]  # once for all of them


@DIALECTS
def test_a_request_beside_steps_that_the_app_runs(dialect):
    with Wired(dialect) as t:

        @t.function("f")
        async def f(s: Steps):
            return await s.group(lambda: s.run("a"), lambda: s.fetch("get", API), lambda: s.sleep("nap", "5s"))

        t.answer_fetch(API, body="got", after="2s")
        run = t.finish("f")

        assert (run.output[0], run.output[1]["body"], run.output[2]) == ("a", "got", None)
        assert (t.app.bodies(), len(t.fetches)) == ({"a": 1}, 1)


def test_the_first_of_a_race_goes_on_while_the_others_are_on_their_way():
    with Wired() as t:

        @t.function("f")
        async def f(s: Steps):
            async def slow():
                return await s.fetch("slow", f"{API}/slow")

            async def fast():
                return await s.fetch("fast", f"{API}/fast")

            first = await s.race(fast, slow, mode="race")
            return [first["body"], await s.run("after")]

        t.answer_fetch(f"{API}/slow", body="slow", after="30m")
        t.answer_fetch(f"{API}/fast", body="fast", after="1s")
        run = t.start("f")
        t.advance("1m")

        assert run.output == ["fast", "after"]
        t.advance("1h")
        assert run.steps["slow"].status == "QUEUED"  # what it brings after the end of the run is dropped


def test_a_limit_counts_requests_as_steps():
    with Wired() as t:

        @t.function("f", concurrency=[{"limit": 2}])
        async def f(s: Steps):
            return await s.group(*(lambda n=n: s.fetch(f"get-{n}", f"{API}/{n}") for n in range(6)))

        flying = [0, 0]

        def begins(request: FetchRequest):
            flying[0] -= 1
            return "x"

        for n in range(6):
            t.answer_fetch(f"{API}/{n}", body=begins, after="10s")
        seen = t._answers.request

        async def counted(*args, **kwargs):
            flying[0] += 1
            flying[1] = max(flying)
            return await seen(*args, **kwargs)

        t._answers.request = counted
        run = t.finish("f")

        assert run.status == "COMPLETED"
        assert flying == [0, 2]


def test_a_request_that_was_under_way_is_made_again_after_a_crash():
    with Wired() as t:

        @t.function("f")
        async def f(s: Steps):
            return [await s.run("a"), (await s.fetch("get", API))["body"]]

        t.answer_fetch(API, body="got", after="10s")
        run = t.start("f")
        t.kill()
        t.advance("1h")

        assert run.output == ["a", "got"]
        assert (len(t.fetches), t.app.bodies()) == (2, {"a": 1})


def test_a_kill_while_a_request_waits_for_its_next_attempt_loses_nothing():
    with Wired(retry_interval=60_000) as t:

        @t.function("f", retries=2)
        async def f(s: Steps):
            return (await s.infer("ask", MODEL, auth_key=KEY))["ok"]

        t.answer_fetch(MODEL, status=500)
        t.start("f")
        t.kill()
        t.answer_fetch(MODEL, body={"ok": 1})
        t.advance("1h")

        assert [made.at - t.fetches[0].at for made in t.fetches] == [0, 60_000]
        assert t.run("f").output == 1


def test_a_cancelled_run_makes_no_further_request_and_what_it_waits_for_is_dropped():
    with Wired() as t:

        @t.function("f")
        async def f(s: Steps):
            return await s.fetch("get", API)

        t.answer_fetch(API, body="late", after="10s")
        run = t.start("f")
        t.cancel(run)
        assert not t.engine.caller.live  # nobody waits for what is not wanted
        t.advance("1h")

        assert (run.status, len(t.fetches)) == ("CANCELLED", 1)
        assert t.ask(GetRequest(run.id, hashed("get"))) is None
        assert "late" not in everything(t)


def test_a_request_that_waits_for_a_slot_does_not_begin_after_a_cancel():
    with Wired() as t:

        @t.function("f", concurrency=[{"limit": 1}])
        async def f(s: Steps):
            return await s.group(lambda: s.fetch("one", f"{API}/1"), lambda: s.fetch("two", f"{API}/2"))

        t.answer_fetch(f"{API}/1", after="10s")
        run = t.start("f")
        t.advance("5s")
        t.cancel(run)
        t.advance("1h")

        assert [made.url for made in t.fetches] == [f"{API}/1"]
        assert Tables(t.store).ask("SELECT * FROM slots") == []


def test_a_failure_of_the_functions_own_code_ends_the_requests_with_the_run():
    with Wired() as t:

        @t.function("f", retries=0)
        async def f(s: Javascript):
            async def breaks():
                await s.run("a")
                raise ValueError("broken")

            return await s.group(breaks, lambda: s.fetch("get", API), mode="race")

        t.answer_fetch(API, after="10s")
        run = t.finish("f")

        assert run.status == "FAILED"
        assert t.ask(GetRequest(run.id, hashed("get"))) is None


def test_an_event_that_comes_meanwhile_is_heard():
    with Wired() as t:

        @t.function("f")
        async def f(s: Javascript):
            async def waits():
                found = await s.wait("w", "go")
                return [found["data"]["n"], await s.run("after")]

            return await s.group(waits, lambda: s.fetch("get", API), mode="race")

        t.answer_fetch(API, body="got", after="20m")
        run = t.start("f")
        t.advance("1m")
        t.send("go", {"n": 7})
        t.advance("1m")
        assert run.steps["after"].status == "COMPLETED"
        t.advance("1h")

        assert run.output[0] == [7, "after"]
        assert len(t.fetches) == 1


def test_time_that_goes_by_inside_the_app_does_not_hold_a_request_up():
    with Wired() as t:

        @t.function("f")
        async def f(s: Steps):
            return await s.group(lambda: s.run("long", lambda: pause(100)), lambda: s.infer("ask", MODEL))

        t.answer_fetch(MODEL, status=500)
        t.start("f")
        t.answer_fetch(MODEL, body=1)
        t.advance("1h")

        assert t.fetches[1].at - t.fetches[0].at == 1000


def test_a_request_that_is_reported_again_keeps_its_attempts_and_its_time(caplog):
    with Wired(retry_interval=60_000) as t:

        @t.function("f", retries=2)
        async def f(s: Javascript):
            async def chain():
                return [await s.run("a"), await s.run("b")]

            return await s.group(chain, lambda: s.infer("ask", MODEL), mode="race")

        t.answer_fetch(MODEL, status=500)
        run = t.start("f")
        t.advance("1h")

        reported = [op for each in t.app.requests if each.target is None for op in each.ctx["stack"]["stack"]]
        assert hashed("b") in reported  # the app was asked again while the request waited for its time
        assert [made.at - t.fetches[0].at for made in t.fetches] == [0, 60_000, 120_000]
        assert caplog.text == ""  # each time was waited for once
        assert [attempt.attempt for attempt in t.ask(Attempts(run.id)) if attempt.step_id] == [0, 1, 2]


def test_a_result_that_was_heard_of_costs_no_further_call():
    with Wired() as t:

        @t.function("f")
        async def f(s: Javascript):
            async def asks():
                await s.fetch("get", API)
                await s.sleep("nap", "1h")

            return await s.group(asks, lambda: s.run("slow", lambda: pause(10)), mode="race")

        t.answer_fetch(API, after="1s")
        t.start("f")
        t.advance("1m")

        assert t.app.asked == ["step", "slow", "step", "step"]  # one for each member that was done


def test_an_address_that_may_not_be_asked_is_not_asked_again():
    with Wired() as t:

        @t.function("f")
        async def f(s: Steps):
            return await s.fetch("get", API)

        async def refuse(*args: object, **kwargs: object):
            asked.append(args)
            raise Unreachable(ADDRESS_NOT_ALLOWED, "api.test leads to 10.0.0.1 in a private network")

        asked: list[object] = []
        t._answers.request = refuse
        run = t.finish("f")

        assert (run.status, len(asked)) == ("FAILED", 1)
        assert run.error is not None
        assert run.error.message == "api.test leads to 10.0.0.1 in a private network"


def test_a_step_whose_request_is_gone_fails_and_says_so():
    with Wired() as t:

        @t.function("f")
        async def f(s: Steps):
            return await s.fetch("get", API)

        t.answer_fetch(API, after="10s")
        run = t.start("f")
        t._do(lambda: gone(t, run))
        t.kill()
        t.advance("1h")

        assert (run.status, len(t.fetches)) == ("FAILED", 1)
        assert run.error is not None
        assert run.error.message == "what was to be sent is not known any more"
        assert len([attempt for attempt in t.ask(Attempts(run.id)) if attempt.step_id]) == 1


def listening(t: Wired) -> Callable[[], list[tuple[str, str]]]:
    """Somebody listens to a topic from now on: kinds and data of what was heard there by the time of a call."""
    subscription = t._do(lambda: t.engine.realtime.subscribe([Topic("answers", "of-models")]))

    def heard() -> list[tuple[str, str]]:
        t._do(closed)
        frames = t._do(lambda: everything_of(subscription))
        return [(each["kind"], each["data"]) for each in map(json.loads, frames)]

    async def closed() -> None:
        subscription.close()

    return heard


async def everything_of(subscription: Subscription) -> list[bytes]:
    found: list[bytes] = []
    while (frame := await subscription.next()) is not None:
        found.append(frame.body)
    return found


@DIALECTS
def test_68_who_listens_hears_the_answer_of_a_model_as_a_stream(dialect):
    with Wired(dialect, retry_interval=1_000) as t:

        @t.function("f")
        async def f(s: Steps):
            to = {"channel": "answers", "topic": "of-models"}
            return await s.infer("ask", MODEL, auth_key=KEY, publish=to)

        heard = listening(t)
        answers = iter([{"status": 500, "body": {"error": "no"}}, {"body": {"text": "é" * 1_000}}])
        t.answer_fetch(MODEL, **next(answers))
        t.start("f")
        t.answer_fetch(MODEL, **next(answers))
        t.advance("1m")

        found = heard()
        assert [kind for kind, _ in found] == ["datastream-start", "chunk", "chunk", "datastream-end"]
        assert json.loads("".join(data for kind, data in found if kind == "chunk")) == t.run("f").output
        assert found[0][1] == found[-1][1] != ""


@DIALECTS
def test_69_so_does_who_listens_to_what_is_fetched(dialect):
    with Wired(dialect) as t:

        @t.function("f")
        async def f(s: Steps):
            return (await s.fetch("get", API, publish={"channel": "answers", "topic": "of-models"}))["body"]

        heard = listening(t)
        t.answer_fetch(API, body="plain")
        run = t.finish("f")

        assert [data for kind, data in heard() if kind == "chunk"] == [run.output] == ["plain"]


@pytest.mark.parametrize(
    ("to", "body"),
    [({"channel": "answers", "topic": "of-models"}, "x" * 1_100_000), ({"channel": "a\n", "topic": "b"}, "x")],
)
def test_an_answer_that_cannot_be_published_is_a_result_all_the_same(to, body, caplog):
    with Wired() as t:

        @t.function("f")
        async def f(s: Steps):
            return len((await s.fetch("get", API, publish=to))["body"])

        heard = listening(t)
        t.answer_fetch(API, body=body)
        run = t.finish("f")

        assert (run.output, len(t.fetches), heard()) == (len(body), 1, [])
        assert "an answer cannot be published" in caplog.text


def breaks(monkeypatch, times):
    """The engine has a fault: what became of requests cannot be written down, so many times."""
    real, left = progress.answered, iter(range(times))

    def faulty(*given):
        if next(left, None) is not None:
            raise ZeroDivisionError("planted")
        return real(*given)

    monkeypatch.setattr("stepwell.runtime.live_call.progress.answered", faulty)


@DIALECTS
def test_what_cannot_be_written_down_of_a_request_spends_an_attempt_of_the_step(dialect, monkeypatch, caplog):
    with Wired(dialect, retry_interval=60_000) as t:

        @t.function("f", retries=1)
        async def f(s: Steps):
            return (await s.fetch("get", API))["body"]

        breaks(monkeypatch, 1)
        t.answer_fetch(API, body="got")
        run = t.finish("f")

        assert run.output == "got"
        assert [made.at - t.fetches[0].at for made in t.fetches] == [0, 60_000]
        (failed,) = [each for each in t.ask(Attempts(run.id)) if each.error]
        assert b"ZeroDivisionError in the server" in failed.error
        assert "a request went wrong" in caplog.text


@DIALECTS
def test_what_cannot_be_written_down_at_all_spends_the_attempts_of_the_run(dialect, monkeypatch):
    with Wired(dialect, retry_interval=60_000) as t:

        @t.function("f", retries=2)
        async def f(s: Steps):
            return (await s.fetch("get", API))["body"]

        breaks(monkeypatch, 100)
        t.answer_fetch(API, body="got")
        run = t.finish("f")

        assert (run.status, len(t.fetches)) == ("FAILED", 3)
        assert run.error is not None
        assert (run.error.name, run.error.message) == ("ZeroDivisionError", "the call could not go on: planted")


def test_what_a_call_waits_for_is_read_again_while_the_disk_fails(monkeypatch):
    with Wired() as t:

        @t.function("f")
        async def f(s: Javascript):
            async def waits():
                await s.wait("w", "heard")
                return await s.run("after")

            return await s.group(waits, lambda: s.fetch("get", API), mode="race")

        t.answer_fetch(API, after="30m")
        run = t.start("f")
        real, failed = t.store.read, []

        async def faulty(question):
            if isinstance(question, GetStep) and not failed:
                failed.append(question)
                raise StorageUnavailable("disk I/O error", "planted", "wait")
            return await real(question)

        monkeypatch.setattr(t.store, "read", faulty)
        t.send("heard", {"n": 1})
        t.advance("1m")

        assert (run.steps["after"].status, len(failed)) == ("COMPLETED", 1)


async def gone(t: Wired, run: RunView) -> None:
    await t.store.commit(Decision((DropRequest(run.id, hashed("get")),)))


def test_what_comes_after_a_result_has_all_its_attempts():
    with Wired() as t:

        @t.function("f")
        async def f(s: Steps):
            if not s.memos and s.attempt == 0:
                raise ValueError("the first time")
            await s.fetch("get", API)
            return await s.run("long", lambda: pause(10))

        t.answer_fetch(API, after="1s")
        run = t.start("f")
        t.advance("5s")
        before = len(t.app.requests)
        t.kill()
        t.advance("1h")

        assert run.status == "COMPLETED"
        assert [each.ctx["attempt"] for each in t.app.requests[before:]] == [0, 0]
