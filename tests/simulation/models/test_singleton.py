"""``singleton=`` beside its model (semantics §7.10; F76, I22)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from stepwell import Singleton
from tests.simulation.models.machine import Admitted, Machine, Told, check, since_start

LIFE = 60_000


class Alone(Admitted):
    """For each key who holds it; of each run that has begun, when it ends."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.holder: dict[str, int] = {}
        self.ends: dict[int, int] = {}
        super().__init__(options)

    def change(self, options: Mapping[str, Any]) -> None:
        self.mode = options["singleton"].mode if options["singleton"] else None

    def arrive(self, number: int, key: str, ts: int) -> None:
        if self.mode is not None and not (self.paused and self.paused[0] == "skip"):
            if key in self.holder and self.mode == "skip":
                self.told[number] = ("singleton",)
                return
            if key in self.holder:
                self.cancel(self.holder[key])
            self.holder[key] = number
        self.let_in(number, ts)
        self.happen()  # before the next event of the same request, which may take its place

    def start(self, number: int) -> None:
        self.told[number] = ("started", self.now, None)
        self.ends[number] = self.now + LIFE

    def cancel(self, number: int) -> None:
        if number in self.ends:
            self.end(number, "CANCELLED")
        else:
            super().cancel(number)
            self.let_go(number)

    def next(self) -> int | None:
        asleep = [] if self.paused and self.paused[1] == "hold" else list(self.ends.values())
        waits = super().next()
        return min(asleep + ([] if waits is None else [waits]), default=None)

    def happen(self) -> None:
        super().happen()
        if not (self.paused and self.paused[1] == "hold"):
            for number in [number for number, end in self.ends.items() if end <= self.now]:
                self.end(number, "COMPLETED")

    def end(self, number: int, status: str) -> None:
        del self.ends[number]
        self.told[number] = (*self.told[number][:2], status)
        self.let_go(number)

    def let_go(self, number: int) -> None:
        self.holder = {key: holder for key, holder in self.holder.items() if holder != number}


class SingletonMachine(Machine):
    model: Alone
    model_of = Alone
    options = st.sampled_from(("skip", "skip", "cancel", "cancel", None)).map(
        lambda mode: {"singleton": Singleton(mode, key="event.data.k") if mode else None}
    )

    async def body(self, ctx: Any) -> None:
        await ctx.step.sleep("a while", LIFE)

    @precondition(lambda self: hasattr(self, "t") and self.running())
    @rule(data=st.data())
    def stop(self, data: st.DataObject) -> None:
        number, run_id = data.draw(st.sampled_from(sorted(self.running().items())))
        self.t.cancel(run_id)
        self.model.cancel(number)

    def running(self) -> dict[int, str]:
        found = self.tables.ask("SELECT event_id, id FROM runs WHERE status = 'RUNNING'")
        return {self.numbers[event_id]: run_id for event_id, run_id in found}

    def told(self) -> Told:
        found = super().told()
        for event_id, status, started, ended in self.tables.ask(
            "SELECT event_id, status, started_at, ended_at FROM runs WHERE started_at IS NOT NULL"
        ):
            found[self.numbers[event_id]] = ("started", since_start(started), status if ended else None)
        return found


@pytest.mark.slow
def test_one_run_exists_for_each_key_as_in_the_model() -> None:
    check(SingletonMachine)
