"""Collect events and start one run with all of them (semantics §7.9)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, cast

import msgspec

from stepwell.flow.keys import check_condition, check_key, key_failure, key_text, owner, value_of
from stepwell.flow.options import Duration, check_length, check_whole, key_of, length_ms, members
from stepwell.flow.verdicts import Held
from stepwell.flow.window import Window
from stepwell.limits import (
    BATCH_BYTES_MAX,
    BATCH_EVENTS_MAX,
    BATCH_TIMEOUT_DEFAULT,
    CONTROL_PERIOD_MAX,
    CONTROL_PERIOD_MIN,
)
from stepwell.model.duration import format_duration, to_ms


class BatchEvents(msgspec.Struct, frozen=True):
    """Start one run for up to ``max_size`` events, at the latest ``timeout`` after the first of them; the run finds
    them in ``ctx.events``, in the order in which they came.

    ``key``, an expression over ``event``, gives each of its values batches of its own. An event for which the
    expression ``if_`` is not true starts a run of its own at once. Invokes and ticks are not collected. ``max_size`` is
    2 to 100, ``timeout`` 1 s to 7 d. Raises ``ConfigurationError``.
    """

    keyword: ClassVar[str] = "batchEvents"

    max_size: int
    timeout: Duration = BATCH_TIMEOUT_DEFAULT
    key: str | None = None
    if_: str | None = None

    def __post_init__(self) -> None:
        check_whole("batch_events", "max_size", self.max_size, 2, "how many events one run gets", BATCH_EVENTS_MAX)
        check_length("batch_events", "timeout", self.timeout, CONTROL_PERIOD_MIN, CONTROL_PERIOD_MAX)
        if self.key is not None:
            check_key("batch_events", self.key)
        if self.if_ is not None:
            check_condition("batch_events", self.if_)

    @classmethod
    def read(cls, value: object) -> BatchEvents | None:
        """From the wire (protocol §4.5), where a size of 1 or none is no batching."""
        fields = members(cls.keyword, value)
        size = fields.get("maxSize", 1)
        if size in (0, 1) and type(size) is int:
            return None
        timeout = fields.get("timeout") or format_duration(to_ms(BATCH_TIMEOUT_DEFAULT))
        condition = cast("str | None", fields.get("if") or None)
        return cls(cast("int", size), cast("str", timeout), key_of(fields), condition)

    def config(self) -> dict[str, Any]:
        """As the wire has it."""
        found: dict[str, Any] = {"maxSize": self.max_size, "timeout": format_duration(length_ms(self.timeout))}
        if self.key is not None:
            found["key"] = self.key
        if self.if_ is not None:
            found["if"] = self.if_
        return found

    def prefix(self, function_id: str) -> str:
        """What its keys begin with."""
        return f"{self.keyword}/{owner(function_id)}/"

    def window(self, function_id: str, env: Mapping[str, object], now: int) -> str | None:
        """The key of the batch that this event belongs to; ``None`` if it starts a run of its own, because the
        condition is not true for it. All events for which the key is missing, fails or is ``false`` share one
        (semantics §3.4)."""
        if self.if_ is not None and value_of(self.if_, env, now) is not True:
            return None
        found = key_text(self.key, env, now) if self.key is not None else None
        return f"{self.prefix(function_id)}{found.text if found is not None and not found.is_false else ''}"

    def declined(self, env: Mapping[str, object], now: int) -> str:
        """Why an event that belongs to no batch does not."""
        assert self.if_ is not None, "else it belongs to one"
        reason = key_failure(self.if_, env, now)
        said = "is not true for its event" if reason is None else f"failed for its event: {reason}"
        return f"it was not collected: the condition {self.if_} {said}"

    def hold(self, window: Window, event_id: str, ts: int, size: int, now: int) -> Held:
        """Put an event into the window, which is new if it has none yet."""
        count, total = window.count + 1, window.size + size
        full = count >= self.max_size or total >= BATCH_BYTES_MAX
        at = now if full else window.at if window.count else now + length_ms(self.timeout)
        first = window.event_id or event_id
        found = msgspec.structs.replace(window, event_id=first, ts=ts, count=count, size=total, at=at, batch=True)
        return Held(found, position=window.count, full=full)
