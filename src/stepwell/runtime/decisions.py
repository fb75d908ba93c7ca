"""Decisions of an engine: each is made on the store, with what is known then, and what follows from it is done."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from stepwell.engine.draft import Draft
from stepwell.engine.draft import Outcome as Effects
from stepwell.engine.leased import Leased
from stepwell.errors import NotRunning, StorageUnavailable
from stepwell.model.changes import Change, Decision, Plan
from stepwell.model.place import EVERYWHERE
from stepwell.model.questions import Lock, RegistryStamp, ask
from stepwell.runtime.acting import current
from stepwell.runtime.registered import look
from stepwell.storage.interface import Verdict

if TYPE_CHECKING:
    from stepwell.runtime.engine import Engine

_OVERTAKEN_MAX = 3
"""So often a decision is made again side by side with all others, because functions had changed meanwhile."""


class Doubt:
    """Of which shards something may be so, until a claim has found that it is not.

    Decisions are numbered as they are made, and are heard of in any order: one that has found nothing says nothing of
    what came after it.
    """

    def __init__(self, count: int, numbers: Iterator[int]) -> None:
        self.shards: set[int] = set()
        self._numbers = numbers
        self._since = [0] * count  # the latest decision that has made it so, or could not know

    def __contains__(self, shard: int) -> bool:
        return shard in self.shards

    def arise(self, shard: int | None = None, *, number: int | None = None) -> None:
        """It may be so from now on, or from that decision on: in this shard, or in any."""
        number = next(self._numbers) if number is None else number
        for each in range(len(self._since)) if shard is None else (shard,):
            self._since[each] = max(self._since[each], number)
            self.shards.add(each)

    def settle(self, so: bool, number: int, shard: int | None) -> None:
        """A decision has found out. One that is no claim may have been in any shard, and only says that it is so."""
        if so:
            self.arise(shard)  # from now on: a claim that was made earlier may have looked before this was written
        elif shard is not None and number >= self._since[shard]:
            self.shards.discard(shard)


class _Stale(Exception):
    """Another process has registered functions that this one has not read yet: ``stamp`` is that of those it has."""

    def __init__(self, stamp: int) -> None:
        super().__init__(stamp)
        self.stamp = stamp


def shutting_down() -> NotRunning:
    return NotRunning(
        "this process is shutting down and takes no more events",
        "events it accepted now would have to wait for the next start",
        "send the event again, to another process or a little later",
    )


class Decisions:
    """Makes decisions, and keeps count of the leases that they promise: there are no more than calls may be in flight.

    ``tokens`` are those of the leases of this epoch. ``crowded`` are the shards in which runs may wait for room in a
    process; ``pressing`` those in which queues may have to be left alone, perhaps by what another process has written,
    and no claim has found since that there are none. ``late`` are leases that were granted when it was too late to
    begin.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.tokens = itertools.count(1)
        self._numbers = itertools.count(1)
        self._one_shard = engine.store.shards == 1
        self.crowded = Doubt(engine.store.shards, self._numbers)
        self.crowded.arise()
        self.pressing = Doubt(engine.store.shards, self._numbers)
        self.late: list[Leased] = []
        self._full = False  # there was no room for what is due when it was looked for last
        # Leases promised to runs that are not called yet. Plans run on the store's thread, what follows them on the
        # loop's: each counts in a number of its own, because neither may lose what the other adds.
        self._promised = 0
        self._settled = 0
        self._loading = asyncio.Lock()

    def commit(
        self,
        plan: Callable[[Draft], Plan],
        shard: int | None = None,
        place: int | None = None,
        *,
        overtaken: int = 0,
    ) -> asyncio.Future[Verdict]:
        """Run a plan, then do what it says is to be done now: call what it leased, wake what it touched. A claim says
        of which ``shard`` it is; another plan may say at which ``place`` what it decides about is. ``overtaken`` is how
        often the functions have changed while it was made.

        That follows also if whoever waits for the future gives up and cancels it: what was written was written, and the
        runs that were born in our hands are ours to call.
        """
        verdict: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        engine, asked = self._engine, self._engine.monotonic()
        taken = number = 0
        written: list[Change] = []
        act = current()
        noting = plan if act is None else act.noting(plan)

        def take_lease(function_id: str) -> int | None:
            nonlocal taken
            if not engine.leads or engine.stopping or self._full or self.pressing.shards or self.room() <= 0:
                return None
            if not engine.caller.transport.serves(function_id):
                return None
            taken += 1
            self._promised += 1
            return next(self.tokens)

        def is_full(function_id: str) -> bool:
            if not engine.leads or engine.stopping or not engine.caller.transport.serves(function_id):
                return False
            return bool(self.crowded.shards) or self.room() <= 0

        def presses() -> None:
            self.pressing.arise(number=number)

        def attempt() -> Plan:
            nonlocal number, written
            number = next(self._numbers)
            moment = engine.moment()
            unsure = engine.shared or engine.declaring > 0
            stamp = engine.stamp  # before the registry, so that it can only be too old
            registry = engine.registry
            until = moment.now + engine.lease_ms
            draft = Draft(
                registry,
                moment,
                take_lease=take_lease,
                is_full=is_full,
                presses=presses,
                until=until,
                one_shard=self._one_shard,
                who="" if act is None else act.entry.who,
            )
            written = draft.changes
            if overtaken >= _OVERTAKEN_MAX:
                return _alone(draft, noting)
            made = noting(draft)
            if place is not None and engine.store.shards > 1:
                made = _at(place, made)
            # What is put aside for a function that has been resumed would wait for ever.
            return _unless_stale(made, stamp) if unsure or registry.paused else made

        def written_down(future: asyncio.Future[Verdict]) -> None:
            self._settled += taken
            error = future.exception()
            if isinstance(error, _Stale):
                if verdict.done():
                    return  # nobody waits any more, and nothing was written: made again and again, such would pile up
                again = engine.spawn(self._commit_again(plan, shard, place, overtaken + 1, verdict, error.stamp))
                # If it is cut off, even before it begins, whoever waits hears of it.
                again.add_done_callback(lambda _: None if verdict.done() else verdict.set_exception(shutting_down()))
                return
            if error is not None:
                if isinstance(error, StorageUnavailable):
                    engine.refused = engine.clock.now_ms(), error.what
                if engine.leads:
                    self.crowded.arise()
                    engine.wake_dispatcher()  # it may have been written after all: look what is due, and when
                if not verdict.done():
                    verdict.set_exception(error)
                return
            if written:
                engine.refused = None
                if act is not None:
                    act.noted = True
            found = future.result()
            try:
                if found.held:
                    self._follow(found, asked, number, shard)
                    if engine.observers:
                        engine.tell(written)
                if taken:
                    self.make_use_of_room()  # not every lease that was promised has become a call
            finally:
                if not verdict.done():
                    verdict.set_result(found)

        engine.store.commit(attempt).add_done_callback(written_down)
        return verdict

    async def _commit_again(
        self,
        plan: Callable[[Draft], Plan],
        shard: int | None,
        place: int | None,
        overtaken: int,
        verdict: asyncio.Future[Verdict],
        stamp: int,
    ) -> None:
        """Another process had registered functions: the same with those that there are now."""
        try:
            async with self._loading:
                if self._engine.stamp == stamp:  # else another commit has read them meanwhile
                    await self._engine.load()
            found = await self.commit(plan, shard, place, overtaken=overtaken)
        except Exception as error:  # whatever it is, it is for whoever waits for the verdict
            if not verdict.done():
                verdict.set_exception(error)
        else:
            if not verdict.done():
                verdict.set_result(found)

    def look_for_room(self) -> int:
        """How many calls more there may be, for whoever asks what is due: if there is none, it is told of the next."""
        room = self.room()
        self._full = room <= 0
        return room

    def make_use_of_room(self) -> None:
        """There may be some again for what is due: look."""
        if self._full and self.room() > 0:
            self._engine.wake_dispatcher()

    def room(self) -> int:
        """How many calls more there may be."""
        return self._engine.calls_max - len(self._engine.caller.live) - (self._promised - self._settled)

    def _follow(self, verdict: Verdict, asked: float, number: int, shard: int | None) -> None:
        engine = self._engine
        outcome: Effects = verdict.result
        if outcome.leased:
            if engine.stopping:
                self.late += outcome.leased
            else:
                engine.caller.start(outcome.leased, asked)
        if outcome.ready is not None:
            # A claim, too, may have put one into another shard: what was due there started a run, or many.
            self.crowded.settle(outcome.ready, number, None if outcome.ready else shard)
            if outcome.ready:
                self._full = True  # whether there was no room, or none that was not promised to those who waited
                self.make_use_of_room()
        if outcome.pressure:
            engine.pressed.learn(outcome.pressure)
            self.pressing.arise()
        elif outcome.pressing is not None:
            self.pressing.settle(outcome.pressing, number, shard)
        for run_id in outcome.ended:
            engine.caller.lose(run_id)
        for run_id in outcome.touched:
            engine.caller.touch(run_id)
        if engine.leads and outcome.wake is not None:
            engine.wake_dispatcher(outcome.wake)


def _at(place: int, plan: Plan) -> Plan:
    """A store does works of one shard together. What it is asked first says which that is, and an event or the end of a
    run first asks who waits, anywhere."""
    yield from ask(Lock((place,)))
    return (yield from plan)


def _alone(draft: Draft, plan: Callable[[Draft], Plan]) -> Plan:
    """With the functions as they are, and nobody who could change them meanwhile: it comes to its end, however often
    they change."""
    yield from ask(Lock((EVERYWHERE,)))
    draft.registry, _ = yield from look()
    return (yield from plan(draft))


def _unless_stale(plan: Plan, stamp: int) -> Plan:
    """What an event, an end or a tick starts is to be known to its very decision, by whichever process it is made.

    It is asked at the end: by then the plan holds the shards from which it has learned anything, and whoever changes
    the functions has to wait for them. Asked before, they could change in between.
    """
    decision: Decision | None = None
    failed: Exception | None = None
    try:
        decision = yield from plan
    except Exception as error:  # functions that are not there any more may be why
        failed = error
    if (yield from ask(RegistryStamp())) != stamp:
        raise _Stale(stamp)
    if decision is None:
        assert failed is not None, "a plan ends in one of two ways"
        raise failed
    return decision
