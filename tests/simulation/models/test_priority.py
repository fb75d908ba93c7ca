"""``priority=`` beside its model (semantics §7.8; F73): who is next of those that wait for one slot."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from stepwell import Priority
from tests.simulation.models.machine import Admitted, Machine, check

BUSY = 10_000
HEAD_START = {"a": {"a": 7, "b": 0}, "b": {"a": -60, "b": 3}, "none": {"a": 0, "b": 0}}
RULES = {
    "a": "event.data.k == 'a' ? 7 : 0",
    "b": "event.data.k == 'a' ? -60 : 3",
    "none": "event.data.nothing",
}


class Order(Admitted):
    """One slot. Each run's place is when it is due, less its head start, worked out when it comes."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.place: dict[int, tuple[int, int]] = {}
        self.busy: tuple[int, int] | None = None  # with whom, until when
        self.lost = 0
        super().__init__(options)

    def change(self, options: Mapping[str, Any]) -> None:
        self.rule = next(name for name, text in RULES.items() if text == options["priority"].run)

    def arrive(self, number: int, key: str, ts: int) -> None:
        self.place[number] = max(self.now, ts) - HEAD_START[self.rule][key] * 1_000, number
        self.let_in(number, ts)
        self.happen()

    def start(self, number: int) -> None:
        super().start(number)
        self.busy, self.lost = (number, self.now + BUSY), 0

    def free(self) -> dict[int, tuple[int, bool]]:
        return super().free() if self.busy is None else {}

    def next(self) -> int | None:
        return super().next() if self.busy is None else self.busy[1]

    def happen(self) -> None:
        if self.busy is not None and self.busy[1] <= self.now:
            self.busy = None
        due = [number for number, (due, _) in self.free().items() if due <= self.now]
        if due:
            number = min(due, key=self.place.__getitem__)
            del self.queued[number]
            self.start(number)

    def sleep(self, ms: int) -> None:
        """The one that was busy begins anew, and is before all others."""
        self.now += ms
        if self.busy is not None:
            self.busy, self.lost = (self.busy[0], self.now + BUSY), self.lost + 1
        self.advance(0)


class PriorityMachine(Machine):
    model: Order
    model_of = Order
    options = st.sampled_from(sorted(RULES)).map(lambda name: {"priority": Priority(RULES[name]), "concurrency": 1})
    gaps = (0, 1, 1_000, 3_000, 7_000, 10_000, 20_000)
    ages = (0, 0, 0, 5_000)

    async def body(self, ctx: Any) -> None:
        await ctx.step.run("busy", asyncio.sleep, BUSY / 1_000)

    @precondition(lambda self: self.model.lost < 2)  # a third time it would be left alone for a while (ADR 0010)
    @rule(down=st.sampled_from((0, 3_000, 100_000)))
    def crash(self, down: int) -> None:
        self.t.crash(down=down, app=self.version)
        self.t.advance(0)
        self.model.sleep(down)

    @rule(data=st.data())
    def change(self, data: st.DataObject) -> None:
        options = data.draw(self.options)
        self.version = self.app(options)
        self.t._do(lambda: self.t.engine.register("shop", self.version.configs()))
        self.model.change(options)

    @precondition(lambda self: False)
    @rule()
    def pause(self) -> None:
        """What a pause does to the order of those that it held is not said."""


@pytest.mark.slow
def test_the_next_is_who_is_in_the_model() -> None:
    check(PriorityMachine)
