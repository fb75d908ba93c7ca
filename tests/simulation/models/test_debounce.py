"""``debounce=`` beside its model (semantics §7.7; F71, F72, I20)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import strategies as st

from stepwell import Debounce
from tests.simulation.models.machine import Admitted, Machine, check


class Windows(Admitted):
    """For each key the window that is open: since when, until when, and the newest event."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.open: dict[str, dict[str, int]] = {}
        super().__init__(options)

    def change(self, options: Mapping[str, Any]) -> None:
        self.rule: Debounce | None = options["debounce"]

    def arrive(self, number: int, key: str, ts: int) -> None:
        if self.rule is None:
            self.let_in(number, ts)
            return
        window = self.open.get(key)
        if window is not None and ts < window["ts"]:
            self.told[number] = ("debounced",)
            return
        since = self.now if window is None else window["since"]
        if window is not None:
            self.told[window["number"]] = ("debounced",)
        until = self.now + int(self.rule.period)
        if self.rule.timeout is not None:
            until = min(until, since + int(self.rule.timeout))
        self.open[key] = {"since": since, "until": until, "number": number, "ts": ts}

    def next(self) -> int | None:
        moments = [window["until"] for window in self.open.values()]
        waits = super().next()
        return min(moments + ([] if waits is None else [waits]), default=None)

    def happen(self) -> None:
        super().happen()
        for key in [key for key, window in self.open.items() if window["until"] <= self.now]:
            window = self.open.pop(key)
            self.let_in(window["number"], window["ts"])


class DebounceMachine(Machine):
    model_of = Windows
    options = st.builds(
        lambda period, more: {
            "debounce": Debounce(period, None if more is None else period + more, key="event.data.k")
            if period
            else None
        },
        st.sampled_from((0, 1_000, 5_000, 5_000, 20_000)),
        st.sampled_from((None, 0, 1_000, 10_000)),
    )
    gaps = (0, 1, 500, 999, 1_000, 3_000, 4_999, 5_000, 20_000)


@pytest.mark.slow
def test_events_are_held_back_as_in_the_model() -> None:
    check(DebounceMachine)
