"""At most so many starts per key and period; the others wait (semantics §7.4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, cast

import msgspec

from stepwell.flow import gcra
from stepwell.flow.keys import check_key, key_text, owner
from stepwell.flow.options import Duration, check_length, check_whole, key_of, length_ms, members
from stepwell.flow.verdicts import Go, Later
from stepwell.limits import CONTROL_PERIOD_MAX, CONTROL_PERIOD_MIN
from stepwell.model.duration import format_duration
from stepwell.model.history import Cell


class Throttle(msgspec.Struct, frozen=True):
    """Start at most ``limit`` runs per ``period`` for each value of ``key``, an expression over ``event``; let the rest
    wait in order.

    Starts are spread: ``burst + 1`` may come at once, then one after each ``period / limit`` (GCRA). Only the start of
    a run counts, not its steps and retries. ``period`` is 1 s to 7 d, ``burst`` 0 or more. Raises
    ``ConfigurationError``.
    """

    keyword: ClassVar[str] = "throttle"

    limit: int
    period: Duration
    burst: int = 1
    key: str | None = None

    def __post_init__(self) -> None:
        check_whole("throttle", "limit", self.limit, 1, "the number of runs that may start in a period")
        check_whole("throttle", "burst", self.burst, 0, "the number of runs that may start at once besides the first")
        check_length("throttle", "period", self.period, CONTROL_PERIOD_MIN, CONTROL_PERIOD_MAX)
        if self.key is not None:
            check_key(self.keyword, self.key)

    @classmethod
    def read(cls, value: object) -> Throttle:
        """From the wire, where a limit of 0 is one and the burst is 0 unless given (protocol §4.5)."""
        fields = members(cls.keyword, value)
        limit, burst = cast("int", fields.get("limit")), cast("int", fields.get("burst", 0))
        return cls(
            limit or 1 if type(limit) is int else limit, cast("str", fields.get("period", "")), burst, key_of(fields)
        )

    def config(self) -> dict[str, Any]:
        """As the wire has it."""
        found: dict[str, Any] = {
            "limit": self.limit,
            "period": format_duration(length_ms(self.period)),
            "burst": self.burst,
        }
        return found if self.key is None else {**found, "key": self.key}

    def prefix(self, function_id: str) -> str:
        """What its keys begin with."""
        return f"throttle/{owner(function_id)}/"

    def queue(self, function_id: str, env: Mapping[str, object], now: int) -> str:
        """The key under which a run started by this event waits its turn.

        Evaluated once, when the run is created (semantics §3.5). All events for which the key is missing or fails wait
        for the turns of one key; ``false`` is a key like any other here (semantics §3.4).
        """
        return f"{self.prefix(function_id)}{key_text(self.key, env, now).text if self.key is not None else ''}"

    def grant(self, key: str, cell: Cell | None, now: int) -> Go | Later:
        """May one more run start now? ``key`` is what ``queue()`` said, ``cell`` what is stored there."""
        interval = self._interval
        tat = self._tat(cell)
        following = gcra.next_ns(tat, now, interval, self.burst)
        if following is None:
            return Later(gcra.free_at_ms(tat, interval, self.burst))
        return Go(Cell(key=key, value=f"{following}/{now}", expires_at=_expiry(following, interval)))

    def kept(self, cell: Cell | None) -> Cell | None:
        """The cell that has to be remembered for longer, because the rate is slower than at the last start."""
        expires_at = _expiry(self._tat(cell), self._interval)
        if cell is None or expires_at <= cell.expires_at:
            return None
        return msgspec.structs.replace(cell, expires_at=expires_at)

    def turns(self, cell: Cell | None, now: int) -> tuple[int, int]:
        """How many runs may start at this moment, and when the one after them may."""
        return gcra.turns(self._tat(cell), now, self._interval, self.burst)

    @property
    def _interval(self) -> int:
        return gcra.interval_ns(self.limit, length_ms(self.period))

    def _tat(self, cell: Cell | None) -> int:
        if cell is None:
            return 0
        tat, _, last = cell.value.partition("/")
        interval = self._interval  # as if the rate had been this one at the last start
        return gcra.at_least(gcra.within(int(tat), int(last), interval, self.burst), int(last), interval)


def _expiry(tat: int, interval: int) -> int:
    """When it is forgotten. That makes no difference from ``tat`` on, but for a rule that has become slower meanwhile,
    which whoever waits for the next turn finds out when that was to come."""
    return gcra.expiry_ms(tat + interval)
