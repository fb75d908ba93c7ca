"""How a store answers those who wait, in event loops of their own or in the one where it works."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, NamedTuple


class Outcome(NamedTuple):
    """What became of a work: its result, or the exception for whoever asked for it."""

    result: Any
    error: BaseException | None = None


Answer = tuple[asyncio.Future[Any], Outcome]


def deliver(answers: Iterable[Answer]) -> None:
    """Resolve futures, in one callback for each other loop that waits. A loop that is gone waits for nothing."""
    here = running_loop()
    by_loop: dict[asyncio.AbstractEventLoop, list[Answer]] = {}
    for answer in answers:
        by_loop.setdefault(answer[0].get_loop(), []).append(answer)
    for loop, part in by_loop.items():
        if loop is here:
            resolve(part)
            continue
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(resolve, part)


def resolve(answers: list[Answer]) -> None:
    """Give futures their results. One whose asker has gone away is left alone: what was written stays written."""
    for future, (result, error) in answers:
        if future.done():
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The one that runs in this thread, if one does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
