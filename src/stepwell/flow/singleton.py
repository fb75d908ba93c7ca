"""At most one run per key, from its creation to its end (semantics §7.10)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal, cast

import msgspec

from stepwell.errors import ConfigurationError
from stepwell.flow.keys import check_key, key_text, owner
from stepwell.flow.options import key_of, members
from stepwell.flow.verdicts import Accept, Replace, Skip
from stepwell.model.history import OutcomeKind

MODES: Final = ("skip", "cancel")


class Singleton(msgspec.Struct, frozen=True):
    """Let at most one run exist at a time for each value of ``key``, an expression over ``event``, or at all.

    It counts from its creation to its end, so also while it sleeps, waits or is retried. A start beside it is dropped
    and recorded (``mode="skip"``), or cancels it and takes its place (``"cancel"``). Raises ``ConfigurationError``.
    """

    keyword: ClassVar[str] = "singleton"

    mode: Literal["skip", "cancel"]
    key: str | None = None

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ConfigurationError(
                what=f"the mode of singleton is {self.mode!r:.40}",
                why="a second run is dropped, or cancels the first",
                fix='write mode="skip" or mode="cancel"',
            )
        if self.key is not None:
            check_key(self.keyword, self.key)

    @classmethod
    def read(cls, value: object) -> Singleton:
        """From the wire (protocol §4.5)."""
        fields = members(cls.keyword, value)
        return cls(cast('Literal["skip", "cancel"]', fields.get("mode")), key_of(fields))

    def config(self) -> dict[str, Any]:
        """As the wire has it."""
        return {"mode": self.mode} if self.key is None else {"mode": self.mode, "key": self.key}

    def prefix(self, function_id: str) -> str:
        """What its keys begin with."""
        return f"singleton/{owner(function_id)}/"

    def lock(self, function_id: str, env: Mapping[str, object], now: int) -> str | None:
        """The key of the slot that the one run holds; ``None`` if this start is not subject to the rule:
        the key is ``false`` for it, missing, or fails (semantics §3.4)."""
        if self.key is None:
            return self.prefix(function_id)
        text, is_false, absent = key_text(self.key, env, now)
        return None if is_false or absent else f"{self.prefix(function_id)}{text}"

    def admit(self, holder: str | None) -> Accept | Skip | Replace:
        """May another run start beside ``holder``, the id of the run that there is?"""
        if holder is None:
            return Accept()
        if self.mode == "cancel":
            return Replace(holder, self.keyword)
        return Skip(OutcomeKind.SINGLETON, "a run with this singleton key has not ended", holder)
