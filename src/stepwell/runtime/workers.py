"""Who has connected, which of them gets a call, and what becomes of it (protocol §11.4, ADR 0024).

Nothing of it is durable: the run's own lease is. Connections themselves are the business of ``server/gateway.py``.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import msgspec

from stepwell.clock import Clock
from stepwell.ids import Ids
from stepwell.limits import (
    CALL_TIME_MAX,
    CONNECT_ACK_TIME_MAX,
    CONNECT_LEASE,
    CONNECT_PATIENCE,
    CONNECT_WORKERS_MAX,
)
from stepwell.protocol.connect import ExecutorRequest, Kind, WorkerReply, frame
from stepwell.runtime.loop import Timers

NO_WORKER: Final = "connect_no_healthy_connection"
ALL_BUSY: Final = "connect_all_workers_at_capacity"
SILENT: Final = "connect_worker_stopped_responding"

_MS: Final = timedelta(milliseconds=1)
_CALL_MS: Final = CALL_TIME_MAX // _MS
_ACK_MS: Final = CONNECT_ACK_TIME_MAX // _MS
_PATIENCE_MS: Final = CONNECT_PATIENCE // _MS
_UNHEARD_MAX: Final = 3  # workers that are asked, one after the other, for a sign that they got a call


class NotAnswered(Exception):
    """No worker has answered a call. ``code`` is the protocol's word for why."""

    def __init__(self, code: str, what: str) -> None:
        super().__init__(what)
        self.code = code


class LeaseLost(Exception):
    """The worker that had a call has gone silent. What it reported meanwhile is known; what it says now is too late."""


_NO_VERSIONS: Final[Mapping[str, str | None]] = {}


class Worker:
    """One connection. ``apps`` are the ids of the functions that it has, by the id of their app, and ``versions`` what
    it says of those; ``say`` hands a frame to the connection and does not wait. Calls in flight are counted by
    ``instance``, which may have several."""

    def __init__(
        self,
        id: str,
        instance: str,
        apps: Mapping[str, frozenset[str]],
        say: Callable[[bytes], None],
        *,
        capacity: int,
        connected_at: int,
        sdk: str = "",
        versions: Mapping[str, str | None] = _NO_VERSIONS,
    ) -> None:
        self.id = id
        self.instance = instance
        self.apps = apps
        self.say = say
        self.capacity = capacity
        self.connected_at = connected_at
        self.heard_at = connected_at
        self.sdk = sdk
        self.versions = versions
        self.functions: frozenset[str] = frozenset().union(*apps.values())
        self.ready = False  # to be given calls
        self.paused = False
        self.mute = False  # it did not say that it got a call, and has said nothing since

    def has(self, function_id: str) -> bool:
        return function_id in self.functions


class WorkerState(msgspec.Struct, frozen=True, kw_only=True):
    """A connection as people are shown it. ``connected_at`` is in milliseconds, and so is ``heard_at``, when it said
    something last; ``in_flight`` counts the calls of its instance. ``version`` is that of the app."""

    connection_id: str
    instance_id: str
    status: str
    in_flight: int
    max_concurrency: int
    connected_at: int
    heard_at: int
    sdk: str
    version: str | None


class _Asked:
    """A call on its way to an answer."""

    def __init__(self, request: ExecutorRequest) -> None:
        self.request = request
        self.news = asyncio.Event()
        self.worker: Worker | None = None  # that it is with
        self.acked = False
        self.left = False  # its worker went before it took it
        self.due = 0
        self.leases: list[str] = []  # the present one, and the one before: its successor may have been lost on the way
        self.unheard: dict[str, str] = {}  # connections that did not say that they got it, and their leases
        self.reply: WorkerReply | None = None
        self.then: list[Callable[[], None]] = []


class Workers:
    """The workers of a process. ``lease_ms`` is how long one may say nothing of a call that it has taken; there are
    ``connections_max`` at most."""

    def __init__(
        self,
        clock: Clock,
        timers: Timers,
        ids: Ids,
        *,
        lease_ms: int = CONNECT_LEASE // _MS,
        connections_max: int = CONNECT_WORKERS_MAX,
    ) -> None:
        self.lease_ms = lease_ms
        self.connections_max = connections_max
        self.closing = False  # nobody else is let in
        self._clock = clock
        self._timers = timers
        self._ids = ids
        self._workers: dict[str, Worker] = {}
        self._served: Counter[str] = Counter()  # how many take calls of a function
        self._asked: dict[str, _Asked] = {}
        self._waiting: dict[str, _Asked] = {}  # for a worker, in their order
        self._busy: Counter[str] = Counter()
        self._last = 0

    # Who is there -----------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._workers)

    def __contains__(self, connection_id: str) -> bool:
        return connection_id in self._workers

    def serves(self, function_id: str) -> bool:
        """Is somebody there who takes calls of this function? Decisions ask in a thread of theirs: it is one look."""
        return function_id in self._served

    def join(self, worker: Worker) -> None:
        self._workers[worker.id] = worker

    def make_ready(self, worker: Worker) -> bool:
        """From now on it is given calls. False if that is nothing new, or too late."""
        if worker.ready or worker.paused or worker.id not in self._workers:
            return False
        worker.ready = True
        self._served.update(worker.functions)
        self._hand_out()
        return True

    def pause(self, worker: Worker) -> None:
        """It takes no more calls, and finishes those it has."""
        worker.paused = True
        self._withdraw(worker)

    def leave(self, worker: Worker) -> None:
        """Its connection is over. What it has taken it may still answer, by another connection or over HTTP; what it
        has not said to have taken goes to somebody else at once."""
        self._withdraw(worker)
        if self._workers.pop(worker.id, None) is not None:
            for asked in self._asked.values():
                if asked.worker is worker and not asked.acked:
                    asked.left = True
                    asked.news.set()

    def _withdraw(self, worker: Worker) -> None:
        if not worker.ready:
            return
        worker.ready = False
        for function_id in worker.functions:
            self._served[function_id] -= 1
            if not self._served[function_id]:
                del self._served[function_id]

    def of(self, app_id: str) -> list[WorkerState]:
        """The connections of an app, in the order in which they were made."""
        return [
            WorkerState(
                connection_id=worker.id,
                instance_id=worker.instance,
                status="DRAINING" if worker.paused else "READY" if worker.ready else "CONNECTED",
                in_flight=self._busy[worker.instance],
                max_concurrency=worker.capacity,
                connected_at=worker.connected_at,
                heard_at=worker.heard_at,
                sdk=worker.sdk,
                version=worker.versions.get(app_id),
            )
            for worker in self._workers.values()
            if app_id in worker.apps
        ]

    def all(self) -> Sequence[Worker]:
        return tuple(self._workers.values())

    # What they say ----------------------------------------------------------------------------------------------------

    def heard(self, worker: Worker) -> None:
        """A worker has said something, whatever it is."""
        worker.mute = False
        worker.heard_at = self._clock.now_ms()

    def acked(self, request_id: str, worker: Worker) -> None:
        """A worker has got a call. If it says so late, it has it nevertheless, unless another has it meanwhile."""
        asked = self._asked.get(request_id)
        if asked is None or asked.reply is not None:
            return
        if asked.worker is None and (lease := asked.unheard.pop(worker.id, None)) is not None:
            del self._waiting[request_id]
            self._with(asked, worker, lease)
            asked.news.set()
        if asked.worker is worker and not asked.acked:
            asked.acked = True
            asked.due = self._clock.now_ms() + self.lease_ms

    def extended(self, request_id: str, lease_id: str, worker: Worker) -> str | None:
        """A worker goes on with a call. Returns its new lease, ``None`` if it has lost it: another has the call, or
        nobody waits for it any more."""
        asked = self._of_app(request_id, worker)
        if asked is None or asked.reply is not None or asked.worker is None or lease_id not in asked.leases:
            return None
        now = self._clock.now_ms()
        asked.acked = True  # it may have been lost on the way
        asked.due = now + self.lease_ms
        asked.leases = [lease_id, self._ids.ulid(now)]
        return asked.leases[-1]

    def replied(self, reply: WorkerReply, then: Callable[[], None], worker: Worker | None = None) -> None:
        """A worker, whichever of the app, has answered; over HTTP nobody says which. ``then`` is called once that is
        written down, or is known to be of no interest to anybody: a second answer, or that to a call that is not ours
        any more, or not the worker's to answer."""
        asked = self._of_app(reply.request_id, worker)
        if asked is None:
            then()
            return
        asked.then.append(then)
        if asked.reply is None:
            asked.reply = reply
            asked.news.set()

    def _of_app(self, request_id: str, worker: Worker | None) -> _Asked | None:
        """A call, unless it is of an app that this connection has nothing to do with: ids count up, so the next one is
        easily guessed."""
        asked = self._asked.get(request_id)
        return asked if asked is None or worker is None or asked.request.app_name in worker.apps else None

    # Asking -----------------------------------------------------------------------------------------------------------

    async def ask(self, request: ExecutorRequest) -> tuple[WorkerReply, Callable[[], None]]:
        """Have a worker make this call. Returns its answer, and what to do when that is written down.

        Raises ``NotAnswered`` if there is nobody who does, and ``LeaseLost`` if somebody began and went silent.
        """
        asked = _Asked(request)
        self._asked[request.request_id] = asked
        try:
            reply = await self._answer(asked)
        except BaseException:  # also if whoever asks has given up: nobody will write the answer down and forget it
            self._forget(asked)
            raise
        finally:
            self._free(asked)
        return reply, lambda: self._forget(asked)

    async def _answer(self, asked: _Asked) -> WorkerReply:
        while True:
            await self._worker_for(asked)
            until = self._clock.now_ms() + _CALL_MS
            await self._outcome(asked, until)
            if asked.reply is not None:
                return asked.reply
            worker = asked.worker
            if self._clock.now_ms() >= until:
                raise NotAnswered(SILENT, "the worker was not done in the time that a call may take")
            if asked.acked:
                raise LeaseLost
            self._free(asked)
            if worker is not None:
                worker.mute = True
                asked.unheard[worker.id] = asked.leases[-1]
                if len(asked.unheard) == _UNHEARD_MAX:
                    raise NotAnswered(SILENT, f"{_UNHEARD_MAX} workers did not say that they got the call")

    async def _worker_for(self, asked: _Asked) -> None:
        """Wait until a worker has the call, which is as long as a call may take."""
        if (worker := self._choose(asked)) is not None:
            self._give(asked, worker)
            return
        self._waiting[asked.request.request_id] = asked
        alone_since, slug = self._clock.now_ms(), asked.request.function_slug
        until = alone_since + _CALL_MS
        try:
            while asked.worker is None and asked.reply is None:
                now = self._clock.now_ms()
                if any(self._may_have(asked, worker) for worker in self._workers.values()):
                    alone_since = now
                    if now >= until:
                        raise NotAnswered(ALL_BUSY, "all workers have as many calls as they take")
                else:
                    # One that is there and says nothing may be busy with itself, and say it yet; or it is frozen, and
                    # gone before long.
                    mute = any(worker.ready and worker.has(slug) for worker in self._workers.values())
                    patience = max(self.lease_ms, _PATIENCE_MS) if mute else _PATIENCE_MS
                    if now >= min(until, alone_since + patience):
                        raise self._nobody(asked, mute=mute)
                await self._until(asked, min(until, now + _PATIENCE_MS))
        finally:
            self._waiting.pop(asked.request.request_id, None)

    def _nobody(self, asked: _Asked, *, mute: bool) -> NotAnswered:
        if mute:
            return NotAnswered(SILENT, "the worker did not say that it got the call, and there is no other")
        return NotAnswered(NO_WORKER, f"no worker with {asked.request.function_slug} is connected")

    async def _outcome(self, asked: _Asked, until: int) -> None:
        """Wait for an answer, or the end of the time in which its worker has to say something."""
        while asked.reply is None and not asked.left:
            due = min(asked.due, until)
            if self._clock.now_ms() >= due:
                return
            await self._until(asked, due)

    async def _until(self, asked: _Asked, due: int) -> None:
        timer = self._timers.call_at(due, asked.news.set)
        try:
            await asked.news.wait()
        finally:
            timer.cancel()
            asked.news.clear()

    def _choose(self, asked: _Asked, among: Sequence[Worker] | None = None) -> Worker | None:
        """The least busy of those that have the function and room, one that has gone mute last; of equals, each in
        turn."""
        self._last += 1
        workers = self._workers.values() if among is None else among
        able = [worker for worker in workers if self._may_have(asked, worker) and self._has_room(worker)]
        if not able:
            return None
        able = able[self._last % len(able) :] + able[: self._last % len(able)]
        return min(able, key=lambda worker: (worker.mute, self._busy[worker.instance] / worker.capacity))

    def _may_have(self, asked: _Asked, worker: Worker) -> bool:
        return worker.ready and worker.id not in asked.unheard and worker.has(asked.request.function_slug)

    def _has_room(self, worker: Worker) -> bool:
        return self._busy[worker.instance] < worker.capacity

    def _give(self, asked: _Asked, worker: Worker) -> None:
        now = self._clock.now_ms()
        self._with(asked, worker, self._ids.ulid(now))
        asked.due = now + _ACK_MS
        worker.say(
            frame(Kind.GATEWAY_EXECUTOR_REQUEST, msgspec.structs.replace(asked.request, lease_id=asked.leases[0]))
        )

    def _with(self, asked: _Asked, worker: Worker, lease_id: str) -> None:
        asked.worker, asked.acked, asked.left = worker, False, False
        asked.leases = [lease_id]
        self._busy[worker.instance] += 1

    def _free(self, asked: _Asked) -> None:
        """It is with nobody any more, so there is room for another."""
        worker, asked.worker = asked.worker, None
        if worker is None:
            return
        self._busy[worker.instance] -= 1
        if not self._busy[worker.instance]:
            del self._busy[worker.instance]
        if self._waiting:
            self._hand_out()

    def _hand_out(self) -> None:
        """There may be room for some of those that wait: they are many, and workers with room few."""
        roomy = [worker for worker in self._workers.values() if worker.ready and self._has_room(worker)]
        for asked in tuple(self._waiting.values()):
            if not roomy:
                break
            if asked.worker is None and (worker := self._choose(asked, roomy)) is not None:
                self._give(asked, worker)
                del self._waiting[asked.request.request_id]
                asked.news.set()
                if not self._has_room(worker):
                    roomy = [each for each in roomy if self._has_room(each)]

    def _forget(self, asked: _Asked) -> None:
        self._asked.pop(asked.request.request_id, None)
        self._waiting.pop(asked.request.request_id, None)
        for then in asked.then:
            then()
        asked.then.clear()


def whole_seconds(ms: int) -> str:
    """A length of time as workers read it."""
    return f"{max(1, ms // 1000)}s"


def functions_of(configs: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """The ids of the functions that an app lists."""
    return frozenset(str(config.get("id")) for config in configs)
