"""States as tables: what may follow what (semantics §4.1, §4.2)."""

from __future__ import annotations

from types import ModuleType

import pytest

from stepwell.lifecycle import item, run, step
from stepwell.lifecycle.item import ITEM, ItemState, state
from stepwell.lifecycle.run import RUN
from stepwell.lifecycle.step import STEP
from stepwell.lifecycle.table import IllegalTransition, Table, ends, mermaid
from stepwell.model.item import Item, ItemKind
from stepwell.model.run import RunStatus
from stepwell.model.step import OPEN, StepStatus

TABLES: list[tuple[ModuleType, Table]] = [(run, RUN), (step, STEP), (item, ITEM)]


@pytest.mark.parametrize(("noun", "table"), TABLES)
def test_exactly_the_transitions_of_the_table_are_legal(noun: ModuleType, table: Table) -> None:
    for old in table:
        for new in table:
            if new in table[old]:
                assert noun.advance(old, new) == new
            else:
                with pytest.raises(IllegalTransition, match=f"{old} cannot become {new}"):
                    noun.advance(old, new)


@pytest.mark.parametrize(("noun", "table"), TABLES)
def test_every_state_can_be_reached_and_has_a_way_to_an_end(noun: ModuleType, table: Table) -> None:
    def reachable(start: set[str]) -> set[str]:
        following = start.union(*(table[state] for state in start))
        return following if following == start else reachable(following)

    assert reachable(set(noun.BORN)) == set(table)
    assert all(reachable({state}) & ends(table) for state in table)


@pytest.mark.parametrize(("table", "states"), [(RUN, set(RunStatus)), (STEP, set(StepStatus)), (ITEM, set(ItemState))])
def test_the_tables_know_every_state(table: Table, states: set[str]) -> None:
    assert set(table) == states
    assert set().union(*table.values()) <= states


def test_a_run_ends_once() -> None:
    assert {"COMPLETED", "FAILED", "CANCELLED", "SKIPPED"} == run.ENDED


def test_a_step_is_open_until_it_has_a_result() -> None:
    assert set(StepStatus) - OPEN == step.ENDED


@pytest.mark.parametrize(
    ("at", "lease", "backlog", "expected"),
    [
        (5, 0, None, ItemState.SCHEDULED),
        (5, 7, None, ItemState.LEASED),
        (None, 0, None, ItemState.PARKED),
        (None, 0, "fn/a", ItemState.BLOCKED),
    ],
)
def test_the_state_of_an_item_follows_from_its_moment_lease_and_backlog(
    at: int | None, lease: int, backlog: str | None, expected: ItemState
) -> None:
    assert state(Item(id="i", kind=ItemKind.RUN, function_id="f", at=at, lease=lease, backlog=backlog)) == expected


def test_an_item_that_is_gone_was_dropped() -> None:
    assert state(None) == ItemState.DROPPED


def test_a_table_can_be_drawn() -> None:
    assert mermaid({"A": {"B", "A"}, "B": frozenset()}, ["A"]) == (
        "stateDiagram-v2\n    [*] --> A\n    A --> A\n    A --> B\n    B --> [*]"
    )
