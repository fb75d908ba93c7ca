"""What several sentences about behaviour look at: outcomes, events, and who works at the same moment."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from stepwell.model.event import Event
from stepwell.model.history import Outcome
from stepwell.model.item import Item
from stepwell.model.place import EVERYWHERE
from stepwell.model.questions import Count, ListEvents, Outcomes, RunItems, SlotHolders, Totals
from stepwell.testing import Harness, RunView


def outcomes(t: Harness, event_id: str) -> dict[str, Outcome]:
    """Why an event started no run, by function."""
    return {found.function_id: found for found in t.ask(Outcomes(event_id))}


def events(t: Harness, name: str | None = None) -> list[Event]:
    """The stored events, oldest first; internal ones among them if they are asked for by name."""
    found: list[Event] = t.ask(ListEvents(10_000, name=name, internal=name is not None))
    return found[::-1]


def totals(t: Harness) -> Totals:
    return t.ask(Count(int(t.now.timestamp() * 1000)))


def items(t: Harness, run: RunView) -> list[Item]:
    return t.ask(RunItems(run.id))


def holders(t: Harness, key: str) -> list[str]:
    return t.ask(SlotHolders(key, 1_000, EVERYWHERE))


class Meter:
    """Counts how many bodies are at work at one moment, in all and for each key."""

    def __init__(self) -> None:
        self.working: Counter[Any] = Counter()
        self.most: Counter[Any] = Counter()
        self.most_in_all = 0
        self.order: list[Any] = []

    async def work(self, key: Any = "", seconds: float = 60) -> None:
        self.order.append(key)
        self.working[key] += 1
        self.most[key] = max(self.most[key], self.working[key])
        self.most_in_all = max(self.most_in_all, self.working.total())
        try:
            await asyncio.sleep(seconds)
        finally:
            self.working[key] -= 1
