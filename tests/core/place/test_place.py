"""The place in an id: whoever has the id knows the shard, for every number of shards and for ever."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.ids import RandomIds, is_ulid, ulid, ulid_ms
from stepwell.model.item import Item
from stepwell.model.place import PLACES, place_for, place_of, place_of_holder, place_of_item, shard_of

moments = st.integers(0, (1 << 48) - 1)
places = st.integers(0, PLACES - 1)
entropies = st.integers(0, (1 << 80) - 1)
sizes = st.integers(0, 10).map(lambda bits: 1 << bits)
ids = st.builds(ulid, moments, entropies)


@given(moments, places, st.integers(0, 1 << 32))
def test_an_id_is_made_at_the_place_that_was_asked_for(ms: int, place: int, seed: int):
    made = RandomIds(seed).ulid(ms, place)

    assert is_ulid(made)
    assert place_of(made) == place
    assert ulid_ms(made) == ms


@given(moments.filter(bool), st.lists(st.none() | places, min_size=2, max_size=40), st.integers(0, 1 << 32))
def test_ids_of_one_moment_sort_as_they_were_made_wherever_they_are(ms: int, wanted: list[int | None], seed: int):
    source = RandomIds(seed)

    made = [source.ulid(ms, place) for place in wanted]

    assert made == sorted(set(made))
    assert all(place in (None, place_of(id)) for id, place in zip(made, wanted, strict=True))


def test_ids_of_one_moment_without_a_place_are_spread_over_all_places():
    source = RandomIds(7)

    made = [place_of(source.ulid(1_000)) for _ in range(PLACES)]

    assert set(made) == set(range(PLACES))
    in_shards = Counter(place & 15 for place in made[:64])
    assert max(in_shards.values()) <= 6  # 4 if they were spread evenly


@given(ids, st.text(max_size=20))
def test_what_belongs_to_a_run_is_where_the_run_is(run_id: str, rest: str):
    assert place_of(f"{run_id}/{rest}") == place_of(run_id)
    assert place_of_item(run_id) == place_of_item(f"{run_id}/{rest}") == place_of(run_id)
    assert place_of_holder(run_id) == place_of_holder(f"run:{run_id}") == place_of_holder(f"{run_id}/1")
    assert place_of_holder(run_id) == place_of(run_id)


@given(ids | st.text(max_size=40), sizes, sizes)
def test_what_shares_a_shard_shares_it_also_in_a_store_with_fewer(id: str, one: int, other: int):
    fewer, more = sorted((one, other))

    assert shard_of(id, fewer) == shard_of(id, more) % fewer
    assert 0 <= shard_of(id, more) < more


@given(st.text(st.characters(), max_size=60))
def test_any_text_has_a_place(text: str):
    assert 0 <= place_of(text) < PLACES
    assert place_for(text) == place_for(text)


def test_the_place_of_a_text_is_fixed_for_ever():
    # These are in databases: if one of them changes, rows are not found any more.
    assert [place_for(text) for text in ("", "shop-bill", "shop-bill/eu", "é", "\ud800")] == [510, 527, 3, 896, 238]
    assert place_of("r1") == place_for("r1")
    assert place_of("01KDVDVDA0ADKQHS8GC5SH3P53") == 5 * 32 + 3
    assert place_of("01KDVDVDA0ADKQHS8GC5SH3PZZ") == PLACES - 1


def test_texts_are_spread_evenly():
    in_shards = Counter(place_for(f"shop-bill/customer-{number}") & 15 for number in range(16_000))

    assert len(in_shards) == 16
    assert 900 < min(in_shards.values()) <= max(in_shards.values()) < 1_100


@pytest.mark.parametrize(
    "item_id", ["cron/shop-bill/0 9 * * *", "debounce/shop-bill/", "order/01KDVDVDA0ADKQHS8GC5SH3P53"]
)
def test_an_item_that_is_not_named_after_a_run_says_nothing_of_its_place(item_id: str):
    with pytest.raises(ValueError, match="its place has to be said"):
        place_of_item(item_id)
    with pytest.raises(ValueError, match="its place has to be said"):
        _ = Item(id=item_id, kind="cron", function_id="shop-bill", at=1).home

    assert Item(id=item_id, kind="cron", function_id="shop-bill", at=1, place=9).home == 9
