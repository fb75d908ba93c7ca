"""Imagined worlds: whatever goes wrong, and in whatever order, the invariants hold (``stepwell.testing.world``)."""

from __future__ import annotations

import pytest

from stepwell.testing.world import play

SEEDS = 60  # scripts/simulate plays more of them


@pytest.mark.parametrize("seed", range(SEEDS))
def test_the_invariants_hold_in_the_world_of_seed(seed):
    report = play(seed)

    assert report.violations == (), "\n".join(report.story[-40:])


def test_the_same_seed_gives_the_same_world():
    for seed in (3, 19):
        first, second = play(seed), play(seed)

        assert first.story == second.story
        assert first.digest == second.digest


def test_another_seed_gives_another_world():
    assert len({play(seed).digest for seed in range(4)}) == 4
