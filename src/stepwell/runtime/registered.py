"""The functions that are registered, as the store tells of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence
from typing import Any

import msgspec

from stepwell.engine.registry import Registry, under_orders
from stepwell.errors import ConfigurationError
from stepwell.model.function import Function
from stepwell.model.questions import (
    ListApps,
    ListFunctions,
    ListStandingOrders,
    Question,
    RegistryStamp,
    StoredFunction,
    ask,
)
from stepwell.model.standing import Orders, StandingKind
from stepwell.protocol.config import parse_function
from stepwell.runtime.logs import log

Read = Callable[[Question[Any]], Awaitable[Any]]


async def load(read: Read) -> tuple[Registry, int]:
    """All functions, and the stamp that was theirs when it was begun to read them: they may be newer than that."""
    reading, answer = look(), None
    while True:
        try:
            question = reading.send(answer)
        except StopIteration as done:
            found: tuple[Registry, int] = done.value
            return found
        answer = await read(question)


def look() -> Generator[Any, Any, tuple[Registry, int]]:
    """The same as part of a plan."""
    stamp: int = yield from ask(RegistryStamp())  # first, so that it can only be too old
    stored = yield from ask(ListFunctions(archived=True))
    served = {app.id for app in (yield from ask(ListApps()))}
    orders = Orders((yield from ask(ListStandingOrders())))
    archived = {each.id for each in stored if orders.find(StandingKind.ARCHIVE, each.id, each.app_id) is not None}
    here = [each for each in stored if each.archived_at is None and each.id not in archived]
    left = [each for each in stored if each.id in archived or (each.archived_at is not None and each.app_id in served)]
    return Registry(_readable(here, orders), _readable(left, orders)), stamp


def _readable(stored: Sequence[StoredFunction], orders: Orders) -> Iterator[Function]:
    """One function that this version refuses must not keep the others from running (invariants §1.8)."""
    for each in stored:
        try:
            function = parse_function(each.config, each.app_id, version=each.version)
        except ConfigurationError as error:
            log.error("a stored function cannot be read and is left out", function=each.id, error=str(error))
            continue
        if each.pause is not None:
            function = msgspec.structs.replace(function, pause=each.pause)
        yield under_orders(function, orders)
