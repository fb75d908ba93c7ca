"""Says in the log which code holds the event loop, while it does (design D23).

As long as ``async`` code computes or blocks, nothing else of its process moves: no other call, no timer, no answer to a
request, no extension of a lease.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import sysconfig
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Final

from stepwell.clock import monotonic_s
from stepwell.runtime.logs import log

_BEAT_S: Final = 0.5
_HELD_S: Final = 1.0
_NOT_THE_USERS: Final = (str(Path(__file__).parents[1]), *(sysconfig.get_path(name) for name in ("stdlib", "purelib")))


class StallWatch:
    """A thread that asks whether the event loop still turns. Start and stop it in the thread of the loop.

    ``doing`` tells from a frame of that thread what is going on, in words for the log.
    """

    def __init__(
        self, doing: Callable[[FrameType], str | None], *, monotonic: Callable[[], float] = monotonic_s
    ) -> None:
        self._doing = doing
        self._monotonic = monotonic
        self._beaten = self._told = 0.0
        self._loop_thread = 0
        self._over: threading.Event | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to watch the loop that runs here."""
        self._loop_thread = threading.get_ident()
        self._over = over = threading.Event()
        self._beat()
        threading.Thread(target=self._run, args=(over,), name="stepwell-stalls", daemon=True).start()

    def stop(self) -> None:
        """Watch no more."""
        if self._over is not None:
            self._over.set()
        if self._timer is not None:
            self._timer.cancel()

    def look(self) -> None:
        """Tell if the loop has not turned for long; once for each time that it is held."""
        beaten = self._beaten
        held = self._monotonic() - beaten
        if held < _HELD_S or beaten == self._told:
            return
        frame = _frame(self._loop_thread)
        if frame is None:
            return
        self._told = beaten
        log.warning(
            "the event loop is held up and nothing else moves; in a plain 'def' this code would get a thread",
            held_s=round(held, 1),
            at=_place(frame),
            doing=self._doing(frame),
        )

    def _beat(self) -> None:
        self._beaten = self._monotonic()
        self._timer = asyncio.get_running_loop().call_later(_BEAT_S, self._beat)

    def _run(self, over: threading.Event) -> None:
        while not over.wait(_BEAT_S):
            self.look()


def _frame(thread: int) -> FrameType | None:
    """What a thread executes.

    The interpreter holds a lock of its own while it makes a list of that. Up to Python 3.11 it may collect garbage
    meanwhile, whose finalizers wait for the same lock, and the whole process stands still for ever (CPython issue
    106883): so it is not to collect any.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        return sys._current_frames().get(thread)  # pyright: ignore[reportPrivateUsage]
    finally:
        if collects:
            gc.enable()


def _place(frame: FrameType) -> str:
    """The innermost line that is the user's own, else the innermost."""
    own: FrameType | None = frame
    while own is not None and own.f_code.co_filename.startswith(_NOT_THE_USERS):
        own = own.f_back
    shown = own or frame
    return f"{shown.f_code.co_filename}:{shown.f_lineno} in {shown.f_code.co_qualname}"
