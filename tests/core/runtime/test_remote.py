"""How runs go on that are called over HTTP. Numbers are those of the checklist of the protocol (§14)."""

from __future__ import annotations

import json

import pytest

from stepwell.protocol.events import Incoming
from tests.core.runtime.scripted import (
    Javascript,
    Later,
    Python,
    StepFailed,
    Steps,
    hashed,
    pause,
    reply,
)
from tests.core.runtime.wired import Wired

DIALECTS = pytest.mark.parametrize("dialect", [Javascript, Python])


def boom():
    raise ValueError("boom")


async def two_steps(s: Steps):
    return [await s.run("a"), await s.run("b")]


async def three_at_once(s: Steps):
    return await s.group(lambda: s.run("a"), lambda: s.run("b"), lambda: s.run("c"))


# Calls ----------------------------------------------------------------------------------------------------------------


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


# Steps ----------------------------------------------------------------------------------------------------------------


@DIALECTS
def test_p14_49_a_result_is_remembered_as_data_also_if_it_is_nothing(dialect):
    with Wired(dialect) as t:

        @t.function("f")
        async def f(s):
            return [await s.run("a", lambda: None), await s.run("b", lambda: [1])]

        t.assert_completed(t.finish("f"), [None, [1]])
        assert t.app.requests[-1].body["steps"] == {hashed("a"): {"data": None}, hashed("b"): {"data": [1]}}


@DIALECTS
def test_p14_50_a_step_that_fails_is_tried_again_and_those_before_it_are_not(dialect):
    with Wired(dialect) as t:

        @t.function("f")
        async def f(s):
            a = await s.run("a")
            b = await s.run("b", lambda: boom() if s.attempt < 2 else "b")
            return [a, b, await s.run("c")]

        t.assert_completed(t.finish("f"), ["a", "b", "c"])
        assert t.app.bodies() == {"a": 1, "b": 3, "c": 1}
        assert t.app.asked == ["step"] * 6
        assert [each.ctx["attempt"] for each in t.app.requests] == [0, 0, 1, 2, 0, 0]


def test_p14_51_a_step_error_that_is_final_is_a_result():
    with Wired() as t:

        @t.function("f")
        async def f(s):
            try:
                await s.run("a")
            except StepFailed as failed:
                return failed.error["message"]

        op = {"id": hashed("a"), "op": "StepError", "name": "a", "error": {"name": "E", "message": "m"}}
        t.app.before = lambda request: reply(206, [op], X_Inngest_No_Retry="true") if request.number == 0 else None

        t.assert_completed(t.finish("f"), "m")
        assert len(t.app.requests) == 2


@pytest.mark.parametrize("header", ["true", "false", ""])
def test_p14_52_a_failed_step_is_final_whatever_the_header_says(header):
    with Wired() as t:

        @t.function("f")
        async def f(s):
            try:
                await s.run("a")
            except StepFailed as failed:
                return failed.error["name"]

        op = {"id": hashed("a"), "op": "StepFailed", "name": "a", "error": {"name": "E", "message": "m"}}
        t.app.before = lambda request: reply(206, [op], X_Inngest_No_Retry=header) if request.number == 0 else None

        t.assert_completed(t.finish("f"), "E")


def test_p14_53_each_discovery_and_each_planned_step_has_attempts_of_its_own():
    with Wired() as t:

        @t.function("f")
        async def f(s):
            await s.run("one", lambda: boom() if s.attempt < 1 else 1)
            return await s.group(
                lambda: s.run("a", lambda: boom() if s.attempt < 2 else "a"),
                lambda: s.run("b", lambda: boom() if s.attempt < 1 else "b"),
            )

        t.assert_completed(t.finish("f"), ["a", "b"])
        tried = [(name, each.ctx["attempt"]) for name, each in zip(t.app.asked, t.app.requests, strict=True)]
        assert [attempt for name, attempt in tried if name == "step"] == [0, 1, 0, 0]
        assert [attempt for name, attempt in tried if name == "a"] == [0, 1, 2]
        assert [attempt for name, attempt in tried if name == "b"] == [0, 1]


@DIALECTS
def test_p14_54_55_a_memo_has_one_member_and_errors_say_their_name(dialect):
    with Wired(dialect) as t:

        @t.function("f", retries=0)
        async def f(s):
            try:
                await s.run("a", boom)
            except StepFailed as failed:
                caught = failed.error
            await s.run("b", lambda: {"data": 1, "error": 2})
            return caught["name"]

        t.assert_completed(t.finish("f"), "ValueError")
        for request in t.app.requests:
            assert all(len(memo) == 1 for memo in request.body["steps"].values())
        memo = t.app.requests[-1].body["steps"][hashed("a")]["error"]
        assert (memo["name"], memo["message"]) == ("ValueError", "boom")


@pytest.mark.parametrize(
    ("length", "seconds"), [("90s", 90), ("2026-01-01T00:01:30Z", 90), ("2026-01-01T00:01:30.000Z", 90), ("1m30s", 90)]
)
def test_p14_56_57_a_sleep_ends_on_time_and_leaves_nothing(length, seconds):
    with Wired() as t:

        @t.function("f")
        async def f(s):
            await s.sleep("z", length)

        t.assert_completed(t.finish("f"), None)
        first, second = t.app.requests
        assert second.at - first.at == seconds * 1000
        assert second.body["steps"] == {hashed("z"): None}


@pytest.mark.parametrize("length", ["2020-01-01T00:00:00Z", ""])
def test_p14_58_a_sleep_into_the_past_is_over_at_once(length):
    with Wired() as t:

        @t.function("f")
        async def f(s):
            await s.sleep("z", length)
            return "awake"

        t.assert_completed(t.finish("f", within="0s"), "awake")


def test_p14_59_a_wait_gets_the_event_that_fits():
    with Wired() as t:

        @t.function("f")
        async def f(s):
            return await s.wait("w", "g", **{"if": "async.data.n == event.data.n"})

        run = t.start("f", {"n": 7})
        t.send("g", {"n": 8})
        t.send("g", {"n": 7})

        t.assert_completed(run)
        assert (run.output["name"], run.output["data"]) == ("g", {"n": 7})
        assert t.app.requests[-1].body["steps"] == {hashed("w"): run.output}


def test_p14_57_60_a_wait_ends_once():
    with Wired() as t:

        @t.function("f")
        async def f(s):
            return [await s.wait("w", "g", within="10s"), await s.wait("x", "g", within="10s")]

        run = t.start("f")
        t.advance("10s")
        t.send("g", {"n": 1})
        t.advance("1m")

        t.assert_completed(run)
        assert run.output[0] is None
        assert run.output[1]["data"] == {"n": 1}


def test_p14_61_an_event_that_a_step_of_the_same_answer_sends_is_not_missed():
    with Wired() as t:

        @t.function("f")
        async def f(s):
            def send():
                return _then(t.engine.send([Incoming(name="g", data=b"{}")]), "sent")

            found, sent = await s.group(lambda: s.wait("w", "g"), lambda: s.run("s", send))
            return [found["name"], sent]

        t.assert_completed(t.finish("f"), ["g", "sent"])


async def _then(work, value):
    await work
    return value


@DIALECTS
def test_p14_64_an_invoke_gives_what_the_function_returns_or_raises_its_error(dialect):
    with Wired(dialect) as t:

        @t.function("child", retries=0)
        async def child(s):
            if s.event["data"].get("fail"):
                raise ValueError("the child fails")
            return s.event["data"]["n"]

        @t.function("f")
        async def f(s):
            n = await s.invoke("good", "app-child", {"n": 1})
            try:
                await s.invoke("bad", "app-child", {"fail": True})
            except StepFailed as failed:
                return [n, failed.error["name"], failed.error["message"]]

        t.assert_completed(t.finish("f"), [1, "ValueError", "the child fails"])


def test_p14_65_an_invoke_that_takes_too_long_says_so():
    with Wired() as t:

        @t.function("child")
        async def child(s):
            await s.sleep("z", "1d")

        @t.function("f")
        async def f(s):
            try:
                await s.invoke("i", "app-child", timeout="10s")
            except StepFailed as failed:
                return [failed.error["name"], failed.error["message"]]

        t.assert_completed(
            t.finish("f"),
            ["InngestInvokeTimeoutError", "Timed out waiting for invoked function to complete"],
        )


def test_p14_66_67_an_invoke_of_nobody_fails_and_one_of_nothing_works():
    with Wired() as t:

        @t.function("child")
        async def child(s):
            return s.event["data"].get("n", "nothing")

        @t.function("f")
        async def f(s):
            try:
                await s.invoke("i", "app-nobody")
            except StepFailed as failed:
                return [await s.invoke("j", "app-child", None), "app-nobody" in failed.error["message"]]

        t.assert_completed(t.finish("f"), ["nothing", True])


def test_p14_70_a_run_completes_after_the_steps_that_came_with_its_end():
    with Wired() as t:
        t.function("f")(two_steps)
        ops = [
            {"id": hashed("a"), "op": "StepRun", "name": "a", "data": 1},
            {"id": hashed("b"), "op": "StepRun", "name": "b", "data": 2},
            {"id": hashed("complete"), "op": "RunComplete", "name": "complete", "data": {"n": 3}},
        ]
        t.app.before = lambda request: reply(206, ops)

        run = t.finish("f")

        t.assert_completed(run, {"n": 3})
        t.assert_steps(run, "a", "b")
        assert len(t.app.requests) == 1


def test_p14_71_a_discovery_that_is_asked_for_comes_exactly_once():
    with Wired() as t:
        t.function("f")(two_steps)
        op = {"id": hashed("d"), "op": "DiscoveryRequest", "name": "d"}
        t.app.before = lambda request: reply(206, [op]) if request.number == 0 else None

        run = t.finish("f")

        t.assert_completed(run, ["a", "b"])
        t.assert_steps(run, "a", "b")
        assert len(t.app.requests) == 1 + 3


def test_p14_74_an_unknown_op_is_an_error_of_the_attempt():
    with Wired() as t:
        t.function("f", retries=1)(two_steps)
        op = {"id": hashed("d"), "op": "Frobnicate", "name": "d"}
        t.app.before = lambda request: reply(206, [op])

        run = t.finish("f")

        t.assert_failed(run, "Frobnicate")
        assert [each.ctx["attempt"] for each in t.app.requests] == [0, 1]


# Parallelism ----------------------------------------------------------------------------------------------------------


@DIALECTS
def test_p14_75_a_group_costs_a_call_for_each_member_and_one_before_and_after(dialect):
    with Wired(dialect) as t:
        t.function("f")(three_at_once)

        t.assert_completed(t.finish("f"), ["a", "b", "c"])
        assert t.app.asked == ["step", "a", "b", "c", "step"]


def test_p14_76_in_version_1_each_member_brings_a_discovery():
    with Wired(version=1) as t:
        t.function("f")(three_at_once)

        t.assert_completed(t.finish("f"), ["a", "b", "c"])
        assert t.app.bodies() == {"a": 1, "b": 1, "c": 1}
        assert t.app.asked.count("step") >= 2


def test_p14_77_a_race_of_two_chains_costs_nine_calls():
    with Wired(Python) as t:

        @t.function("f")
        async def f(s):
            async def chain(name):
                await s.run(f"{name}1")
                return await s.run(f"{name}2")

            return await s.group(lambda: chain("a"), lambda: chain("b"), mode="race")

        t.assert_completed(t.finish("f"), ["a2", "b2"])
        assert len(t.app.requests) == 9
        assert sorted(t.app.asked) == ["a1", "a2", "b1", "b2"] + ["step"] * 5


@pytest.mark.parametrize("version", [1, 2])
def test_p14_78_what_is_reported_again_is_not_done_again(version):
    with Wired(version=version) as t:

        @t.function("child")
        async def child(s):
            await s.sleep("z", "20s")
            return "child"

        @t.function("f")
        async def f(s):
            async def quick():
                for n in range(4):
                    await s.run(f"quick{n}")

            return await s.group(
                quick,
                lambda: s.run("slow", lambda: _then(pause(50), "slow")),
                lambda: s.sleep("sleep", "30s"),
                lambda: s.wait("wait", "g"),
                lambda: s.invoke("call", "app-child"),
                mode="race",
            )

        run = t.start("f")
        t.advance("1m")
        t.send("g")
        t.advance("1m")

        t.assert_completed(run)
        assert t.app.bodies() == {**{f"quick{n}": 1 for n in range(4)}, "slow": 1}
        assert len(t.runs("child")) == 1
        assert [step.status for step in run.steps.values()].count("COMPLETED") == 8


@pytest.mark.parametrize(("version", "plans"), [(1, [False, True, True]), (2, [False, False, False])])
def test_p14_79_after_a_group_steps_are_run_as_they_are_found_or_are_planned(version, plans):
    with Wired(version=version) as t:

        @t.function("f")
        async def f(s):
            await s.group(lambda: s.run("a"), lambda: s.run("b"))
            return await s.run("c")

        t.assert_completed(t.finish("f"), "c")
        discoveries = [each.ctx["disable_immediate_execution"] for each in t.app.requests if each.target is None]
        assert [discoveries[0], *discoveries[-2:]] == plans
        assert ("c" in t.app.asked) == (version == 1)


@DIALECTS
def test_p14_80_the_stack_is_the_order_in_which_steps_were_done(dialect):
    with Wired(dialect) as t:

        @t.function("f")
        async def f(s):
            await s.group(
                lambda: s.run("a", lambda: _then(pause(3), "a")),
                lambda: s.run("b", lambda: _then(pause(1), "b")),
                lambda: s.run("c", lambda: _then(pause(2), "c")),
            )
            await s.run("d")

        t.assert_completed(t.finish("f"))
        last = t.app.requests[-1]
        assert last.ctx["stack"]["stack"] == [hashed(name) for name in "bcad"]
        assert set(last.body["steps"]) == set(last.ctx["stack"]["stack"])


@DIALECTS
def test_p14_81_a_member_that_fails_does_not_hold_up_the_others(dialect):
    with Wired(dialect) as t:

        @t.function("f", retries=1)
        async def f(s):
            async def caught():
                try:
                    return await s.run("a", boom)
                except StepFailed as failed:
                    return failed.error["message"]

            return await s.group(caught, lambda: s.run("b"), lambda: s.run("c"))

        t.assert_completed(t.finish("f"), ["boom", "b", "c"])
        assert t.app.bodies() == {"a": 2, "b": 1, "c": 1}


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("mode", [None, "race"])
def test_p14_82_a_race_is_won_while_the_loser_runs(version, mode):
    with Wired(version=version) as t:

        @t.function("f")
        async def f(s):
            return await s.race(
                lambda: s.run("quick", lambda: _then(pause(1), "quick")),
                lambda: s.run("slow", lambda: _then(pause(60), "slow")),
                mode=mode,
            )

        run = t.start("f")
        t.advance("30s")
        if version == 2 and mode is None:  # nobody has told us that it is a race
            assert not run.ended
            t.advance("31s")
            t.assert_completed(run, "quick")
        else:
            t.assert_completed(run, "quick")
            t.advance("1h")
            assert run.output == "quick"
            assert run.steps["slow"].output is None


@DIALECTS
def test_p14_83_a_step_that_the_code_does_not_have_fails_its_attempts_and_then_the_run(dialect):
    with Wired(dialect) as t:

        @t.function("f", retries=2)
        async def f(s):
            if s.request.target is None:
                return await s.group(lambda: s.run("a"), lambda: s.run("b"))
            return await s.group(lambda: s.run("a"), lambda: s.run("other"))

        run = t.finish("f")

        t.assert_failed(run)
        assert t.app.asked.count("b") == 3
        assert run.steps["a"].output == "a"


# Signals --------------------------------------------------------------------------------------------------------------


@DIALECTS
def test_p14_62_a_signal_resumes_the_step_that_waits_for_it(dialect):
    with Wired(dialect) as t:

        @t.function("f")
        async def f(s):
            return [await s.signal("w", "yes"), await s.signal("x", "no", within="10s")]

        run = t.start("f")
        assert t.signal("yes", {"n": 1}) == run.id
        assert t.signal("yes") is None
        t.advance("1m")

        t.assert_completed(run, [{"signal": "yes", "data": {"n": 1}}, None])
        memos = t.app.requests[-1].body["steps"]
        assert memos == {hashed("w"): {"data": {"signal": "yes", "data": {"n": 1}}}, hashed("x"): None}


def test_p14_63_the_second_who_waits_for_a_signal_fails_or_takes_it_over():
    with Wired() as t:

        @t.function("f")
        async def f(s):
            return await s.signal("w", "yes", within="10m", **s.event["data"])

        first, second, third = t.start("f"), t.start("f"), t.start("f", {"conflict": "replace"})

        t.assert_failed(second, "Signal conflict; signal wait already exists for another run")
        assert t.signal("yes") == third.id
        t.advance("10m")
        t.assert_completed(first, None)


@pytest.mark.parametrize(
    "opts", [{"signal": ""}, {"signal": "x", "conflict": "ask"}, {"signal": "x", "timeout": "1x"}, {}]
)
def test_a_wait_for_a_signal_that_cannot_be_read_is_an_error_of_the_attempt(opts):
    with Wired() as t:

        @t.function("f", retries=1)
        async def f(s):
            await s.op("WaitForSignal", "w", opts=opts)

        t.assert_failed(t.finish("f"))
        assert len(t.app.requests) == 2
