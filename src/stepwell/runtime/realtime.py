"""Brings messages to whoever listens now: in this process, and in the others that share its store (ADR 0020).

Nothing of it is durable. A subscriber gets what is published while it listens, in the order of each publisher; one that
does not keep up is closed, so that it neither holds up a publisher nor fills the memory.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

import msgspec

from stepwell.clock import Clock
from stepwell.errors import InvalidMessage, LimitExceeded, NotRunning, StorageError
from stepwell.ids import Ids, is_ulid
from stepwell.limits import (
    REALTIME_BYTES_MAX,
    REALTIME_KEPT,
    REALTIME_KEPT_MAX,
    REALTIME_SUBSCRIBERS_MAX,
    REALTIME_TOPICS_MAX,
    REALTIME_WAITING_BYTES_MAX,
    REALTIME_WAITING_MAX,
)
from stepwell.model.changes import Change, Decision, FinishRun, Listen, Plan, Post, StartRun, Unlisten
from stepwell.model.event import rfc3339
from stepwell.model.questions import LastPosting, OthersListen, Postings, RunStates, ask
from stepwell.model.realtime import Posting
from stepwell.model.run import Run, RunStatus
from stepwell.protocol.realtime import RUN_TOPIC, STREAM_TOPIC, Message, Topic, ends_stream
from stepwell.runtime.logs import log
from stepwell.runtime.loop import Loop, Timers
from stepwell.storage.interface import Store

SLOW: Final = "it is too slow: too many messages wait for it"
STOPPING: Final = "the server is stopping"
_MS: Final = type(REALTIME_KEPT)(milliseconds=1)
_LOOK_MS: Final = 50  # how soon a message of another process is noticed
_LISTEN_MS: Final = 30_000  # for so long others leave messages for a process that has died
_LINGER_MS: Final = 5_000  # subscribers come back: a page that is loaded again, a token that is renewed
_BATCH: Final = 32  # messages may be large
_ENDED: Final = frozenset(RunStatus) - {RunStatus.QUEUED, RunStatus.RUNNING}
_encode: Final = msgspec.json.Encoder().encode


class Frame(NamedTuple):
    """What a subscriber gets. A ``raw`` one is not a message but a piece of a stream of bytes."""

    body: bytes
    raw: bool


class Subscription:
    """One subscriber. It has to be closed by whoever asked for it. ``reason`` is why it was, once it is."""

    def __init__(self, forget: Callable[[Subscription], None], *, raw: bool) -> None:
        self.topics: dict[Topic, None] = {}
        self.raw = raw
        self.reason: str | None = None
        self._forget = forget
        self._frames: deque[Frame] = deque()
        self._bytes = 0
        self._woken = asyncio.Event()

    async def next(self) -> Frame | None:
        """What comes next; ``None`` when it is closed, and nothing is left."""
        while not self._frames:
            if self.reason is not None:
                return None
            self._woken.clear()
            await self._woken.wait()
        frame = self._frames.popleft()
        self._bytes -= len(frame.body)
        return frame

    def offer(self, frame: Frame) -> None:
        """Give it this, unless it does not keep up."""
        if self.reason is not None:
            return
        if len(self._frames) >= REALTIME_WAITING_MAX or self._bytes + len(frame.body) > REALTIME_WAITING_BYTES_MAX:
            self._frames.clear()
            self.close(SLOW)
            return
        self._frames.append(frame)
        self._bytes += len(frame.body)
        self._woken.set()

    def close(self, reason: str = "") -> None:
        if self.reason is None:
            self.reason = reason
            self._forget(self)
            self._woken.set()


class Hub:
    """The subscribers of one process. ``shared`` is whether other processes may be on the same store."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        timers: Timers,
        ids: Ids,
        observers: list[Callable[[Sequence[Change]], None]],
        *,
        shared: bool,
    ) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids
        self._shared = shared
        self._observers = observers
        self._channels: dict[str, dict[Subscription, None]] = {}
        self._subscribers = 0
        self._closed = False
        self._name = ""  # of this process among those that listen
        self._joining = asyncio.Lock()
        self._joined = False
        self._idle = False  # it has joined, but nobody listens at present, and nothing is fetched
        self._renew_at = 0
        self._leave_at = 0
        self._after = 0  # the last message of another process that was seen
        self._statuses: dict[str, str] = {}  # of the runs that somebody watches, as they were told last
        self._newcomers: list[tuple[str, Subscription]] = []
        self._loop = Loop("realtime", self._tick, clock, timers)
        self._running = False

    def new_id(self) -> str:
        """An id for a stream or a token."""
        return self._ids.ulid(self._clock.now_ms())

    # Publishing -------------------------------------------------------------------------------------------------------

    async def publish(self, *messages: Message) -> None:
        """Bring messages to all that listen to their channels and topics. Never waits for any of them.

        A store that fails is no reason to fail: then the subscribers of other processes miss them.
        """
        await self._publish([(each.channel, each.topic, each.json()) for each in messages], raw=False)

    async def tee(self, channel: str, data: bytes) -> None:
        """Pass bytes on, as they are, to those that may listen to its stream and read server-sent events."""
        await self._publish([(channel, STREAM_TOPIC, data)], raw=True)

    async def _publish(self, messages: Sequence[tuple[str, str, bytes]], *, raw: bool) -> None:
        for channel, topic, body in messages:
            self._deliver(channel, topic, Frame(body, raw))
        if not self._shared or not messages:
            return
        now = self._clock.now_ms()
        try:
            if await self._store.read(OthersListen(self._own_name(), now)):
                name, until = self._own_name(), now + REALTIME_KEPT // _MS
                postings = tuple(
                    Posting(origin=name, channel=channel, topic=topic, body=body, raw=raw, expires_at=until)
                    for channel, topic, body in messages
                )
                await self._store.commit(Decision((Post(postings, now, REALTIME_KEPT_MAX),)))
        except StorageError as error:
            log.warning("a message did not reach the subscribers of other processes", error=error.what)

    def _deliver(self, channel: str, topic: str, frame: Frame) -> None:
        over = frame.raw and ends_stream(frame.body)
        for subscription in tuple(self._channels.get(channel, ())):
            if (subscription.raw or not frame.raw) and _listens(subscription, channel, topic):
                subscription.offer(frame)
                # Its client has all that it asked for, and may not think of closing the connection.
                if over and all(each == (channel, STREAM_TOPIC) for each in _names(subscription)):
                    subscription.close()

    # Subscribing ------------------------------------------------------------------------------------------------------

    async def subscribe(self, topics: Iterable[Topic], *, raw: bool = False) -> Subscription:
        """Listen to these topics, which were checked. ``raw`` asks for streams of bytes, too: those of the channels of
        which ``$stream`` is among the topics.

        What is published after this has returned arrives, whichever process publishes it. Raises ``LimitExceeded``,
        ``NotRunning`` and ``StorageUnavailable``.
        """
        if self._closed:
            raise NotRunning("this process is shutting down", "it takes no more subscribers", "connect again")
        if self._subscribers >= REALTIME_SUBSCRIBERS_MAX:
            raise LimitExceeded(
                f"this process has {self._subscribers:,} subscribers",
                "each has a connection, and messages that wait for it",
                "run a further process beside it, or close those that are not needed",
            )
        subscription = Subscription(self._forget, raw=raw)
        self._subscribers += 1
        try:
            self.add(subscription, topics)
            await self._join()
        except BaseException:
            subscription.close()
            raise
        return subscription

    def add(self, subscription: Subscription, topics: Iterable[Topic]) -> None:
        """Let a subscriber listen to these as well. Raises ``InvalidMessage`` if they are too many."""
        wanted = {**subscription.topics, **dict.fromkeys(topics)}
        if len(wanted) > REALTIME_TOPICS_MAX:
            why = f"a subscriber has 1 to {REALTIME_TOPICS_MAX}"
            raise InvalidMessage(f"there are {len(wanted)} topics", why, "subscribe several times")
        if subscription.reason is not None:
            return
        for topic in wanted.keys() - subscription.topics.keys():
            self._channels.setdefault(topic.channel, {})[subscription] = None
            if topic.name == RUN_TOPIC and is_ulid(topic.channel):
                self._watch(topic.channel, subscription)
        subscription.topics = wanted

    def remove(self, subscription: Subscription, names: Iterable[str]) -> None:
        """Let a subscriber listen to the topics of these names no more."""
        gone = set(names)
        kept = {topic: None for topic in subscription.topics if topic.name not in gone}
        self._drop(subscription, {topic.channel for topic in subscription.topics} - {topic.channel for topic in kept})
        subscription.topics = kept

    def close_subscribers(self) -> None:
        """End all subscriptions, and take no more."""
        self._closed = True
        for subscriptions in tuple(self._channels.values()):
            for subscription in tuple(subscriptions):
                subscription.close(STOPPING)

    async def close(self) -> None:
        """The same, and tell the other processes."""
        self.close_subscribers()
        await self.halt()
        if self._joined:
            self._joined = False
            with suppress(StorageError):
                await self._store.commit(Decision((Unlisten(self._own_name()),)))

    async def halt(self) -> None:
        """Stop at once, as a crash would."""
        self._closed = True
        await self._loop.stop()

    def _forget(self, subscription: Subscription) -> None:
        self._subscribers -= 1
        self._drop(subscription, {topic.channel for topic in subscription.topics})
        if not self._subscribers:
            self._idle = True
            self._leave_at = self._clock.now_ms() + _LINGER_MS

    def _drop(self, subscription: Subscription, channels: Iterable[str]) -> None:
        for channel in channels:
            subscriptions = self._channels.get(channel, {})
            subscriptions.pop(subscription, None)
            if not subscriptions:
                self._channels.pop(channel, None)
                self._statuses.pop(channel, None)
        if not self._statuses and self._observe in self._observers:
            self._observers.remove(self._observe)

    # Other processes --------------------------------------------------------------------------------------------------

    async def _join(self) -> None:
        """Let the others know that somebody listens here."""
        if self._shared and (self._idle or not self._joined):
            async with self._joining:
                if not self._joined:
                    self._after = (await self._listen()).result
                    self._joined = True
                elif self._idle:  # what came while nobody listened is for nobody
                    self._after = await self._store.read(LastPosting())
                self._idle = not self._subscribers
        if self._joined:
            self._start()

    def _start(self) -> None:
        if not self._running and not self._closed:
            self._running = True
            self._loop.start()
        self._loop.wake()

    def _listen(self) -> asyncio.Future[Any]:
        now = self._clock.now_ms()
        self._renew_at = now + _LISTEN_MS // 3

        def plan() -> Plan:
            last = yield from ask(LastPosting())
            return Decision((Listen(self._own_name(), now + _LISTEN_MS, now),), result=last)

        return self._store.commit(plan)

    async def _tick(self, now: int) -> int | None:
        if self._statuses or self._newcomers:
            await self._look_at_runs(now)
        if not self._joined:
            return None
        if self._idle:
            if now < self._leave_at:
                return self._leave_at
            async with self._joining:
                if self._idle and not self._subscribers:
                    self._joined = False  # at once: whoever comes while this is written has to join again
                    await self._store.commit(Decision((Unlisten(self._own_name()),)))
            return None
        if now >= self._renew_at:
            await self._listen()
        await self._fetch()
        return now + _LOOK_MS

    async def _fetch(self) -> None:
        while True:
            found = await self._store.read(Postings(self._after, self._own_name(), _BATCH))
            for each in found:
                self._after = each.id
                if each.origin != self._name:
                    self._deliver(each.channel, each.topic, Frame(each.body, each.raw))
            if len(found) < _BATCH:
                return

    def _own_name(self) -> str:
        if not self._name:
            self._name = self._ids.ulid(self._clock.now_ms())
        return self._name

    # Runs -------------------------------------------------------------------------------------------------------------

    def _watch(self, run_id: str, subscription: Subscription) -> None:
        """Somebody wants to be told what becomes of a run: at first how it is, then whenever that changes."""
        if not self._statuses:
            self._observers.append(self._observe)
        self._statuses.setdefault(run_id, "")
        self._newcomers.append((run_id, subscription))
        self._start()

    def _observe(self, changes: Sequence[Change]) -> None:
        """Something was written in this process: of the others we hear by looking."""
        for change in changes:
            if isinstance(change, StartRun | FinishRun) and change.run_id in self._statuses:
                self._loop.wake()
                return

    async def _look_at_runs(self, now: int) -> None:
        newcomers, self._newcomers = self._newcomers, []
        asked = {run_id for run_id, _ in newcomers} | {
            run_id for run_id, status in self._statuses.items() if status not in _ENDED
        }
        if not asked:
            return
        try:
            runs = await self._store.read(RunStates(tuple(asked)))
        except StorageError:
            self._newcomers += newcomers
            raise
        for run in runs:
            before = self._statuses.get(run.id)
            if before is None:  # nobody watches it any more
                continue
            frame = Frame(_about(run, now).json(), raw=False)
            if before != run.status:
                self._statuses[run.id] = run.status
                self._newcomers = [each for each in self._newcomers if each[0] != run.id]  # they hear it now, too
                self._deliver(run.id, RUN_TOPIC, frame)
            else:
                for run_id, subscription in newcomers:
                    if run_id == run.id:
                        subscription.offer(frame)


def _listens(subscription: Subscription, channel: str, topic: str) -> bool:
    return (channel, topic) in _names(subscription)


def _names(subscription: Subscription) -> Iterator[tuple[str, str]]:
    return ((each.channel, each.name) for each in subscription.topics)


def _about(run: Run, now: int) -> Message:
    """What became of a run. An output that is too large for a message is left out: it can be fetched."""
    told: dict[str, Any] = {"status": run.status.lower()}
    if run.output is not None and len(run.output) <= REALTIME_BYTES_MAX:
        told["error" if run.status == RunStatus.FAILED else "output"] = msgspec.Raw(run.output)
    if run.status == RunStatus.CANCELLED and run.reason:
        told["reason"] = run.reason
    return Message(
        kind="run",
        channel=run.id,
        topic=RUN_TOPIC,
        data=msgspec.Raw(_encode(told)),
        created_at=rfc3339(now),
        run_id=run.id,
    )
