"""At most so many starts per key and period; the others are dropped (semantics §7.5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, cast

import msgspec

from stepwell.flow import gcra
from stepwell.flow.keys import check_key, key_text, owner
from stepwell.flow.options import Duration, check_length, check_whole, key_of, length_ms, members
from stepwell.flow.verdicts import Accept, Skip
from stepwell.limits import CONTROL_PERIOD_MIN, RATE_LIMIT_PERIOD_MAX
from stepwell.model.duration import format_duration
from stepwell.model.event import rfc3339
from stepwell.model.history import Cell, OutcomeKind

_NO_KEY: Final = (
    "; it gives no key (what the expression names is missing or empty, or it failed), and all those that give none"
    " share one"
)


class RateLimit(msgspec.Struct, frozen=True):
    """Start at most ``limit`` runs per ``period`` for each value of ``key``, an expression over ``event``, and drop the
    rest.

    Starts are spread: a tenth of the limit may come at once, the others as time passes (GCRA), so a limit of 10 a
    minute is two at once and then one every six seconds. What is dropped is recorded with the event and never starts;
    to let it wait instead use ``Throttle``. ``period`` is 1 s to 24 h. Raises ``ConfigurationError``.
    """

    keyword: ClassVar[str] = "rateLimit"

    limit: int
    period: Duration
    key: str | None = None

    def __post_init__(self) -> None:
        check_whole("rate_limit", "limit", self.limit, 1, "the number of runs that may start in a period")
        check_length("rate_limit", "period", self.period, CONTROL_PERIOD_MIN, RATE_LIMIT_PERIOD_MAX)
        if self.key is not None:
            check_key("rate_limit", self.key)

    @classmethod
    def read(cls, value: object) -> RateLimit:
        """From the wire (protocol §4.5)."""
        fields = members(cls.keyword, value)
        return cls(cast("int", fields.get("limit")), cast("str", fields.get("period", "")), key_of(fields))

    def config(self) -> dict[str, Any]:
        """As the wire has it."""
        found: dict[str, Any] = {"limit": self.limit, "period": format_duration(length_ms(self.period))}
        return found if self.key is None else {**found, "key": self.key}

    def prefix(self, function_id: str) -> str:
        """What its keys begin with."""
        return f"rate/{owner(function_id)}/"

    def cell(self, function_id: str, env: Mapping[str, object], now: int) -> str | None:
        """The key of the cell that remembers the rate; ``None`` if this start is not subject to the rule."""
        if self.key is None:
            return self.prefix(function_id)
        text, is_false, _ = key_text(self.key, env, now)
        return None if is_false else f"{self.prefix(function_id)}{text}"

    def turns(self, cell: Cell | None, now: int) -> tuple[int, int]:
        """How many runs may start at this moment, and when the one after them may."""
        interval, burst = gcra.interval_ns(self.limit, length_ms(self.period)), self.limit // 10
        return gcra.turns(_moment(cell, interval, burst), now, interval, burst)

    def admit(self, key: str, cell: Cell | None, run_id: str, now: int) -> Accept | Skip:
        """May ``run_id`` start? ``key`` is what ``cell()`` said, ``cell`` what is stored there."""
        interval, burst = gcra.interval_ns(self.limit, length_ms(self.period)), self.limit // 10
        moment = _moment(cell, interval, burst)
        following = gcra.next_ns(moment, now, interval, burst)
        if following is None:
            free = rfc3339(gcra.free_at_ms(moment, interval, burst))
            rate = f"{self.limit} per {format_duration(length_ms(self.period))}"
            shared = _NO_KEY if self.key is not None and key.endswith("/") else ""
            reason = f"the rate limit of {rate} was reached; free again at {free}{shared}"
            _, last, started = cell.value.split("/") if cell is not None else ("", "0", "")
            longer = Cell(key=key, value=f"{moment}/{last}/{started}", expires_at=gcra.expiry_ms(moment))
            # Kept for as long as the faster rate of before needed, it would be free sooner than is said here.
            kept = longer if cell is not None and longer.expires_at > cell.expires_at else None
            return Skip(OutcomeKind.RATE_LIMITED, reason, started, kept)
        return Accept(spend=Cell(key=key, value=f"{following}/{now}/{run_id}", expires_at=gcra.expiry_ms(following)))


def _moment(cell: Cell | None, interval: int, burst: int) -> int:
    """The theoretical arrival time, as if the rate had been this one at the last start."""
    if cell is None:
        return 0
    tat, last, _ = cell.value.split("/")
    return gcra.at_least(gcra.within(int(tat), int(last), interval, burst), int(last), interval)
