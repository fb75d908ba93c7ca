"""``priority=``: who goes first among the runs of a function that wait (semantics §7.8; F68)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from stepwell import ConfigurationError, Event, InvalidExpression, Priority, Stepwell, Throttle
from stepwell.testing import harness


def work(app: Stepwell, priority: Any, began: list[Any], **more: Any) -> Any:
    more = more or {"concurrency": 1}

    @app.create_function(id="work", trigger="go", priority=priority, **more)
    async def work(ctx):
        began.append(ctx.event.data.get("n"))
        await ctx.step.run("a", asyncio.sleep, 60)

    return work


def test_a_run_goes_as_if_it_had_been_queued_so_many_seconds_earlier(app) -> None:
    began: list[Any] = []
    work(app, Priority("event.data.p"), began)

    with harness(app) as t:
        t.send("go", {"n": "first", "p": 0})
        for n, p in enumerate([0, 0, 2, 100, -100, 1]):
            t.advance("1s")
            t.send("go", {"n": n, "p": p})
        t.advance("1h")

        # Queued at 1 to 6 s, moved by p: 3 -> -96, 2 -> 1, 0 -> 1, 1 -> 2, 5 -> 5, 4 -> 105.
        assert began == ["first", 3, 0, 2, 1, 5, 4]


def test_it_orders_the_turns_of_a_throttle(app) -> None:
    began: list[Any] = []
    work(app, Priority("event.data.n"), began, throttle=Throttle(1, "1m", burst=0))

    with harness(app) as t:
        t.send("go", {"n": 0})
        t.send([Event("go", {"n": n}) for n in (1, 5, 3)])
        t.advance("1h")

        assert began == [0, 5, 3, 1]


@pytest.mark.parametrize("value", ["'high'", "1.5", "true", "event.data.missing", "event.data.n / 0", "null"])
def test_what_is_no_whole_number_counts_as_nothing(app, value: str) -> None:
    began: list[Any] = []
    work(app, Priority(value), began)

    with harness(app) as t:
        t.send([Event("go", {"n": n}) for n in range(3)])
        t.advance("1h")

        assert began == [0, 1, 2]


def test_it_is_cut_off_at_twelve_hours(app) -> None:
    began: list[Any] = []
    work(app, Priority("event.data.p"), began)

    with harness(app) as t:
        t.send([Event("go", {"n": 0, "p": 0}), Event("go", {"n": 1, "p": 43_200}), Event("go", {"n": 2, "p": 10**9})])
        t.advance("1h")

        assert began[:2] == [1, 2]


def test_without_others_that_wait_it_changes_nothing(app) -> None:
    began: list[Any] = []
    work(app, Priority("-43200"), began)

    with harness(app) as t:
        t.send("go", {"n": 1})

        assert began == [1]


def test_it_brings_no_run_forward_that_is_to_start_later(app) -> None:
    began: list[Any] = []
    work(app, Priority("43200"), began)

    with harness(app) as t:
        t.send("go", {"n": 1}, ts=datetime(2026, 1, 1, 1, tzinfo=UTC))
        t.advance("59m")
        assert began == []
        t.advance("1m")
        assert began == [1]


def test_an_expression_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(InvalidExpression):
        Priority("event.data.")
    with pytest.raises(ConfigurationError, match="run of priority is 5"):
        Priority(5)  # type: ignore[arg-type]
