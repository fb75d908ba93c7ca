"""Plain functions: the same steps in the other colour (design.md §2.2)."""

import threading
from typing import Any

import pytest

from stepwell import Concurrency, Context, Event, NonRetriableError, StepError, Stepwell, Sync
from stepwell.testing import harness

Ctx = Context[dict[str, Any], Sync]


def test_a_plain_function_uses_every_kind_of_step():
    app = Stepwell("sync")

    @app.create_function(id="child", trigger=None)
    def child(ctx: Ctx) -> int:
        return int(ctx.event.data["n"]) * 2

    @app.create_function(id="work", trigger="sync/go")
    def work(ctx: Ctx) -> list[Any]:
        first = ctx.step.run("add", lambda a, b: a + b, 1, b=2)
        ctx.step.sleep("rest", "1d")
        ctx.step.send_event("tell", Event("sync/told", {"n": first}))
        told = ctx.step.wait_for_event("hear", "sync/heard", timeout="1h")
        nobody = ctx.step.wait_for_event("silence", "sync/never", timeout="1h")
        doubled = ctx.step.invoke("double", child, data={"n": first})
        return [first, told.data["n"] if told else None, nobody, doubled]

    with harness(app) as t:
        t.send("sync/go")
        t.advance("1d")
        t.send("sync/heard", {"n": 7})
        t.advance("1h")

        assert t.run(work).output == [3, 7, None, 6]


def test_each_body_runs_once_and_in_the_thread_of_the_function():
    app = Stepwell("sync")
    bodies: list[tuple[str, int]] = []

    @app.create_function(id="work", trigger="sync/go")
    def work(ctx: Ctx) -> bool:
        here = threading.get_ident()
        for name in ("one", "two"):
            ctx.step.run(name, lambda name=name: bodies.append((name, threading.get_ident())))
        return all(thread == here for _, thread in bodies)

    with harness(app) as t:
        t.send("sync/go")
        t.run_until_idle()

        assert [name for name, _ in bodies] == ["one", "two"]
        assert t.run(work).output is True


def test_an_async_body_may_be_a_step_of_a_plain_function():
    app = Stepwell("sync")

    @app.create_function(id="work", trigger="sync/go")
    def work(ctx: Ctx) -> str:
        async def body() -> str:
            return "async"

        return ctx.step.run("body", body)

    with harness(app) as t:
        t.send("sync/go")
        t.run_until_idle()

        assert t.run(work).output == "async"


def test_a_failing_step_is_retried_and_then_raised_where_it_stands():
    app = Stepwell("sync")
    tries: list[int] = []

    @app.create_function(id="work", trigger="sync/go", retries=2)
    def work(ctx: Ctx) -> str:
        def body() -> None:
            tries.append(ctx.attempt)
            raise ValueError("no")

        try:
            ctx.step.run("body", body)
        except StepError as error:
            name = error.name
            return ctx.step.run("undo", lambda: f"undone after {name}")
        return "never"

    with harness(app, retry_interval="1s") as t:
        t.send("sync/go")
        t.advance("5s")

        assert t.run(work).output == "undone after ValueError"
        assert tries == [0, 1, 2]


def test_the_function_itself_is_retried_and_may_refuse_to_be():
    app = Stepwell("sync")
    calls: list[int] = []

    @app.create_function(id="work", trigger="sync/go", retries=3)
    def work(ctx: Ctx) -> None:
        calls.append(ctx.attempt)
        if len(calls) == 2:
            raise NonRetriableError("enough")
        raise ValueError("again")

    with harness(app, retry_interval="1s") as t:
        t.send("sync/go")
        t.advance("10s")

        assert t.run(work).status == "FAILED"
        assert calls == [0, 1]


def test_branches_run_at_the_same_time_in_threads_of_their_own():
    app = Stepwell("sync")
    both = threading.Barrier(2, timeout=10)

    @app.create_function(id="work", trigger="sync/go")
    def work(ctx: Ctx) -> tuple[int, ...]:
        def branch(n: int) -> int:
            ctx.step.run(f"meet-{n}", lambda: both.wait() and None)
            return ctx.step.run(f"then-{n}", lambda: n)

        return ctx.group.parallel([lambda: branch(0), lambda: branch(1)])

    with harness(app) as t:
        t.send("sync/go")
        t.run_until_idle()

        assert t.run(work).output == [0, 1]


def test_branches_that_sleep_hold_no_thread_and_go_on_after_one_another():
    app = Stepwell("sync")
    bodies: list[str] = []

    @app.create_function(id="work", trigger="sync/go")
    def work(ctx: Ctx) -> tuple[str, ...]:
        def branch(days: int) -> str:
            ctx.step.sleep(f"rest-{days}", f"{days}d")
            ctx.step.run(f"note-{days}", lambda: bodies.append(f"{days}d"))
            return f"{days}d"

        return ctx.group.parallel([lambda: branch(2), lambda: branch(1), lambda: branch(3)])

    with harness(app) as t:
        t.send("sync/go")
        t.run_until_idle()
        assert not [thread for thread in threading.enumerate() if thread.name == "stepwell-branch"]
        t.advance("3d")

        assert t.run(work).output == ["2d", "1d", "3d"]
        assert bodies == ["1d", "2d", "3d"]


def test_a_branch_that_fails_is_raised_after_the_others_have_ended():
    app = Stepwell("sync")
    ended: list[str] = []

    @app.create_function(id="work", trigger="sync/go", retries=0)
    def work(ctx: Ctx) -> str:
        def bad() -> None:
            ctx.step.run("bad", lambda: 1 / 0)

        def good() -> None:
            ctx.step.run("good", lambda: ended.append("good"))

        try:
            ctx.group.parallel([bad, good])
        except StepError as error:
            return error.name
        return "never"

    with harness(app) as t:
        t.send("sync/go")
        t.run_until_idle()

        assert t.run(work).output == "ZeroDivisionError"
        assert ended == ["good"]


def test_a_race_ends_with_the_first_and_ends_the_same_way_on_replay():
    app = Stepwell("sync")

    @app.create_function(id="work", trigger="sync/go")
    def work(ctx: Ctx) -> list[str]:
        def slow() -> str:
            ctx.step.sleep("long", "2d")
            return "slow"

        def quick() -> str:
            ctx.step.sleep("short", "1d")
            return "quick"

        winner = ctx.group.race([slow, quick])
        ctx.step.sleep("later", "5d")
        return [winner, ctx.step.run("after", lambda: winner)]

    with harness(app) as t:
        t.send("sync/go")
        t.advance("10d")

        assert t.run(work).output == ["quick", "quick"]


def test_clean_up_code_runs_when_a_call_ends_and_no_step_is_begun_in_it():
    app = Stepwell("sync")
    seen: list[str] = []

    @app.create_function(id="work", trigger="sync/go")
    def work(ctx: Ctx) -> None:
        try:
            ctx.step.sleep("rest", "1h")
        except Exception:
            seen.append("swallowed")
            raise
        finally:
            seen.append("finally")

    with harness(app) as t:
        t.send("sync/go")
        t.run_until_idle()

        assert seen == ["finally"]
        assert t.run(work).status == "RUNNING"


def test_a_step_inside_the_body_of_a_step_is_refused():
    app = Stepwell("sync")

    @app.create_function(id="work", trigger="sync/go", retries=0)
    def work(ctx: Ctx) -> None:
        ctx.step.run("outer", lambda: ctx.step.run("inner", lambda: 1))

    with harness(app) as t:
        t.send("sync/go")
        t.run_until_idle()

        assert t.run(work).status == "FAILED"
        assert "inner" in str(t.run(work).error)


def test_a_limit_of_one_is_kept_by_branches_in_threads():
    app = Stepwell("sync")
    running: list[int] = [0]
    most: list[int] = [0]

    @app.create_function(id="work", trigger="sync/go", concurrency=Concurrency(1))
    def work(ctx: Ctx) -> None:
        def body() -> None:
            running[0] += 1
            most[0] = max(most[0], running[0])
            running[0] -= 1

        ctx.group.parallel([lambda n=n: ctx.step.run(f"s{n}", body) for n in range(5)])

    with harness(app) as t:
        t.send("sync/go")
        t.send("sync/go")
        t.run_until_idle()

        assert [run.status for run in t.runs(work)] == ["COMPLETED", "COMPLETED"]
        assert most == [1]


@pytest.mark.slow
async def test_more_functions_than_threads_all_come_to_their_end(tmp_path: Any):
    import asyncio

    app = Stepwell("sync")
    done: list[int] = []
    all_done = asyncio.Event()
    loop = asyncio.get_running_loop()

    @app.create_function(id="work", trigger="sync/go")
    def work(ctx: Ctx) -> None:
        ctx.group.parallel([lambda n=n: ctx.step.run(f"s{n}", lambda: n) for n in range(2)])
        done.append(1)
        if len(done) == 150:
            loop.call_soon_threadsafe(all_done.set)

    async with app.embedded(tmp_path / "many.db"):
        await app.send([Event("sync/go", {}) for _ in range(150)])
        async with asyncio.timeout(30):
            await all_done.wait()
