"""Has what was logged kept while the code that says it goes on: for people who look what it is doing (ADR 0053)."""

from __future__ import annotations

import asyncio
from asyncio import Task, TimerHandle
from collections.abc import Sequence
from contextlib import suppress
from contextvars import Context
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from stepwell.limits import LOG_PAUSE
from stepwell.model.log import Said
from stepwell.sdk.lines import Speaker, take_lines

if TYPE_CHECKING:
    from stepwell.sdk.drive import AsyncDrive

_PAUSE_S: Final = LOG_PAUSE.total_seconds()
_OLD_MS: Final = LOG_PAUSE // timedelta(milliseconds=1) * 9 // 10  # timers and clocks differ by a little


class Teller:
    """What one call says before it has something to report. A body that is over soon costs a timer, and no more.

    The call is passed to it, not held: the two would be a cycle, which only the collector of garbage ends.
    """

    __slots__ = ("_closed", "_listens", "_loop", "_task", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._closed = False
        self._listens = False  # a timer runs, or is about to
        self._timer: TimerHandle | None = None
        self._task: Task[None] | None = None

    def hear(self, drive: AsyncDrive) -> None:
        """Something was logged, perhaps in a thread."""
        if self._listens or self._closed:
            return
        self._listens = True
        if asyncio._get_running_loop() is self._loop:
            self._listen(drive)
            return
        with suppress(RuntimeError):  # the loop is closed: a thread works on although its call is long over
            self._loop.call_soon_threadsafe(self._listen, drive)

    async def over(self) -> None:
        """What is being told is kept: after the end of the call it could not be."""
        while self._task is not None:
            await asyncio.wait({self._task})

    def close(self) -> None:
        """The call is over: the rest goes with its answer."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    def drop(self) -> None:
        """Nobody is to wait for what is being told."""
        if self._task is not None:
            self._task.cancel()

    def _listen(self, drive: AsyncDrive) -> None:
        if not self._closed:
            # Not in the context of who logged: what others say while this is written is not said by the function.
            self._timer = self._loop.call_later(_PAUSE_S, self._tell, drive, context=Context())

    def _tell(self, drive: AsyncDrive) -> None:
        self._timer = None
        said = _said(drive) if self._task is None else ()
        if said:
            self._task = self._loop.create_task(drive.tell(said))
            self._task.add_done_callback(self._told)
        self._listens = False
        if _since(drive) is not None or any(_since(each) is not None for each in drive.speakers):
            self.hear(drive)

    def _told(self, _: Task[None]) -> None:
        self._task = None


def _said(drive: AsyncDrive) -> Sequence[Said]:
    """What was logged long enough ago. The function's own code comes before the bodies, which it has begun."""
    now = drive.clock.now_ms()
    bodies = [each for each in drive.speakers if _is_old(each, now)]
    if not bodies and not _is_old(drive, now):
        return ()
    own = take_lines(drive)
    said = [] if own is None else [Said(own)]
    for each in bodies:
        logs = take_lines(each)
        if logs is not None:
            said.append(Said(logs, each.step.id, each.step.name, each.attempt))
    return said


def _since(speaker: Speaker) -> int | None:
    return speaker.lines.since if speaker.lines is not None else None


def _is_old(speaker: Speaker, now: int) -> bool:
    """Whether its first line that was not told yet was logged a pause ago, or later than now: the clock was set."""
    since = _since(speaker)
    return since is not None and not 0 <= now - since < _OLD_MS
