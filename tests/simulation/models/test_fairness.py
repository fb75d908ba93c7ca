"""Fairness beside its model (semantics §7.11; F77): a die that is thrown for each free place among those that wait."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from math import ceil, sqrt

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from stepwell import Event, Stepwell
from stepwell.testing import harness
from tests.simulation.mutants import MUTANTS_OF_RULES

EACH = 30
"""How many runs each function would have begun if places were dealt out evenly."""
STRAY = 4.5
"""How many standard deviations they may be off: chance alone is so seldom."""

QUICKLY = settings(
    max_examples=settings().max_examples // 5,
    phases=[phase for phase in settings().phases if phase is not Phase.shrink],  # the numbers are small as they are
)


@pytest.mark.sqlite(
    "holds within a shard: shards have room in turn, so a function that is at many has more of it than one at a few"
)
@pytest.mark.slow
@QUICKLY
@given(functions=st.integers(2, 5), places=st.integers(1, 6), seed=st.integers(0, 1_000), crash=st.booleans())
def test_functions_that_all_have_a_backlog_are_served_alike(
    functions: int, places: int, seed: int, crash: bool
) -> None:
    serve_all(functions, places, seed, crash)


def serve_all(functions: int, places: int, seed: int, crash: bool) -> None:
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

        # Places are dealt out by chance: for one place that is a die with a side for each function.
        spread = STRAY * sqrt(EACH * (1 - 1 / functions))
        assert all(EACH - spread < served[f"f{number}"] < EACH + spread + places for number in range(functions)), served


@pytest.mark.slow
@QUICKLY
@given(places=st.integers(2, 6), seed=st.integers(0, 1_000), deep=st.integers(50, 300))
def test_a_single_run_does_not_wait_for_the_backlog_of_another(places: int, seed: int, deep: int) -> None:
    serve_one(places, seed, deep)


def serve_one(places: int, seed: int, deep: int) -> None:
    app = Stepwell("shop")

    @app.create_function(id="many", trigger="many")
    async def many(ctx):
        await asyncio.sleep(2)

    @app.create_function(id="one", trigger="one")
    async def one(ctx): ...

    with harness(app, concurrency=places, seed=seed) as t:
        shards = t.engine.store.shards
        # Shards have room in turn, each a place: it waits for what is under way, and for a turn of all others.
        turns = 1 if shards == 1 else 1 + ceil(shards / places)
        assert turns < deep / places, "or it would have gone in line, too"
        t.send([Event("many")] * deep)
        t.send("one")
        t.advance(timedelta(seconds=2 * turns))

        t.assert_completed(t.run(one))


@pytest.mark.parametrize("serve", [lambda: serve_all(3, 2, 1, False), lambda: serve_one(4, 1, 300)], ids=["all", "one"])
def test_it_is_found_that_one_function_has_all_the_room(serve: Callable[[], None], monkeypatch) -> None:
    MUTANTS_OF_RULES["one function has all the room"](monkeypatch)

    with pytest.raises(AssertionError):
        serve()
