"""What a body has logged is there while it runs on, once, and stays whatever becomes of it (ADR 0053)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from stepwell import Context, NonRetriableError, Stepwell
from stepwell.errors import StorageUnavailable
from stepwell.limits import LOG_BYTES_MAX, LOG_LINE_BYTES_MAX, LOG_LINES_MAX
from stepwell.model.log import Logged, all_lines, decode
from stepwell.model.questions import GetLogs
from stepwell.testing import harness
from stepwell.testing.sweep import crash_sweep


def reports(t: Any, function: Any = None) -> list[Logged]:
    found: list[Logged] = t.ask(GetLogs(t.run(function).id))
    return found


def kept(t: Any, function: Any = None) -> list[str]:
    """The lines of the one run, in their order."""
    return [each.line.text for each in all_lines(reports(t, function))]


async def parts(ctx: Context, count: int, pause: float, name: str = "part") -> int:
    for number in range(count):
        ctx.logger.info("%s %d", name, number)
        await asyncio.sleep(pause)
    return count


def test_lines_of_a_body_that_runs_on_are_there_before_its_result_and_once_with_it(app: Stepwell) -> None:
    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx: Context) -> None:
        ctx.logger.info("begins")
        await ctx.step.run("charge", parts, ctx, 5, 0.7)
        ctx.logger.info("ends")

    with harness(app) as t:
        t.send("paid")
        assert kept(t) == []
        t.advance("1s")
        early = ["begins", "part 0", "part 1"]
        assert kept(t) == early
        t.advance("2s")
        assert kept(t) == [*early, "part 2", "part 3"]
        t.advance("1s")

        assert t.run(bill).status == "COMPLETED"
        assert kept(t) == [*early, "part 2", "part 3", "part 4", "ends"]


def test_they_say_which_step_and_attempt_they_belong_to_before_the_step_has_a_row(app: Stepwell) -> None:
    @app.create_function(id="bill", trigger="paid", retries=1)
    async def bill(ctx: Context) -> None:
        async def charge() -> None:
            await parts(ctx, 2, 1.0, f"try {ctx.attempt}")
            if ctx.attempt == 0:
                raise ValueError("no")
            await asyncio.sleep(3600)

        await ctx.step.run("charge", charge)

    with harness(app, retry_interval="1s") as t:
        t.send("paid")
        t.advance("1s")
        (first,) = reports(t)
        assert (first.name, first.attempt, list(t.run(bill).steps)) == ("charge", 0, [])
        t.advance("10s")

        lines = all_lines(reports(t))
        assert [(each.step_id, each.attempt, each.line.text) for each in lines] == [
            (first.step_id, 0, "try 0 0"),
            (first.step_id, 0, "try 0 1"),
            (first.step_id, 1, "try 1 0"),
            (first.step_id, 1, "try 1 1"),
        ]


def test_a_body_that_is_over_soon_is_one_report_with_its_result(app: Stepwell) -> None:
    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx: Context) -> None:
        for number in range(4):
            await ctx.step.run(f"charge {number}", parts, ctx, 3, 0.3)

    with harness(app) as t:
        t.send("paid")
        t.advance("1h")

        assert t.run(bill).status == "COMPLETED"
        assert [len(decode(each.lines)) for each in reports(t)] == [3, 3, 3, 3]


def test_what_runs_side_by_side_is_written_together_and_told_apart(app: Stepwell) -> None:
    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx: Context) -> None:
        await asyncio.gather(*(ctx.step.run(f"charge {n}", parts, ctx, 3, 0.9, f"charge {n}:") for n in range(3)))

    with harness(app) as t:
        t.send("paid")
        t.advance("1s")
        assert [(each.name, each.position) for each in reports(t)] == [(f"charge {n}", n + 1) for n in range(3)]
        t.advance("1h")

        assert kept(t) == [f"charge {n}: {part}" for part in range(3) for n in range(3)]


def test_the_functions_own_code_is_heard_too_while_it_runs_on(app: Stepwell) -> None:
    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx: Context) -> None:
        await parts(ctx, 3, 0.9)
        await ctx.step.run("work", str)
        ctx.logger.info("ends")

    with harness(app) as t:
        t.send("paid")
        t.advance("1s")
        assert kept(t) == ["part 0", "part 1"]
        t.advance("1h")

        assert kept(t) == ["part 0", "part 1", "part 2", "ends"]
        assert {each.step_id for each in all_lines(reports(t))} == {""}


def test_a_process_that_dies_leaves_what_its_body_had_said_and_the_next_one_adds_its_own(app: Stepwell) -> None:
    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx: Context) -> None:
        await ctx.step.run("charge", parts, ctx, 3, 0.6)

    with harness(app) as t:
        t.send("paid")
        t.advance("1.5s")
        t.crash()
        assert kept(t) == ["part 0", "part 1"]
        t.advance("10m")

        assert t.run(bill).status == "COMPLETED"
        assert kept(t) == ["part 0", "part 1", "part 0", "part 1", "part 2"]
        assert len({each.token for each in reports(t)}) == 2


def test_a_run_that_is_cancelled_keeps_what_was_said_until_then(app: Stepwell) -> None:
    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx: Context) -> None:
        await ctx.step.run("charge", parts, ctx, 100, 0.4)

    with harness(app) as t:
        t.send("paid")
        t.advance("1s")
        before = kept(t)
        assert before == ["part 0", "part 1", "part 2"]
        t.cancel(t.run(bill))
        t.advance("1h")

        assert t.run(bill).status == "CANCELLED"
        assert kept(t) == before


def test_a_body_that_fails_for_good_or_is_cut_off_by_a_race_repeats_nothing(app: Stepwell) -> None:
    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx: Context) -> None:
        async def fails() -> None:
            await parts(ctx, 2, 0.7, "fails")
            raise NonRetriableError("no")

        async def slow() -> None:
            await parts(ctx, 100, 0.3, "slow")

        async def first() -> None:
            await ctx.step.run("fails", fails)

        async def second() -> None:
            await ctx.step.run("slow", slow)

        await ctx.group.race([first, second])

    with harness(app) as t:
        t.send("paid")
        t.advance("1h")

        assert t.run(bill).status == "FAILED"
        assert kept(t) == ["fails 0", "slow 0", "slow 1", "slow 2", "fails 1", "slow 3"]


@pytest.mark.parametrize(("text", "count"), [("x", LOG_LINES_MAX), ("x" * LOG_LINE_BYTES_MAX, LOG_BYTES_MAX // 4200)])
def test_the_limits_of_an_attempt_are_those_of_all_that_it_says(app: Stepwell, text: str, count: int) -> None:
    said = LOG_LINES_MAX + 40

    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx: Context) -> None:
        async def talk() -> None:
            for _ in range(said):
                ctx.logger.info(text)
                await asyncio.sleep(0.05)
            await asyncio.sleep(60)

        await ctx.step.run("talk", talk)

    with harness(app) as t:
        t.send("paid")
        t.advance("50s")
        while_it_runs = len(reports(t))
        t.advance("1h")

        assert len(kept(t)) == count
        assert sum(each.dropped for each in reports(t)) == said - count
        # Those beyond are counted, by the report of the last that are kept and at the end: they make none of their own.
        assert len(reports(t)) == while_it_runs + 1


def test_the_limit_of_a_run_holds_for_what_is_said_on_the_way(app: Stepwell, monkeypatch: pytest.MonkeyPatch) -> None:
    most = 1000
    monkeypatch.setattr("stepwell.engine.lines.LOG_PER_RUN_BYTES_MAX", most)

    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx: Context) -> None:
        await ctx.step.sleep("nap", "1s")  # the call after it has to ask how much is kept
        await asyncio.gather(*(ctx.step.run(f"talk {n}", parts, ctx, 10, 0.5, "x" * 40) for n in range(3)))

    with harness(app) as t:
        t.send("paid")
        t.advance("1h")

        found = reports(t)
        assert most / 2 < sum(len(each.lines) for each in found if each.lines != b"[]") <= most
        assert len(kept(t)) + sum(each.dropped for each in found) == 30


@pytest.mark.parametrize("fate", ["written", "not written", "late"])
def test_what_the_store_takes_long_for_or_does_not_answer_is_written_once(app: Stepwell, fate: str) -> None:
    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx: Context) -> None:
        await ctx.step.run("charge", parts, ctx, 2, 0.6)

    with harness(app) as t:
        t.send("paid")
        store = t.engine.store
        commit = store.commit
        told: list[list[str]] = []

        def unsure(work: Any) -> asyncio.Future[Any]:
            changes = getattr(work, "changes", ())
            told.append([type(each).__name__ for each in changes])
            if told[-1] != ["SaveLogs"]:
                return commit(work)
            store.commit = commit  # type: ignore[method-assign]
            answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            error = StorageUnavailable("the disk fails", "who knows")
            if fate == "written":
                commit(work).add_done_callback(lambda _: answer.set_exception(error))
            elif fate == "late":  # after all that the run has to write
                write = lambda: commit(work).add_done_callback(lambda done: answer.set_result(done.result()))  # noqa: E731
                answer.get_loop().call_later(10, write)
            else:
                answer.set_exception(error)
            return answer

        store.commit = unsure  # type: ignore[method-assign]
        t.advance("1h")

        assert told[-1] == ["SaveLogs"]
        assert t.run(bill).status == "COMPLETED"
        assert kept(t) == ["part 0", "part 1"]


def test_wherever_a_process_dies_each_of_its_calls_has_said_what_it_said_once_and_without_a_gap(app: Stepwell) -> None:
    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx: Context) -> None:
        ctx.logger.info("begins")
        first = ctx.step.run("one", parts, ctx, 3, 0.8, "one")
        second = ctx.step.run("two", parts, ctx, 4, 0.5, "two")
        await asyncio.gather(first, second)
        ctx.logger.info("ends")

    def scenario(t: Any) -> None:
        t.send("paid")
        t.advance("30m")
        assert t.run(bill).status == "COMPLETED"
        lines: dict[tuple[int, str], list[str]] = {}
        for each in reports(t):
            for line in decode(each.lines):
                lines.setdefault((each.token, line.text.split()[0]), []).append(line.text)
        whole = {"begins": 1, "one": 3, "two": 4, "ends": 1}
        for (_, what), texts in lines.items():
            assert texts == ([what] if whole[what] == 1 else [f"{what} {n}" for n in range(len(texts))])
        assert all(max(len(texts) for (_, of), texts in lines.items() if of == what) == n for what, n in whole.items())

    report = crash_sweep(app, scenario)

    assert report.points > 8
