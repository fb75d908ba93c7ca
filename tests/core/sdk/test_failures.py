"""An exception as it is remembered: name, message, the user's part of the stack, and what it says of retries."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stepwell.errors import (
    ConfigurationError,
    InvalidEvent,
    InvalidOutput,
    NonRetriableError,
    NotRunning,
    RetryAfterError,
    StepError,
)
from stepwell.sdk.failures import MESSAGE_BYTES_MAX, STACK_BYTES_MAX, verdict, wire_error

NOW = 1_700_000_000_000


class Unshowable(Exception):
    def __str__(self) -> str:
        raise RuntimeError


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


@pytest.mark.parametrize(
    "error",
    [
        NonRetriableError("no"),
        StepError("no"),
        ConfigurationError("no"),
        InvalidEvent("no"),
        InvalidOutput("no"),
        ExceptionGroup("both", [NonRetriableError("no"), StepError("no")]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_no_attempt_can_repair_is_final(error: BaseException) -> None:
    assert verdict(error, NOW) == (True, None)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no"),
        NotRunning("no"),
        asyncio.CancelledError(),
        ExceptionGroup("both", [NonRetriableError("no"), ValueError("no")]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_everything_else_is_tried_again(error: BaseException) -> None:
    assert verdict(error, NOW) == (False, None)


@pytest.mark.parametrize(
    "after, moment",
    [
        ("30s", NOW + 30_000),
        (timedelta(minutes=1), NOW + 60_000),
        (1_500, NOW + 1_500),
        (datetime(2030, 1, 1, tzinfo=UTC), 1_893_456_000_000),
        (datetime(2030, 1, 1), 1_893_456_000_000),  # noqa: DTZ001
    ],
)
def test_an_error_may_name_the_moment_of_the_next_attempt(after: Any, moment: int) -> None:
    assert verdict(RetryAfterError("later", after), NOW) == (False, moment)


def test_of_several_moments_in_a_group_the_last_counts() -> None:
    group = ExceptionGroup("both", [RetryAfterError("a", "1m"), RetryAfterError("b", "2m"), ValueError("c")])

    assert verdict(group, NOW) == (False, NOW + 120_000)


def test_the_stack_holds_the_frames_of_the_user_and_none_of_ours_or_of_asyncio() -> None:
    async def body() -> None:
        async with asyncio.timeout(10):
            await asyncio.wait_for(failing(), 10)

    async def failing() -> None:
        raise KeyError("k") from raised(ValueError("cause"))

    with pytest.raises(KeyError) as caught:
        asyncio.run(body())
    stack = wire_error(caught.value).stack or ""

    assert "in body" in stack
    assert "in failing" in stack
    assert "ValueError: cause" in stack
    assert "asyncio/" not in stack
    assert "stepwell/sdk" not in stack


def test_a_group_with_one_member_is_that_member() -> None:
    error = wire_error(raised(ExceptionGroup("unhandled", [ExceptionGroup("again", [ValueError("the one")])])))

    assert (error.name, error.message) == ("ValueError", "the one")


def test_the_error_of_a_step_that_nobody_caught_stays_the_error_of_the_step() -> None:
    error = wire_error(raised(StepError("declined", name="CardError", stack="its own stack")))

    assert (error.name, error.message, error.stack, error.code) == (
        "CardError",
        "declined",
        "its own stack",
        "step_errored",
    )


def test_an_error_that_cannot_be_shown_is_named() -> None:
    error = wire_error(raised(Unshowable()))

    assert (error.name, error.message) == ("Unshowable", "<Unshowable that cannot be shown>")


def test_a_message_without_end_is_cut_and_leaves_room_for_the_frames() -> None:
    error = wire_error(raised(ValueError("é" * 50_000)))

    assert len(error.message.encode()) <= MESSAGE_BYTES_MAX
    assert error.stack is not None
    assert len(error.stack.encode()) <= STACK_BYTES_MAX
    assert "in raised" in error.stack


def test_a_message_that_is_not_unicode_can_be_stored_all_the_same() -> None:
    error = wire_error(raised(ValueError("half a pair: \ud800")))

    assert error.message == "half a pair: ?"
    assert b"half a pair: ?" in error.json()
