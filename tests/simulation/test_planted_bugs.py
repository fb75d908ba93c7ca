"""Bugs planted on purpose: a simulation that does not find them proves nothing."""

from __future__ import annotations

from typing import Final

import pytest

from stepwell.testing.world import play
from tests.simulation.mutants import MUTANTS

SEEDS_MAX = 600
FOUND_BY: Final = {
    "a drain lets in what comes from outside": 7,
    "a drain lets in what is started again": 7,
    "what is archived is started": 7,
    "what a replay starts is still called skipped": 7,
    "a rerun does what it has taken over": 19,
    "throttles let everybody through": 23,
    "rate limits let everybody through": 13,
    "nobody calls those who wait their turn": 23,
    "a debounce keeps the oldest": 32,
    "nobody lets go what waited for its function to be resumed": 22,
    "runs of a paused function go on": 42,
    "a poke is lost when the run rests": 253,
    "a claim forgets what it has settled itself": 118,
    "an invoke that was unsure is done again": 10,
    "a call believes it knows what it has cut off": 204,
    "an order to cancel many stops at those that have begun": 7,
}
"""The first seed whose world shows the bug, where that is not one of the first few: it is played first, which is all
that this saves. When worlds change and it shows nothing any more, the others are."""


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_worlds_find(name, monkeypatch):
    MUTANTS[name](monkeypatch)
    first = FOUND_BY.get(name, 0)
    seeds = (*range(first, SEEDS_MAX), *range(first))

    assert any(play(seed).violations for seed in seeds), f"nobody noticed in {SEEDS_MAX} seeds that {name}"


def test_only_bugs_that_there_are_have_a_seed():
    assert set(FOUND_BY) <= set(MUTANTS)
