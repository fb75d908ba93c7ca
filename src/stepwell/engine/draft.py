"""A decision while it is being worked out.

The questions of a plan see the store as it was before the plan, so whatever the plan has decided itself and may look
at again (a key it has just used, a run it has just ended) is kept here as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from stepwell.engine.leased import Leased
from stepwell.engine.registry import Registry
from stepwell.flow.limit import is_shared
from stepwell.model.changes import Change, Decision, Release, ReleaseShared, SaveEvent
from stepwell.model.event import Event
from stepwell.model.history import Cell
from stepwell.model.item import Lease
from stepwell.model.place import place_of
from stepwell.model.run import Run
from stepwell.model.settings import Settings
from stepwell.model.step import Step
from stepwell.model.wait import Wait

_USUAL: Final = Settings()


class Moment(msgspec.Struct, frozen=True):
    """What a decision needs from outside: the time in milliseconds, new ids by their place, chance in [0, 1), what is
    set."""

    now: int
    new_id: Callable[[int], str]
    chance: float = 0.0
    settings: Settings = _USUAL


class Outcome(msgspec.Struct, frozen=True):
    """What the asker of a decision gets once it is durable.

    ``leased`` are runs that were born leased or claimed, to be called now. ``touched`` are runs whose steps were
    settled, so that a call of them that is alive can go on. ``ended`` are runs that are over: a call of them that is
    alive must begin nothing more. ``wake`` is the earliest moment at which the decision made something due.
    ``ready`` says whether runs wait for room in a process, if the decision knows. ``pressure`` are the queues of which
    nothing is to begin before a moment, from now on; ``pressing`` is false if it has found that there are none.
    """

    value: Any = None
    leased: tuple[Leased, ...] = ()
    touched: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()
    wake: int | None = None
    ready: bool | None = None
    pressure: Mapping[str, int] = {}
    pressing: bool | None = None


class Ending(msgspec.Struct, frozen=True):
    """A run that this decision ends, which the rest of the world may want to hear about.

    A ``quiet`` one is not told of. ``deferred`` is false if nothing was put off until its end, as far as is known.
    """

    run: Run
    event: Event
    status: str
    output: bytes | None
    quiet: bool = False
    deferred: bool = True


class Draft:
    """Collects changes, and remembers what the same plan must see of them.

    ``one_shard`` says that all there is lies together: a first question holds all of it, and each event is where its
    runs are (ADR 0043).
    ``counted`` is how many slots of a key were in use before it, where that was asked.
    ``held`` are the events that it holds back.
    ``locks`` are the keys that runs it creates hold alone, or that it frees, with the run.
    ``freed`` are the backlogs of which it lets somebody go because there is room for them.
    ``places`` are those that it has asked to hold, and ``all_held`` whether that is all there is.
    ``released`` is how many items it lets go of a backlog that goes as a whole.
    ``put_off`` is what it says of functions that runs put off until their end, by run and step.
    ``who`` is the person who acts, as the audit log calls them, if one does.
    ``guarded`` are the runs it creates that events can cancel; ``listeners`` are what they listen for, by event name,
    path and value, so that a large request costs no more than its size.
    """

    def __init__(
        self,
        registry: Registry,
        moment: Moment,
        *,
        take_lease: Callable[[str], int | None] | None = None,
        is_full: Callable[[str], bool] | None = None,
        presses: Callable[[], None] | None = None,
        until: int = 0,
        one_shard: bool = False,
        who: str = "",
    ) -> None:
        self.registry = registry
        self.moment = moment
        self.now = moment.now
        self.until = until
        self.one_shard = one_shard
        self.who = who
        self.changes: list[Change] = []
        self.leased: list[Leased] = []
        self.touched: list[str] = []
        self.cells: dict[str, Cell] = {}
        self.slots: dict[str, int] = {}
        self.counted: dict[str, int] = {}
        self.held: dict[str, Event] = {}
        self.locks: dict[str, str | None] = {}
        self.ended: set[str] = set()
        self.freed: set[str] = set()
        self.endings: list[Ending] = []
        self.put_off: dict[str, dict[str, Step]] = {}
        self.guarded: dict[str, tuple[Run, Event]] = {}
        self.listeners: dict[str, dict[str, dict[str, list[Wait]]]] = {}
        self.wake: int | None = None
        self.ready: bool | None = None
        self.pressure: dict[str, int] = {}
        self.pressing: bool | None = None
        self.places: set[int] = set()
        self.all_held = one_shard
        self.released = 0
        self._is_full = is_full
        self._presses = presses
        self._take_lease = take_lease

    def add(self, *changes: Change) -> None:
        self.changes += changes

    def copy(self, event: Event, place: int, *, kept: bool = False) -> None:
        """The event is needed at this place by a run, too. It is ``kept`` if it may be that no run refers to it where
        it came from, so that it is forgotten there."""
        if not self.one_shard and (kept or place_of(event.id) != place):
            self.add(SaveEvent(event, place))

    def due(self, at: int | None) -> None:
        """Something will be due at this moment."""
        if at is not None and (self.wake is None or at < self.wake):
            self.wake = at

    def listen(self, wait: Wait) -> None:
        """A run that this plan creates can be cancelled by an event, perhaps by one that this plan brings."""
        self.listeners.setdefault(wait.event_name, {}).setdefault(wait.path, {}).setdefault(wait.value, []).append(wait)

    def take(self, slots: Sequence[str], count: int) -> None:
        """This plan takes so many slots of each key, or gives them back if negative."""
        for slot in slots:
            self.slots[slot] = self.slots.get(slot, 0) + count

    def take_lease(self, function_id: str) -> int | None:
        """A token if the process that asks serves the function and has room for one more call right now."""
        return self._take_lease(function_id) if self._take_lease else None

    def is_full(self, function_id: str) -> bool:
        """Whether the process that asks serves the function and has no room for one more call."""
        return self._is_full is not None and self._is_full(function_id)

    def room(self, backlog: str, count: int, place: int, function_id: str | None = None) -> Release | ReleaseShared:
        """The change that lets ``count`` of this backlog go. Who waits there may be one of them from now on.

        If functions share it, so many of each: their limits are their own. Or of the one ``function_id`` (ADR 0032).
        """
        self.freed.add(backlog)
        self.due(self.now)
        if is_shared(backlog):
            return ReleaseShared(backlog, self.now, count, place, function_id)
        return Release(backlog, self.now, count, place)

    def press(self, queue: str, until: int) -> None:
        """Nothing of this queue is to begin before that moment. The process is told at once: its next claim may be
        decided before it hears of this decision."""
        self.pressure[queue] = until
        if self._presses is not None:
            self._presses()

    def decision(self, value: Any = None, *, holds: Lease | None = None) -> Decision:
        # A run that the same decision has leased and then ended is not called (I18): the end has undone the lease.
        leased = [one for one in self.leased if one.run.id not in self.ended] if self.ended else self.leased
        return Decision(
            changes=tuple(self.changes),
            holds=holds,
            result=Outcome(
                value,
                tuple(leased),
                tuple(self.touched),
                tuple(sorted(self.ended)),
                self.wake,
                self.ready,
                self.pressure,
                self.pressing,
            ),
        )
