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
    is changed, no start is ever delayed for it. Beyond 12 hours it is cut off; what is no whole number counts as 0,
    and the run says so unless what the expression names is missing. Raises ``ConfigurationError``.
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

    def head_start(self, env: Mapping[str, object], now: int) -> tuple[int, str | None]:
        """By how many milliseconds a run that this event starts is moved forward, and why it counts as 0 if it could
        not be worked out. What it names may well be missing: that is no reason."""
        found = value_of(self.run, env, now)
        if isinstance(found, int) and not isinstance(found, bool):
            return max(-_MAX_S, min(_MAX_S, found)) * 1000, None
        why = compiled(self.run).key_result(env, now_ms=now)
        if why.failed:
            return 0, f"the priority {self.run} failed for its event, so it counts as 0: {why.reason}"
        if why.missing or found is None:
            return 0, None
        return 0, f"the priority {self.run} gives no whole number for its event, so it counts as 0"
