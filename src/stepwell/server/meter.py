"""What an answer costs: the time for which its thread works on it, without that for which it waits."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any, Final, TypeVar

from stepwell.clock import worked_s

T = TypeVar("T")
_MS: Final = 1_000


class Meter:
    """``ms`` is for how long this thread has worked on what somebody awaits from ``of``. What happens meanwhile is not
    counted, be it in other tasks of the same loop, other threads or other processes."""

    def __init__(self) -> None:
        self.ms = 0.0

    @coroutine
    def of(self, work: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
        """Do the work. Raises what that raises."""
        step: Callable[[Any], Any] = work.send
        given: Any = None
        while True:
            began_s = worked_s()
            try:
                waits_for = step(given)
            except StopIteration as end:
                found: T = end.value
                return found
            finally:
                self.ms += (worked_s() - began_s) * _MS
            try:
                given = yield waits_for
                step = work.send
            except BaseException as error:  # such as that it is to end: the work is told, and says what becomes of it
                step, given = work.throw, error
