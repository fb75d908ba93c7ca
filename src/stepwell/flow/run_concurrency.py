"""At most so many runs between their first call and their end (semantics §7.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from stepwell.flow.limit import check_limit, limit_config, read_limit, slot_key, slot_prefix
from stepwell.flow.verdicts import Blocked, Go


class RunConcurrency(msgspec.Struct, frozen=True):
    """Let at most ``limit`` runs be under way: from their first call to their end, also while they sleep or wait.

    ``key`` and ``scope`` are those of ``Concurrency``. A ``limit`` of 0 is no limit. Raises ``ConfigurationError``.
    """

    keyword: ClassVar[str] = "run_concurrency"

    limit: int
    key: str | None = None
    scope: str = "fn"

    def __post_init__(self) -> None:
        check_limit(self.keyword, "runs that may be under way at the same moment", self.limit, self.key, self.scope)

    @classmethod
    def read(cls, value: object) -> RunConcurrency:
        """One limit from the wire (protocol §4.5): a number or an object."""
        return cls(*read_limit("concurrency", value))

    def config(self) -> dict[str, Any]:
        """As the wire has it."""
        return limit_config(self.limit, self.key, self.scope)

    def prefix(self, function_id: str) -> str:
        """What its keys begin with."""
        return f"run/{slot_prefix(self.key, self.scope, function_id)}"

    def place(self, function_id: str, env: Mapping[str, object], now: int) -> str | None:
        """The key of the places that a run started by this event competes for; ``None`` if nothing limits it.

        Evaluated once, when the run is created (semantics §3.5).
        """
        key = slot_key(self.limit, self.key, self.scope, function_id, env, now)
        return None if key is None else f"run/{key}"

    def grant(self, used: int) -> Go | Blocked:
        """May one more run begin while ``used`` places of the key are taken?"""
        return Go() if self.limit == 0 or used < self.limit else Blocked()
