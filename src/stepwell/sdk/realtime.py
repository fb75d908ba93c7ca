"""Messages to whoever listens now: channels, topics, and how functions and others publish and listen (ADR 0020)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from string import Formatter
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypedDict, TypeVar, cast, overload

import msgspec

from stepwell.errors import ConfigurationError, InvalidMessage, InvalidOutput
from stepwell.protocol.realtime import Received, address, decode_message
from stepwell.sdk import execution as kinds
from stepwell.sdk.bodies import Body
from stepwell.sdk.client import Messages
from stepwell.sdk.codec import decode_any, decoder, encode, mismatch
from stepwell.sdk.group import Awaited

if TYPE_CHECKING:
    from stepwell.sdk.bridge import Bridge
    from stepwell.sdk.drive import AsyncDrive

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Blocking = Callable[[Callable[[], Coroutine[Any, Any, None]], str, str], None]
"""Runs a coroutine in the app's event loop and waits for it; the names are for whoever calls it in that very loop."""

_BODY: Final = Body(True, decode_any)
_SHOWN: Final = frozenset({"data", "run", "step", "event", "datastream-start", "chunk", "datastream-end"})
_UNREAD: Final = object()


class Channel:
    """A family of channels with one name: ``Channel("orders:{id}")(id=7)`` is ``"orders:7"``.

    A channel is only text; this says once how it is made, and which topics there are on it. Raises
    ``ConfigurationError``.
    """

    def __init__(self, pattern: str) -> None:
        try:
            parts = list(Formatter().parse(pattern))
        except (ValueError, TypeError) as error:
            raise _bad_pattern(pattern, str(error)) from None
        fields: list[str] = []
        for _, field, how, conversion in parts:
            if field is not None:
                if not field.isidentifier() or how or conversion:
                    raise _bad_pattern(pattern, "what is between braces is the name of a parameter")
                fields.append(field)
        self.pattern = pattern
        self._fields = frozenset(fields)

    def __call__(self, **values: object) -> str:
        """The channel for these values, which become text. Raises ``InvalidMessage``."""
        if values.keys() != self._fields:
            wanted = ", ".join(sorted(self._fields)) or "nothing"
            raise InvalidMessage(
                f"channel {self.pattern!r} got {', '.join(sorted(values)) or 'nothing'}",
                f"it is made from {wanted}",
                f"write it with {wanted}",
            )
        for name, value in values.items():
            if not str(value):
                raise InvalidMessage(
                    f"channel {self.pattern!r} got an empty {name}", "it would be another one's", "give it a value"
                )
        return self.pattern.format(**values)

    def topic(self, name: str, type: type[T]) -> Topic[T]:
        """A topic on these channels, whose messages are of this type."""
        return Topic(name, type)

    def __repr__(self) -> str:
        return f"Channel({self.pattern!r})"


class Topic(Generic[T]):
    """A topic whose messages are of one type: a pydantic model, a Struct, a dataclass, or any other type of JSON.

    What is published on it is checked. Raises ``ConfigurationError`` for a type whose values cannot be read back.
    """

    def __init__(self, name: str, type: type[T]) -> None:
        self.name = name
        self.type = type
        self._decode = decoder(type)

    def read(self, data: bytes) -> T:
        """A message of this topic, from its JSON. Raises ``InvalidMessage`` naming the field that is wrong."""
        try:
            return cast("T", self._decode(data))
        except Exception as error:  # msgspec's and pydantic's errors have no common base of their own
            raise InvalidMessage(
                f"a message on topic {self.name!r} is not what was declared: {mismatch(error, 'data')}",
                f"its type is {getattr(self.type, '__qualname__', self.type)}",
                "correct the publisher, or let the type accept what it publishes",
            ) from None

    def __repr__(self) -> str:
        return f"Topic({self.name!r}, {getattr(self.type, '__qualname__', self.type)})"


class RealtimeMessage(Generic[T_co]):
    """A message that has arrived.

    ``kind`` is ``"data"`` for what was published; ``"run"`` for what becomes of a run, on its topic ``$run``;
    ``"datastream-start"``, ``"chunk"`` and ``"datastream-end"`` for streams, which ``stream_id`` tells apart.
    """

    __slots__ = ("_data", "_raw", "_topic", "channel", "created_at", "kind", "run_id", "stream_id", "topic")

    def __init__(self, received: Received, topic: Topic[Any] | None) -> None:
        self.kind = received.kind
        self.channel = received.channel or ""
        self.topic = received.topic or ""
        self.run_id = received.run_id
        self.stream_id = received.stream_id
        self.created_at = datetime.fromisoformat(received.created_at) if received.created_at else None
        self._raw = bytes(received.data)
        self._topic = topic if received.kind == "data" else None
        self._data: Any = _UNREAD

    @property
    def data(self) -> T_co:
        """What was published, of the type of its topic. Raises ``InvalidMessage`` if it is something else."""
        if self._data is _UNREAD:
            self._data = self._topic.read(self._raw) if self._topic is not None else decode_any(self._raw)
        return cast("T_co", self._data)

    def __repr__(self) -> str:
        return f"RealtimeMessage({self.kind!r}, {self.channel!r}, {self.topic!r}, {self._raw!r:.80})"


class SubscriptionToken(TypedDict):
    """What a page needs to listen, as the npm packages of the field take it. ``key`` is good for a minute."""

    channel: str
    topics: list[str]
    key: str


class Outgoing(NamedTuple):
    """A message that was checked. ``data`` is JSON text."""

    channel: str
    topic: str
    data: bytes


def outgoing(channel: str, topic: str | Topic[Any], data: object) -> Outgoing:
    """What to publish. Raises ``InvalidMessage``."""
    to = address(channel, topic.name if isinstance(topic, Topic) else topic)
    try:
        text = encode(data, "data")
    except InvalidOutput as error:
        raise InvalidMessage(
            f"a message on topic {to.name!r} cannot be written as JSON: {error.what}",
            "messages are sent as JSON",
            "use numbers, text, lists and dicts, or a model of them",
        ) from error
    if isinstance(topic, Topic):
        topic.read(text)  # a Struct or a dict may hold anything: only reading it back shows what it is
    return Outgoing(to.channel, to.name, text)


class Realtime:
    """``app.realtime``: publish, listen, and let browsers listen."""

    def __init__(self, reached: Callable[[], Messages], blocking: Blocking) -> None:
        self._reached = reached
        self._blocking = blocking

    @overload
    async def publish(self, channel: str, topic: Topic[T], data: T) -> None: ...
    @overload
    async def publish(self, channel: str, topic: str, data: object) -> None: ...
    async def publish(self, channel: str, topic: str | Topic[Any], data: object) -> None:
        """Bring ``data`` to whoever listens to this topic of this channel now; it is not kept for others.

        Raises ``InvalidMessage``, ``MessageTooLarge`` and ``NotRunning``.
        """
        await self.deliver(outgoing(channel, topic, data), None)

    @overload
    def publish_sync(self, channel: str, topic: Topic[T], data: T) -> None: ...
    @overload
    def publish_sync(self, channel: str, topic: str, data: object) -> None: ...
    def publish_sync(self, channel: str, topic: str | Topic[Any], data: object) -> None:
        """As ``publish``, for code that runs in another thread than the event loop."""
        self.deliver_sync(outgoing(channel, topic, data), None)

    async def token(self, channel: str, topics: str | Topic[Any] | Sequence[str | Topic[Any]]) -> SubscriptionToken:
        """What a page needs to listen to these topics of this channel, within a minute. Give it to nobody else.

        Raises ``InvalidMessage``, and ``NotRunning`` where there is no server.
        """
        names = list(_by_name(topics))
        return SubscriptionToken(channel=channel, topics=names, key=await self._reached().token(channel, names))

    @overload
    def subscribe(self, channel: str, topics: Topic[T] | Sequence[Topic[T]]) -> Listening[T]: ...
    @overload
    def subscribe(self, channel: str, topics: str | Sequence[str | Topic[Any]]) -> Listening[Any]: ...
    def subscribe(self, channel: str, topics: str | Topic[Any] | Sequence[str | Topic[Any]]) -> Listening[Any]:
        """``async with app.realtime.subscribe(channel, topics) as messages: async for message in messages: …``

        What is published from the moment of entering on arrives, in the order of each publisher. Entering raises
        ``InvalidMessage``, ``LimitExceeded`` and ``NotRunning``; so does the loop when the subscription ends by itself.
        """
        return Listening(self._reached, channel, _by_name(topics))

    async def deliver(self, message: Outgoing, run_id: str | None) -> None:
        """Hand over a message that was checked already."""
        await self._reached().publish(*message, run_id)

    def deliver_sync(self, message: Outgoing, run_id: str | None) -> None:
        """The same, from a thread."""
        self._blocking(lambda: self.deliver(message, run_id), "realtime.publish_sync", "realtime.publish")


class Listening(Generic[T_co]):
    """A subscription: an async context manager that gives an async iterator of messages."""

    def __init__(self, reached: Callable[[], Messages], channel: str, topics: dict[str, Topic[Any] | None]) -> None:
        self._reached = reached
        self._channel = channel
        self._topics = topics
        self._open: AbstractAsyncContextManager[AsyncIterator[bytes]] | None = None

    async def __aenter__(self) -> AsyncIterator[RealtimeMessage[T_co]]:
        self._open = self._reached().listen(self._channel, list(self._topics))
        return self._read(await self._open.__aenter__())

    async def __aexit__(self, *about: Any) -> None:
        assert self._open is not None, "it was entered"
        await self._open.__aexit__(*about)

    async def _read(self, frames: AsyncIterator[bytes]) -> AsyncGenerator[RealtimeMessage[T_co], None]:
        async for frame in frames:
            try:
                received = decode_message(frame)
            except msgspec.MsgspecError:
                continue  # a later version of the protocol may say more
            if received.kind in _SHOWN:
                yield RealtimeMessage(received, self._topics.get(received.topic or ""))


class RunRealtime:
    """``ctx.realtime`` of an ``async def`` function."""

    def __init__(self, realtime: Realtime, run_id: str) -> None:
        self._realtime = realtime
        self._run_id = run_id

    @overload
    async def publish(self, channel: str, topic: Topic[T], data: T) -> None: ...
    @overload
    async def publish(self, channel: str, topic: str, data: object) -> None: ...
    async def publish(self, channel: str, topic: str | Topic[Any], data: object) -> None:
        """Publish each time the code comes by here, also when it is replayed. Inside of a step once for each attempt.

        Raises ``InvalidMessage``, ``MessageTooLarge`` and ``NotRunning``.
        """
        await self._realtime.deliver(outgoing(channel, topic, data), self._run_id)


class SyncRunRealtime:
    """``ctx.realtime`` of a ``def`` function."""

    def __init__(self, realtime: Realtime, run_id: str) -> None:
        self._realtime = realtime
        self._run_id = run_id

    @overload
    def publish(self, channel: str, topic: Topic[T], data: T) -> None: ...
    @overload
    def publish(self, channel: str, topic: str, data: object) -> None: ...
    def publish(self, channel: str, topic: str | Topic[Any], data: object) -> None:
        """Publish each time the code comes by here, also when it is replayed. Inside of a step once for each attempt.

        Raises ``InvalidMessage``, ``MessageTooLarge`` and ``NotRunning``.
        """
        self._realtime.deliver_sync(outgoing(channel, topic, data), self._run_id)


class StepRealtime:
    """``ctx.step.realtime`` of an ``async def`` function."""

    def __init__(self, drive: AsyncDrive, realtime: Realtime) -> None:
        self._drive = drive
        self._realtime = realtime

    @overload
    def publish(self, id: str, /, channel: str, topic: Topic[T], data: T) -> Awaited[None]: ...
    @overload
    def publish(self, id: str, /, channel: str, topic: str, data: object) -> Awaited[None]: ...
    def publish(self, id: str, /, channel: str, topic: str | Topic[Any], data: object) -> Awaited[None]:
        """Publish as a step: once, however often the function is called. Whoever listens then has it.

        If the process dies in the very moment, it is published again. Raises ``InvalidMessage`` for what cannot be
        published.
        """

        async def publish() -> None:
            message = outgoing(channel, topic, data)
            await self._realtime.deliver(message, self._drive.call.run_id)

        return self._drive.body(id, publish, (), {}, None, kinds.REALTIME, _BODY)


class SyncStepRealtime:
    """``ctx.step.realtime`` of a ``def`` function."""

    def __init__(self, step: StepRealtime, bridge: Bridge) -> None:
        self._step = step
        self._bridge = bridge

    @overload
    def publish(self, id: str, /, channel: str, topic: Topic[T], data: T) -> None: ...
    @overload
    def publish(self, id: str, /, channel: str, topic: str, data: object) -> None: ...
    def publish(self, id: str, /, channel: str, topic: Any, data: Any) -> None:
        """Publish as a step: once, however often the function is called."""
        self._bridge.call(self._step.publish(id, channel, topic, data))


def _by_name(topics: str | Topic[Any] | Sequence[str | Topic[Any]]) -> dict[str, Topic[Any] | None]:
    several: Iterable[str | Topic[Any]] = [topics] if isinstance(topics, str | Topic) else topics
    return dict((each.name, each) if isinstance(each, Topic) else (each, None) for each in several)


def _bad_pattern(pattern: object, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"a channel has the pattern {pattern!r:.80}", why, 'write it as in Channel("orders:{id}")'
    )
