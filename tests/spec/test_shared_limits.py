"""Limits that functions share, each with its own number: who waits, waits because there is no room for it (semantics
§7.3; F65, I11, ADR 0032)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from stepwell import Concurrency, Event, RunConcurrency, Stepwell
from stepwell.testing import Harness, harness
from tests.spec.looking import holders, totals

START = datetime(2026, 1, 1, tzinfo=UTC)


def work(app: Stepwell, id: str, **limits: Any) -> Any:
    """A function whose only step takes as many minutes as its event says, after a rest if it says so."""

    @app.create_function(id=id, trigger=id, **limits)
    async def work(ctx):
        if rest := ctx.event.data.get("rest"):
            await ctx.step.sleep("rest", rest)
        await ctx.step.run("work", asyncio.sleep, 60 * ctx.event.data["minutes"])

    return work


def send(t: Harness, name: str, minutes: int, **data: Any) -> str:
    """Send one event; the id of its run."""
    t.send(Event(name, {"minutes": minutes, **data}))
    return max(run.id for run in t.runs())


def began(t: Harness, run_id: str) -> float | None:
    """When a run began, in minutes from the start."""
    started_at = t.run(id=run_id).started_at
    return (started_at - START).total_seconds() / 60 if started_at else None


def env(limit: int, key: str = "'printer'") -> Concurrency:
    return Concurrency(limit, key=key, scope="env")


def account(limit: int) -> Concurrency:
    return Concurrency(limit, key="'all'", scope="account")


@pytest.mark.parametrize("scope", ["env", "account"])
@pytest.mark.parametrize("limits", [("concurrency", Concurrency), ("run_concurrency", RunConcurrency)])
def test_who_has_room_by_its_own_limit_goes_past_those_who_have_none(app, limits: Any, scope: str) -> None:
    keyword, kind = limits
    for id, limit in (("narrow", 1), ("wide", 2)):
        work(app, id, **{keyword: kind(limit, key="'printer'", scope=scope)})

    with harness(app) as t:
        send(t, "wide", 1)
        send(t, "wide", 2)
        narrow = [send(t, "narrow", 1) for _ in range(3)]
        wide = [send(t, "wide", 3) for _ in range(2)]
        t.advance("1h")

        assert [began(t, run) for run in wide] == [1, 2]
        assert [began(t, run) for run in narrow] == [5, 6, 7]
        assert totals(t).items == 0


def test_those_for_whom_there_is_room_go_in_the_order_in_which_they_came(app) -> None:
    work(app, "one", concurrency=env(1))
    work(app, "two", concurrency=env(1))

    with harness(app) as t:
        runs = [send(t, name, 1) for name in ("one", "two", "two", "one", "two", "one")]
        t.advance("1h")

        assert [began(t, run) for run in runs] == [0, 1, 2, 3, 4, 5]


def test_room_that_the_first_cannot_take_goes_to_the_next(app) -> None:
    """It was let in under the one limit, and another of its own has filled up meanwhile."""
    work(app, "both", concurrency=[env(1, "event.data.k"), account(1)])
    work(app, "other", concurrency=env(1, "event.data.k"))

    with harness(app) as t:
        send(t, "both", 1, k="x")
        first, second = (send(t, "both", 1, k=key) for key in "ab")
        send(t, "other", 10, k="a")
        t.advance("1h")

        assert (began(t, second), began(t, first)) == (1, 10)


def test_a_place_that_the_first_cannot_take_goes_to_the_next(app) -> None:
    work(app, "both", concurrency=Concurrency(1, key="event.data.k"), run_concurrency=2)

    with harness(app) as t:
        send(t, "both", 10, k="a", rest="10s")
        send(t, "both", 1, k="b")
        first, second = (send(t, "both", 1, k=key) for key in "ac")
        t.advance("1h")

        assert began(t, second) == 1
        assert began(t, first) == pytest.approx(10, abs=0.2)
        assert holders(t, "run/fn/shop-both") == []


def test_functions_with_room_where_the_other_has_none_do_not_call_each_other_for_ever(app) -> None:
    work(app, "one", concurrency=[env(1), account(3)])
    work(app, "two", concurrency=[env(3), account(2)])

    with harness(app) as t:
        for minutes in (1, 2):
            send(t, "two", minutes)
        one, two = send(t, "one", 1), send(t, "two", 2)
        t.advance("30s")

        assert (began(t, one), began(t, two)) == (None, None)

        t.advance("1h")

        assert (began(t, two), began(t, one)) == (1, 3)
