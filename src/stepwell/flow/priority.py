"""Who goes first among the runs of a function that wait for room (semantics §7.8)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, cast

import msgspec

from stepwell.errors import ConfigurationError
from stepwell.flow.keys import compiled, value_of
from stepwell.flow.options import members
from stepwell.limits import PRIORITY_MAX

_MAX_S: Final = int(PRIORITY_MAX.total_seconds())


class Priority(msgspec.Struct, frozen=True):
    """Move each run forward by as many seconds as ``run``, an expression over ``event``, says; back if negative.

    A run with 120 goes as if it had been queued two minutes earlier. Only the order of runs of one function that wait
    is changed, no start is ever delayed for it. Beyond 12 hours it is cut off; what is no whole number counts as 0.
    Raises ``ConfigurationError``.
    """

    keyword: ClassVar[str] = "priority"

    run: str

    def __post_init__(self) -> None:
        if not isinstance(self.run, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(
                what=f"the run of priority is {self.run!r:.40}",
                why="it is an expression that is evaluated for each event",
                fix="write e.g. Priority(run=\"event.data.plan == 'pro' ? 120 : 0\")",
            )
        compiled(self.run)

    @classmethod
    def read(cls, value: object) -> Priority:
        """From the wire (protocol §4.5)."""
        return cls(cast("str", members(cls.keyword, value).get("run")))

    def config(self) -> dict[str, Any]:
        """As the wire has it."""
        return {"run": self.run}

    def head_start_ms(self, env: Mapping[str, object], now: int) -> int:
        """By how much a run that this event starts is moved forward."""
        found = value_of(self.run, env, now)
        if isinstance(found, bool) or not isinstance(found, int):
            return 0
        return max(-_MAX_S, min(_MAX_S, found)) * 1000
