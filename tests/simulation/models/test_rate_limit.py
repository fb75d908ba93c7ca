"""``rate_limit=`` and ``idempotency=`` beside their models (semantics §7.5, §7.6; F69, F70, I14, I19)."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import strategies as st

from stepwell import RateLimit
from tests.simulation.models.machine import DAY, Admitted, Machine, check


class Rates(Admitted):
    """For each key a bucket that leaks evenly; what does not fit is dropped."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.last: dict[str, tuple[Fraction, int]] = {}
        super().__init__(options)

    def change(self, options: Mapping[str, Any]) -> None:
        self.rate: RateLimit | None = options["rate_limit"]

    def arrive(self, number: int, key: str, ts: int) -> None:
        if self.rate is not None:
            interval, burst = Fraction(int(self.rate.period), self.rate.limit), self.rate.limit // 10
            expected, last = self.last.pop(key, (Fraction(0), 0))
            if self.now < expected:  # else it is as if the key had never been used
                known = expected
                expected = max(min(expected, last + (burst + 1) * interval), last + interval)
                self.last[key] = max(known, expected), last
            if self.now < expected - burst * interval:
                self.told[number] = ("rate-limited",)
                return
            self.last[key] = max(expected, Fraction(self.now)) + interval, self.now
        self.let_in(number, ts)


class RateLimitMachine(Machine):
    model_of = Rates
    options = st.builds(
        lambda limit, period: {"rate_limit": RateLimit(limit, period, key="event.data.k") if limit else None},
        st.sampled_from((1, 1, 2, 5, 10, 20, 0)),
        st.sampled_from((10_000, 3_600_000, 1_000)),
    )


@pytest.mark.slow
def test_starts_are_limited_as_in_the_model() -> None:
    check(RateLimitMachine)


class Once(Admitted):
    """For each key the moment of its last start."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.started: dict[str, int] = {}
        super().__init__(options)

    def change(self, options: Mapping[str, Any]) -> None:
        self.counts = options["idempotency"] is not None

    def arrive(self, number: int, key: str, ts: int) -> None:
        if self.counts:
            if key in self.started and self.now < self.started[key] + DAY:
                self.told[number] = ("idempotent",)
                return
            if not (self.paused and self.paused[0] == "skip"):
                self.started[key] = self.now
        self.let_in(number, ts)


class IdempotencyMachine(Machine):
    model_of = Once
    options = st.sampled_from((None, "event.data.k", "event.data.k")).map(lambda key: {"idempotency": key})
    gaps = (0, 1, 1_000, DAY // 2, DAY - 1, DAY)


@pytest.mark.slow
def test_a_key_starts_one_run_in_24_hours_as_in_the_model() -> None:
    check(IdempotencyMachine)
