"""Standing orders: what operators have decided for a function, an app, or all there is, until they take it back."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

import msgspec

from stepwell.model.pause import Pause

EVERYTHING: Final = ""


class StandingKind(StrEnum):
    ARCHIVE = "archive"  # as if the app did not list it: no trigger of it matches (semantics §9.6)
    DRAIN = "drain"  # nothing new begins, and what there is goes on to its end (semantics §9.9)
    PAUSE = "pause"  # of an app: of all its functions; that of one function is in its own row (ADR 0025)


class StandingOrder(msgspec.Struct, frozen=True, kw_only=True):
    """One decision: ``since`` this moment, in milliseconds, and the ``reason`` for people who ask why.

    ``target`` is what ``of_function()`` or ``of_app()`` say, or ``EVERYTHING``. ``pause`` has the choices of a pause.
    """

    kind: str
    target: str
    since: int
    reason: str = ""
    pause: Pause | None = None

    @property
    def about(self) -> str:
        """What it is about, in words."""
        kind, _, name = self.target.partition("/")
        return f"the {kind} {name}" if name else "everything"

    @property
    def argument(self) -> str:
        """How commands name what it is about."""
        kind, _, name = self.target.partition("/")
        return "--all" if not name else f"--app {name}" if kind == "app" else name


def of_function(function_id: str) -> str:
    """The target of an order about one function."""
    return f"function/{function_id}"


def of_app(app_id: str) -> str:
    """The target of an order about all functions of an app, also those that it gets later."""
    return f"app/{app_id}"


class Orders:
    """All standing orders, ready to be asked. That of a function goes before that of its app, and that before one of
    everything."""

    def __init__(self, orders: Iterable[StandingOrder] = ()) -> None:
        self._orders = {(order.kind, order.target): order for order in orders}

    def find(self, kind: StandingKind, function_id: str, app_id: str) -> StandingOrder | None:
        """The nearest order of this kind about this function."""
        for target in (of_function(function_id), of_app(app_id), EVERYTHING):
            found = self._orders.get((kind, target))
            if found is not None:
                return found
        return None
