"""A running engine: one store, the functions it knows, the calls in flight."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import suppress
from functools import cache, partial
from typing import Any, TypeVar

from msgspec.structs import replace

from stepwell.clock import Clock, monotonic_s
from stepwell.engine import operator
from stepwell.engine.draft import Draft, Moment
from stepwell.engine.intake import accept
from stepwell.engine.pressure import PREFIX
from stepwell.engine.recovery import first_token, give_back, take_over
from stepwell.engine.registration import register, serve
from stepwell.engine.registry import Registry
from stepwell.engine.secrets import keep_secret
from stepwell.engine.signals import deliver
from stepwell.errors import NotFound, StorageError, StorageUnavailable
from stepwell.ids import Ids, secret
from stepwell.limits import CALLS_MAX, LEASE, RETENTION_DEFAULT
from stepwell.model.app import App
from stepwell.model.changes import Change, Decision, Plan
from stepwell.model.event import INVOKED, Event, routed
from stepwell.model.history import Outcome
from stepwell.model.place import place_for, place_of
from stepwell.model.questions import (
    RegistryStamp,
    ShardsWithCell,
)
from stepwell.model.run import Run
from stepwell.model.settings import Settings
from stepwell.protocol.events import Incoming, seeded_id
from stepwell.protocol.messages import Executing, Transport
from stepwell.protocol.registration import read_functions
from stepwell.protocol.signals import Signal
from stepwell.runtime import registered
from stepwell.runtime.caller import Caller
from stepwell.runtime.decisions import Decisions, shutting_down
from stepwell.runtime.dispatcher import Dispatcher
from stepwell.runtime.health import Health, health_of
from stepwell.runtime.hints import Hints
from stepwell.runtime.live_call import UNSEEN_MS
from stepwell.runtime.logs import log
from stepwell.runtime.loop import Loop, Timer, Timers, rest
from stepwell.runtime.nearby import NEARBY_MAX, Nearby
from stepwell.runtime.outbound import NowhereOutbound, Outbound
from stepwell.runtime.pressed import Pressed
from stepwell.runtime.realtime import Hub
from stepwell.runtime.sweeper import Sweeper
from stepwell.storage.interface import Store, Verdict

A = TypeVar("A")

_MS = type(LEASE)(milliseconds=1)
_USUAL = Settings()
_STORAGE_PAUSE_MS = 500
_OTHERS_LOOK_MS = UNSEEN_MS // 2  # how soon a leader notices what another process on the same store has written
_IDLE_LOOK_MS, _IDLE_LOOK_MS_MAX = (
    500,
    700,
)  # and one of several that has no call in flight: spread, so that many do not
_BEGINNING_MS = 25  # between the last look at whether a body may begin, and its beginning


Observer = Callable[[Sequence[Change]], None]
"""Is shown what a decision wrote, once that is durable. Called on the event loop: it must return at once."""


class Engine:
    """Drives runs. Exactly one process leads on one SQLite file; an engine that only follows sends and reads.

    With ``peers`` every process on the store leads: none lapses the leases of others, and each hears of what they write
    by looking (``shared``, which that includes).

    ``tidies`` is whether it forgets what is old, and what has expired, while it leads. ``outbound`` is how it makes the
    requests that it owes to steps; without one they fail. ``monotonic`` are seconds from some moment on, the same as
    the store's. ``nearby_max`` is how many events may go to one place after each other.
    """

    def __init__(
        self,
        store: Store,
        transport: Transport,
        clock: Clock,
        timers: Timers,
        ids: Ids,
        plan_ids: Ids,
        *,
        calls_max: int = CALLS_MAX,
        settings: Settings = _USUAL,
        retention_ms: int | None = RETENTION_DEFAULT // _MS,
        shared: bool = True,
        peers: bool = False,
        lease_ms: int = LEASE // _MS,
        tidies: bool = True,
        outbound: Outbound | None = None,
        monotonic: Callable[[], float] = monotonic_s,
        nearby_max: int = NEARBY_MAX,
    ) -> None:
        assert shared or not peers, "peers share their store"
        self.outbound = outbound or NowhereOutbound()
        self.store = store
        self.clock = clock
        self.timers = timers
        self.registry = Registry()
        self.monotonic = monotonic
        self.lease_ms = lease_ms
        self.leads = False
        self.stopping = False
        self.closing = False  # the server about it stops: whoever waits for a run is answered
        self.calls_max = calls_max
        self.settings = settings
        self.observers: list[Observer] = []
        self.refused: tuple[int, str] | None = None  # when and why something could not be written last
        self.caller = Caller(self, transport)
        self.decisions = Decisions(self)
        self.realtime = Hub(store, clock, timers, ids, self.observers, shared=shared)
        self._ids = ids
        self._plan_ids = plan_ids
        self._nearby = Nearby(ids, nearby_max)
        self.shared = shared
        self.peers = peers
        self._tidies = tidies
        self.pressed = Pressed(store, clock)
        self.stamp = 0  # of the functions that are known
        self.declaring = 0  # changes of functions that are under way
        self._looked_at = 0.0  # until this moment it is known whether other processes have written
        self._others = False  # they have, and not everybody has been told
        self._lease_timer: Timer | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._dispatcher = Loop("dispatcher", Dispatcher(self).tick, clock, timers)
        self._leases = Loop("leases", self.caller.extend, clock, timers)
        self.retention_ms = retention_ms
        self._sweeper = Sweeper(store, retention_ms)
        self._retention = Loop("retention", self._sweeper.tick, clock, timers)
        self._watcher = Loop("watcher", self._look_for_others, clock, timers)
        self.hints = Hints(self.observers, clock, timers, self._look_now)

    # Life -------------------------------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Read the registered functions."""
        registry, stamp = await registered.load(self.store.read)
        if stamp >= self.stamp:  # several may read at once
            self.registry, self.stamp = registry, stamp

    async def lead(self) -> None:
        """Begin to run what is owed. The caller has made sure that no other process does, unless all are peers."""
        self._looked_at = self.monotonic()
        epoch = await self.store.new_epoch()
        self.decisions.tokens = itertools.count(first_token(epoch))
        await self._patiently(self.load)
        await self._patiently(lambda: self._hear_of_pressure(self.clock.now_ms()))
        if not self.peers:  # their leases are theirs: those of one that has died run out
            serves = self.caller.transport.serves
            served = [function_id for function_id in self.registry.functions if serves(function_id)]
            await self.commit(lambda draft: take_over(draft, epoch, served))
        self.leads = True
        self._dispatcher.start()
        self._leases.start()
        if self._tidies:
            self._retention.start()
        if self.shared and not self._watcher.started:
            self._watcher.start()

    async def drain(self, grace_ms: int) -> None:
        """Take no more work, let the calls in flight finish for a while, stop. What is unfinished stays owed."""
        self.stopping = True
        for loop in (self._watcher, self._dispatcher, self._retention):
            await loop.stop()
        tasks = [call.task for call in self.caller.live.values() if call.task is not None]
        if tasks and grace_ms > 0:
            finished = asyncio.gather(*tasks, return_exceptions=True)
            deadline = asyncio.ensure_future(rest(grace_ms, self.clock, self.timers))
            await asyncio.wait((finished, deadline), return_when=asyncio.FIRST_COMPLETED)
            deadline.cancel()
        await self.realtime.close()
        cut_off = [call.leased for call in self.caller.live.values() if not call.lost]
        await self.halt()
        with suppress(StorageError):
            await self.store.commit(Decision())  # what was on its way to the disk before is there after it
        # An orderly stop must not look like a crash. What cannot be written is found by its lease, as after one.
        giving = [self.commit(partial(give_back, leased=leased)) for leased in (*cut_off, *self.decisions.late)]
        for given in await asyncio.gather(*giving, return_exceptions=True):
            if isinstance(given, BaseException):
                log.warning("a call that was cut off could not be given back", error=str(given))

    async def halt(self) -> None:
        """Stop at once, as a crash would: calls are cut off, their leases stay behind."""
        self.stopping = True
        for loop in (self._watcher, self._dispatcher, self._retention, self._leases):
            await loop.stop()
        await self.realtime.halt()
        tasks = [call.task for call in self.caller.live.values() if call.task is not None] + list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.leads = False

    # Work -------------------------------------------------------------------------------------------------------------

    async def register(self, app_id: str, configs: Sequence[Mapping[str, Any]], app: App | None = None) -> bool:
        """Replace the functions of an app, which may be served at an address.

        Returns whether anything changed. Raises ``ConfigurationError``.
        """
        functions = read_functions(app_id, configs)
        changed = bool(await self.declare(lambda draft: register(draft, app_id, functions, app)))
        if not changed:
            await self._patiently(self.load)  # this process may not have read them yet
        return changed

    async def serve(self, function_ids: Collection[str]) -> None:
        """Let runs of these functions go on which waited for somebody to have them."""
        await self.commit_patiently(lambda draft: serve(draft, function_ids))

    def token_id(self) -> str:
        """What tells a token of ours from all others."""
        return self._ids.ulid(self.clock.now_ms())

    def new_id(self, place: int) -> str:
        """An id of what is written at this place now."""
        return self._ids.ulid(self.clock.now_ms(), place)

    async def kept_secret(self, name: str) -> str:
        """A secret of this installation, made when it is asked for first: every process that asks gets the same."""
        new = secret(256)
        found: str = (await self.commit(lambda draft: keep_secret(draft, name, new))).result.value
        return found

    async def declare(self, plan: Callable[[Draft], Plan]) -> Any:
        """Change functions, and know it: no decision that follows is made without that. The value of the plan; if it is
        false, nothing has changed. Raises what the plan raises."""
        return await asyncio.shield(self.spawn(self._declare(plan)))  # it is known also if nobody waits for it any more

    async def _declare(self, plan: Callable[[Draft], Plan]) -> Any:
        self.declaring += 1
        try:
            value = (await self.commit(plan)).result.value
        except StorageError:
            self.spawn(self._learn())  # it may have been written: until that is known each decision asks
            raise
        except BaseException:
            self.declaring -= 1
            raise
        if value:
            await self._learn()
        else:
            self.declaring -= 1
        return value

    async def _learn(self) -> None:
        """Know what a change of functions has written, or whether it has."""
        await self._patiently(self.load)
        self.declaring -= 1

    async def send(self, events: Sequence[Incoming], *, seed: str | None = None, source: str = "api") -> list[str]:
        """Accept validated events; their ids once they are durable, with all they cause (semantics §1.2).

        ``seed`` makes the ids repeatable, so that a request whose answer was lost can be sent again (protocol §9.3).
        """
        if source == "api":
            self.refuse_if_stopping()  # but the calls that are still in flight may send what they have to
        now = self.clock.now_ms()
        accepted: list[Event] = []
        seeded = False
        nearby = cache(partial(self._nearby.place, now, len(events)))  # one for all, or it would hold up many shards
        for index, sent in enumerate(events, 1):
            own = seeded_id(seed, index) if seed else None
            event = Event(
                id=own or self._ids.ulid(now),
                name=sent.name,
                ts=sent.ts or now,
                received_at=now,
                data=sent.data,
                key=sent.id,
                v=sent.v,
                user=sent.user,
                meta=sent.meta,
                source=source,
                sent_by=sent.run_id,
            )
            seeded = seeded or own is not None
            accepted.append(event if own else self._addressed(event, self.registry.place, nearby))
        places = {place_of(id) for event in accepted for id in (event.id, event.sent_by) if id is not None}
        place = places.pop() if len(places) == 1 else None  # of several the plan asks at once
        verdict = await self.commit(lambda draft: accept(draft, accepted, seeded=seeded), place)
        await self.until_ends_seen(verdict)
        ids: list[str] = verdict.result.value
        return ids

    async def invoke(self, function_id: str, data: Incoming, *, seed: str | None = None) -> tuple[str, Run | Outcome]:
        """Start one function directly (protocol §9.4). Returns the id of the event made for it, and the run or why none
        was started. Raises ``NotFound`` and ``NotRunning``."""
        self.refuse_if_stopping()
        now = self.clock.now_ms()
        own = seeded_id(seed, 0) if seed else None
        event = Event(
            id=own or self._ids.ulid(now),
            name=INVOKED,
            ts=data.ts or now,
            received_at=now,
            data=routed(data.data, {"fn_id": function_id}),
            key=data.id,
            v=data.v,
            user=data.user,
            meta=data.meta,
            source="invoke",
        )
        if own is None:
            beside_its_run = partial(self.registry.place_of_run, function_id)
            event = self._addressed(event, beside_its_run, partial(self._nearby.place, now))
        seeded = own is not None
        verdict = await self.commit(lambda draft: operator.invoke(draft, function_id, event, seeded=seeded))
        await self.until_ends_seen(verdict)
        started: Run | Outcome | None = verdict.result.value
        if started is None:
            raise NotFound(
                f"there is no function {function_id!r}",
                "a function is invoked by its app's id, a dash and its own id",
                "'stepwell functions' lists those there are",
            )
        return event.id, started

    def _addressed(
        self, event: Event, beside_its_run: Callable[[Event, int], int | None], nearby: Callable[[], int]
    ) -> Event:
        """With an id at the place that the sender's own id says; else beside the run that it starts, so that both are
        in one shard; else nearby."""
        now = event.received_at
        if event.key is not None:
            place: int | None = place_for(event.key)
        else:
            place = beside_its_run(event, now) if self.store.shards > 1 else None
        return replace(event, id=self._ids.ulid(now, nearby() if place is None else place))

    async def signal(self, signal: Signal) -> str | None:
        """Resume the run that waits for this signal; its id once that is durable, ``None`` if nobody waits."""
        verdict = await self.commit(lambda draft: deliver(draft, signal.name, signal.data))
        run_id: str | None = verdict.result.value
        return run_id

    async def cancel(self, run_id: str, reason: str = "cancelled by an operator") -> bool:
        """Cancel a run. False if it had ended already, or does not exist."""
        verdict = await self.commit(lambda draft: operator.cancel_run(draft, run_id, reason))
        await self.until_ends_seen(verdict)
        return bool(verdict.result.value)

    async def health(self, *, count: bool = True) -> Health:
        """Healthy means that due work moves.

        To ``count`` costs a look at all that is live, a backlog included: whoever asks every second leaves it out.
        """
        return await health_of(self, count=count)

    # For the parts of the runtime -------------------------------------------------------------------------------------

    def executing(self, run_id: str) -> Mapping[str, Executing]:
        """The step bodies of a run that execute in this process now, by step id."""
        call = self.caller.live.get(run_id)
        return dict(call.executing) if call is not None else {}

    def moment(self) -> Moment:
        return Moment(self.clock.now_ms(), self._new_id, self._plan_ids.chance(), self.settings)

    def commit(self, plan: Callable[[Draft], Plan], place: int | None = None) -> asyncio.Future[Verdict]:
        """Run a plan, then do what it says is to be done now (``runtime/decisions.py``). ``place`` is where what it
        decides about is, if that is known: what is at one place costs less together."""
        return self.decisions.commit(plan, place=place)

    async def until_ends_seen(self, verdict: Verdict) -> None:
        """What ended runs that another process executes is acknowledged when that process knows it (I18).

        It begins no body unless it has seen all that was written about its run until ``UNSEEN_MS`` ago.
        """
        if verdict.result.ended:
            await self.until_seen()

    @property
    def alone(self) -> bool:
        """Whether all that is running runs here."""
        return self.leads and not self.peers

    async def until_seen(self) -> None:
        """Whoever leads has read by then what this process has written, or reads it before it makes a request."""
        if self.shared and not self.alone:
            await rest(UNSEEN_MS + _BEGINNING_MS, self.clock, self.timers)

    async def until_saved(self, run_id: str | None) -> None:
        """What a run executed here has begun to write is durable, or any run if it is not said which.

        In several shards works overtake one another, and what a branch sends is for the wait of the branch before it.
        """
        if self.store.shards == 1:
            return
        live = self.caller.live
        calls = live.values() if run_id is None else [live[run_id]] if run_id in live else []
        if any(call.leased.promised for call in calls):
            await self.store.commit(Decision())  # it follows all that came before

    async def commit_patiently(self, plan: Callable[[Draft], Plan]) -> Verdict:
        """Like ``commit``, for what must be written: while the disk is full or failing, try again until it is not."""
        return await self._patiently(lambda: self.commit(plan))

    async def _patiently(self, work: Callable[[], Awaitable[A]]) -> A:
        pause = _STORAGE_PAUSE_MS
        while True:
            try:
                return await work()
            except StorageUnavailable as error:
                log.error("storage unavailable, holding on", error=error.what, again_in_ms=pause)
            await rest(pause, self.clock, self.timers)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run something on the side; it ends with the engine."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def tell(self, changes: Sequence[Change]) -> None:
        """Show the observers what was written. None of them can hurt the work, or another."""
        for observer in self.observers:
            try:
                observer(changes)
            except Exception:
                log.exception("an observer failed")

    def mind_leases(self) -> None:
        """There are leases to hold on to again, or none any more. Most calls are over long before theirs matter."""
        if self._lease_timer is not None:
            self._lease_timer.cancel()
            self._lease_timer = None
        if self.caller.live:
            if self.peers:
                self._watcher.wake(self.clock.now_ms() + _OTHERS_LOOK_MS)
            self._lease_timer = self.timers.call_at(self.clock.now_ms() + self.lease_ms // 6, self._leases.wake)

    def call_ended(self, *, seen: float, touched: bool, left: int | None) -> None:
        """A call has ended. What was settled for its run meanwhile made that due, which its decision could not know.

        ``left`` is the end of a lease that it leaves behind: its run is due again then. Nor could a call hear of what
        another process settled for its run after the moment of which it was ``seen``, if that was before the last look.
        """
        if left is not None:
            self._dispatcher.wake(left)
        if touched or (self.shared and seen < self._looked_at):
            self._dispatcher.wake()
        self.decisions.make_use_of_room()

    # Ticks ------------------------------------------------------------------------------------------------------------

    async def _look_for_others(self, now: int) -> int | None:
        changed, before = await self.store.changed(), self._looked_at
        self._others |= changed.others  # for as long as what follows from it fails
        self._looked_at = max(before, changed.until)
        if changed.others:
            self.hints.others_wrote()
        if not self._others:
            self.caller.undisturbed(before, self._looked_at)
            return self._next_look(now)
        stamp = await self.store.read(RegistryStamp())
        if stamp != self.stamp:
            await self.load()
        await self._hear_of_pressure(now)
        self._dispatcher.wake()
        await self.caller.look()
        self._others = False
        return self._next_look(now)

    def _next_look(self, now: int) -> int | None:
        return now + self._look_again() if self.leads or self.hints.wanted else None

    def _look_now(self) -> None:
        """Somebody looks at what others write. A process that does not lead has no need of its own to know of that."""
        if self.shared and not self.stopping:
            if not self._watcher.started:
                self._watcher.start()
            self._watcher.wake()

    def _look_again(self) -> int:
        """When to look for others the next time. A call in flight must soon hear of what they do to its run, and who
        looks at a page of what they write; of what else they leave to do it is told early enough twice a second (I15),
        and an idle process is to be quiet."""
        if self.caller.live or not self.peers or self.hints.wanted:
            return _OTHERS_LOOK_MS
        return _IDLE_LOOK_MS + int(self._plan_ids.chance() * (_IDLE_LOOK_MS_MAX - _IDLE_LOOK_MS))

    async def _hear_of_pressure(self, now: int) -> None:
        # If there is none, a decision may have found otherwise while this was read: only a claim knows.
        shards = await self.store.read(ShardsWithCell(PREFIX, now))
        for shard in shards:
            self.decisions.pressing.arise(shard)
        if shards and self.caller.live:
            await self.pressed.hear()

    @property
    def dispatch_failures(self) -> int:
        """How often in a row nobody could be found who is due."""
        return self._dispatcher.failures

    def wake_dispatcher(self, at: int = 0) -> None:
        """Something is due at this moment."""
        self._dispatcher.wake(at)

    def refuse_if_stopping(self) -> None:
        if self.stopping:
            raise shutting_down()

    def _new_id(self, place: int) -> str:
        return self._plan_ids.ulid(self.clock.now_ms(), place)
