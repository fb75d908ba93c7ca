"""Steps that an app has planned alone: it is asked for them by name, and for nothing else meanwhile."""

from __future__ import annotations

from tests.core.runtime.scripted import Python, hashed, pause, reply
from tests.core.runtime.wired import Wired


def fails(times, value):
    left = [times]

    def body():
        if left[0]:
            left[0] -= 1
            raise ValueError(f"{left[0]} times more")
        return value

    return body


def test_after_a_group_of_version_1_a_step_that_fails_is_asked_for_again():
    with Wired(version=1) as t:

        @t.function("f")
        async def f(s):
            await s.group(lambda: s.run("a"), lambda: s.run("b"))
            return await s.run("c", flaky)

        flaky = fails(2, "c")

        t.assert_completed(t.finish("f"), "c")
        assert t.app.asked.count("c") == 3
        assert t.app.bodies() == {"a": 1, "b": 1, "c": 3}
        assert len(t.app.requests) < 12


def test_a_step_that_was_planned_alone_and_fails_is_asked_for_again():
    with Wired() as t:

        @t.function("f", retries=2)
        async def f(s):
            return await s.run("c", flaky)

        flaky = fails(2, "c")
        t.app.before = lambda request: (
            None
            if request.target or request.body["steps"]
            else reply(206, [{"id": hashed("c"), "op": "StepPlanned", "displayName": "c", "data": None}])
        )

        t.assert_completed(t.finish("f"), "c")
        assert [each.target is not None for each in t.app.requests] == [False, True, True, True, False]
        assert [each.ctx["attempt"] for each in t.app.requests] == [0, 0, 1, 2, 0]


def test_a_step_that_was_planned_alone_runs_once_if_the_process_dies_before_it_is_asked_for():
    with Wired() as t:

        @t.function("f")
        async def f(s):
            return await s.run("c", slow)

        async def slow():
            await pause(10)
            return "c"

        planned = reply(206, [{"id": hashed("c"), "op": "StepPlanned", "displayName": "c", "data": None}])
        t.app.before = lambda request: planned if request.number == 0 else None
        run = t.start("f")
        t.kill()
        t.advance("1h")

        t.assert_completed(run, "c")
        # The one that was cut off, and the one after it: no discovery ran it beside that.
        assert t.app.bodies() == {"c": 2}
        assert t.app.in_flight_max == 1


def test_a_step_that_failed_and_is_not_in_the_code_any_more_does_not_keep_the_run_busy():
    with Wired() as t:

        @t.function("f", retries=2)
        async def f(s):
            return await s.run("c", fails(9, "c"))

        t.app.before = lambda request: reply(206, []) if request.number > 0 else None
        run = t.start("f")
        t.advance("1h")

        t.assert_failed(run, "neither what comes next nor that it is done")
        assert len(t.app.requests) < 10


def test_a_step_that_failed_and_is_not_in_the_code_any_more_does_not_keep_the_run_from_going_on():
    with Wired(Python) as t:
        there = [True]

        @t.function("f", retries=5)
        async def f(s):
            if there[0]:
                return await s.run("c", fails(9, "c"))
            await s.sleep("z", "30m")
            return "on"

        run = t.start("f")
        there[0] = False
        t.advance("1h")

        t.assert_completed(run, "on")
        assert "any more" in run.steps["c"].error.message
        assert len(t.app.requests) < 12
