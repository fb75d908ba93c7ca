"""Our SDK and a server that takes no reports during a call: another vendor's, or ours if the app wants it so.

The messages are those that every SDK of the protocol exchanges (§5-§7), and say nothing that only we know.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha1
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwell import (
    Backoff,
    ConfigurationError,
    Context,
    NonRetriableError,
    RetryAfterError,
    StepError,
    Stepwell,
    Sync,
)
from stepwell.protocol.codec import dispatch_id, function_uuid
from stepwell.sdk.serve import Endpoint, Request
from stepwell.sdk.server import Reply, Server, Unreachable
from tests.core.sdk.foreign import RUN_ID, URL, Foreign, Item, RunFailed
from tests.core.sdk.test_programs import PROGRAMS, Beside, Body, Observer, result

Handler = Any


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for prefix in ("STEPWELL", "INNGEST"):
        for name in ("DEV", "SIGNING_KEY", "SIGNING_KEY_FALLBACK", "EVENT_KEY", "SERVER", "BASE_URL"):
            monkeypatch.delenv(f"{prefix}_{name}", raising=False)


def served(handler: Handler, **options: Any) -> Stepwell:
    app = Stepwell("t")
    app.create_function(id="f", trigger="test/started", **options)(handler)
    return app


def same(value: Any) -> Any:
    return value


# What is said ---------------------------------------------------------------------------------------------------------


async def test_each_answer_has_the_one_step_that_was_run() -> None:
    async def work(ctx: Context[Any]) -> object:
        return [await ctx.step.run("same", same, n) for n in range(3)]

    run = Foreign(served(work), "t-f")

    assert await run.to_end() == [0, 1, 2]
    assert run.said() == ["StepRun same"] * 3
    assert [answer.status for answer in run.answers] == [206, 206, 206, 200]
    assert [call["step"] for call in run.calls] == ["step"] * 4


async def test_an_answer_is_what_another_server_reads() -> None:
    async def work(ctx: Context[Any]) -> object:
        return await ctx.step.run("load", same, {"id": 7})

    run = Foreign(served(work), "t-f")
    await run.step()

    (answer,) = run.answers
    assert answer.headers == {
        "Content-Type": "application/json",
        "X-Inngest-SDK": "stepwell-py:v0.1.0",
        "X-Inngest-SDK-Handled": "true",
        "X-Inngest-Req-Version": "2",
        "X-Inngest-No-Retry": "false",
    }
    (op,) = json.loads(answer.body)
    assert op.pop("timing").keys() == {"a", "b"}
    assert op == {
        "id": sha1(b"load", usedforsecurity=False).hexdigest(),
        "op": "StepRun",
        "name": "load",
        "displayName": "load",
        "userland": {"id": "load", "index": 0},
        "data": {"id": 7},
    }


async def test_several_steps_are_planned_and_each_is_run_when_it_is_asked_for() -> None:
    async def work(ctx: Context[Any]) -> object:
        both = await asyncio.gather(ctx.step.run("a", same, 1), ctx.step.run("b", same, 2))
        return [*both, await ctx.step.run("c", same, 3)]

    run = Foreign(served(work), "t-f")

    assert await run.to_end() == [1, 2, 3]
    assert run.said() == ["StepPlanned a", "StepPlanned b", "StepRun a", "StepRun b", "StepRun c"]
    planned = json.loads(run.answers[0].body)
    assert [op["opts"] for op in planned] == [{"parallelMode": "race"}] * 2
    assert [call["step"] for call in run.calls] == ["step", run.named("a"), run.named("b"), "step", "step"]


async def test_nothing_is_run_unasked_where_the_server_does_not_want_it() -> None:
    ran: list[int] = []

    async def work(ctx: Context[Any]) -> object:
        return await ctx.step.run("one", ran.append, 1)

    run = Foreign(served(work), "t-f")
    run.forced = True
    await run.step()

    assert (run.said(), ran) == (["StepPlanned one"], [])


async def test_a_step_that_is_not_there_any_more_is_an_attempt_that_failed() -> None:
    """Checklist 83."""

    async def work(ctx: Context[Any]) -> object:
        return await ctx.step.run("new", same, 1)

    run = Foreign(served(work), "t-f")
    response = await run.ask(Item(0, 0, "0" * 40, 0))

    assert (response.status, response.headers["X-Inngest-No-Retry"]) == (500, "false")
    assert json.loads(response.body)["name"] == "StepNotFound"


async def test_rests_are_told_as_the_protocol_has_them() -> None:
    async def work(ctx: Context[Any]) -> object:
        found = await ctx.step.wait_for_event("hear", "test/heard", match="data.n", timeout="1h")
        signal = await ctx.step.wait_for_signal("signal", "go", timeout="1h")
        reply = await ctx.step.invoke_by_id("ask", "other", app_id="shop", data={"n": 1})
        late = await ctx.step.wait_for_event("late", "test/late", timeout="2d")
        return [found.data if found else None, signal, reply, late]

    run = Foreign(served(work), "t-f")
    for name, memo in (
        ("hear", {"id": "e2", "name": "test/heard", "data": {"n": 5}, "ts": 1, "user": {}}),
        ("signal", {"data": {"signal": "go", "data": 3}}),
        ("ask", {"data": "answered"}),
        ("late", None),
    ):
        await run.until_waiting()
        run.settle(run.named(name), memo)

    assert await run.to_end() == [{"n": 5}, {"signal": "go", "data": 3}, "answered", None]
    told = [(op["op"], op["name"], op["opts"]) for op in run.ops]
    assert told == [
        ("WaitForEvent", "test/heard", {"timeout": "1h", "if": "event.data.n == async.data.n"}),
        ("WaitForSignal", "signal", {"signal": "go", "timeout": "1h", "conflict": "fail"}),
        ("InvokeFunction", "ask", {"function_id": "shop-other", "payload": {"data": {"n": 1}}}),
        ("WaitForEvent", "test/late", {"timeout": "2d"}),
    ]


async def test_a_branch_goes_on_while_another_rests() -> None:
    async def chain(ctx: Context[Any], name: str, pause: str) -> str:
        await ctx.step.sleep(f"{name} rests", pause)
        return await ctx.step.run(name, same, name)

    async def work(ctx: Context[Any]) -> object:
        return await asyncio.gather(chain(ctx, "slow", "2h"), chain(ctx, "quick", "1m"))

    run = Foreign(served(work), "t-f")

    assert await run.to_end() == ["slow", "quick"]
    assert [told for told in run.said() if "rests" not in told] == [
        "StepPlanned quick",
        "StepRun quick",
        "StepRun slow",
    ]


async def test_a_race_is_won_by_who_is_there_first() -> None:
    async def work(ctx: Context[Any]) -> object:
        async def heard() -> str:
            await ctx.step.wait_for_event("hear", "test/heard", timeout="1h")
            return "heard"

        first = await ctx.group.race([heard(), ctx.step.run("quick", same, "quick")])
        return [first, await ctx.step.run("after", same, 1)]

    run = Foreign(served(work), "t-f")

    assert await run.to_end() == ["quick", 1]


async def test_a_plain_function_goes_step_by_step_too() -> None:
    def work(ctx: Context[Any, Sync]) -> object:
        first = ctx.step.run("first", same, 1)
        ctx.step.sleep("nap", "1h")
        return [first, *ctx.group.parallel([lambda: ctx.step.run("a", same, 2), lambda: ctx.step.run("b", same, 3)])]

    run = Foreign(served(work), "t-f")

    assert await run.to_end() == [1, 2, 3]
    assert run.said()[:2] == ["StepRun first", "Sleep nap"]


async def test_time_stands_still_between_calls() -> None:
    """Nobody says when the run began; its id does."""
    seen: list[datetime] = []

    async def work(ctx: Context[Any]) -> None:
        seen.append(ctx.now())
        await ctx.step.run("a", same, 1)
        seen.append(ctx.now())

    await Foreign(served(work), "t-f").to_end()

    assert {moment.timestamp() for moment in seen} == {1_700_000_000.0}


# Errors ---------------------------------------------------------------------------------------------------------------


async def test_a_step_that_fails_is_tried_again_by_the_server() -> None:
    tried: list[int] = []

    async def work(ctx: Context[Any]) -> object:
        def flaky() -> str:
            tried.append(ctx.attempt)
            if len(tried) < 3:
                raise ValueError("not yet")
            return "done"

        return [await ctx.step.run("before", same, 0), await ctx.step.run("flaky", flaky)]

    run = Foreign(served(work), "t-f")

    assert await run.to_end() == [0, "done"]
    assert run.said() == ["StepRun before", "StepError flaky", "StepError flaky", "StepRun flaky"]
    assert tried == [0, 1, 2]


@pytest.mark.parametrize("planned", [False, True])
async def test_a_step_out_of_attempts_may_be_caught(planned: bool) -> None:
    async def work(ctx: Context[Any]) -> object:
        def broken() -> None:
            raise LookupError("gone")

        branches = [ctx.step.run("broken", broken), *([ctx.step.run("good", same, 1)] if planned else [])]
        try:
            return await ctx.group.parallel(branches)
        except StepError as error:
            return [error.name, error.message]

    run = Foreign(served(work), "t-f", retries=1)

    assert await run.to_end() == ["LookupError", "gone"]
    assert [told for told in run.said() if "broken" in told][-2:] == ["StepError broken", "StepFailed broken"]


async def test_verdicts_on_a_step_are_in_the_headers() -> None:
    async def final(ctx: Context[Any]) -> None:
        def refuse() -> None:
            raise NonRetriableError("never")

        await ctx.step.run("refuse", refuse)

    async def later(ctx: Context[Any]) -> None:
        def busy() -> None:
            raise RetryAfterError("later", "1h")

        await ctx.step.run("busy", busy)

    async def paused(ctx: Context[Any]) -> None:
        def broken() -> None:
            raise ValueError

        await ctx.step.options("broken", backoff=Backoff.table("2h")).run(broken)

    runs = [Foreign(served(work), "t-f") for work in (final, later, paused)]
    for run in runs:
        await run.step()

    answers = [run.answers[0] for run in runs]
    assert [run.said() for run in runs] == [["StepFailed refuse"], ["StepError busy"], ["StepError broken"]]
    assert [answer.headers["X-Inngest-No-Retry"] for answer in answers] == ["true", "false", "false"]
    assert ["Retry-After" in answer.headers for answer in answers] == [False, True, True]
    assert all(b'"stepwell"' not in answer.body for answer in answers)


async def test_the_functions_own_code_fails_as_a_whole() -> None:
    async def work(ctx: Context[Any]) -> None:
        await ctx.step.run("a", same, 1)
        raise NonRetriableError("never")

    run = Foreign(served(work), "t-f")

    with pytest.raises(RunFailed, match="never"):
        await run.to_end()
    assert [answer.status for answer in run.answers] == [206, 400]


async def test_who_does_not_say_how_many_attempts_there_are_decides_which_is_the_last() -> None:
    async def work(ctx: Context[Any]) -> None:
        def broken() -> None:
            raise ValueError

        await ctx.step.run("broken", broken)

    call = json.loads(_call(served(work), "t-f", ours=False))
    del call["ctx"]["max_attempts"]
    response = await served(work).serve(dev=True).handle(_request(json.dumps(call).encode()))

    assert json.loads(response.body)[0]["op"] == "StepError"


@pytest.mark.parametrize("option", [{"lookback": "1h"}, {"lookback": "run"}, {"cancel_child": True}])
async def test_what_only_our_server_does_is_refused_elsewhere(option: dict[str, Any]) -> None:
    async def work(ctx: Context[Any]) -> None:
        if "lookback" in option:
            await ctx.step.wait_for_event("hear", "test/heard", timeout="1h", **option)
        await ctx.step.invoke_by_id("ask", "other", **option)

    with pytest.raises(RunFailed, match=next(iter(option))):
        await Foreign(served(work), "t-f").to_end()


# Which way is taken ---------------------------------------------------------------------------------------------------


class Scripted(Server):
    """A server that answers each report with this status, or with nothing."""

    def __init__(self, status: int | None) -> None:
        super().__init__("http://server.test", (), None)
        self.status = status
        self.reports: list[Any] = []

    async def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        patient: bool = False,
    ) -> Reply:
        self.reports.append(json.loads(body))
        if self.status is None:
            raise Unreachable("gone")
        return Reply(self.status, b"{}")


def _call(app: Stepwell, function_id: str, *, ours: bool = True) -> bytes:
    told = {"fn_id": function_uuid(function_id), "qi_id": dispatch_id(RUN_ID, 3), "generation_id": 3} if ours else {}
    return json.dumps(
        {
            "ctx": {"run_id": RUN_ID, "attempt": 0, "max_attempts": 5, "stack": {"stack": [], "current": 0}, **told},
            "event": {"name": "test/started", "data": {}, "ts": 1},
            "events": [],
            "steps": {},
            "use_api": False,
        }
    ).encode()


def _request(body: bytes) -> Request:
    return Request("POST", URL, {"fnId": "t-f", "stepId": "step"}, {}, body)


async def _two(ctx: Context[Any]) -> object:
    return [await ctx.step.run("a", same, 1), await ctx.step.run("b", same, 2)]


async def _asked(endpoint: Endpoint, status: int | None) -> tuple[int, list[str], int]:
    """The status of the answer, what is in it, and how many reports came before it."""
    scripted = endpoint.server = Scripted(status)
    response = await endpoint.handle(_request(_call(Stepwell("t"), "t-f")))
    body = json.loads(response.body)
    return response.status, [op["op"] for op in body] if response.status == 206 else [], len(scripted.reports)


async def test_a_server_of_ours_is_told_of_each_step_while_the_call_goes_on() -> None:
    assert await _asked(served(_two).serve(dev=True), 200) == (200, [], 2)


@pytest.mark.parametrize("status", [400, 404, 405])
async def test_one_that_takes_no_reports_gets_all_at_the_end_and_is_told_no_more(status: int) -> None:
    endpoint = served(_two).serve(dev=True)

    assert await _asked(endpoint, status) == (206, ["StepRun", "StepRun", "RunComplete"], 2)
    assert await _asked(endpoint, 200) == (206, ["StepRun"], 0)


@pytest.mark.parametrize("status", [None, 503])
async def test_one_that_fails_gets_all_at_the_end_and_is_told_again(status: int | None) -> None:
    endpoint = served(_two).serve(dev=True)

    assert await _asked(endpoint, status) == (206, ["StepRun", "StepRun", "RunComplete"], 2)
    assert await _asked(endpoint, 200) == (200, [], 2)


async def test_a_call_that_another_has_taken_the_place_of_ends() -> None:
    """Checklist 87."""
    assert await _asked(served(_two).serve(dev=True), 409) == (400, [], 1)


@pytest.mark.parametrize(
    ("endpoint", "function", "reports"), [(True, None, 2), (False, None, 0), (True, False, 0), (False, True, 2)]
)
async def test_the_app_or_a_function_may_want_a_call_for_each_step(
    endpoint: bool, function: bool | None, reports: int
) -> None:
    found = await _asked(served(_two, checkpointing=function).serve(dev=True, checkpointing=endpoint), 200)

    assert found == ((200, [], 2) if reports else (206, ["StepRun"], 0))


def test_checkpointing_is_on_or_off() -> None:
    with pytest.raises(ConfigurationError, match="checkpointing"):
        served(_two, checkpointing="yes")


# Functions of any shape -----------------------------------------------------------------------------------------------


def bodies(part: Any, id: str) -> dict[str, int]:
    """How often each body is to be run."""
    if isinstance(part, Body):
        return {id: part.failures + 1}
    parts = (part.task, part.main) if isinstance(part, Beside) else getattr(part, "parts", ())
    return {key: many for n, one in enumerate(parts) for key, many in bodies(one, f"{id}.{n}").items()}


async def play(handler: Any, observer: Observer, seed: int, losses: set[int]) -> None:
    app = Stepwell("t")
    app.create_function(id="program", trigger="test/started", strict=True)(handler)
    run = Foreign(app, "t-program", retries=20, loses=losses.__contains__, chance=Random(seed))

    found = await run.to_end()

    assert found == result(observer.program, "p", observer.winners)
    succeeded = Counter(op["displayName"] for op in run.ops if op["op"] == "StepRun")
    assert all(count == 1 for count in succeeded.values()), "a result is taken once"
    if not losses:
        wanted = bodies(observer.program, "p")
        assert all(count <= wanted[id] for id, count in observer.bodies.items()), "no body is run in vain"


@pytest.mark.slow
@settings(max_examples=200)
@given(program=PROGRAMS, seed=st.integers(0, 1000), losses=st.sets(st.integers(1, 12), max_size=4))
def test_an_async_function_gives_the_same_step_by_step(program: Any, seed: int, losses: set[int]) -> None:
    observer = Observer(program)

    asyncio.run(play(observer.run, observer, seed, losses))


@pytest.mark.slow
@settings(max_examples=40)
@given(program=PROGRAMS, seed=st.integers(0, 1000), losses=st.sets(st.integers(1, 12), max_size=4))
def test_so_does_a_plain_function(program: Any, seed: int, losses: set[int]) -> None:
    observer = Observer(program)

    asyncio.run(play(observer.run_sync, observer, seed, losses))
