"""Steps that an app reports while a call of it goes on (protocol §8.2). Numbers are those of the checklist (§14)."""

from __future__ import annotations

from functools import partial

import pytest

from stepwell.clock import to_ms
from stepwell.engine.reports import Standing
from stepwell.engine.reports import checkpoint as reported
from stepwell.model.changes import Decision, Grant
from stepwell.model.questions import GetItem
from stepwell.protocol.instructions import instruction
from stepwell.protocol.messages import STEP_RUN, Op
from stepwell.testing.invariants import Guard
from stepwell.testing.tables import Tables
from tests.core.runtime.paged import completed, sleeping, step
from tests.core.runtime.scripted import hashed, pause, reply
from tests.core.runtime.wired import Wired


class Checkpointing:
    """An app that runs all steps of a function in one call, and reports each before the next, as JavaScript 4 does.

    ``own`` is code of the function itself, which comes before each step, given the number of that; ``takes`` is how
    long a body needs.
    """

    def __init__(self, t, *names, own=lambda _: None, takes=0):
        self.t, self.names, self.own, self.takes = t, names, own, takes
        self.bodies, self.statuses = [], []
        t.app.before = self.answer

    async def answer(self, request):
        known = request.body["steps"]
        assert request.ctx["fn_id"] and request.ctx["qi_id"], "with these an SDK reports (protocol §8.2)"
        for number, name in enumerate(self.names):
            if hashed(name) in known:
                continue
            try:
                self.own(number)
            except Exception as error:
                return reply(500, {"name": "Error", "message": str(error)})
            if self.takes:
                await pause(self.takes)
            self.bodies.append(name)
            answer = await self.t.asked("POST", *checkpoint(request, step(name)))
            self.statuses.append(answer.status)
            if answer.status == 409:
                return reply(400, {"name": "Error", "message": "stale"}, x_inngest_no_retry="true")
            if answer.status != 200:
                return reply(206, [step(name)])
        return reply(206, [{**completed(), "data": list(self.names)}])


def checkpoint(request, *ops, **changed):
    """The path and body with which an app reports within this call."""
    run_id = request.ctx["run_id"]
    body = {
        "run_id": run_id,
        "fn_id": request.ctx["fn_id"],
        "qi_id": request.ctx["qi_id"],
        "request_id": request.headers["X-Request-ID"],
        "generation_id": int(request.headers["X-Inngest-Generation-ID"]),
        "steps": list(ops),
        "ts": 1,
        **changed,
    }
    return f"/v1/checkpoint/{run_id}/async", body


def in_flight(t):
    """A run whose first call goes on, and that call."""
    t.function("f", retries=1)(None)

    async def held(request):
        await pause(3_600)
        return reply(206, [completed()])

    t.app.before = held
    run = t.start("f")
    return run, t.app.requests[-1]


def test_84_three_steps_take_one_call():
    with Wired() as t:
        t.function("f")(None)
        app = Checkpointing(t, "a", "b", "c")

        t.assert_completed(t.finish("f"), ["a", "b", "c"])
        assert (len(t.app.requests), app.bodies, app.statuses) == (1, ["a", "b", "c"], [200] * 3)


def test_86_a_step_that_is_reported_gives_the_code_after_it_all_attempts():
    """The function's own code fails once before each step: never twice in a row."""
    failed = set()

    def own(number):
        if number not in failed:
            failed.add(number)
            raise ValueError("once")

    with Wired() as t:
        t.function("f", retries=1)(None)
        app = Checkpointing(t, "a", "b", "c", own=own)
        t.assert_completed(t.finish("f"), ["a", "b", "c"])

        assert [each.ctx["attempt"] for each in t.app.requests] == [0, 1, 1, 1]
        assert app.bodies == ["a", "b", "c"]


def test_86_a_report_resets_the_counter_of_the_item_and_keeps_its_lease():
    with Wired(retry_interval=1_000) as t:
        t.function("f", retries=2)(None)
        seen = []

        async def answer(request):
            if request.ctx["attempt"] == 0:
                return reply(500, {"name": "Error", "message": "once"})
            run_id = request.ctx["run_id"]
            before = await t.store.read(GetItem(run_id))
            await t.asked("POST", *checkpoint(request, step("a")))
            after = await t.store.read(GetItem(run_id))
            seen.append((before.attempt, after.attempt, before.lease == after.lease != 0))
            return reply(206, [completed()])

        t.app.before = answer
        t.finish("f")

        assert seen == [(1, 0, True)]


def test_86_the_same_report_twice_is_one_step():
    with Wired() as t:
        run, call = in_flight(t)
        path, body = checkpoint(call, step("a"))
        answers = [t.http("POST", path, body), t.http("POST", path, body)]
        answers.append(t.http("POST", *checkpoint(call, step("a", "other"), step("b"))))

        assert [each.status for each in answers] == [200] * 3
        assert [each.output for each in run.steps.values()] == ["a", "b"]


@pytest.mark.parametrize(
    "lease_ms", [30_000, -1], ids=["which holds its lease", "which was cut off for longer than it"]
)
def test_86_a_report_of_a_call_that_a_peer_makes_is_stored_although_an_older_one_goes_on_here(lease_ms):
    """The older one says nothing of it; and nobody has taken the lease over. To refuse would cost an attempt."""
    with Wired() as t:
        run, call = in_flight(t)
        t.engine.peers = True
        token = int(call.headers["X-Inngest-Generation-ID"]) + 1

        async def take_over():
            await t.store.commit(Decision((Grant(run.id, token, to_ms(t.now) + lease_ms),)))

        t._do(take_over)
        answer = t.http("POST", *checkpoint(call, step("a"), generation_id=token))

        assert answer.status == 200
        assert [each.output for each in run.steps.values()] == ["a"]


def test_86_reports_after_an_answer_that_repeats_them_change_nothing():
    """SDKs put into the answer what they could not report, and cannot know that it was stored."""
    with Wired() as t:
        t.function("f")(None)

        async def answer(request):
            await t.asked("POST", *checkpoint(request, step("a")))
            return reply(206, [step("a", "again"), {**completed(), "data": "done"}])

        t.app.before = answer
        run = t.finish("f")

        t.assert_completed(run, "done")
        assert [each.output for each in run.steps.values()] == ["a"]


@pytest.mark.parametrize(
    "op",
    [
        sleeping("nap", "1s"),
        {"id": hashed("w"), "op": "WaitForEvent", "name": "x", "opts": {"timeout": "1s"}},
        {"id": hashed("e"), "op": "StepError", "name": "e", "error": {"name": "E", "message": "m"}},
        {"id": hashed("i"), "op": "InvokeFunction", "opts": {"function_id": "app-f", "payload": {}}},
        {**completed(), "data": 1},
        {"id": "x", "op": "Dance"},
    ],
    ids=lambda op: op["op"],
)
def test_87_what_ends_a_call_cannot_be_reported_within_it(op):
    with Wired() as t:
        run, call = in_flight(t)
        answer = t.http("POST", *checkpoint(call, step("a"), op))

        assert (answer.status, answer.json["status"]) == (400, 400)
        assert op["op"] in answer.json["error"]
        assert list(run.steps) == [], "all or nothing"


@pytest.mark.parametrize(
    "changed",
    [
        {"generation_id": 1},
        {"generation_id": 0},
        {"generation_id": -1},
        {"generation_id": 1 << 62},
        {"generation_id": None, "qi_id": "x"},
        {"generation_id": None, "qi_id": None},
        {"generation_id": None, "qi_id": "01HF7YAT000000000000000001.1"},
    ],
    ids=str,
)
def test_87_a_report_of_another_call_is_refused(changed):
    with Wired() as t:
        run, call = in_flight(t)
        answer = t.http("POST", *checkpoint(call, step("a"), **changed))

        assert (answer.status, answer.json["status"]) == (409, 409)
        assert list(run.steps) == []


def test_87_javascript_3_gives_back_the_item_only():
    with Wired() as t:
        run, call = in_flight(t)

        assert t.http("POST", *checkpoint(call, step("a"), generation_id=None)).status == 200
        assert len(run.steps) == 1


def test_87_the_call_before_is_stale_once_another_was_made():
    with Wired() as t:
        run, first = in_flight(t)
        t.kill()
        t.advance("2m")
        second = t.app.requests[-1]
        assert second is not first

        assert t.http("POST", *checkpoint(first, step("a"))).status == 409
        assert t.http("POST", *checkpoint(second, step("a"))).status == 200
        t.cancel(run)
        assert t.http("POST", *checkpoint(second, step("b"))).status == 409
        assert len(run.steps) == 1


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"run_id":1}', b'{"run_id":"x","steps":1}', b"\xff"])
def test_what_cannot_be_read_is_refused(body):
    with Wired() as t:
        _, call = in_flight(t)
        answer = t.http("POST", checkpoint(call)[0], body)

        assert (answer.status, answer.json["status"]) == (400, 400)


def test_what_is_too_large_is_refused_so_that_the_app_can_say_it_otherwise():
    with Wired() as t:
        run, call = in_flight(t)
        assert t.http("POST", *checkpoint(call, step("large", "x" * 4_200_000))).status == 413
        for number in range(8):
            assert t.http("POST", *checkpoint(call, step(f"s{number}", "x" * 4_000_000))).status == 200
        answer = t.http("POST", *checkpoint(call, step("s8", "x" * 4_000_000)))

        assert (answer.status, answer.json["status"]) == (413, 413)
        assert (run.status, len(run.steps)) == ("RUNNING", 8)
        assert t.http("POST", *checkpoint(call, step("s7", "x" * 4_000_000))).status == 200, "it is stored already"
        assert t.http("POST", checkpoint(call)[0], b"x" * (32 * 1024 * 1024 + 1)).status == 413


def test_a_step_whose_result_is_too_large_to_report_fails_and_may_be_caught():
    with Wired() as t:
        t.function("f", retries=0)(None)

        async def answer(request):
            known = request.body["steps"].get(hashed("large"))
            if known is not None:
                return reply(206, [{**completed(), "data": known["error"]["message"][:22]}])
            large = step("large", "x" * 4_200_000)
            assert (await t.asked("POST", *checkpoint(request, large))).status == 413
            return reply(206, [large])

        t.app.before = answer
        t.assert_completed(t.finish("f"), "the step's output has ")


def test_88_the_next_call_knows_what_was_reported_in_the_one_that_was_cut_off():
    with Wired() as t:
        t.function("f")(None)
        app = Checkpointing(t, "a", "b", "c", takes=10)
        run = t.start("f")
        t.advance("25s")
        t.kill()
        t.advance("1h")

        t.assert_completed(run, ["a", "b", "c"])
        assert app.bodies == ["a", "b", "c"]
        assert [sorted(each.body["steps"]) for each in t.app.requests] == [[], sorted([hashed("a"), hashed("b")])]
        assert t.app.requests[-1].ctx["attempt"] == 0, "a lost lease is not the function's fault"


@pytest.mark.sqlite("is judged at each commit by triggers and queries of SQLite")
@pytest.mark.parametrize("before", [True, False])
def test_88_no_step_is_lost_or_done_again_wherever_the_process_dies(before):
    point, struck = 0, True
    while struck:
        point += 1
        struck = _play(point, before)
    assert point > 3


def _play(point, before):
    count, struck, violations = 0, False, []
    with Wired() as t:
        t.function("f")(None)
        guard = Guard(Tables(t.store), {}, lambda: to_ms(t.now))

        def dies(now_before, work):
            nonlocal count, struck
            if not now_before:
                violations.extend(map(str, guard.check()))
            count += now_before
            if struck or count != point or now_before != before:
                return False
            struck = True
            return True

        app = Checkpointing(t, "a", "b", "c", takes=1)
        run = t.start("f")
        t.die_when(dies)
        t.kill()  # from now on it is counted
        t.advance("1h")

        t.assert_completed(run, ["a", "b", "c"])
        assert list(map(app.bodies.count, "abc")) in ([1, 1, 1], [2, 1, 1], [1, 2, 1], [1, 1, 2])
        if not before:
            assert app.bodies == ["a", "b", "c"], "what was stored is not done again"
        assert violations == []
    return struck


@pytest.mark.parametrize("told", ["with its answer", "while it goes on"])
def test_86_what_a_call_tells_us_comes_after_what_its_app_has_reported_to_another_process(told):
    """Whoever makes the call may be held up, and not have read yet what another has stored: results that were out of
    order would come to the function in another order than before."""
    stacks = []

    with Wired() as t:
        t.function("f")(None)

        async def answer(request):
            stacks.append(request.ctx["stack"]["stack"])
            if len(stacks) > 1:
                return reply(206, [completed()])
            call = t.engine.caller.live[request.ctx["run_id"]]
            for name in ("a", "b"):
                op = instruction(Op(op=STEP_RUN, id=hashed(name), name=name, repeat=0, kind="run", data=b"1"))
                run_id, token = call.leased.run.id, call.leased.lease.token
                plan = partial(reported, run_id=run_id, token=token, ops=(op,))
                assert (await t.engine.commit(plan)).result.value is Standing.STORED
            t.engine.shared = True
            call.seen -= 1  # it has not looked for a second
            if told == "with its answer":
                return reply(206, [step("c")])
            assert (await t.asked("POST", *checkpoint(request, step("c")))).status == 200
            return reply(500, {"name": "Error", "message": "once"})

        t.app.before = answer
        run = t.finish("f")

        assert stacks == [[], [hashed("a"), hashed("b"), hashed("c")]]
        assert list(run.steps) == ["a", "b", "c"]
