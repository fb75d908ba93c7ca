"""``throttle=`` beside its model (semantics §7.4; F68, I14)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import strategies as st

from stepwell import Throttle
from tests.simulation.models.machine import Machine, Model, check

FREE = ""


class Turns(Model):
    """For each key a bucket that leaks evenly, and those who wait for it in their order."""

    def change(self, options: Mapping[str, Any]) -> None:
        self.rate: Throttle | None = options["throttle"]

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.last: dict[str, tuple[Fraction, int]] = {}  # when the next would come if all came evenly; the last start
        self.queue: dict[str, list[tuple[int, int, bool]]] = defaultdict(list)  # due, number, came in a pause
        super().__init__(options)

    def arrive(self, number: int, key: str, ts: int) -> None:
        if self.paused and self.paused[0] == "skip":
            self.told[number] = ("paused",)
            return
        # The key is worked out once: who comes while there is no rule never waits for its turn (§3.5).
        queue = self.queue[key if self.rate is not None else FREE]
        queue.append((max(self.now, ts), number, self.paused is not None))
        queue.sort()
        self.told[number] = ("waits",)
        self.happen()

    def cancel(self, number: int) -> None:
        for key, queue in self.queue.items():
            self.queue[key] = [each for each in queue if each[1] != number]
        self.told[number] = ("cancelled",)

    def resume(self) -> None:
        super().resume()
        self.queue = defaultdict(list, {key: [(*each[:2], False) for each in q] for key, q in self.queue.items()})

    def next(self) -> int | None:
        moments = [max(due, self.free(key)) for key, (due, *_) in self.first().items()]
        return min(moments, default=None)

    def happen(self) -> None:
        while ready := [(key, each) for key, each in self.first().items() if max(each[0], self.free(key)) <= self.now]:
            for key, each in ready:
                self.queue[key].remove(each)
                self.told[each[1]] = ("started", self.now)
                if self.rate is not None and key != FREE:
                    self.last[key] = max(self.expected(key), Fraction(self.now)) + self.interval, self.now

    def first(self) -> dict[str, tuple[int, int, bool]]:
        """Who is next of each key."""
        if self.paused and self.paused[1] == "hold":
            return {}
        found = {key: [each for each in queue if not each[2]] for key, queue in self.queue.items()}
        return {key: queue[0] for key, queue in found.items() if queue}

    @property
    def interval(self) -> Fraction:
        assert self.rate is not None
        return Fraction(int(self.rate.period), self.rate.limit)

    def expected(self, key: str) -> Fraction:
        assert self.rate is not None
        if key not in self.last:
            return Fraction(0)
        expected, last = self.last[key]
        return min(expected, last + (self.rate.burst + 1) * self.interval)

    def free(self, key: str) -> int:
        if self.rate is None or key == FREE or key not in self.last:
            return 0
        return -(-(self.expected(key) - self.rate.burst * self.interval) // 1)


class ThrottleMachine(Machine):
    model_of = Turns
    options = st.builds(
        lambda limit, period, burst: {"throttle": Throttle(limit, period, burst, "event.data.k") if limit else None},
        st.sampled_from((1, 1, 2, 4, 5, 0)),
        st.sampled_from((10_000, 3_600_000, 1_000)),
        st.sampled_from((0, 1, 3)),
    )


@pytest.mark.slow
def test_starts_are_throttled_as_in_the_model() -> None:
    check(ThrottleMachine)
