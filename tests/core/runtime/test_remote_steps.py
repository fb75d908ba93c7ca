"""Steps of runs that are called over HTTP. Numbers are those of the checklist of the protocol (§14)."""

from __future__ import annotations

import pytest

from stepwell.protocol.events import Incoming
from tests.core.runtime.flows import DIALECTS, boom, two_steps
from tests.core.runtime.scripted import (
    StepFailed,
    hashed,
    reply,
)
from tests.core.runtime.wired import Wired


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
