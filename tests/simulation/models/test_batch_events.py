"""``batch_events=`` beside its model (semantics §7.9; F74, F75, I21)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import strategies as st

from stepwell import BatchEvents
from tests.simulation.models.machine import Admitted, Machine, Told, check


class Batches(Admitted):
    """For each key the batch that is open: its events, and when it starts. Of each batch the first event counts."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.open: dict[str, tuple[int, list[int]]] = {}
        self.together: dict[int, list[int]] = {}
        super().__init__(options)

    def change(self, options: Mapping[str, Any]) -> None:
        self.rule: BatchEvents | None = options["batch_events"]

    def arrive(self, number: int, key: str, ts: int) -> None:
        if self.rule is None or (self.rule.if_ is not None and number % 3 == 0):
            self.let_in(number, ts)
            return
        until, numbers = self.open.pop(key, (self.now + int(self.rule.timeout), []))
        numbers.append(number)
        if len(numbers) >= self.rule.max_size:
            self.begin(numbers)
        else:
            self.open[key] = until, numbers

    def begin(self, numbers: list[int]) -> None:
        self.together[numbers[0]] = numbers
        self.let_in(numbers[0], self.now)
        self.share(numbers[0])

    def share(self, number: int) -> None:
        """What became of the first became of all."""
        for each in self.together.get(number, ()):
            self.told[each] = self.told[number]

    def start(self, number: int) -> None:
        super().start(number)
        self.share(number)

    def cancel(self, number: int) -> None:
        super().cancel(number)
        self.share(number)

    def next(self) -> int | None:
        moments = [until for until, _ in self.open.values()]
        waits = super().next()
        return min(moments + ([] if waits is None else [waits]), default=None)

    def happen(self) -> None:
        super().happen()
        for key in [key for key, (until, _) in self.open.items() if until <= self.now]:
            self.begin(self.open.pop(key)[1])


class BatchMachine(Machine):
    model_of = Batches
    options = st.builds(
        lambda size, timeout, if_: {
            "batch_events": BatchEvents(size, timeout, key="event.data.k", if_=if_) if size else None
        },
        st.sampled_from((0, 2, 3, 3, 5)),
        st.sampled_from((1_000, 5_000, 60_000)),
        st.sampled_from((None, None, "event.data.n % 3 != 0")),
    )

    def told(self) -> Told:
        found = super().told()
        held = self.tables.ask(
            "SELECT h.event_id, r.event_id, h.place FROM run_events AS h JOIN runs AS r ON r.id = h.run_id "
            "WHERE r.batch IS NOT NULL ORDER BY h.run_id, h.place"
        )
        for event_id, first, _ in held:
            found[self.numbers[event_id]] = found[self.numbers[first]]
        return found

    def teardown(self) -> None:
        try:
            if hasattr(self, "t"):
                self.batches_are_those_of_the_model()
        finally:
            super().teardown()

    def batches_are_those_of_the_model(self) -> None:
        rows = self.tables.ask("SELECT run_id, place, event_id FROM run_events ORDER BY run_id, place")
        batches: dict[str, list[int]] = {}
        for run_id, _, event_id in rows:
            batches.setdefault(run_id, []).append(self.numbers[event_id])
        assert all(numbers == sorted(numbers) for numbers in batches.values()), "in the order in which they came"
        made = list(self.model.together.values())  # type: ignore[attr-defined]
        assert all(numbers in made or numbers[0] in self.held() for numbers in batches.values())

    def held(self) -> set[int]:
        return {number for _, numbers in self.model.open.values() for number in numbers}  # type: ignore[attr-defined]


@pytest.mark.slow
def test_events_are_collected_as_in_the_model() -> None:
    check(BatchMachine)
