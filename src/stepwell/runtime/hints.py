"""Hints: tells whoever looks at something that it has changed, so that they look again (invariants §1.6).

Nobody relies on a hint: it says no more than where to look. While nobody looks, nothing here is called. While somebody
does, each change that was written costs one look into a table, and what changed within a moment is told at once.

All are told at the same moment, so that those who look at the same can share an answer. How soon there is another such
moment depends on what the looks have cost: they get a small part of the time, however many they are.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from stepwell.clock import Clock
from stepwell.errors import LimitExceeded, NotRunning
from stepwell.limits import HINT_SUBSCRIBERS_MAX, HINT_TOPICS_MAX
from stepwell.model import changes as c
from stepwell.model.changes import Change
from stepwell.runtime.loop import Timers

RUNS: Final = "runs"
EVENTS: Final = "events"
FUNCTIONS: Final = "functions"
AUDIT: Final = "audit"
USERS: Final = "users"
SESSIONS: Final = "sessions"
QUEUE: Final = "queue"
ORDERS: Final = "orders"

_TOGETHER_MS: Final = 40  # what changes within this time is told at once
_PACE_MS: Final = 150  # between two moments of telling: what comes in between is seen in time (300 ms) all the same
_REST: Final = 10  # times as long as this process worked for those who looked: less than a tenth of the time is theirs
_DEAR_MS: Final = 12  # who looks at something dearer rests alone, and does not hold the others up


def run_topic(run_id: str) -> str:
    return f"run:{run_id}"


def event_topic(event_id: str) -> str:
    return f"event:{event_id}"


Topics = Callable[[Any], Iterable[str]]


def _of_run(change: Any) -> Iterable[str]:
    return (run_topic(change.run_id),)


def _of_functions(change: Any) -> Iterable[str]:
    return (FUNCTIONS,)


def _of_queue(change: Any) -> Iterable[str]:
    return (QUEUE,)


_TOPICS: Final[Mapping[type, Topics]] = {
    c.CreateRun: lambda x: (RUNS, run_topic(x.run.id), event_topic(x.run.event_id)),
    c.StartRun: lambda x: (RUNS, run_topic(x.run_id)),
    c.FinishRun: lambda x: (RUNS, run_topic(x.run_id)),
    c.SaveStep: lambda x: (run_topic(x.step.run_id),),
    c.SettleStep: _of_run,
    c.SaveAttempt: lambda x: (run_topic(x.attempt.run_id),),
    c.SaveNote: lambda x: (run_topic(x.note.run_id),),
    c.SaveMetadata: lambda x: (run_topic(x.metadata.run_id),),
    c.SaveLogs: lambda x: (run_topic(x.logged.run_id),),
    c.OpenWait: lambda x: (run_topic(x.wait.run_id),),
    c.SaveEvent: lambda x: (EVENTS, event_topic(x.event.id)),
    c.SaveOutcome: lambda x: (EVENTS, event_topic(x.outcome.event_id)),
    c.SaveFunction: _of_functions,
    c.ArchiveFunction: _of_functions,
    c.PauseFunction: _of_functions,
    c.GiveOrder: _of_functions,
    c.WithdrawOrder: _of_functions,
    c.SaveOrder: lambda x: (ORDERS,),
    c.DropOrder: lambda x: (ORDERS,),
    c.SaveAudit: lambda x: (AUDIT,),
    c.SaveUser: lambda x: (USERS,),
    c.DropUser: lambda x: (USERS,),
    c.BeginSession: lambda x: (SESSIONS,),
    c.EndSession: lambda x: (SESSIONS,),
    c.EndSessions: lambda x: (SESSIONS,),
    c.Enqueue: _of_queue,
    c.Schedule: _of_queue,
    c.Park: _of_queue,
    c.Block: _of_queue,
    c.Grant: _of_queue,
    c.Postpone: _of_queue,
    c.Wake: _of_queue,
    c.Drop: _of_queue,
    c.DropRunItems: _of_queue,
    c.Release: _of_queue,
    c.ReleaseShared: _of_queue,
    c.ReleaseItem: _of_queue,
    c.LapseLeases: _of_queue,
    c.PutCell: _of_queue,
    c.TakeSlots: _of_queue,
    c.FreeSlots: _of_queue,
}
"""What each change is about. A change that is not here changes nothing that is shown."""


class Looking:
    """Somebody who looks at these topics. ``close`` ends it, from either side."""

    def __init__(self, topics: frozenset[str], forget: Callable[[Looking], None]) -> None:
        self.topics = topics
        self._forget = forget
        self._changed: set[str] = set()
        self._woken = asyncio.Event()
        self._closed = False

    def tell(self, changed: Iterable[str]) -> None:
        """Something of this has changed. Who is slow is told once of all that has changed meanwhile."""
        self._changed |= self.topics.intersection(changed)
        if self._changed:
            self._woken.set()

    async def next(self) -> list[str] | None:
        """The topics that have changed since the last answer, once there are any; ``None`` when it is over."""
        await self._woken.wait()
        if self._closed:
            return None
        self._woken.clear()
        changed, self._changed = sorted(self._changed), set()
        return changed

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._woken.set()
            self._forget(self)


class Hints:
    """Who looks at what, in this process. ``observers`` are shown what is written; ``look`` wakes whoever finds out
    what other processes have written."""

    def __init__(
        self,
        observers: list[Callable[[Sequence[Change]], None]],
        clock: Clock,
        timers: Timers,
        look: Callable[[], None],
    ) -> None:
        self._observers = observers
        self._clock = clock
        self._timers = timers
        self._look = look
        self._looking: dict[Looking, None] = {}
        self._wanted: Counter[str] = Counter()
        self._changed: set[str] = set()
        self._told = 0
        self._spent_ms = 0.0
        self._waiting = False
        self._due = 0
        self._closed = False

    @property
    def wanted(self) -> bool:
        """Whether anybody looks."""
        return bool(self._looking)

    def look(self, topics: Iterable[str]) -> Looking:
        """Be told when something of this changes. Raises ``LimitExceeded`` and ``NotRunning``."""
        if self._closed:
            raise NotRunning("this process is shutting down", "it tells nobody any more what changes", "connect again")
        found = frozenset(topics)
        if len(found) > HINT_TOPICS_MAX:
            why = f"one page looks at {HINT_TOPICS_MAX} at most"
            raise LimitExceeded(f"these are {len(found)} topics", why, "open several pages")
        if len(self._looking) >= HINT_SUBSCRIBERS_MAX:
            raise LimitExceeded(
                f"{len(self._looking):,} pages look at this process",
                "each has a connection",
                "close those that are not needed, or reload this one now and then",
            )
        looking = Looking(found, self._forget)
        if not self._looking:
            self._observers.append(self._observe)
        self._looking[looking] = None
        self._wanted.update(found)
        self._look()
        return looking

    def others_wrote(self) -> None:
        """Another process has written something."""
        if self._looking:  # nothing tells what it was, so it may be anything
            self._changed.update(self._wanted)
            self._tell_at(self._clock.now_ms())

    def spent(self, ms: float) -> None:
        """Somebody has looked, and this process has worked so long for it."""
        self._spent_ms += min(ms, _DEAR_MS)

    def close(self) -> None:
        """Send everybody away, and take nobody any more."""
        self._closed = True
        for looking in tuple(self._looking):
            looking.close()

    def _observe(self, changes: Sequence[Change]) -> None:
        wanted, changed = self._wanted, self._changed
        before = len(changed)
        for change in changes:
            topics = _TOPICS.get(type(change))
            if topics is not None:
                for topic in topics(change):
                    if topic in wanted:
                        changed.add(topic)
        if len(changed) > before:
            self._tell_at(self._clock.now_ms() + _TOGETHER_MS)

    def _tell_at(self, at: int) -> None:
        if not self._waiting:
            self._waiting = True
            self._told = min(self._told, self._clock.now_ms())  # a clock that was set back makes nobody wait for it
            self._due = max(at, self._rested_at)
            self._timers.call_at(self._due, self._tell)

    @property
    def _rested_at(self) -> int:
        return self._told + max(_PACE_MS, math.ceil(_REST * self._spent_ms))

    def _tell(self) -> None:
        self._waiting = False
        if self._due < self._rested_at:  # they have looked since then; not the clock is asked, which may stand still
            self._tell_at(self._due)
            return
        self._told, self._spent_ms = self._clock.now_ms(), 0.0
        changed, self._changed = self._changed, set()
        for looking in tuple(self._looking):
            looking.tell(changed)

    def _forget(self, looking: Looking) -> None:
        del self._looking[looking]
        self._wanted -= Counter(looking.topics)
        if not self._looking:
            self._observers.remove(self._observe)
