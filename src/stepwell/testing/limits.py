"""Which limits hold at present, as the store tells of the functions: they change while runs wait."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from stepwell.errors import ConfigurationError
from stepwell.flow import Concurrency, RunConcurrency
from stepwell.model.function import Function
from stepwell.protocol.config import parse_function

_RUNS: Final = "run/"  # what the keys of limits of runs begin with
_STAMP: Final = "SELECT max(stamp) FROM functions"
_FUNCTIONS: Final = "SELECT id, app_id, config, version FROM functions ORDER BY id"
_HOLDERS: Final = """
  SELECT DISTINCT r.function_id, r.slots, r.locks FROM slots AS s JOIN runs AS r ON r.shard = s.shard
    AND r.id = CASE WHEN s.holder LIKE 'run:%' THEN substr(s.holder, 5) ELSE substr(s.holder, 1, 26) END
  WHERE s.key = ?"""


class Limits:
    """The limits of steps and of runs under way of all functions. ``look`` again after each commit."""

    def __init__(self, ask: Callable[..., list[Any]]) -> None:
        self._ask = ask
        self._stamp: int | None = None
        self._of: dict[str, dict[str, int]] = {}  # by function, then by what the keys of one limit begin with

    def __bool__(self) -> bool:
        return any(self._of.values())

    def look(self) -> None:
        """See whether functions have changed."""
        ((stamp,),) = self._ask(_STAMP)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        self._of = {id: _limits(*more) for id, *more in self._ask(_FUNCTIONS)}

    def of(self, key: str, function_id: str, keys: Sequence[str] = ()) -> int | None:
        """Up to how many of this key there may be for a run of this function to begin; ``None`` if nothing says it.

        A run keeps the ``keys`` that it was given when it was created. Those that no limit makes any more go with the
        limits that make none of them, one by one: of these the expression has changed.
        """
        limits = self._of.get(function_id, {})
        for prefix, limit in limits.items():
            if _makes(prefix, key):
                return limit
        kind = key.startswith(_RUNS)
        old = [each for each in keys if each.startswith(_RUNS) == kind and not any(_makes(one, each) for one in limits)]
        free = [
            limit
            for prefix, limit in limits.items()
            if prefix.startswith(_RUNS) == kind and not any(_makes(prefix, each) for each in keys)
        ]
        return dict(zip(old, free, strict=False)).get(key)

    def most(self, key: str) -> int | None:
        """The same for whichever function may have most: some share a key, each with a limit of its own."""
        found = [limit for function_id in self._of if (limit := self.of(key, function_id)) is not None]
        return max(found) if found else self._of_holders(key)

    def _of_holders(self, key: str) -> int | None:
        """The same for a key that no limit makes any more, but that runs were given; ``None`` if one has no limit."""
        found = [
            self.of(key, function_id, keys_of(slots, locks)) for function_id, slots, locks in self._ask(_HOLDERS, key)
        ]
        return None if None in found else max((limit for limit in found if limit is not None), default=None)


def keys_of(slots: str | None, locks: str | None) -> list[str]:
    """The keys of limits that a run was given, as its row has them."""
    found = [*msgspec.json.decode(slots or "[]", type=list[str]), *msgspec.json.decode(locks or "[]", type=list[str])]
    return [key for key in found if not key.startswith("singleton/")]


def _makes(prefix: str, key: str) -> bool:
    return key.startswith(prefix) if prefix.endswith("/") else key == prefix


def _limits(app_id: str, config: bytes, version: int) -> dict[str, int]:
    try:
        function: Function = parse_function(config, app_id, version=version)
    except ConfigurationError:
        return {}
    kinds = (Concurrency, RunConcurrency)
    limits = [control for control in function.controls if isinstance(control, kinds) and control.limit]
    return {control.prefix(function.id): control.limit for control in limits}
