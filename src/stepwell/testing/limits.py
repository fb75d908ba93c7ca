"""Which limits hold at present, as the store tells of the functions: they change while runs wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from stepwell.errors import ConfigurationError
from stepwell.flow import Concurrency, RunConcurrency
from stepwell.model.function import Function
from stepwell.protocol.config import parse_function

_STAMP: Final = "SELECT max(stamp) FROM functions"
_FUNCTIONS: Final = "SELECT id, app_id, config, version FROM functions ORDER BY id"


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

    def of(self, key: str, function_id: str) -> int | None:
        """Up to how many of this key there may be for a run of this function to begin; ``None`` if nothing says it."""
        for prefix, limit in self._of.get(function_id, {}).items():
            if key.startswith(prefix) if prefix.endswith("/") else key == prefix:
                return limit
        return None

    def most(self, key: str) -> int | None:
        """The same for whichever function may have most: some share a key, each with a limit of its own."""
        found = [limit for function_id in self._of if (limit := self.of(key, function_id)) is not None]
        return max(found, default=None)


def _limits(app_id: str, config: bytes, version: int) -> dict[str, int]:
    try:
        function: Function = parse_function(config, app_id, version=version)
    except ConfigurationError:
        return {}
    kinds = (Concurrency, RunConcurrency)
    limits = [control for control in function.controls if isinstance(control, kinds) and control.limit]
    return {control.prefix(function.id): control.limit for control in limits}
