"""What code logs is kept with the run (semantics §11.1, F105, ADR 0050)."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from stepwell import Context, LogHandler, Stepwell, Sync
from stepwell.limits import LOG_BYTES_MAX, LOG_LINE_BYTES_MAX, LOG_LINES_MAX, LOG_PER_RUN_BYTES_MAX
from stepwell.model.log import all_lines
from stepwell.model.questions import GetLogs
from stepwell.testing import harness

Said = tuple[str, int | None, str, str]


@pytest.fixture
def library() -> Iterator[logging.Logger]:
    """A logger of other code, whose lines are kept."""
    logger, handler = logging.getLogger("tests.library"), LogHandler()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield logger
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


def kept(t: Any, function: Any) -> list[Said]:
    """The lines of its run: step, attempt at it, level and text."""
    run = t.run(function)
    names = {step.record.id: name for name, step in run.steps.items()}
    return [
        (
            names.get(each.step_id, ""),
            each.attempt if each.step_id else None,
            logging.getLevelName(each.line.level),
            each.line.text,
        )
        for each in all_lines(t.ask(GetLogs(run.id)))
    ]


def dropped(t: Any, function: Any) -> int:
    return sum(each.dropped for each in t.ask(GetLogs(t.run(function).id)))


def test_lines_are_kept_once_with_the_step_and_attempt_that_said_them(app: Stepwell, library: logging.Logger) -> None:
    @app.create_function(id="bill", trigger="paid", retries=1)
    async def bill(ctx: Context) -> None:
        ctx.logger.info("begins")

        async def charge() -> None:
            library.info("calls the bank")
            ctx.logger.warning("%s is slow", "the bank")
            if ctx.attempt == 0:
                raise ValueError("no")

        await ctx.step.run("charge", charge)
        ctx.logger.info("sleeps")
        await ctx.step.sleep("nap", "1h")
        library.info("ends")

    with harness(app) as t:
        t.send("paid")
        t.advance("2h")

        assert t.run(bill).status == "COMPLETED"
        assert kept(t, bill) == [
            ("", None, "INFO", "begins"),
            ("charge", 0, "INFO", "calls the bank"),
            ("charge", 0, "WARNING", "the bank is slow"),
            ("charge", 1, "INFO", "calls the bank"),
            ("charge", 1, "WARNING", "the bank is slow"),
            ("", None, "INFO", "sleeps"),
            ("", None, "INFO", "ends"),
        ]


def test_plain_functions_and_bodies_in_threads_are_heard_too(app: Stepwell, library: logging.Logger) -> None:
    @app.create_function(id="bill", trigger="paid")
    def bill(ctx: Context[Any, Sync]) -> None:
        library.info("begins")
        ctx.step.run("charge", lambda: library.info("charges"))
        library.info("ends")

    @app.create_function(id="ship", trigger="paid")
    async def ship(ctx: Context) -> None:
        def pack() -> None:
            library.info("packs")

        await ctx.step.run("pack", pack)

    with harness(app) as t:
        t.send("paid")

        assert kept(t, bill) == [
            ("", None, "INFO", "begins"),
            ("charge", 0, "INFO", "charges"),
            ("", None, "INFO", "ends"),
        ]
        assert kept(t, ship) == [("pack", 0, "INFO", "packs")]


def test_each_attempt_at_the_functions_own_code_keeps_its_lines_and_their_errors(app: Stepwell) -> None:
    @app.create_function(id="bill", trigger="paid", retries=1)
    async def bill(ctx: Context) -> None:
        try:
            raise ValueError("no bank")
        except ValueError:
            ctx.logger.exception("attempt %d failed", ctx.attempt)
            raise

    with harness(app) as t:
        t.send("paid")
        t.advance("1h")

        assert t.run(bill).status == "FAILED"
        first, second = kept(t, bill)
        assert first[:3] == second[:3] == ("", None, "ERROR")
        assert first[3].startswith("attempt 0 failed\nTraceback") and first[3].endswith("ValueError: no bank")
        assert second[3].startswith("attempt 1 failed\n")


def test_what_a_branch_says_before_it_rests_is_kept_whether_a_step_takes_it_along_or_not(app: Stepwell) -> None:
    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx: Context) -> None:
        async def works() -> None:
            await ctx.step.run("work", str)
            ctx.logger.info("worked")
            await ctx.step.wait_for_event("approval", "approved", timeout="2h")

        async def naps() -> None:
            await ctx.step.sleep("nap", "1h")

        await ctx.group.parallel((naps, works))

    @app.create_function(id="ship", trigger="paid")
    async def ship(ctx: Context) -> None:
        nap = asyncio.ensure_future(ctx.step.sleep("nap", "1h"))
        await ctx.step.run("work", str)
        ctx.logger.info("worked")
        await nap

    with harness(app) as t:
        t.send("paid")

        assert t.run(bill).status == t.run(ship).status == "RUNNING"
        assert kept(t, bill) == kept(t, ship) == [("", None, "INFO", "worked")]


def test_the_logger_of_a_run_is_kept_from_info_on_and_what_is_below_as_the_app_shows_it(app: Stepwell) -> None:
    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx: Context) -> None:
        app.logger.setLevel(logging.WARNING)
        ctx.logger.debug("not kept")
        ctx.logger.info("kept, and not shown")
        app.logger.setLevel(logging.DEBUG)
        ctx.logger.debug("kept")
        app.logger.setLevel(logging.NOTSET)

    with harness(app) as t:
        t.send("paid")

        assert [text for *_, text in kept(t, bill)] == ["kept, and not shown", "kept"]


def test_a_line_is_written_to_the_apps_log_as_well_from_where_it_was_said_and_kept_once(app: Stepwell) -> None:
    shown, keeper, out = logging.StreamHandler(out := io.StringIO()), LogHandler(), out
    shown.setFormatter(logging.Formatter("%(funcName)s %(run_id)s %(message)s"))
    app.logger.setLevel(logging.INFO)
    app.logger.addHandler(shown)
    app.logger.addHandler(keeper)

    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx: Context) -> None:
        ctx.logger.info("begins")
        ctx.logger.log(logging.INFO, "%s of %s", "one", "two")

    try:
        with harness(app) as t:
            t.send("paid")
            run_id = t.run(bill).id

            assert out.getvalue() == f"bill {run_id} begins\nbill {run_id} one of two\n"
            assert [text for *_, text in kept(t, bill)] == ["begins", "one of two"]
    finally:
        app.logger.removeHandler(shown)
        app.logger.removeHandler(keeper)
        app.logger.setLevel(logging.NOTSET)


def test_a_message_that_cannot_be_formatted_fails_nothing(app: Stepwell) -> None:
    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx: Context) -> None:
        ctx.logger.info("%d of them", "many")
        ctx.logger.info("\ud800 and \x00")

    with harness(app) as t:
        t.send("paid")

        assert t.run(bill).status == "COMPLETED"
        assert [text for *_, text in kept(t, bill)] == ["'%d of them' cannot be formatted with ('many',)", "? and \x00"]


def test_a_handlers_level_filters_and_format_decide_what_is_kept_and_how(app: Stepwell) -> None:
    logger, handler = logging.getLogger("tests.secrets"), LogHandler(logging.WARNING)
    handler.setFormatter(logging.Formatter("%(levelname)s|%(message)s"))
    handler.addFilter(lambda record: "secret" not in record.getMessage())
    logger.addHandler(handler)

    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx: Context) -> None:
        logger.warning("a secret")
        logger.warning("a word")
        logger.info("too little")

    try:
        with harness(app) as t:
            t.send("paid")
            logger.warning("outside of runs")

            assert [text for *_, text in kept(t, bill)] == ["WARNING|a word"]
    finally:
        logger.removeHandler(handler)


def test_the_first_lines_of_an_attempt_are_kept_and_the_rest_is_counted(app: Stepwell) -> None:
    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx: Context) -> None:
        def many() -> None:
            for number in range(LOG_LINES_MAX + 7):
                ctx.logger.info("line %d", number)

        await ctx.step.run("many", many)

    @app.create_function(id="ship", trigger="paid")
    async def ship(ctx: Context) -> None:
        def large() -> None:
            ctx.logger.info("é" * LOG_LINE_BYTES_MAX)
            for _ in range(LOG_BYTES_MAX // LOG_LINE_BYTES_MAX):
                ctx.logger.info("x" * LOG_LINE_BYTES_MAX)
            ctx.logger.info("small, but what is kept has no gaps")

        await ctx.step.run("large", large)

    with harness(app) as t:
        t.send("paid")

        lines = kept(t, bill)
        assert [lines[0][3], lines[-1][3], len(lines)] == ["line 0", f"line {LOG_LINES_MAX - 1}", LOG_LINES_MAX]
        assert dropped(t, bill) == 7
        lines = kept(t, ship)
        assert lines[0][3] == "é" * (LOG_LINE_BYTES_MAX // 2) + f"… ({LOG_LINE_BYTES_MAX:,} more bytes)"
        assert len(lines) + dropped(t, ship) == LOG_BYTES_MAX // LOG_LINE_BYTES_MAX + 2
        assert sum(len(text.encode()) for *_, text in lines) <= LOG_BYTES_MAX


@pytest.mark.parametrize("pause", [False, True], ids=["one call", "many calls"])
def test_a_run_keeps_a_mebibyte_and_tells_how_many_lines_there_were_besides(app: Stepwell, pause: bool) -> None:
    per_step, steps = 15, 25

    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx: Context) -> None:
        def large() -> None:
            for _ in range(per_step):
                ctx.logger.info("x" * LOG_LINE_BYTES_MAX)

        for number in range(steps):
            await ctx.step.run(f"large {number}", large)
            if pause:
                await ctx.step.sleep(f"nap {number}", "1s")

    with harness(app) as t:
        t.send("paid")
        t.advance("1h")

        assert t.run(bill).status == "COMPLETED"
        size = sum(len(each.lines) for each in t.ask(GetLogs(t.run(bill).id)))
        assert LOG_PER_RUN_BYTES_MAX - LOG_BYTES_MAX < size <= LOG_PER_RUN_BYTES_MAX
        assert len(kept(t, bill)) + dropped(t, bill) == per_step * steps


def test_what_is_said_before_and_after_a_request_of_the_same_millisecond_is_all_kept(app: Stepwell) -> None:
    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx: Context) -> None:
        for number in range(3):
            ctx.logger.info("asks for page %d", number)
            await ctx.step.fetch(f"page {number}", "https://example.com/")
        ctx.logger.info("has them")

    with harness(app) as t:
        t.answer_fetch("https://example.com/", body="hello")
        t.send("paid")

        said = [text for *_, text in kept(t, bill)]
        assert said == ["asks for page 0", "asks for page 1", "asks for page 2", "has them"]


def test_branches_that_log_at_the_same_moment_share_what_a_run_may_keep(
    app: Stepwell, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = 400
    monkeypatch.setattr("stepwell.engine.lines.LOG_PER_RUN_BYTES_MAX", most)

    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx: Context) -> None:
        async def work() -> None:
            ctx.logger.info("x" * 80)

        await ctx.step.sleep("rest", "1m")  # the call after it has to ask how much is kept
        await asyncio.gather(*(ctx.step.run(f"work {number}", work) for number in range(8)))

    with harness(app) as t:
        t.send("paid")
        t.advance("1m")

        assert t.run(bill).status == "COMPLETED"
        assert 0 < sum(len(each.lines) for each in t.ask(GetLogs(t.run(bill).id)) if each.lines != b"[]") <= most
        assert (len(kept(t, bill)) + dropped(t, bill), dropped(t, bill) > 0) == (8, True)


def test_a_run_that_logs_nothing_has_nothing_written(app: Stepwell) -> None:
    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx: Context) -> None:
        await ctx.step.run("work", str)

    with harness(app) as t:
        t.send("paid")

        assert t.ask(GetLogs(t.run(bill).id)) == []
