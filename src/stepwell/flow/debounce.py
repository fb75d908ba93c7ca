"""Wait until events stop coming, then start one run with the newest (semantics §7.7)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, cast

import msgspec

from stepwell.errors import ConfigurationError
from stepwell.flow.keys import check_key, key_text, owner
from stepwell.flow.options import Duration, check_length, key_of, length_ms, members
from stepwell.flow.verdicts import Held
from stepwell.flow.window import Window
from stepwell.limits import CONTROL_PERIOD_MAX, CONTROL_PERIOD_MIN
from stepwell.model.duration import format_duration


class Debounce(msgspec.Struct, frozen=True):
    """Hold events of one ``key``, an expression over ``event``, until none has come for ``period``; then start one run
    with the newest of them by its ``ts``.

    With ``timeout`` the run starts at the latest that long after the first of them. The others are recorded as
    debounced, with the run that stands for them. Invokes and ticks are not held. ``period`` is 1 s to 7 d. Raises
    ``ConfigurationError``.
    """

    keyword: ClassVar[str] = "debounce"

    period: Duration
    timeout: Duration | None = None
    key: str | None = None

    def __post_init__(self) -> None:
        check_length(self.keyword, "period", self.period, CONTROL_PERIOD_MIN, CONTROL_PERIOD_MAX)
        if self.timeout is not None and length_ms(self.timeout) < length_ms(self.period):
            raise ConfigurationError(
                what=f"the timeout of debounce is {format_duration(max(0, length_ms(self.timeout)))}",
                why="it is the longest that a start is put off, and the period alone is longer",
                fix="make it longer than the period, or leave it out",
            )
        if self.key is not None:
            check_key(self.keyword, self.key)

    @classmethod
    def read(cls, value: object) -> Debounce:
        """From the wire (protocol §4.5), where an empty timeout is none."""
        fields = members(cls.keyword, value)
        return cls(cast("str", fields.get("period", "")), cast("str", fields.get("timeout")) or None, key_of(fields))

    def config(self) -> dict[str, Any]:
        """As the wire has it."""
        found = {"period": format_duration(length_ms(self.period))}
        if self.timeout is not None:
            found["timeout"] = format_duration(length_ms(self.timeout))
        return found if self.key is None else {**found, "key": self.key}

    def prefix(self, function_id: str) -> str:
        """What its keys begin with."""
        return f"{self.keyword}/{owner(function_id)}/"

    def window(self, function_id: str, env: Mapping[str, object], now: int) -> str:
        """The key of the window that holds this event. All events for which the key is missing, fails or is ``false``
        share one (semantics §3.4)."""
        found = key_text(self.key, env, now) if self.key is not None else None
        return f"{self.prefix(function_id)}{found.text if found is not None and not found.is_false else ''}"

    def hold(self, window: Window, event_id: str, ts: int, size: int, now: int) -> Held:
        """Put an event into the window, which is new if it has none yet."""
        if window.count and ts < window.ts:
            return Held(msgspec.structs.replace(window, count=window.count + 1), left_out=event_id)
        at = now + length_ms(self.period)
        if self.timeout is not None:
            at = min(at, window.opened_at + length_ms(self.timeout))
        found = msgspec.structs.replace(window, event_id=event_id, ts=ts, count=window.count + 1, size=size, at=at)
        return Held(found, left_out=window.event_id or None, position=0)
