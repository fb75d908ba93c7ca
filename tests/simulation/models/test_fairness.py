"""Fairness beside its model (semantics §7.11; F77): a die that is thrown for each free place among those that wait."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwell import Event, Stepwell
from stepwell.testing import harness

EACH = 30
"""How many runs each function would have begun if places were dealt out evenly."""


@pytest.mark.slow
@settings(max_examples=settings().max_examples // 5)
@given(functions=st.integers(2, 5), places=st.integers(1, 6), seed=st.integers(0, 1_000), crash=st.booleans())
def test_functions_that_all_have_a_backlog_are_served_alike(
    functions: int, places: int, seed: int, crash: bool
) -> None:
    app, served = Stepwell("shop"), Counter[str]()
    for number in range(functions):

        @app.create_function(id=f"f{number}", trigger=f"f{number}")
        async def work(ctx, id=f"f{number}"):
            served[id] += 1
            await asyncio.sleep(60)

    rounds = functions * EACH // places
    with harness(app, concurrency=places, seed=seed) as t:
        # The first has so much to do that the others would not come up for hours, if that counted.
        t.send([Event("f0")] * 500)
        t.send([Event(f"f{number}") for _ in range(2 * EACH) for number in range(1, functions)])
        for turn in range(rounds):
            if crash and turn == rounds // 2:
                t.crash()
            t.advance(timedelta(minutes=1))

        assert len(served) == functions
        assert max(served.values()) <= 2 * min(served.values()) + 2 * places


@pytest.mark.slow
@settings(max_examples=settings().max_examples // 5)
@given(places=st.integers(2, 6), seed=st.integers(0, 1_000), deep=st.integers(10, 300))
def test_a_single_run_does_not_wait_for_the_backlog_of_another(places: int, seed: int, deep: int) -> None:
    app = Stepwell("shop")

    @app.create_function(id="many", trigger="many")
    async def many(ctx):
        await asyncio.sleep(2)

    @app.create_function(id="one", trigger="one")
    async def one(ctx): ...

    with harness(app, concurrency=places, seed=seed) as t:
        t.send([Event("many")] * deep)
        t.send("one")
        t.advance("2s")

        t.assert_completed(t.run(one))
