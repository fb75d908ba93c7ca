"""What holds for ``async def`` functions holds for plain ``def`` ones (semantics §5, design §2.2)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stepwell import Cancel, Context, Event, NonRetriableError, RetryAfterError, RunFailed, StepError, Sync
from stepwell.testing import harness

START = datetime(2026, 1, 1, tzinfo=UTC)  # when a harness begins

Plain = Context[dict[str, Any], Sync]


def test_each_body_runs_once_and_the_code_between_runs_once_per_call(app) -> None:
    story: list[str] = []

    @app.create_function(id="bill", trigger="ordered")
    def bill(ctx: Plain):
        story.append("call")
        price = ctx.step.run("price", lambda: story.append("price") or 42)
        ctx.step.sleep("rest", "1h")
        return price + ctx.step.run("tax", lambda: 8)

    with harness(app) as t:
        t.send("ordered", {})
        t.assert_waiting(t.run(bill), "rest")
        t.crash()
        t.advance("1h")

        t.assert_completed(t.run(bill), 50)
        assert story == ["call", "price", "call"]


def test_repeated_ids_are_told_apart_by_their_turn(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    def bill(ctx: Plain):
        found = [ctx.step.run("line", lambda n=n: n) for n in range(3)]
        ctx.step.sleep("rest", "1h")
        return found

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1h")

        t.assert_completed(t.run(bill), [0, 1, 2])


def test_rests_waits_sends_and_invokes_give_what_they_give_elsewhere(app) -> None:
    @app.create_function(id="child")
    def child(ctx: Plain):
        return ctx.event.data["n"]

    @app.create_function(id="bill", trigger="ordered")
    def bill(ctx: Plain):
        ctx.step.sleep_until("until", START + timedelta(minutes=1))
        event = ctx.step.wait_for_event("wait", "approved", match="data.n", timeout="1h")
        none = ctx.step.wait_for_event("never", "never", timeout="1m")
        ids = ctx.step.send_event("tell", Event("told", {}))
        return [event and event.data, none, len(ids), ctx.step.invoke("ask", child, data={"n": 7})]

    with harness(app) as t:
        t.send("ordered", {"n": 1})
        t.advance("1m")
        t.send("approved", {"n": 2})
        t.send("approved", {"n": 1})
        t.advance("1h")

        t.assert_completed(t.run(bill), [{"n": 1}, None, 1, 7])


def test_a_step_is_tried_again_and_its_error_can_be_caught(app) -> None:
    attempts: list[int] = []

    @app.create_function(id="bill", trigger="ordered", retries=2)
    def bill(ctx: Plain):
        def charge() -> None:
            attempts.append(ctx.attempt)
            raise LookupError("no card")

        try:
            ctx.step.run("charge", charge)
        except StepError as error:
            return [error.name, error.message]

    with harness(app, retry_interval="1m") as t:
        t.send("ordered", {})
        t.advance("1h")

        t.assert_completed(t.run(bill), ["LookupError", "no card"])
        assert attempts == [0, 1, 2]


def test_the_code_between_steps_has_its_own_attempts(app) -> None:
    attempts: list[int] = []

    @app.create_function(id="bill", trigger="ordered", retries=2)
    def bill(ctx: Plain):
        ctx.step.run("price", lambda: 1)
        attempts.append(ctx.attempt)
        raise ValueError("never")

    with harness(app, retry_interval="1m") as t:
        t.send("ordered", {})
        t.advance("1h")

        t.assert_failed(t.run(bill), "never")
        assert attempts == [0, 1, 2]


def test_errors_steer_the_retries(app) -> None:
    moments: list[datetime] = []

    @app.create_function(id="bill", trigger="ordered")
    def bill(ctx: Plain):
        def charge() -> None:
            moments.append(t.now)
            raise RetryAfterError("busy", "10m") if ctx.attempt == 0 else NonRetriableError("never")

        ctx.step.run("charge", charge)

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1h")

        t.assert_failed(t.run(bill), "NonRetriableError: never")
        assert moments == [START, START + timedelta(minutes=10)]


def test_except_exception_swallows_nothing_of_ours(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    def bill(ctx: Plain):
        try:
            ctx.step.sleep("rest", "1h")
        except Exception:
            return "swallowed"
        return "rested"

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1h")

        t.assert_completed(t.run(bill), "rested")


def test_a_cancel_while_it_rests_ends_it(app) -> None:
    story: list[str] = []

    @app.create_function(id="bill", trigger="ordered", cancel=Cancel("closed"))
    def bill(ctx: Plain):
        ctx.step.sleep("rest", "1h")
        ctx.step.run("after", lambda: story.append("after"))

    with harness(app) as t:
        t.send("ordered", {})
        t.send("closed", {})
        t.advance("2h")

        t.assert_cancelled(t.run(bill))
        assert story == []


def test_a_plain_handler_is_called_once_when_a_plain_function_has_failed(app) -> None:
    seen: list[str] = []

    def apologise(ctx: Context[RunFailed, Sync]) -> None:
        ctx.step.run("mail", lambda: seen.append(ctx.event.data.error.message))

    @app.create_function(id="bill", trigger="ordered", retries=0, on_failure=apologise)
    def bill(ctx: Plain):
        raise ValueError("no card")

    with harness(app) as t:
        t.send("ordered", {})

        t.assert_failed(t.run(bill), "no card")
        assert seen == ["no card"]


def test_branches_that_rest_and_branches_that_work_give_their_results_in_order(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    def bill(ctx: Plain):
        return list(
            ctx.group.parallel(
                [
                    lambda: ctx.step.sleep("rest", "1h"),
                    lambda: ctx.step.run("price", lambda: 1),
                    lambda: ctx.step.wait_for_event("wait", "never", timeout="1h"),
                ]
            )
        )

    with harness(app) as t:
        t.send("ordered", {})
        t.crash()
        t.advance("1h")

        t.assert_completed(t.run(bill), [None, 1, None])
        assert t.run(bill).ended_at == START + timedelta(hours=1)


@pytest.mark.parametrize("output", [None, 7, {"a": [1]}], ids=repr)
def test_what_it_returns_is_the_output_of_the_run(app, output: object) -> None:
    @app.create_function(id="bill", trigger="ordered")
    def bill(ctx: Plain):
        return output

    with harness(app) as t:
        t.send("ordered", {})

        t.assert_completed(t.run(bill), output)


@pytest.mark.parametrize("error", [StopIteration("stop"), SystemExit(3), KeyError("who")], ids=repr)
def test_whatever_its_code_raises_is_an_attempt_that_failed(app, error: BaseException) -> None:
    """I27."""

    @app.create_function(id="bill", trigger="ordered", retries=1)
    def bill(ctx: Plain):
        if ctx.attempt == 0:
            raise error
        return "billed"

    with harness(app, retry_interval="1m") as t:
        t.send("ordered", {})
        t.advance("1h")

        t.assert_completed(t.run(bill), "billed")
        assert len(t.run(bill).errors) == 1


@pytest.mark.parametrize("error", [StopIteration("stop"), SystemExit(3), KeyError("who")], ids=repr)
def test_whatever_a_body_raises_is_an_attempt_that_failed(app, error: BaseException) -> None:
    """I27."""

    @app.create_function(id="bill", trigger="ordered", retries=1)
    def bill(ctx: Plain):
        def charge() -> str:
            if ctx.attempt == 0:
                raise error
            return "charged"

        return ctx.step.run("charge", charge)

    with harness(app, retry_interval="1m") as t:
        t.send("ordered", {})
        t.advance("1h")

        t.assert_completed(t.run(bill), "charged")
        assert t.run(bill).steps["charge"].attempts == 2
