"""Bugs planted on purpose: a simulation that does not find them proves nothing."""

from __future__ import annotations

import pytest

from stepwell.testing.world import play
from tests.simulation.mutants import MUTANTS

SEEDS_MAX = 600


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_worlds_find(name, monkeypatch):
    MUTANTS[name](monkeypatch)

    assert any(play(seed).violations for seed in range(SEEDS_MAX)), f"nobody noticed in {SEEDS_MAX} seeds that {name}"
