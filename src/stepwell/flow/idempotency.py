"""At most one run per key in 24 hours (semantics §7.6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final, cast

import msgspec

from stepwell.flow.keys import check_key, key_text, owner
from stepwell.flow.verdicts import Accept, Skip
from stepwell.limits import DEDUPE_WINDOW
from stepwell.model.duration import to_ms
from stepwell.model.history import Cell, OutcomeKind

_WINDOW_MS: Final = to_ms(DEDUPE_WINDOW)
_SAME_KEY: Final = "a run with this idempotency key started in the last 24 hours"
_NO_KEY: Final = (
    "it gives no idempotency key (what the expression names is missing or empty, or it failed), and all those that give"
    " none share one: such a run started in the last 24 hours"
)


class Idempotency(msgspec.Struct, frozen=True):
    """Start one run per value of ``key`` in 24 hours, counted from the first start, even if that run failed.

    ``key`` is an expression over ``event``. An event for which it is literally ``false`` always starts a run; all those
    for which it is missing or fails share one key (semantics §3.4). Raises ``ConfigurationError``.
    """

    keyword: ClassVar[str] = "idempotency"

    key: str

    def __post_init__(self) -> None:
        check_key(self.keyword, self.key)

    @classmethod
    def read(cls, value: object) -> Idempotency:
        """From the wire (protocol §4.5)."""
        return cls(cast("str", value))

    def config(self) -> str:
        """As the wire has it."""
        return self.key

    def prefix(self, function_id: str) -> str:
        """What its keys begin with."""
        return f"idempotency/{owner(function_id)}/"

    def cell(self, function_id: str, env: Mapping[str, object], now: int) -> str | None:
        """The key of the cell that remembers the first start; ``None`` if this start is not subject to the rule."""
        text, is_false, _ = key_text(self.key, env, now)
        return None if is_false else f"{self.prefix(function_id)}{text}"

    def admit(self, key: str, cell: Cell | None, run_id: str, now: int) -> Accept | Skip:
        """May ``run_id`` start? ``key`` is what ``cell()`` said, ``cell`` what is stored there."""
        if cell is not None and cell.expires_at > now:
            return Skip(OutcomeKind.IDEMPOTENT, _SAME_KEY if key.split("/", 2)[2] else _NO_KEY, cell.value)
        return Accept(Cell(key=key, value=run_id, expires_at=now + _WINDOW_MS))
