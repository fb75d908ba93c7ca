"""What the tests of replays share: functions that fail for some events."""

from __future__ import annotations

import pytest

from stepwell import (
    RateLimit,
    Stepwell,
)
from stepwell.testing import Harness


@pytest.fixture
def broken() -> set[int]:
    """The numbers for which the function fails."""
    return {1, 3, 4}


@pytest.fixture
def shop(app: Stepwell, broken: set[int]) -> Stepwell:
    @app.create_function(id="bill", trigger="go", retries=0, idempotency="event.data.n", rate_limit=RateLimit(20, "1h"))
    async def bill(ctx):
        if ctx.event.data["n"] in broken:
            raise ValueError("declined")
        return ctx.event.data["n"]

    @app.create_function(id="other", trigger="go", retries=0)
    async def other(ctx):
        raise ValueError("no")

    return app


def sent(t: Harness, *numbers: int) -> None:
    for n in numbers:
        t.send("go", {"n": n})


def numbers(t: Harness, function: str = "bill") -> dict[int, list[str]]:
    """By the number of the event, the states of the runs, the first one first."""
    found: dict[int, list[str]] = {}
    for run in t.runs(function):
        found.setdefault(run.event["data"]["n"], []).append(run.status)
    return found
