"""Events as users write and read them: classes with a name, validated at send and at receipt."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Generic, cast
from weakref import WeakKeyDictionary

import msgspec

from stepwell import clock
from stepwell.errors import ConfigurationError, InvalidEvent, InvalidOutput
from stepwell.limits import EVENTS_PER_REQUEST_MAX, TRIGGER_CHARS_MAX
from stepwell.model import event as accepted
from stepwell.sdk.client import EventPayload
from stepwell.sdk.codec import Decode, decode_any, decoder, encode, mismatch

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    E_co = TypeVar("E_co", default=dict[str, Any], covariant=True)
    C = TypeVar("C", bound=type)
else:
    from typing import TypeVar

    E_co = TypeVar("E_co", covariant=True)
    C = TypeVar("C")

_INHERITED: Final[Mapping[str, str | int | None]] = MappingProxyType({})
_NAMES: WeakKeyDictionary[type, str] = WeakKeyDictionary()


def _check_name(name: str) -> None:
    if not name or name.isspace() or len(name) > TRIGGER_CHARS_MAX:
        raise ConfigurationError(
            what="an event has no name" if not name.strip() else f"an event name has {len(name)} characters",
            why=f"functions are started by it; it has 1 to {TRIGGER_CHARS_MAX} characters",
            fix='choose one such as "app/thing.happened"',
        )


def event(name: str) -> Callable[[C], C]:
    """Say that a class describes the ``data`` of the events of this name.

    The class is a pydantic model, a msgspec ``Struct``, a dataclass or a ``TypedDict``. It is returned unchanged, and
    may then be used as a trigger, in waits and cancellations, and (except a ``TypedDict``, whose values are plain
    dicts) be sent as it is. Raises ``ConfigurationError``.
    """
    if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(
            what=f"@event stands before {getattr(name, '__name__', repr(name))} without the name of its events",
            why="functions are started by that name",
            fix='write @event("app/thing.happened")',
        )
    _check_name(name)

    def name_class(cls: C) -> C:
        if not isinstance(cls, type):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(
                what=f"@event({name!r}) stands before something that is not a class",
                why="an event class describes the data of an event",
                fix="put it before a pydantic model, a msgspec Struct, a dataclass or a TypedDict",
            )
        _NAMES[cls] = name
        return cls

    return name_class


class Event(Generic[E_co]):
    """An event to send, where its data alone does not say everything.

    ``name`` is a name or an event class, whose type ``data`` must have then. ``id`` makes it start each function at
    most once in 24 hours. ``ts`` delays the runs it starts until then: a ``datetime`` or milliseconds, default now.
    ``v`` is a version label of your own. ``sessions`` are up to 5 groups that the runs it starts belong to, such as
    ``{"chat": "c1"}``. An event that a run sends belongs to those of the run too, unless it says otherwise: with
    ``None`` in place of one or of all.
    """

    __slots__ = ("data", "id", "name", "sessions", "ts", "type", "user", "v")

    def __init__(
        self,
        name: str | type[E_co],
        data: E_co | None = None,
        *,
        id: str | None = None,
        ts: datetime | int | None = None,
        v: str | None = None,
        user: dict[str, Any] | None = None,
        sessions: Mapping[str, str | int | None] | None = _INHERITED,
    ) -> None:
        self.sessions = sessions
        self.name = event_name(name)
        self.type = None if isinstance(name, str) else name
        self.data = data
        self.id = id
        self.ts = ts
        self.v = v
        self.user = user

    def __repr__(self) -> str:
        return f"Event({self.name!r}, {self.data!r}, id={self.id!r})"


class ReceivedEvent(Generic[E_co]):
    """An event that has arrived. ``ts`` is in milliseconds, ``id`` is the sender's if there was one, else ours.

    ``data`` is of the type of the trigger's event class, or a plain dict.
    """

    __slots__ = ("_data", "_decode", "_meta", "_raw", "_user", "id", "name", "ts", "v")

    def __init__(
        self,
        *,
        name: str,
        id: str,
        ts: int,
        v: str | None,
        data: bytes,
        user: bytes | None,
        decode: Decode,
        meta: bytes | None = None,
    ) -> None:
        self._meta = meta
        self.name = name
        self.id = id
        self.ts = ts
        self.v = v
        self._raw = data
        self._user = user
        self._decode = decode
        self._data: Any = _UNREAD if decode is decode_any else self._read()

    @property
    def data(self) -> E_co:
        """What happened. Decoded once; changes to it are seen by later code of the same call only."""
        if self._data is _UNREAD:
            self._data = self._read()
        return cast("E_co", self._data)

    @property
    def user(self) -> dict[str, Any]:
        """About whom; deprecated by the field, kept for those who have it."""
        return cast("dict[str, Any]", decode_any(self._user)) if self._user else {}

    @property
    def sessions(self) -> dict[str, str]:
        """The groups that it belongs to, by their kinds (semantics §1.7)."""
        return _sessions(self._meta)

    def __repr__(self) -> str:
        return f"ReceivedEvent(name={self.name!r}, id={self.id!r}, data={self.data!r})"

    def _read(self) -> Any:
        try:
            return self._decode(self._raw)
        except Exception as error:  # msgspec's and pydantic's errors have no common base of their own
            raise InvalidEvent(
                what=f"event {self.name!r} ({self.id}) is not what was declared: {mismatch(error, 'data')}",
                why="the event class of the trigger or wait says what its data must be",
                fix="correct the sender, or let the class accept what it sends",
            ) from None


_UNREAD: Final = object()


class _Meta(msgspec.Struct):
    sessions: dict[str, Any] | None = None


_decode_meta: Final = msgspec.json.Decoder(_Meta).decode


def _sessions(meta: bytes | None) -> dict[str, str]:
    found = _decode_meta(meta).sessions if meta else None
    return {key: str(id) for key, id in found.items() if id is not None} if found else {}


class RunError(msgspec.Struct, frozen=True):
    """The error a run ended with."""

    name: str
    message: str
    stack: str | None = None


@event("inngest/function.failed")
class RunFailed(msgspec.Struct, frozen=True):
    """A run has failed for good: what an ``on_failure`` handler receives as ``ctx.event.data``.

    ``event`` is the event that had started the run, as plain JSON; ``events`` are all of them, for a batch.
    """

    function_id: str
    run_id: str
    error: RunError
    event: dict[str, Any]
    events: list[dict[str, Any]] = []


def event_name(named: str | type) -> str:
    """The name that an event class or a plain text stands for. Raises ``ConfigurationError``."""
    if isinstance(named, str):
        _check_name(named)
        return named
    try:
        return _NAMES[named]
    except (KeyError, TypeError):
        raise ConfigurationError(
            what=f"{getattr(named, '__qualname__', named)!r} is not an event class",
            why="nothing says which events it describes",
            fix='put @event("app/thing.happened") before the class',
        ) from None


def event_decoder(named: str | type) -> Decode:
    """How to read the data of such an event."""
    return decode_any if isinstance(named, str) else decoder(named)


def received(event: accepted.Event, decode: Decode) -> ReceivedEvent[Any]:
    """The event of a call, as its function sees it. Raises ``InvalidEvent`` naming the field that is wrong.

    What the server has put into ``data`` to route the event is not what was sent, so a class need not know of it.
    """
    data = event.data
    if event.name in _ROUTED and b'"_inngest"' in data:
        fields = _decode_object(data)
        fields.pop("_inngest", None)
        data = msgspec.json.encode(fields)
    return ReceivedEvent(
        name=event.name,
        id=event.public_id,
        ts=event.ts,
        v=event.v,
        data=data,
        user=event.user,
        decode=decode,
        meta=event.meta,
    )


_ROUTED: Final = (accepted.INVOKED, accepted.DEFERRED)
_decode_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class _Remembered(msgspec.Struct):
    name: str
    id: str = ""
    ts: float = 0
    v: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"{}")
    user: msgspec.Raw = msgspec.Raw(b"{}")
    meta: msgspec.Raw = msgspec.Raw(b"{}")


_decode_remembered: Final = msgspec.json.Decoder(_Remembered | None).decode


def remembered(data: bytes, decode: Decode) -> ReceivedEvent[Any] | None:
    """The event a wait has returned, or ``None`` for a timeout (protocol §5.3)."""
    found = _decode_remembered(data)
    if found is None:
        return None
    return ReceivedEvent(
        name=found.name,
        id=found.id,
        ts=int(found.ts),
        v=found.v,
        data=bytes(found.data),
        user=bytes(found.user),
        decode=decode,
        meta=bytes(found.meta),
    )


def payloads(events: object) -> list[EventPayload]:
    """What to send for one event or a sequence of them. Raises ``InvalidEvent`` naming the field that is wrong."""
    if not isinstance(events, Sequence) or isinstance(events, str):
        return [payload(events)]
    many = cast("Sequence[object]", events)
    if len(many) > EVENTS_PER_REQUEST_MAX:
        raise InvalidEvent(
            what=f"{len(many)} events are sent at once",
            why=f"all of them are written in one transaction; the limit is {EVENTS_PER_REQUEST_MAX}",
            fix="send them in several parts",
        )
    return [payload(one) for one in many]


def payload(item: object) -> EventPayload:
    """What to send for an ``Event``, or for an instance of an event class."""
    if isinstance(item, Event):
        given = cast("Event[object]", item)
        ts = given.ts
        for field, value, kinds, wanted in (
            ("id", given.id, str, "text"),
            ("v", given.v, str, "text"),
            ("ts", ts, (int, datetime), "a datetime or milliseconds"),
        ):
            if value is not None and (isinstance(value, bool) or not isinstance(value, kinds)):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise InvalidEvent(
                    what=f"the {field} of event {given.name!r} is {value!r:.80}",
                    why=f"it is {wanted}",
                    fix="correct it, or leave it out",
                )
        return EventPayload(
            name=given.name,
            data=_checked(given.name, given.type, given.data),
            id=given.id,
            ts=0 if ts is None else clock.to_ms(ts) if isinstance(ts, datetime) else ts,
            v=given.v,
            user=_object(given.name, "user", given.user) if given.user else None,
            meta=None if given.sessions is _INHERITED else _meta(given.name, given.sessions),
        )
    name = _NAMES.get(type(item))
    if name is None:
        raise InvalidEvent(
            what=f"{item!r:.80} is not an event" if not isinstance(item, type) else f"{item.__name__} is a class",
            why="an event has a name, and this does not say which",
            fix='send Event("app/thing.happened", {…}) or an instance of a class marked with @event',
        )
    return EventPayload(name=name, data=_checked(name, type(item), item))


def _meta(name: str, sessions: Mapping[str, str | int | None] | None) -> bytes:
    return b'{"sessions":%b}' % (b"null" if sessions is None else _object(name, "sessions", dict(sessions)))


def propagated(events: Sequence[accepted.Event]) -> dict[str, str]:
    """The sessions that what a run sends belongs to: those that all of its events share (semantics §1.7)."""
    shared: dict[str, str] = {}
    for number, event in enumerate(events):
        own = _sessions(event.meta)
        shared = own if number == 0 else {key: id for key, id in shared.items() if own.get(key) == id}
    return shared


def stamped(payload: EventPayload, sessions: Mapping[str, str]) -> EventPayload:
    """The same event, sent by a run of these sessions."""
    if not sessions:
        return payload
    meta: dict[str, object] = dict(_decode_object(payload.meta)) if payload.meta else {}
    return msgspec.structs.replace(payload, meta=msgspec.json.encode({**meta, "propagated_sessions": sessions}))


def _checked(name: str, type_: type | None, data: object) -> bytes:
    text = _object(name, "data", data)
    if type_ is not None:
        # A Struct, a dataclass or a dict may hold anything: only reading it back shows that it is what it claims to be.
        try:
            decoder(type_)(text)
        except Exception as error:
            raise InvalidEvent(
                what=f"event {name!r} is not what was declared: {mismatch(error, 'data')}",
                why=f"{type_.__qualname__} says what its data must be",
                fix="correct the value before sending it",
            ) from None
    return text


def _object(name: str, field: str, data: object) -> bytes:
    if data is None:
        return b"{}"
    try:
        text = encode(data, field)
    except InvalidOutput as error:
        raise InvalidEvent(
            what=f"event {name!r} cannot be written as JSON: {error.what}",
            why="events are stored and sent as JSON",
            fix="use numbers, text, lists and dicts, or a model of them",
        ) from error
    if not text.startswith(b"{"):
        raise InvalidEvent(
            what=f"{field} of event {name!r} is of type {type(data).__name__}",
            why="it must be a JSON object, so that fields can be added later",
            fix=f'wrap it, as in Event({name!r}, {{"value": …}})',
        )
    return text
