"""Where events go whose id says nothing of it: many that come within a moment to one place, then to another."""

from __future__ import annotations

from collections import Counter

from stepwell.ids import RandomIds
from stepwell.model.place import PLACES
from stepwell.runtime.nearby import NEARBY_MAX, NEARBY_MS, Nearby

NOW = 1_767_225_600_000
SHARDS = 16


def test_what_comes_within_a_moment_goes_to_one_place() -> None:
    nearby = Nearby(RandomIds(1))

    assert len({nearby.place(NOW + ms) for ms in range(NEARBY_MS)}) == 1


def test_after_a_moment_it_is_another() -> None:
    nearby = Nearby(RandomIds(1))
    first = nearby.place(NOW)

    assert nearby.place(NOW + NEARBY_MS - 1) == first
    assert nearby.place(NOW + NEARBY_MS) != first


def test_what_comes_rarely_has_a_place_of_its_own_each() -> None:
    nearby = Nearby(RandomIds(1))

    assert len({nearby.place(NOW + index * NEARBY_MS) % SHARDS for index in range(SHARDS)}) == SHARDS


def test_no_more_than_so_many_go_to_one_place_however_fast_they_come() -> None:
    nearby = Nearby(RandomIds(1))
    found = Counter(nearby.place(NOW) for _ in range(SHARDS * NEARBY_MAX))

    assert set(found.values()) == {NEARBY_MAX}
    assert len({place % SHARDS for place in found}) == SHARDS


def test_the_events_of_a_request_count_each_and_stay_together() -> None:
    nearby = Nearby(RandomIds(1), 10)
    places = [nearby.place(NOW, events) for events in (4, 4, 4, 4)]

    assert places[0] == places[1] == places[2] != places[3]


def test_in_the_long_run_each_place_has_as_many() -> None:
    nearby = Nearby(RandomIds(1), 1)
    found = Counter(nearby.place(NOW) for _ in range(3 * PLACES))

    assert set(found.values()) == {3} and set(found) == set(range(PLACES))


def test_processes_begin_at_different_places() -> None:
    assert len({Nearby(RandomIds(seed)).place(NOW) for seed in range(20)}) > 10


def test_a_clock_that_is_set_back_does_not_keep_a_place_for_hours() -> None:
    nearby = Nearby(RandomIds(1))
    first = nearby.place(NOW)

    assert nearby.place(NOW - 3_600_000) != first
