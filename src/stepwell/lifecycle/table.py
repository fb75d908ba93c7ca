"""States as tables: a transition that is not in the table is a programmer's mistake, and the documentation draws it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import TypeAlias

Table: TypeAlias = Mapping[str, Set[str]]
"""From each state to those that may follow it. A state that nothing follows is an end."""


class IllegalTransition(AssertionError):
    """Our own code tried to change something in a way that its table does not have."""


def advance(table: Table, old: str, new: str) -> str:
    """``new``, if it may follow ``old``; raises ``IllegalTransition``."""
    if new not in table[old]:
        raise IllegalTransition(
            f"{old} cannot become {new}; it may become {', '.join(sorted(table[old])) or 'nothing'}"
        )
    return new


def ends(table: Table) -> frozenset[str]:
    """The states that are never left."""
    return frozenset(state for state, following in table.items() if not following)


def mermaid(table: Table, initial: Iterable[str]) -> str:
    """The table as a Mermaid state diagram, for the documentation."""
    lines = ["stateDiagram-v2", *(f"    [*] --> {state}" for state in sorted(initial))]
    for state, following in table.items():
        lines += [f"    {state} --> {new}" for new in sorted(following) or ["[*]"]]
    return "\n".join(lines)
