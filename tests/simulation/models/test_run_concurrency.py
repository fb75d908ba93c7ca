"""``run_concurrency=`` beside its model (semantics §7.3; F67, I13)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from stepwell import RunConcurrency
from tests.simulation.models.machine import Admitted, Machine, check

LIFE = 60_000


class Places(Admitted):
    """For each key who has a place. Of those that wait the earliest is next."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.key: dict[int, str] = {}  # of the runs that a rule counts
        self.ends: dict[int, int] = {}
        super().__init__(options)

    def change(self, options: Mapping[str, Any]) -> None:
        self.limit = options["run_concurrency"].limit if options["run_concurrency"] else 0

    def arrive(self, number: int, key: str, ts: int) -> None:
        if self.limit:
            self.key[number] = key
        self.let_in(number, ts)

    def start(self, number: int) -> None:
        super().start(number)
        self.ends[number] = self.now + LIFE

    def cancel(self, number: int) -> None:
        if number in self.ends:
            del self.ends[number]
        else:
            super().cancel(number)

    def free(self) -> dict[int, tuple[int, bool]]:
        room: dict[str, int] = {}
        found: dict[int, tuple[int, bool]] = {}
        for number, each in sorted(super().free().items(), key=lambda item: (item[1][0], item[0])):
            key = self.key.get(number)
            if self.limit and key is not None:
                used = sum(self.key.get(other) == key for other in self.ends)
                room.setdefault(key, self.limit - used)
                if room[key] <= 0:
                    continue
                if each[0] <= self.now:
                    room[key] -= 1
            found[number] = each
        return found

    def next(self) -> int | None:
        asleep = [] if self.paused and self.paused[1] == "hold" else list(self.ends.values())
        waits = super().next()
        return min(asleep + ([] if waits is None else [waits]), default=None)

    def happen(self) -> None:
        if not (self.paused and self.paused[1] == "hold"):
            self.ends = {number: end for number, end in self.ends.items() if end > self.now}
        super().happen()


class RunConcurrencyMachine(Machine):
    model: Places
    model_of = Places
    options = st.sampled_from((0, 1, 1, 2, 3)).map(
        lambda limit: {"run_concurrency": RunConcurrency(limit, key="event.data.k") if limit else None}
    )

    async def body(self, ctx: Any) -> None:
        await ctx.step.sleep("a while", LIFE)

    @precondition(lambda self: hasattr(self, "t") and self.model.ends)
    @rule(data=st.data())
    def stop(self, data: st.DataObject) -> None:
        """Who has a place gives it up."""
        number = data.draw(st.sampled_from(sorted(self.model.ends)))
        event_id = next(event_id for event_id, other in self.numbers.items() if other == number)
        ((run_id,),) = self.tables.ask("SELECT id FROM runs WHERE event_id = ?", event_id)
        self.t.cancel(run_id)
        self.model.cancel(number)
        self.model.advance(0)


@pytest.mark.slow
def test_so_many_runs_are_under_way_as_in_the_model() -> None:
    check(RunConcurrencyMachine)
