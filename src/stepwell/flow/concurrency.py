"""At most so many steps executing at the same moment (semantics §7.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from stepwell.flow.limit import check_limit, limit_config, read_limit, slot_key, slot_prefix
from stepwell.flow.verdicts import Blocked, Go


class Concurrency(msgspec.Struct, frozen=True):
    """Let at most ``limit`` calls be in flight. Runs that sleep, wait or back off are not among them.

    ``key``, an expression over ``event``, gives each of its values a limit of its own. ``scope`` says who shares them:
    this function (``"fn"``), or all functions of the environment or account whose key has the same value. A ``limit``
    of 0 is no limit. Raises ``ConfigurationError``.
    """

    keyword: ClassVar[str] = "concurrency"

    limit: int
    key: str | None = None
    scope: str = "fn"

    def __post_init__(self) -> None:
        check_limit(self.keyword, "steps that may execute at the same moment", self.limit, self.key, self.scope)

    @classmethod
    def read(cls, value: object) -> Concurrency:
        """One limit from the wire (protocol §4.5): a number or an object."""
        return cls(*read_limit(cls.keyword, value))

    def config(self) -> dict[str, Any]:
        """As the wire has it."""
        return limit_config(self.limit, self.key, self.scope)

    def prefix(self, function_id: str) -> str:
        """What its keys begin with."""
        return slot_prefix(self.key, self.scope, function_id)

    def slot(self, function_id: str, env: Mapping[str, object], now: int) -> str | None:
        """The key of the slots that a run started by this event competes for; ``None`` if nothing limits it.

        Evaluated once, when the run is created (semantics §3.5). All events for which the key is missing or fails share
        the slots of one key; ``false`` is a key like any other here (semantics §3.4).
        """
        return slot_key(self.limit, self.key, self.scope, function_id, env, now)

    def grant(self, used: int) -> Go | Blocked:
        """May one more call go out while ``used`` slots of the key are taken?"""
        return Go() if self.limit == 0 or used < self.limit else Blocked()
