"""Requests that the server makes for steps, beside all else that happens to their run meanwhile."""

from __future__ import annotations

from stepwell.model.questions import Attempts, GetRequest
from stepwell.runtime.outbound import ADDRESS_NOT_ALLOWED, Unreachable
from stepwell.testing.answers import FetchRequest
from tests.core.runtime.flows import DIALECTS
from tests.core.runtime.requesting import API, KEY, MODEL, everything
from tests.core.runtime.scripted import Javascript, Steps, hashed, pause
from tests.core.runtime.test_remote_requests_unwritten import gone
from tests.core.runtime.wired import Wired
from tests.tables import tables


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
        assert tables(t).ask("SELECT * FROM slots") == []


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
