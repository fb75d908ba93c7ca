"""What simulations have found, each as the shortest story that shows it."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from stepwell import Concurrency, Context, StepError, Stepwell, Timeouts
from stepwell.errors import StorageUnavailable
from stepwell.model.changes import Decision, TakeSlots
from stepwell.model.questions import GetWaits
from stepwell.testing import harness
from stepwell.testing.node import _noting


@pytest.fixture
def app():
    return Stepwell("shop")


def fail_once(t, chosen):
    """Let the first commit for which ``chosen`` is true fail, as a full disk does."""
    door = t.engine.store
    commit, failed = door.commit, []

    def failing(work):
        if failed or not chosen(work):
            return commit(work)
        failed.append(work)
        future = asyncio.get_running_loop().create_future()
        future.set_exception(StorageUnavailable("the disk is full"))
        return future

    door.commit = failing
    return failed


def test_a_result_is_saved_although_the_disk_failed_for_a_moment(app):
    bodies: list[int] = []

    @app.create_function(id="bill", trigger="go")
    async def bill(ctx: Context) -> int:
        async def charge() -> int:
            bodies.append(1)
            return len(bodies)

        return await ctx.step.run("charge", charge)

    with harness(app) as t:
        failed = fail_once(t, lambda work: isinstance(work, Decision))
        t.send("go")
        t.advance("10s")

        t.assert_completed(t.run(bill), 1)
        assert (len(failed), len(bodies)) == (1, 1)


def unsure_once(t, chosen):
    """Let the first commit for which ``chosen`` is true take effect, and be reported as failed."""
    door = t.engine.store
    commit, failed = door.commit, []

    def unsure(work):
        future = commit(work)
        if failed or not chosen(work):
            return future
        failed.append(work)
        late = asyncio.get_running_loop().create_future()
        late.set_exception(StorageUnavailable("the disk failed, and nobody knows when"))
        return late

    door.commit = unsure
    return failed


@pytest.mark.parametrize("number", range(1, 6))
def test_an_invoke_whose_saving_was_unsure_starts_one_run(app, number):
    @app.create_function(id="child")
    async def child(ctx: Context) -> str:
        return "done"

    @app.create_function(id="parent", trigger="go")
    async def parent(ctx: Context) -> str:
        async def busy() -> None:
            await asyncio.wait([asyncio.ensure_future(asyncio.Event().wait())], timeout=60)

        _, answer = await asyncio.gather(ctx.step.run("busy", busy), ctx.step.invoke("ask", child))
        return answer

    seen: list[object] = []
    with harness(app) as t:
        unsure_once(t, lambda work: seen.append(work) or len(seen) == number)
        with contextlib.suppress(StorageUnavailable):
            t.send("go")
        t.advance("1h")

        t.assert_completed(t.run(parent), "done")
        assert len(t.runs(child)) == 1


@pytest.mark.parametrize("turns", range(12))
def test_a_function_that_ends_while_a_branch_is_being_saved_leaves_no_wait_behind(app, turns):
    @app.create_function(id="hasty", trigger="go")
    async def hasty(ctx: Context) -> None:
        branch = asyncio.ensure_future(ctx.step.wait_for_event("answer", "answered", timeout="1d"))
        for _ in range(turns):
            await asyncio.sleep(0)
        branch.cancel()

    with harness(app) as t:
        t.send("go")

        t.assert_completed(t.run(hasty))
        assert t.ask(GetWaits(t.run(hasty).id)) == []


def test_a_child_that_ends_in_the_claim_that_takes_its_parent_wakes_it(app):
    """K07: what is settled by the decision that leases a run came after its steps were read."""

    @app.create_function(id="child", timeouts=Timeouts(finish="1h"))
    async def child(ctx: Context) -> None:
        await ctx.step.sleep("long", "2h")

    @app.create_function(id="parent", trigger="go")
    async def parent(ctx: Context) -> str:
        async def ask() -> str:
            try:
                await ctx.step.invoke("ask", child)
            except StepError as error:
                return error.name
            return ""

        _, answer = await asyncio.gather(ctx.step.sleep("rest", "30m"), ask())
        return answer

    with harness(app) as t:
        t.send("go")
        t.crash(down="1d")
        t.run_until_idle()

        t.assert_completed(t.run(parent), "InvokeCancelled")


async def take(seconds: float) -> None:
    """Work outside of steps that takes time."""
    done = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, done.set)
    await done.wait()


def test_a_step_that_is_due_is_reached_although_the_code_awaits_something_else_before_it(app):
    """The call ended, as all that was seen of it rested; the next one was due at once and came no further, for ever."""
    tried: list[int] = []

    @app.create_function(id="slow", trigger="go")
    async def slow(ctx: Context) -> int:
        async def flaky() -> int:
            tried.append(ctx.attempt)
            if ctx.attempt == 0:
                raise RuntimeError("not yet")
            return ctx.attempt

        async def detour() -> int:
            await take(5)
            return await ctx.step.run("flaky", flaky)

        _waited, _, found = await asyncio.gather(
            ctx.step.wait_for_event("never", "never", timeout="1h"),
            ctx.step.run("busy", take, 10),
            detour(),
        )
        return found

    with harness(app, retry_interval="20s") as t:
        t.send("go")
        t.run_until_idle()
        t.advance("1m")

        assert tried == [0, 1]
        t.advance("1h")
        t.assert_completed(t.run(slow), 1)


def test_a_step_that_is_due_and_no_longer_there_costs_a_call_now_and_then(app):
    """Code changes while runs are under way; what it does not ask for any more must not be asked for without pause."""
    calls: list[int] = []
    gone: list[int] = []

    @app.create_function(id="changed", trigger="go")
    async def changed(ctx: Context) -> None:
        calls.append(1)

        async def fail() -> None:
            gone.append(1)
            raise RuntimeError("no")

        branches = [ctx.step.wait_for_event("never", "never", timeout="1h")]
        if not gone:
            branches.append(ctx.step.run("gone", fail))
        await asyncio.gather(*branches)

    with harness(app, retry_interval="20s") as t:
        t.send("go")
        t.run_until_idle()
        t.advance("30m")

        assert len(calls) < 100
        t.advance("31m")
        t.assert_completed(t.run(changed))


def test_a_branch_that_got_its_slot_without_hearing_of_it_uses_it_and_gives_it_back(app):
    """Two slots are held, and when the call ends two others may go."""
    pool = Concurrency(2, key="'pool'", scope="env")

    @app.create_function(id="wide", trigger="wide", concurrency=pool)
    async def wide(ctx):
        await asyncio.gather(*(ctx.step.run(name, asyncio.sleep, 60) for name in ("left", "right")))

    @app.create_function(id="other", trigger="other", concurrency=pool)
    async def other(ctx):
        await ctx.step.run("long", asyncio.sleep, 3600)

    with harness(app) as t:
        commit, unheard = t.engine.store.commit, []

        async def lose_the_answer(future, made):
            verdict = await future
            branch = made and any(type(change) is TakeSlots and "/" in change.holder for change in made[-1].changes)
            if branch and not unheard:
                unheard.append(made[-1])
                raise StorageUnavailable("nobody knows what became of it")
            return verdict

        def unsure(work):
            made = []
            return asyncio.ensure_future(
                lose_the_answer(commit(work if isinstance(work, Decision) else _noting(work, made)), made)
            )

        t.engine.store.commit = unsure
        t.send("wide")
        t.advance("10s")
        t.send("other")
        t.send("other")
        t.advance("70s")

        assert unheard
        assert t.run(wide).status == "COMPLETED"
        assert (t.run(wide).ended_at - t.run(wide).started_at).total_seconds() < 70
        assert [run.status for run in t.runs(other)] == ["RUNNING", "RUNNING"]


def test_what_is_due_now_does_not_wait_for_a_timer_that_a_clock_set_forward_has_made_late(app):
    """As after a computer slept: the timer of the event loop goes on from where it was."""

    @app.create_function(id="sleeper", trigger="sleep")
    async def sleeper(ctx):
        await ctx.step.sleep("rest", "30m")

    @app.create_function(id="limited", trigger="go", concurrency=1)
    async def limited(ctx): ...

    with harness(app) as t:
        t.send("sleep")
        t._clock.jump(3_600_000)
        t.send("go")

        assert t.run(limited).status == "COMPLETED"
        assert t.run(sleeper).status == "COMPLETED"
