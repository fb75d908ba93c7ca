"""``step.fetch``: HTTP requests that the engine makes (semantics §5.8)."""

from __future__ import annotations

import asyncio

import pytest

import stepwell
from stepwell import ConfigurationError, Context, FetchResponse, StepError, Stepwell, Sync
from stepwell.model.questions import GetRequest
from stepwell.testing import TIMEOUT, FetchRequest, crash_sweep, harness

API = "https://api.test/users"


@pytest.fixture
def app() -> Stepwell:
    return Stepwell("shop")


def test_a_fetch_gives_what_is_answered(app):
    @app.create_function(id="f", trigger="go")
    async def get(ctx: Context):
        found = await ctx.step.fetch("get", f"{API}?q=1", headers={"Authorization": "Bearer secret-token"})
        return [found.status, found.ok, found.json(), found.headers["x-n"], found.url]

    with harness(app) as t:
        t.answer_fetch(API, body={"name": "Ada"}, headers={"X-N": "1"})
        t.send("go")

        assert t.run(get).output == [200, True, {"name": "Ada"}, "1", f"{API}?q=1"]
        (made,) = t.fetches
        assert (made.method, made.body, made.headers["authorization"]) == ("GET", "", "Bearer secret-token")
        step = t.run(get).steps["get"]
        assert {"method": "GET", "url": f"{API}?q=…", "status": 200}.items() <= step.details.items()
        assert "secret-token" not in str(step.record)


def test_a_plain_function_fetches_too(app):
    @app.create_function(id="f", trigger="go")
    def get(ctx: Context[Sync]):
        return ctx.step.fetch("get", API, body={"a": 1}).json()

    with harness(app) as t:
        t.answer_fetch(API, method="POST", body=[1])
        t.send("go")
        t.run_until_idle()

        assert t.run(get).output == [1]
        assert (t.fetches[0].json(), t.fetches[0].headers["content-type"]) == ({"a": 1}, "application/json")


def test_text_is_sent_as_it_is_and_a_bad_status_is_a_result(app):
    @app.create_function(id="f", trigger="go")
    async def put(ctx: Context):
        found = await ctx.step.fetch("put", API, method="put", body="a=1")
        with pytest.raises(ValueError, match="with status 404 is not JSON"):
            found.json()
        return [found.status, found.ok, found.body]

    with harness(app) as t:
        t.answer_fetch(API, status=404, body="nobody")
        t.send("go")

        assert t.run(put).output == [404, False, "nobody"]
        assert (t.fetches[0].method, t.fetches[0].body) == ("PUT", "a=1")


def test_no_answer_is_tried_again_and_then_raised(app):
    @app.create_function(id="f", trigger="go", retries=2)
    async def get(ctx: Context):
        try:
            await ctx.step.fetch("get", API)
        except StepError as error:
            return [error.name, error.message]

    with harness(app, retry_interval="10s") as t:
        t.answer_fetch(API, body=OSError("no route"))
        t.send("go")
        assert t.run(get).steps["get"].status == "ERRORED"
        t.advance("1m")

        assert t.run(get).output == ["GatewayError", "no route"]
        assert [made.at - t.fetches[0].at for made in t.fetches] == [0, 10_000, 20_000]
        assert t.run(get).steps["get"].attempts == 3


def test_branches_fetch_at_the_same_time_and_each_goes_on_as_soon_as_it_can(app):
    @app.create_function(id="f", trigger="go")
    async def get(ctx: Context):
        async def branch(n: int):
            found = await ctx.step.fetch(f"get-{n}", f"{API}/{n}")
            return await ctx.step.run(f"then-{n}", lambda: (n, found.body))

        return await asyncio.gather(*(branch(n) for n in range(3)))

    with harness(app) as t:
        for n in range(3):
            t.answer_fetch(f"{API}/{n}", body=f"{n}", after=(n + 1) * 60_000)
        t.send("go")
        t.advance("90s")
        assert [name for name in t.run(get).steps if name.startswith("then")] == ["then-0"]
        t.advance("1h")

        assert t.run(get).output == [[n, f"{n}"] for n in range(3)]
        assert (len(t.fetches), {made.at for made in t.fetches}) == (3, {t.fetches[0].at})


def test_a_fetch_beside_a_body_that_takes_long(app):
    @app.create_function(id="f", trigger="go")
    async def get(ctx: Context):
        async def slow():
            await asyncio.sleep(100)
            return "slow"

        async def quick():
            found = await ctx.step.fetch("get", API)
            return await ctx.step.run("then", lambda: found.body)

        return await ctx.group.parallel([ctx.step.run("slow", slow), quick()])

    with harness(app) as t:
        t.answer_fetch(API, body="quick", after="1s")
        t.send("go")
        t.advance("2s")
        assert t.run(get).steps["then"].output == "quick"
        t.advance("5m")

        assert t.run(get).output == ["slow", "quick"]


def test_the_winner_of_a_race_does_not_wait_for_a_fetch(app):
    @app.create_function(id="f", trigger="go")
    async def get(ctx: Context):
        first = await ctx.group.race([ctx.step.sleep("nap", "10s"), ctx.step.fetch("get", API)])
        return [first, await ctx.step.run("then", lambda: 1)]

    with harness(app) as t:
        t.answer_fetch(API, after="20m")
        t.send("go")
        t.advance("11s")

        assert t.run(get).output == [None, 1]
        assert not t.engine.caller.live


def test_an_answer_that_comes_while_a_call_ends_is_not_forgotten(app):
    @app.create_function(id="f", trigger="go")
    async def get(ctx: Context):
        async def branch():
            found = await ctx.step.fetch("get", API)
            return await ctx.step.run("then", lambda: found.body)

        try:
            return await asyncio.gather(branch(), ctx.step.sleep("nap", "2h"))
        finally:
            await asyncio.sleep(3)  # the call takes its time to end

    with harness(app) as t:
        t.answer_fetch(API, body="got", after="1s")
        t.send("go")
        t.advance("1m")

        assert t.run(get).steps["then"].output == "got"


def test_an_answer_that_a_call_has_heard_of_costs_no_further_call(app):
    @app.create_function(id="f", trigger="go")
    async def get(ctx: Context):
        calls.append(t.now)

        async def branch():
            await ctx.step.fetch("get", API)
            await ctx.step.sleep("nap", "1h")

        await asyncio.gather(branch(), ctx.step.run("slow", asyncio.sleep, 10))

    calls: list[object] = []
    with harness(app) as t:
        t.answer_fetch(API, after="1s")
        t.send("go")
        t.advance("1m")

        assert len(calls) == 1


def test_a_limit_counts_fetches_as_steps(app):
    @app.create_function(id="f", trigger="go", concurrency=stepwell.Concurrency(limit=2))
    async def get(ctx: Context):
        return len(await ctx.group.parallel([ctx.step.fetch(f"get-{n}", f"{API}/{n}") for n in range(5)]))

    with harness(app) as t:
        for n in range(5):
            t.answer_fetch(f"{API}/{n}", after="10s")
        t.send("go")
        t.advance("1h")

        begun = t.fetches[0].at
        assert [(made.at - begun) // 1000 for made in t.fetches] == [0, 0, 10, 10, 20]
        assert t.run(get).output == 5


def test_a_limit_counts_fetches_and_bodies_together(app):
    @app.create_function(id="f", trigger="go", concurrency=stepwell.Concurrency(limit=1))
    async def get(ctx: Context):
        async def body():
            began.append(t.now)
            await asyncio.sleep(5)

        await ctx.group.parallel([ctx.step.fetch("get", API), ctx.step.run("body", body)])

    began: list[object] = []
    with harness(app) as t:
        t.answer_fetch(API, after="10s")
        t.send("go")
        t.advance("1h")

        apart = abs(began[0].timestamp() * 1000 - t.fetches[0].at)
        assert apart in (5_000, 10_000)
        assert t.run(get).status == "COMPLETED"


def test_a_crash_at_any_moment_loses_nothing_and_forgets_what_was_sent(app):
    @app.create_function(id="f", trigger="go", concurrency=stepwell.Concurrency(limit=2))
    async def get(ctx: Context):
        first = await ctx.step.fetch("first", API)
        both = await ctx.group.parallel([ctx.step.fetch(f"get-{n}", f"{API}/{n}") for n in range(3)])
        return [first.body, *(each.body for each in both)]

    def scenario(t):
        answers = iter([OSError("broken"), *"abcdefghij"])
        t.answer_fetch(API, body=lambda request: next(answers), after="2s")
        for n in range(3):
            t.answer_fetch(f"{API}/{n}", body=f"{n}", after="1s")
        t.send("go")
        t.advance("1h")
        run = t.run(get)
        assert run.status == "COMPLETED"
        assert run.output[1:] == ["0", "1", "2"]
        assert all(t.ask(GetRequest(run.id, step.record.id)) is None for step in run.steps.values())
        assert len(t.fetches) <= 7

    assert crash_sweep(app, scenario, retry_interval="5s").points > 8


def test_a_cancelled_run_begins_no_further_fetch(app):
    @app.create_function(id="f", trigger="go", concurrency=stepwell.Concurrency(limit=1))
    async def get(ctx: Context):
        await ctx.group.parallel([ctx.step.fetch(f"get-{n}", f"{API}/{n}") for n in range(2)])

    with harness(app) as t:
        t.answer_fetch(f"{API}/0", after="10s")
        t.send("go")
        t.advance("1s")
        t.cancel(t.run(get))
        t.advance("1h")

        t.assert_cancelled(t.run(get))
        assert len(t.fetches) == 1


def test_inside_a_body_it_says_what_to_do_instead(app):
    @app.create_function(id="f", trigger="go", retries=0)
    async def get(ctx: Context):
        async def body():
            await ctx.step.fetch("get", API)

        await ctx.step.run("body", body)

    with harness(app) as t:
        t.send("go")

        t.assert_failed(t.run(get), "move it out, or use an HTTP client in the body")


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"url": "/users"}, "a fetch of '/users'"),
        ({"url": None}, "a fetch of None"),
        ({"url": API, "headers": {"X-N": 1}}, "the header 'X-N'"),
        ({"url": API, "body": b"\xff"}, "bytes that are not text"),
    ],
)
def test_what_cannot_be_sent_is_refused_before_it_is_reported(app, arguments, what):
    @app.create_function(id="f", trigger="go")
    async def get(ctx: Context):
        try:
            await ctx.step.fetch("get", **arguments)
        except ConfigurationError as error:
            return error.what

    with harness(app) as t:
        t.send("go")

        assert what in t.run(get).output
        assert t.run(get).steps == {}


def test_a_request_that_nobody_answers_fails_the_test_and_says_how_to_answer_it(app):
    @app.create_function(id="f", trigger="go")
    async def get(ctx: Context):
        await ctx.step.fetch("get", f"{API}?key=secret", body="x")

    with (
        pytest.raises(
            AssertionError, match=r'POST https://api.test/users\?key=….*t.answer_fetch\("https://api.test/users"'
        ),
        harness(app) as t,
    ):
        t.send("go")


def test_an_answer_that_nobody_asks_for_fails_the_test(app):
    @app.create_function(id="f", trigger="go")
    async def get(ctx: Context):
        await ctx.step.fetch("get", API)

    with (
        pytest.raises(
            AssertionError, match=r"https://api.test/nothing was never asked for.*GET https://api.test/users"
        ),
        harness(app) as t,
    ):
        t.answer_fetch(API)
        t.answer_fetch("https://api.test/nothing")
        t.send("go")


def test_a_stub_stands_in_for_a_fetch(app):
    @app.create_function(id="f", trigger="go", retries=1)
    async def get(ctx: Context):
        first = await ctx.step.fetch("first", API)
        second = await ctx.step.fetch("second", API)
        try:
            await ctx.step.fetch("third", API)
        except StepError as error:
            return [first.json(), second.status, error.name]

    with harness(app, retry_interval="1s") as t:
        t.stub("first", {"a": 1})
        t.stub("second", FetchResponse(url=API, status=503, headers={}, body=""))
        t.stub("third", TIMEOUT)
        t.send("go")
        t.advance("1m")

        assert t.run(get).output == [{"a": 1}, 503, "StepTimeout"]


def test_a_request_is_what_was_asked_for_and_shows_no_secret_when_it_is_printed(app):
    request = FetchRequest(method="GET", url=API, headers={}, body="[1]", at=0)

    assert request.json() == [1]


def test_a_server_that_cannot_write_down_what_was_answered_spends_the_attempts_of_the_run(app, monkeypatch):
    def faulty(*_: object) -> None:
        raise ZeroDivisionError("planted")

    @app.create_function(id="f", trigger="go", retries=1)
    async def get(ctx: Context):
        return (await ctx.step.fetch("get", API)).body

    monkeypatch.setattr("stepwell.runtime.live_call.progress.answered", faulty)
    with harness(app) as t:
        t.answer_fetch(API, body="got")
        t.send("go")
        t.advance("1h")

        assert (t.run(get).status, len(t.fetches)) == ("FAILED", 2)
        assert t.run(get).error.message == "the call could not go on: planted"
