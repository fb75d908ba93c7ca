"""Finds the tasks that the code of a call has begun, also those that have not come to a step yet."""

from __future__ import annotations

import asyncio
import gc
from asyncio import Task
from contextvars import Context, ContextVar
from typing import Any, Final

from stepwell.sdk.execution import RUNNING

_FAMILY: Final[ContextVar[Family | None]] = ContextVar("stepwell_family", default=None)


class Family:
    """The tasks of one call. Each inherits the context of the one that began it, and there it is that they are found.

    Looking costs time for every task of the loop, so it is done where there is a reason to, and nothing is done before.
    """

    __slots__ = ("_loop", "_outer")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._outer = RUNNING.get()

    def begin(self) -> None:
        """The present task is the first of them."""
        _FAMILY.set(self)

    def count(self) -> int:
        """How many there are that have not ended, but for those of step bodies, where no step can begin."""
        return sum(self._is_mine(task) for task in asyncio.all_tasks(self._loop))

    def _is_mine(self, task: Task[Any]) -> bool:
        context = _context(task)
        # Of a task that does not tell nothing can be said: it may be one.
        return context is None or (context.get(_FAMILY) is self and context.get(RUNNING) is self._outer)


def _context(task: Any) -> Context | None:
    if hasattr(task, "get_context"):  # since Python 3.12
        found: Context = task.get_context()
        return found
    known: list[object] = gc.get_referents(task)
    return next((one for one in known if isinstance(one, Context)), None)
