"""Steps at once, of runs that are called over HTTP. Numbers are those of the checklist of the protocol (§14)."""

from __future__ import annotations

import pytest

from tests.core.runtime.flows import DIALECTS, boom, three_at_once
from tests.core.runtime.scripted import (
    Python,
    StepFailed,
    hashed,
    pause,
)
from tests.core.runtime.test_remote_steps import _then
from tests.core.runtime.wired import Wired


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
