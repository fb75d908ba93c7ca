"""What a transaction has decided and not yet written, and which questions it concerns.

Plans that run one after the other in a transaction have to see what was decided before them. To write before each of
them costs several round trips a plan, and most plans ask about nothing that the others write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from stepwell.model import questions as q
from stepwell.model.changes import Decision
from stepwell.storage.postgres.changes import Touch, root, touches

REGISTRY: Final = "registry"

# What a question reads. Whatever is not here reads anything: only questions that are asked often need a line.
_READS: Final[Mapping[type, Callable[[Any], Touch]]] = {
    q.RegistryStamp: lambda _: Touch(REGISTRY, None),
    q.WaitPaths: lambda _: Touch("waits", None),
    q.FindWaits: lambda _: Touch("waits", None),
    q.GetWaits: lambda x: Touch("waits", x.run_id),
    q.GetCell: lambda x: Touch("cells", x.key),
    q.AnyCell: lambda _: Touch("cells", None),
    q.CountSlots: lambda _: Touch("slots", None),
    q.GetEvent: lambda x: Touch("events", x.event_id),
    q.GetRun: lambda x: Touch("runs", x.run_id),
    q.GetSteps: lambda x: Touch("steps", x.run_id),
    q.GetStep: lambda x: Touch("steps", x.run_id),
    q.GetItem: lambda x: Touch("items", root(x.item_id)),
}


class Pending:
    """The decisions that are not written yet."""

    def __init__(self) -> None:
        self._decisions: list[Decision] = []
        self._looked = 0  # at how many of them: nobody looks where no plan asks anything
        self._tables: dict[str, set[str | None]] = {}

    def add(self, decision: Decision) -> None:
        self._decisions.append(decision)

    def clear(self) -> None:
        self._decisions.clear()
        self._looked = 0
        self._tables.clear()

    def concerns(self, question: q.Question[Any]) -> bool:
        """Whether the answer may depend on what is not written yet."""
        read = _READS.get(type(question))
        if read is None:
            return True
        for decision in self._decisions[self._looked :]:
            for touch in touches_of(decision):
                self._tables.setdefault(touch.table, set()).add(touch.key)
        self._looked = len(self._decisions)
        table, key = read(question)
        written = self._tables.get(table)
        return written is not None and (key is None or key in written or None in written)


def touches_of(decision: Decision) -> Iterator[Touch]:
    return (touch for change in decision.changes for touch in touches(change))
