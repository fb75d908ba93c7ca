"""``ctx.step.wait_for_signal`` and ``send_signal`` (semantics §5.4, F38, F39)."""

from __future__ import annotations

import pytest

from stepwell import ConfigurationError, Context, InvalidSignal, Stepwell
from stepwell.testing import TIMEOUT, harness


def waiting(app: Stepwell, **how):
    @app.create_function(id="approve", trigger="asked")
    async def approve(ctx: Context):
        return await ctx.step.wait_for_signal("answer", ctx.event.data.get("signal", "yes"), timeout="1h", **how)

    return approve


def test_a_signal_resumes_the_run_that_waits_for_it_and_says_which(app):
    approve = waiting(app)
    with harness(app) as t:
        t.send("asked", {"signal": "order-1"})
        t.send("asked", {"signal": "order-2"})

        run_id = t.send_signal("order-2", {"by": "ada"})

        first, second = t.runs(approve)
        assert run_id == second.id
        t.assert_completed(second, {"signal": "order-2", "data": {"by": "ada"}})
        t.assert_waiting(first, "answer")


@pytest.mark.parametrize("data", [None, 0, "text", [1], {"a": None}])
def test_a_signal_may_carry_anything(app, data):
    approve = waiting(app)
    with harness(app) as t:
        t.send("asked", {})
        t.send_signal("yes", data)

        t.assert_completed(t.run(approve), {"signal": "yes", "data": data})


def test_a_signal_for_which_nobody_waits_is_not_kept(app):
    approve = waiting(app)
    with harness(app) as t:
        assert t.send_signal("yes") is None
        t.send("asked", {})

        t.assert_waiting(t.run(approve), "answer")


def test_a_wait_for_a_signal_ends_with_nothing_after_its_timeout(app):
    approve = waiting(app)
    with harness(app) as t:
        t.send("asked", {})
        t.advance("1h")

        t.assert_completed(t.run(approve), None)
        assert t.run(approve).steps["answer"].status == "TIMED_OUT"
        assert t.send_signal("yes") is None


def test_a_name_is_free_again_when_its_signal_has_come(app):
    approve = waiting(app)
    with harness(app) as t:
        for _ in range(2):
            t.send("asked", {})
            t.send_signal("yes")

        assert [run.status for run in t.runs(approve)] == ["COMPLETED", "COMPLETED"]


def test_a_run_that_waits_for_a_taken_name_fails_at_once(app):
    """Checklist 63."""
    approve = waiting(app)
    with harness(app) as t:
        t.send("asked", {})
        t.send("asked", {})

        first, second = t.runs(approve)
        t.assert_failed(second, "Signal conflict; signal wait already exists for another run")
        assert t.send_signal("yes", 1) == first.id
        t.assert_completed(first)


def test_a_name_can_be_taken_over_and_the_other_waits_for_its_timeout(app):
    """Checklist 63."""
    approve = waiting(app, on_conflict="replace")
    with harness(app) as t:
        t.send("asked", {})
        t.send("asked", {})

        first, second = t.runs(approve)
        assert t.send_signal("yes", 1) == second.id
        assert t.send_signal("yes", 2) is None
        t.assert_waiting(first, "answer")
        t.advance("1h")

        t.assert_completed(first, None)


def test_two_branches_cannot_wait_for_one_signal(app):
    @app.create_function(id="twice", trigger="asked")
    async def twice(ctx: Context):
        await ctx.group.parallel(
            [
                lambda: ctx.step.wait_for_signal("a", "yes", timeout="1h"),
                lambda: ctx.step.wait_for_signal("b", "yes", timeout="1h"),
            ]
        )

    with harness(app) as t:
        t.send("asked", {})

        t.assert_failed(t.run(twice), "Signal conflict")
        assert t.send_signal("yes") is None


def test_the_end_of_a_run_frees_the_name(app):
    approve = waiting(app)
    with harness(app) as t:
        t.send("asked", {})
        t.cancel(t.run(approve))

        assert t.send_signal("yes") is None


def test_a_signal_outlives_the_process(app):
    approve = waiting(app)
    with harness(app) as t:
        t.send("asked", {})
        t.crash()
        t.send_signal("yes", 1)
        t.crash()

        t.assert_completed(t.run(approve), {"signal": "yes", "data": 1})


def test_a_step_sends_a_signal_once(app):
    approve = waiting(app)
    tries = []

    @app.create_function(id="decide", trigger="decided", retries=2)
    async def decide(ctx: Context):
        run_id = await ctx.step.send_signal("tell", "yes", {"n": 1})
        tries.append(run_id)
        if len(tries) == 1:
            raise ValueError("own code")
        return [run_id, await ctx.step.send_signal("tell again", "yes")]

    with harness(app, retry_interval="1s") as t:
        t.send("asked", {})
        t.send("decided", {})
        t.advance("1m")

        found = t.run(approve)
        t.assert_completed(found, {"signal": "yes", "data": {"n": 1}})
        t.assert_completed(t.run(decide), [found.id, None])


def test_a_signal_reaches_a_branch_of_a_call_in_flight(app):
    @app.create_function(id="both", trigger="asked")
    async def both(ctx: Context):
        return await ctx.group.parallel(
            [
                lambda: ctx.step.wait_for_signal("wait", "yes", timeout="1h"),
                lambda: ctx.step.run("send", app.send_signal, "yes", "here"),
            ]
        )

    with harness(app) as t:
        t.send("asked", {})

        run = t.run(both)
        t.assert_completed(run, [{"signal": "yes", "data": "here"}, run.id])


def test_plain_functions_have_signals_too(app):
    @app.create_function(id="plain", trigger="asked")
    def plain(ctx):
        return ctx.step.wait_for_signal("answer", "yes", timeout="1h")

    @app.create_function(id="tell", trigger="decided")
    def tell(ctx):
        return ctx.step.send_signal("tell", "yes", 5)

    with harness(app) as t:
        t.send("asked", {})
        t.send("decided", {})

        t.assert_completed(t.run(plain), {"signal": "yes", "data": 5})
        t.assert_completed(t.run(tell), t.run(plain).id)


def test_an_event_with_the_name_of_a_signal_is_another_thing(app):
    approve = waiting(app)
    with harness(app) as t:
        t.send("asked", {})
        t.send("yes", {})

        t.assert_waiting(t.run(approve), "answer")


@pytest.mark.parametrize(
    ("value", "output"), [({"by": "ada"}, {"signal": "yes", "data": {"by": "ada"}}), (TIMEOUT, None)]
)
def test_a_test_may_stand_in_for_a_signal(app, value, output):
    approve = waiting(app)
    with harness(app) as t:
        t.stub("answer", value)
        t.send("asked", {})

        t.assert_completed(t.run(approve), output)


@pytest.mark.parametrize(
    "wrong", [{"signal": ""}, {"signal": "x", "on_conflict": "ask"}, {"signal": "x", "timeout": -1}]
)
def test_a_wait_that_cannot_work_is_refused_where_it_is_written(app, wrong):
    @app.create_function(id="wrong", trigger="asked", retries=0)
    async def fn(ctx: Context):
        try:
            await ctx.step.wait_for_signal("answer", **{"timeout": "1h", **wrong})
        except ConfigurationError as error:
            return error.slug

    with harness(app) as t:
        t.send("asked", {})

        t.assert_completed(t.run(fn), "invalid-configuration")


@pytest.mark.parametrize("name", ["", "  ", "a\x00b", "x" * 513])
def test_a_signal_with_a_name_that_nobody_can_wait_for_is_refused(app, name):
    waiting(app)
    with harness(app) as t, pytest.raises(InvalidSignal):
        t.send_signal(name)


def test_a_wait_for_longer_than_a_year_fails_the_run(app):
    @app.create_function(id="long", trigger="asked")
    async def long(ctx: Context):
        await ctx.step.wait_for_signal("answer", "yes", timeout="400d")

    with harness(app) as t:
        t.send("asked", {})

        t.assert_failed(t.run(long), "InngestErrTimeoutTooLong")
