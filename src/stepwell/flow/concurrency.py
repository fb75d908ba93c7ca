"""At most so many steps executing at the same moment (semantics §7.3)."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, ClassVar, Final, cast

import msgspec

from stepwell.errors import ConfigurationError
from stepwell.flow.keys import check_key, key_text, owner
from stepwell.flow.options import key_of, members
from stepwell.flow.verdicts import Blocked, Go

SCOPES: Final = ("fn", "env", "account")


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
        if type(self.limit) is not int or self.limit < 0:
            raise ConfigurationError(
                what=f"the limit of a concurrency is {self.limit!r}",
                why="it is the number of steps that may execute at the same moment",
                fix="give a whole number of 1 or more, or leave the limit out",
            )
        if self.scope not in SCOPES:
            raise ConfigurationError(
                what=f"the scope of a concurrency is {self.scope!r}",
                why="a limit is shared within a function, an environment or an account",
                fix=f"choose one of {', '.join(map(repr, SCOPES))}",
            )
        if self.key is not None:
            check_key(self.keyword, self.key)
        elif self.scope != "fn":
            raise ConfigurationError(
                what=f"a concurrency with scope {self.scope!r} has no key",
                why="functions share a limit by the value of its key; without one nothing says what is shared",
                fix="add a key, for example key=\"'reports'\" for one limit with a name",
            )

    @classmethod
    def read(cls, value: object) -> Concurrency:
        """One limit from the wire (protocol §4.5): a number or an object."""
        fields = {"limit": value} if isinstance(value, int) else members(cls.keyword, value)
        limit, scope = fields.get("limit", 0), fields.get("scope", "fn")
        return cls(limit=cast("int", limit), key=key_of(fields), scope=cast("str", scope))

    def config(self) -> dict[str, Any]:
        """As the wire has it."""
        found: dict[str, Any] = {"limit": self.limit}
        if self.key is not None:
            found["key"] = self.key
        if self.scope != "fn":
            found["scope"] = self.scope
        return found

    def slot(self, function_id: str, env: Mapping[str, object], now: int) -> str | None:
        """The key of the slots that a run started by this event competes for; ``None`` if nothing limits it.

        Evaluated once, when the run is created (semantics §3.5). All events for which the key is missing or fails share
        the slots of one key; ``false`` is a key like any other here (semantics §3.4).
        """
        if self.limit == 0:
            return None
        if self.key is None:
            return f"fn/{owner(function_id)}"
        text, _ = key_text(self.key, env, now)
        if self.scope != "fn":
            return f"{self.scope}/{text}"
        # Two limits of one function may have the same value by chance, a user 7 and an order 7: keep them apart.
        expression = sha256(self.key.encode(errors="surrogatepass")).hexdigest()[:8]
        return f"fn/{owner(function_id)}/{expression}/{text}"

    def grant(self, used: int) -> Go | Blocked:
        """May one more call go out while ``used`` slots of the key are taken?"""
        return Go() if self.limit == 0 or used < self.limit else Blocked()
