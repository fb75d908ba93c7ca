"""What a function is given besides its steps (semantics §5.12, design §2.7; F52)."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

import pytest

from stepwell import UnknownName
from stepwell.testing import harness

START = datetime(2026, 1, 1, tzinfo=UTC)  # when a harness begins


def test_the_event_the_run_and_the_number_of_attempts_are_known(app) -> None:
    @app.create_function(id="bill", trigger="ordered", retries=2)
    async def bill(ctx):
        event = ctx.event
        return [event.name, event.id, event.ts, event.data, len(ctx.events), ctx.run_id, ctx.attempt, ctx.max_attempts]

    with harness(app) as t:
        (id,) = t.send("ordered", {"n": 1})

        now = int(START.timestamp() * 1000)
        t.assert_completed(t.run(bill), ["ordered", id, now, {"n": 1}, 1, t.run(bill).id, 0, 3])


def test_the_attempt_is_that_of_the_step_inside_its_body_and_of_the_code_outside(app) -> None:
    seen: list[tuple[str, int]] = []

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        seen.append(("code", ctx.attempt))
        if ctx.attempt == 0 and len(seen) == 1:
            raise ValueError("first call")

        def charge() -> None:
            seen.append(("body", ctx.attempt))
            if ctx.attempt == 0:
                raise ValueError("first try")

        await ctx.step.run("charge", charge)
        seen.append(("after", ctx.attempt))

    with harness(app, retry_interval="1m") as t:
        t.send("ordered", {})
        t.advance("1h")

        t.assert_completed(t.run(bill))
        assert seen == [("code", 0), ("code", 1), ("body", 0), ("code", 0), ("body", 1), ("after", 0)]


def test_after_a_result_the_attempt_counts_from_zero_again(app) -> None:
    """K38."""
    seen: list[int] = []

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        if ctx.attempt == 0 and not seen:
            seen.append(ctx.attempt)
            raise ValueError("first call")
        seen.append(ctx.attempt)
        await ctx.step.run("charge", lambda: None)
        seen.append(ctx.attempt)

    with harness(app, retry_interval="1m") as t:
        t.send("ordered", {})
        t.advance("1h")

        t.assert_completed(t.run(bill))
        assert seen == [0, 1, 0]


def test_the_logger_says_each_thing_once_and_whose_it_is(app, caplog: pytest.LogCaptureFixture) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        ctx.logger.info("began")
        await ctx.step.run("charge", lambda: ctx.logger.info("charging"))
        ctx.logger.info("charged")
        await ctx.step.sleep("rest", "1h")
        ctx.logger.info("rested", extra={"mine": 1})

    with harness(app) as t, caplog.at_level(logging.INFO, "stepwell.shop"):
        t.send("ordered", {})
        t.crash()
        t.advance("1h")

        records = [record for record in caplog.records if record.name == "stepwell.shop"]
        assert [record.getMessage() for record in records] == ["began", "charging", "charged", "rested"]
        assert {(record.run_id, record.function_id) for record in records} == {(t.run(bill).id, "shop-bill")}  # type: ignore[attr-defined]
        assert records[-1].mine == 1  # type: ignore[attr-defined]


def test_time_chance_and_ids_are_the_same_on_every_replay(app) -> None:
    seen: list[list[object]] = []

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        found: list[object] = [ctx.now(), ctx.random.random(), ctx.uuid4()]
        seen.append(found)
        await ctx.step.sleep("rest", "1h")
        found += [ctx.now(), ctx.random.random(), ctx.uuid4()]
        await ctx.step.sleep("again", "1h")
        found.append(ctx.now())

    with harness(app) as t:
        t.send("ordered", {})
        t.crash()
        t.advance("2h")

        assert all(earlier == seen[-1][: len(earlier)] for earlier in seen)
        assert len(seen) == 3
        moments = [moment for moment in seen[-1] if isinstance(moment, datetime)]
        assert moments == [START, START + timedelta(hours=1), START + timedelta(hours=2)]


def test_two_runs_draw_different_chances(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        return [ctx.random.random(), str(ctx.uuid4())]

    with harness(app) as t:
        t.send("ordered", {})
        t.send("ordered", {})

        first, second = (run.output for run in t.runs(bill))
        assert first[0] != second[0]
        assert first[1] != second[1]


def test_chance_inside_a_body_takes_nothing_from_the_code_around_it(app) -> None:
    seen: list[float] = []

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        await ctx.step.run("draw", lambda: ctx.random.random())
        seen.append(ctx.random.random())
        await ctx.step.sleep("rest", "1h")

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1h")

        assert seen[0] == seen[1]


def test_the_idempotency_key_is_the_same_in_all_attempts_and_differs_between_steps_and_runs(app) -> None:
    keys: list[str] = []

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        def charge() -> None:
            keys.append(ctx.step.idempotency_key)
            if ctx.attempt == 0:
                raise ValueError("not yet")

        await ctx.step.run("charge", charge)
        await ctx.step.run("charge", charge)

    with harness(app, retry_interval="1m") as t:
        t.send("ordered", {})
        t.advance("1h")
        t.send("ordered", {})
        t.advance("1h")

        assert [keys.count(key) for key in keys] == [2] * 8
        assert len(set(keys)) == 4


def test_outside_of_a_body_there_is_no_idempotency_key_and_it_says_where_to_read_it(app) -> None:
    @app.create_function(id="bill", trigger="ordered", retries=0)
    async def bill(ctx):
        return ctx.step.idempotency_key

    with harness(app) as t:
        t.send("ordered", {})

        t.assert_failed(t.run(bill), "read ctx.step.idempotency_key inside the function you give to ctx.step.run")


@pytest.mark.parametrize(
    ("name", "meant"), [("runId", "run_id"), ("data", "event.data"), ("log", "logger"), ("sleep", "step.sleep")]
)
def test_a_member_that_does_not_exist_says_which_one_was_meant(app, name: str, meant: str) -> None:
    said: list[str] = []

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        try:
            getattr(ctx, name)
        except UnknownName as error:
            said.append(error.fix)

    with harness(app) as t:
        t.send("ordered", {})

        assert said == [f"write {meant}"]
