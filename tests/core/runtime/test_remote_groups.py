"""Groups of steps that an app is asked for at the same time, and what goes wrong meanwhile."""

from __future__ import annotations

import json

import pytest

from stepwell.protocol.signing import sign, signing_key
from tests.core.runtime.flows import DIALECTS
from tests.core.runtime.scripted import Final, StepFailed, Steps, broken, hashed, pause, reply
from tests.core.runtime.wired import Wired

VERSIONS = pytest.mark.parametrize("version", [1, 2])


def boom():
    raise ValueError("boom")


def takes(seconds, value):
    async def body():
        await pause(seconds)
        return value

    return body


async def five(s: Steps):
    return await s.group(*(lambda n=n: s.run(f"s{n}", takes(10, n)) for n in range(5)))


@DIALECTS
def test_groups_may_be_in_groups(dialect):
    with Wired(dialect) as t:

        @t.function("f")
        async def f(s):
            async def inner(name):
                found = await s.group(lambda: s.run(f"{name}1"), lambda: s.run(f"{name}2"))
                return [*found, await s.run(f"{name}3")]

            return [await s.group(lambda: inner("a"), lambda: inner("b"), lambda: s.run("c")), await s.run("d")]

        t.assert_completed(t.finish("f"), [[["a1", "a2", "a3"], ["b1", "b2", "b3"], "c"], "d"])
        assert set(t.app.bodies().values()) == {1}


@VERSIONS
@DIALECTS
def test_chains_of_steps_side_by_side(dialect, version):
    with Wired(dialect, version=version) as t:

        @t.function("f")
        async def f(s):
            async def chain(name, count):
                return [await s.run(f"{name}{n}") for n in range(count)]

            return await s.group(lambda: chain("a", 3), lambda: chain("b", 1), lambda: chain("c", 2))

        t.assert_completed(t.finish("f"), [["a0", "a1", "a2"], ["b0"], ["c0", "c1"]])
        assert set(t.app.bodies().values()) == {1}


@DIALECTS
def test_an_invoke_that_cannot_start_is_one_member_of_a_group_that_failed(dialect):
    with Wired(dialect) as t:

        @t.function("f")
        async def f(s):
            async def caught():
                try:
                    await s.invoke("i", "app-nobody")
                except StepFailed as failed:
                    return "nobody" in failed.error["message"]

            return await s.group(caught, lambda: s.run("a", takes(5, "a")), lambda: s.run("b"))

        t.assert_completed(t.finish("f"), [True, "a", "b"])
        assert set(t.app.bodies().values()) == {1}


@DIALECTS
def test_a_group_in_which_nothing_is_left_to_do_at_once_goes_on_at_once(dialect):
    with Wired(dialect) as t:

        @t.function("f")
        async def f(s):
            async def caught(name):
                try:
                    await s.invoke(name, "app-nobody")
                except StepFailed:
                    return name

            await s.group(lambda: caught("i"), lambda: caught("j"), lambda: s.sleep("z", ""))
            return "on"

        t.assert_completed(t.finish("f", within="1s"), "on")


@VERSIONS
@pytest.mark.parametrize("mode", [None, "race"])
def test_a_sleep_ends_on_time_while_another_member_is_running(version, mode):
    with Wired(version=version) as t:
        woke = []

        @t.function("f")
        async def f(s):
            async def sleeps():
                await s.sleep("z", "20s")
                return await s.run("after", lambda: woke.append(t.now.second) or "after")

            return await s.group(sleeps, lambda: s.run("slow", takes(40, "slow")), mode=mode)

        t.assert_completed(t.finish("f"), ["after", "slow"])
        assert woke == ([40] if version == 2 and mode is None else [20])
        assert t.app.bodies() == {"after": 1, "slow": 1}


@VERSIONS
def test_a_group_of_sleeps_waits_and_invokes_rests_without_a_call(version):
    with Wired(version=version) as t:

        @t.function("child")
        async def child(s):
            await s.sleep("z", "30m")
            return "child"

        @t.function("f")
        async def f(s):
            found = await s.group(
                lambda: s.sleep("z", "1h"),
                lambda: s.wait("w", "g", "5h"),
                lambda: s.wait("late", "g", "10m"),
                lambda: s.invoke("i", "app-child"),
            )
            return [found[0], found[1]["name"], *found[2:]]

        run = t.start("f")
        assert not t.engine.caller.live
        t.advance("2h")
        t.send("g")

        t.assert_completed(run, [None, "g", None, "child"])
        discoveries = [each for each in t.requests(run) if each.target is None]
        assert len(discoveries) == (2 if version == 2 else 5)


@DIALECTS
def test_results_are_saved_before_the_function_fails_for_good(dialect):
    """A member that runs has its effect: that is to be seen, and the next attempt is not to run it again."""
    with Wired(dialect) as t:

        @t.function("f", retries=1)
        async def f(s):
            return await s.group(
                lambda: s.run("quick", takes(1, "quick")), lambda: s.run("slow", takes(30, "slow")), mode="race"
            )

        def fails(request):
            if request.target is None and hashed("quick") in request.body["steps"] and request.ctx["attempt"] == 0:
                return reply(500, {"name": "Own", "message": "own code"})
            return None

        t.app.before = fails
        run = t.finish("f")

        t.assert_completed(run, ["quick", "slow"])
        assert t.app.bodies() == {"quick": 1, "slow": 1}


@DIALECTS
def test_results_are_saved_before_a_run_fails_finally(dialect):
    with Wired(dialect) as t:

        @t.function("f")
        async def f(s):
            return await s.group(
                lambda: s.run("quick", takes(1, "quick")), lambda: s.run("slow", takes(30, "slow")), mode="race"
            )

        def fails(request):
            if request.target is None and hashed("quick") in request.body["steps"]:
                return reply(500, {"name": "Own", "message": "own code"}, X_Inngest_No_Retry="true")
            return None

        t.app.before = fails
        run = t.finish("f")

        t.assert_failed(run, "own code")
        assert run.steps["slow"].output == "slow"


def test_a_run_completes_while_a_member_sleeps_that_nobody_needs():
    with Wired() as t:

        @t.function("f")
        async def f(s):
            await s.race(lambda: s.run("a"), lambda: s.sleep("z", "10h"), mode="race")
            return await s.run("b")

        run = t.finish("f", within="1m")

        t.assert_completed(run, "b")
        assert run.steps["z"].record.ended_at is not None or run.steps["z"].status == "SLEEPING"
        before = len(t.app.requests)
        t.advance("1d")
        assert len(t.app.requests) == before


# Limits ---------------------------------------------------------------------------------------------------------------


@DIALECTS
@pytest.mark.parametrize("limit", [1, 2, 5])
def test_no_more_requests_are_in_flight_than_there_are_slots(dialect, limit):
    with Wired(dialect) as t:
        t.function("f", concurrency=[{"limit": limit}])(five)
        runs = [t.start("f") for _ in range(3)]

        t.advance("1h")

        for run in runs:
            t.assert_completed(run, [0, 1, 2, 3, 4])
        assert t.app.in_flight_max == limit
        assert len(t.app.started) == 15


def test_a_limit_does_not_hold_up_a_group_of_which_one_member_is_tried_again_later():
    with Wired(retry_interval=30_000) as t:

        @t.function("f", concurrency=[{"limit": 1}])
        async def f(s):
            return await s.group(
                lambda: s.run("a", lambda: boom() if s.attempt < 2 else "a"), lambda: s.run("b", takes(5, "b"))
            )

        first, second = t.start("f"), t.start("f")
        t.advance("1h")

        t.assert_completed(first, ["a", "b"])
        t.assert_completed(second, ["a", "b"])
        assert t.app.in_flight_max == 1


# Ends that come from outside ------------------------------------------------------------------------------------------


@DIALECTS
@VERSIONS
def test_after_a_cancel_is_acknowledged_no_request_begins(dialect, version):
    """I18."""
    with Wired(dialect, version=version) as t:
        t.function("f", concurrency=[{"limit": 2}])(five)
        run = t.start("f")
        t.advance("1s")
        assert t.app.in_flight == 2

        assert t.cancel(run)
        before = len(t.app.requests)
        t.advance("1h")

        t.assert_cancelled(run)
        assert len(t.app.requests) == before
        assert all(step.output is None for step in run.steps.values())


def test_a_cancel_between_two_attempts_of_a_member_ends_it():
    with Wired(retry_interval=60_000) as t:

        @t.function("f")
        async def f(s):
            return await s.group(lambda: s.run("a", boom), lambda: s.run("b", takes(600, "b")))

        run = t.start("f")
        t.advance("30s")
        t.cancel(run)
        t.advance("1h")

        t.assert_cancelled(run)
        assert t.app.bodies() == {"a": 1, "b": 1}


@DIALECTS
def test_the_result_of_a_member_that_comes_after_the_end_is_dropped(dialect):
    with Wired(dialect) as t:

        @t.function("f")
        async def f(s):
            return await s.group(lambda: s.run("a", takes(100, "a")), lambda: s.run("b", takes(100, "b")))

        run = t.start("f")
        t.advance("10s")
        t.cancel(run)
        t.advance("10m")

        assert [step.output for step in run.steps.values()] == [None, None]


# Faults ---------------------------------------------------------------------------------------------------------------


@DIALECTS
def test_a_connection_that_breaks_before_the_app_has_done_anything(dialect):
    with Wired(dialect) as t:
        t.function("f")(five)

        def breaks(request):
            if request.ctx["attempt"] == 0:
                raise broken()

        t.app.before = breaks
        t.assert_completed(t.finish("f"), [0, 1, 2, 3, 4])
        assert t.app.bodies() == {f"s{n}": 1 for n in range(5)}


@DIALECTS
def test_a_connection_that_breaks_after_a_body_has_run_costs_that_body_an_attempt(dialect):
    with Wired(dialect) as t:
        t.function("f")(five)

        def breaks(request, found):
            if request.target == hashed("s2") and request.ctx["attempt"] == 0:
                raise broken()

        t.app.after = breaks
        run = t.finish("f")

        t.assert_completed(run, [0, 1, 2, 3, 4])
        assert t.app.bodies() == {**{f"s{n}": 1 for n in range(5)}, "s2": 2}
        assert "connection broke" in run.steps["s2"].errors[0].message


@pytest.mark.parametrize("status", [401, 404, 500, 502, 302])
def test_a_member_that_is_answered_with_anything_else_is_tried_again(status):
    with Wired() as t:
        t.function("f")(five)
        t.app.before = lambda request: (
            reply(status, b"<html>", sdk=None)
            if request.target == hashed("s1") and request.ctx["attempt"] < 2
            else None
        )

        run = t.finish("f")

        t.assert_completed(run, [0, 1, 2, 3, 4])
        assert [error.name for error in run.steps["s1"].errors] == ["Server returned a fatal error"] * 2


def test_a_member_that_says_when_is_asked_again_then():
    with Wired() as t:
        t.function("f")(five)
        t.app.before = lambda request: (
            reply(500, {"message": "later"}, Retry_After="50")
            if request.target == hashed("s1") and request.ctx["attempt"] == 0
            else None
        )

        t.assert_completed(t.finish("f"), [0, 1, 2, 3, 4])
        first, second = (each for each in t.app.requests if each.target == hashed("s1"))
        assert second.at - first.at == 50_000


def test_a_member_that_must_not_be_tried_again_fails_the_run():
    """The app could not say that it was the step: its code would never hear of it."""
    with Wired() as t:
        t.function("f")(five)
        t.app.before = lambda request: (
            reply(500, {"message": "never"}, X_Inngest_No_Retry="true") if request.target == hashed("s1") else None
        )

        run = t.finish("f")

        t.assert_failed(run, "never")
        assert [run.steps[f"s{n}"].output for n in (0, 2, 3, 4)] == [0, 2, 3, 4]


@DIALECTS
def test_a_member_that_is_final_is_caught(dialect):
    with Wired(dialect) as t:

        @t.function("f")
        async def f(s):
            async def caught():
                def body():
                    raise Final("no use")

                try:
                    await s.run("a", body)
                except StepFailed as failed:
                    return failed.error["message"]

            return await s.group(caught, lambda: s.run("b"))

        t.assert_completed(t.finish("f"), ["no use", "b"])
        assert t.app.bodies() == {"a": 1, "b": 1}


@DIALECTS
@VERSIONS
@pytest.mark.parametrize("at", ["0s", "5s", "10s", "15s", "25s"])
def test_another_process_goes_on_in_the_middle_of_a_group(dialect, version, at):
    """What was under way is asked for once more; what was written down is not."""
    with Wired(dialect, version=version) as t:

        @t.function("f")
        async def f(s):
            return await s.group(
                *(lambda n=n: s.run(f"s{n}", takes(7 * n, n)) for n in range(4)),
                lambda: s.sleep("z", "20s"),
            )

        run = t.start("f")
        t.advance(at)
        done = {name for _, name in t.app.ended}
        t.kill()
        t.advance("1h")

        t.assert_completed(run, [0, 1, 2, 3, None])
        for name, count in t.app.bodies().items():
            assert count <= (1 if name in done else 2)


def test_a_limit_holds_after_another_process_has_taken_over():
    with Wired() as t:
        t.function("f", concurrency=[{"limit": 2}])(five)
        runs = [t.start("f"), t.start("f")]
        for _ in range(4):
            t.advance("7s")
            t.kill()
            t.app.in_flight_max = t.app.in_flight
        t.advance("1h")

        for run in runs:
            t.assert_completed(run, [0, 1, 2, 3, 4])
        assert t.app.in_flight_max == 2


@DIALECTS
def test_too_many_steps_in_one_answer_fail_the_run(dialect):
    with Wired(dialect) as t:

        @t.function("f")
        async def f(s):
            await s.group(*(lambda n=n: s.run(f"s{n}") for n in range(1001)))

        run = t.finish("f")

        t.assert_failed(run)
        assert t.app.bodies() == {}


@DIALECTS
def test_too_many_steps_of_a_run_fail_it(dialect):
    with Wired(dialect, steps_max=10) as t:

        @t.function("f")
        async def f(s):
            for n in range(20):
                await s.run(f"s{n}")

        run = t.finish("f")

        t.assert_failed(run)
        assert len(t.app.started) <= 11


@VERSIONS
def test_two_discoveries_that_find_the_same_step_do_not_run_it_twice(version):
    with Wired(version=version) as t:

        @t.function("f")
        async def f(s):
            await s.race(
                lambda: s.run("a", takes(1, 1)),
                lambda: s.run("b", takes(1, 2)),
                lambda: s.run("c", takes(1, 3)),
                mode="race",
            )
            return await s.run("next", takes(5, "next"))

        t.assert_completed(t.finish("f"), "next")
        assert t.app.bodies()["next"] == 1


def test_calls_are_signed_and_answers_must_be():
    key = signing_key("signkey-test-00112233445566778899aabbccddeeff")
    with Wired(keys=[key]) as t:
        t.function("f", retries=1)(five)
        t.assert_failed(t.finish("f"), "not signed with our key")
        assert all("X-Inngest-Signature" in request.headers for request in t.app.requests)

        def signed(request, found):
            fields = {**found.headers, "x-inngest-signature": sign(key, found.body, int(t.now.timestamp()))}
            return found._replace(headers=fields)

        t.app.after = signed
        t.assert_completed(t.finish("f"), [0, 1, 2, 3, 4])


def test_what_an_app_answers_twice_is_written_once():
    """A member and the discovery may both say what a step gave: the first word counts."""
    with Wired() as t:

        @t.function("f")
        async def f(s):
            return await s.group(lambda: s.run("a", takes(1, 1)), lambda: s.run("b", takes(5, 2)), mode="race")

        def repeats(request, found):
            if request.target == hashed("b"):
                ops = json.loads(found.body)
                other = {"id": hashed("a"), "op": "StepRun", "name": "a", "data": "another"}
                return found._replace(body=json.dumps([*ops, other]).encode())
            return None

        t.app.after = repeats
        t.assert_completed(t.finish("f"), [1, 2])


@DIALECTS
def test_nothing_is_written_while_a_step_that_failed_is_tried_again(dialect):
    """It is due, and stays so until its body has ended: nobody is to look at it again and again meanwhile."""
    with Wired(dialect) as t:

        @t.function("f")
        async def f(s):
            def body():
                return boom() if s.attempt == 0 else takes(60, "done")()

            return await s.run("a", body)

        run = t.start("f")
        t.advance("10s")
        rounds = t.rounds
        t.advance("10s")

        assert t.rounds - rounds < 50
        t.advance("1h")
        t.assert_completed(run, "done")


def test_a_step_that_failed_is_tried_again_while_the_loser_of_a_race_runs():
    with Wired(retry_interval=5_000) as t:

        @t.function("f")
        async def f(s):
            await s.race(lambda: s.run("quick", takes(1, 1)), lambda: s.run("slow", takes(600, 2)), mode="race")
            return await s.run("next", lambda: boom() if s.attempt == 0 else "next")

        run = t.finish("f", within="1m")

        t.assert_completed(run, "next")


@VERSIONS
@DIALECTS
def test_a_step_after_a_group_that_fails_is_tried_again_when_it_is_due_and_not_before(dialect, version):
    """In version 1 it is planned, though it is alone."""
    with Wired(dialect, version=version, retry_interval=30_000) as t:

        @t.function("f")
        async def f(s):
            await s.group(lambda: s.run("a"), lambda: s.run("b"))
            return await s.run("c", lambda: boom() if s.attempt < 2 else "c")

        t.assert_completed(t.finish("f"), "c")
        assert t.app.bodies() == {"a": 1, "b": 1, "c": 3}
        assert len(t.app.requests) <= 11  # each time the run is taken up, the app is asked what comes next as well


@DIALECTS
def test_a_step_that_has_failed_is_asked_for_by_name_if_the_app_plans_it_then(dialect):
    """As when the code was changed in between, or another process has found more."""
    with Wired(dialect, retry_interval=30_000) as t:

        @t.function("f")
        async def f(s):
            if s.request.number == 0:
                return await s.run("a", boom)
            return await s.group(lambda: s.run("a"), lambda: s.run("b", takes(1, "b")))

        t.assert_completed(t.finish("f"), ["a", "b"])
        assert t.app.bodies() == {"a": 2, "b": 1}
        assert len(t.app.requests) <= 5


def test_a_step_that_has_failed_is_asked_for_by_name_if_the_app_only_plans_now():
    """As when the SDK was changed in between."""
    with Wired(retry_interval=30_000) as t:

        @t.function("f")
        async def f(s):
            if s.request.number > 0:
                s.request.text = s.request.text.replace(
                    b'"disable_immediate_execution":false', b'"disable_immediate_execution":true'
                )
            return await s.run("a", lambda: boom() if s.attempt == 0 else "a")

        t.assert_completed(t.finish("f"), "a")
        assert t.app.bodies() == {"a": 2}
