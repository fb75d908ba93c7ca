"""What is named by a key has its place told by its row alone: a copy into another database brings it there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest

from stepwell.engine.keyed import place_of_cell, place_of_timer
from stepwell.model import changes as c
from stepwell.model.item import ItemKind
from stepwell.model.place import EVERYWHERE
from stepwell.storage import places
from stepwell.testing.world import play

SEEDS = range(20)


def test_the_place_of_a_row_is_the_one_it_was_written_at(monkeypatch: pytest.MonkeyPatch):
    cells: dict[str, set[int]] = defaultdict(set)
    wrong: list[str] = []
    kinds: set[str] = set()

    def watch(kind: Any, check: Callable[[Any, int], None]) -> None:
        place_of = places.CHANGES[kind]

        def watched(change: Any) -> int:
            place = place_of(change)
            check(change, place)
            return place

        monkeypatch.setitem(places.CHANGES, kind, watched)  # type: ignore[arg-type]

    def check_cell(change: c.PutCell, place: int) -> None:
        cell = change.cell
        cells[cell.key].add(place)
        kinds.add(cell.key.partition("/")[0])
        if cell.value and place_of_cell(cell.key, cell.value) not in (place, EVERYWHERE):
            wrong.append(f"the cell {cell.key} is at {place}")

    def check_item(change: c.Enqueue | c.Schedule, place: int) -> None:
        item = change.item
        if item.run_id is not None:
            return
        kinds.add(item.kind)
        told = place_of_timer(item.kind, item.id, item.function_id)
        if told is None and place not in cells[item.id]:
            wrong.append(f"{item.id} is at {place}, and its cell at {cells[item.id]}")
        if told not in (place, None, EVERYWHERE):
            wrong.append(f"{item.kind} {item.id} is at {place}")

    watch(c.PutCell, check_cell)
    watch(c.Enqueue, check_item)
    watch(c.Schedule, check_item)

    for seed in SEEDS:
        assert play(seed).violations == ()

    assert wrong == []
    assert kinds >= {
        "event",
        "rate",
        "throttle",
        "idempotency",
        "debounce",
        "batchEvents",
        "window",
        "cron",
        "pressure",
    }


@pytest.mark.parametrize("kind", ItemKind)
def test_every_kind_of_item_has_a_place(kind: ItemKind):
    id = {ItemKind.ORDER: "order/01HF7YAT00000000000000000A"}.get(kind, "01HF7YAT00000000000000000A")

    assert place_of_timer(kind, id, "shop-bill") in (None, EVERYWHERE, *range(1024))
