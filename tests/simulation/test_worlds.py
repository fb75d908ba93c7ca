"""Imagined worlds: whatever goes wrong, and in whatever order, the invariants hold (``stepwell.testing.world``)."""

from __future__ import annotations

import pytest

from stepwell.engine import bulk, releasing
from stepwell.testing.world import play

SEEDS = 20  # scripts/simulate plays more of them


@pytest.mark.parametrize("seed", range(SEEDS))
def test_the_invariants_hold_in_the_world_of_seed(seed):
    report = play(seed)

    assert report.violations == (), "\n".join(report.story[-40:])


@pytest.mark.parametrize("seed", range(SEEDS))
def test_they_hold_in_a_store_with_several_shards_whose_decisions_overlap(seed: int):
    report = play(seed, shards=4 if seed % 2 else 16)

    assert report.violations == (), "\n".join(report.story[-40:])


def test_in_some_of_them_events_come_together_and_in_most_they_do_not():
    reached = [play(seed, shards=4).reached for seed in range(16)]

    assert 0 < sum("events together" in each for each in reached) < 8


def test_what_is_due_in_one_shard_may_put_runs_aside_in_another():
    """A clock starts a run elsewhere while there is no room: the claim that did it says so of all shards."""
    report = play(20619, shards=4)

    assert report.violations == (), "\n".join(report.story[-40:])


@pytest.mark.parametrize("seed", [20080, 20149, 20599])
def test_decisions_of_many_shards_that_overtake_each_other_end_well(seed: int) -> None:
    """Operators who are not answered ask again and again, of a disk that is slow all the time; and a run takes the
    place of one that began later than the decision to replace it."""
    report = play(seed, shards=16)

    assert report.violations == (), "\n".join(report.story[-40:])


@pytest.mark.parametrize("seed", [1796, 2403, 2524, 4275])
def test_queues_are_left_alone_by_every_process_that_has_heard_of_it(seed: int) -> None:
    """Two queues are told to wait until one moment, and processes that have been deposed go on for a while."""
    report = play(seed)

    assert report.violations == (), "\n".join(report.story[-40:])


@pytest.mark.parametrize("seed", [5556, 5741, 5782, 5961, 6094])
def test_what_is_decided_late_or_together_or_by_two_processes_is_right_and_ends(seed: int) -> None:
    """A pause and an event decided much later than they came, an archived clock, two replays at one moment, and two
    processes that have been deposed and see each other write."""
    report = play(seed)

    assert report.violations == (), "\n".join(report.story[-40:])


@pytest.mark.parametrize("seed", [22, 36, 62, 113, 129])
def test_they_hold_if_a_backlog_goes_one_by_one(seed: int, monkeypatch: pytest.MonkeyPatch):
    """As it does with a thousand times as many runs. In these worlds one waited for itself, once."""
    monkeypatch.setattr(releasing, "ITEMS_PER_DECISION_MAX", 1)
    monkeypatch.setattr(bulk, "RUNS_PER_DECISION_MAX", 2)

    report = play(seed)

    assert report.violations == (), "\n".join(report.story[-40:])


def test_the_same_seed_gives_the_same_world():
    for seed in (3, 19):
        first, second = play(seed), play(seed)

        assert first.story == second.story
        assert first.digest == second.digest


def test_another_seed_gives_another_world():
    assert len({play(seed).digest for seed in range(4)}) == 4
