"""Events as they come in: read, checked, all or nothing (semantics §1, protocol §9).

The JSON of ``data`` and ``user`` is checked here once, thoroughly, and then kept as the text it came in: whatever reads
it later may rely on it. What comes from our SDK in process passes the same rules through ``validate_incoming``.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error
from itertools import accumulate
from typing import Any, Final, cast

import msgspec

from stepwell.errors import EventTooLarge, InvalidEvent
from stepwell.ids import is_ulid, ulid
from stepwell.limits import (
    EVENT_BYTES_MAX,
    EVENT_ID_BYTES_MAX,
    EVENT_NAME_BYTES_MAX,
    EVENT_TS_MS_MAX,
    EVENT_TS_MS_MIN,
    EVENTS_PER_REQUEST_MAX,
    JSON_DEPTH_MAX,
)
from stepwell.model.event import INTERNAL_PREFIX
from stepwell.protocol.surrogates import without_lone_surrogates

SESSIONS_MAX: Final = 5
SESSION_KEY_BYTES_MAX: Final = 128
SESSION_VALUE_BYTES_MAX: Final = 512


class Incoming(msgspec.Struct, frozen=True, kw_only=True):
    """An event before it is accepted. ``ts`` is milliseconds or 0 for now, ``id`` is the sender's idempotency key.

    ``data``, ``user`` and ``meta`` are JSON text of objects. ``run_id`` is the run that sends it, if it says so.
    """

    name: str
    data: bytes = b"{}"
    id: str | None = None
    ts: int = 0
    v: str | None = None
    user: bytes | None = None
    meta: bytes | None = None
    run_id: str | None = None


_ABSENT: Final = msgspec.Raw(b"null")


class _Ours(msgspec.Struct):
    """What our SDK adds (ADR 0008)."""

    run_id: str | None = None


class _Wire(msgspec.Struct):
    name: str
    data: msgspec.Raw = _ABSENT
    id: str | None = None
    ts: int | float | None = None
    v: str | None = None
    user: msgspec.Raw = _ABSENT
    meta: msgspec.Raw = _ABSENT
    stepwell: msgspec.Raw = _ABSENT


class _Meta(msgspec.Struct):
    sessions: dict[str, str | int | float | None] | None = {}
    propagated_sessions: dict[str, str | int | float] | None = None


_decode_one: Final = msgspec.json.Decoder(_Wire).decode
_decode_many: Final = msgspec.json.Decoder(list[_Wire]).decode
_decode_raws: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_meta: Final = msgspec.json.Decoder(_Meta).decode
_decode: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.Encoder().encode

_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_PLACE: Final = re.compile(r" - at `\$(?:\[(\d+)\])?(?:\.(\w+))?`$")
_STRING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_STEP: Final = tuple(1 if byte in b"{[" else -1 for byte in range(256))
_NOT_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in b"[]{}")


def parse_events(body: bytes, *, bytes_max: int = EVENT_BYTES_MAX) -> list[Incoming]:
    """The events of a request: one object, or an array of at most 5,000. One bad event refuses all (semantics §1.2).

    ``bytes_max`` is the limit for the JSON text of one event. Raises ``InvalidEvent`` and ``EventTooLarge``, whose
    ``what`` names the event by its place in the array. Half of a surrogate pair, as JavaScript leaves it when it cuts a
    text inside an emoji, becomes U+FFFD.
    """
    try:
        return _parse(body, bytes_max)
    except _UNREADABLE as error:
        repaired = without_lone_surrogates(body)
        if repaired == body:
            raise _unreadable(error) from None
    try:
        return _parse(repaired, bytes_max)
    except _UNREADABLE as error:
        raise _unreadable(error) from None


def validate_incoming(incoming: Incoming, *, bytes_max: int = EVENT_BYTES_MAX) -> Incoming:
    """The rules of ``parse_events`` for an event that comes from our own SDK in process. Raises the same errors."""
    size = len(incoming.name) + len(incoming.data) + len(incoming.user or b"") + len(incoming.meta or b"")
    if size > bytes_max:
        raise _too_large(None, size, bytes_max)
    found = _checked(
        None, incoming.name, incoming.data, incoming.id, incoming.ts, incoming.v, incoming.user, incoming.meta
    )
    return found if incoming.run_id is None else msgspec.structs.replace(found, run_id=incoming.run_id)


def merged_sessions(meta: bytes) -> bytes | None:
    """The meta of an event that is no request of its own: its sessions as they are kept, ``None`` without any.

    Raises ``InvalidEvent``.
    """
    return None if meta == b"null" else _sessions(None, meta)


def seeded_id(seed_header: str | None, index: int) -> str | None:
    """The internal id that the sender's seed gives its ``index``-th event, counted from 1; ``None`` if the seed is bad.

    A request that is sent again carries the same seed, so its events get the same ids (protocol §9.3).
    """
    millis, _, entropy = (seed_header or "").partition(",")
    if not (millis.isascii() and millis.isdigit() and len(millis) <= 15 and 0 < int(millis) < 2**48):
        return None
    try:
        seed = b64decode(entropy, validate=True)
    except (Base64Error, ValueError):
        return None
    if len(seed) != 10:
        return None
    low = (int.from_bytes(seed[6:]) + index) % 2**32
    return ulid(int(millis), int.from_bytes(seed[:6]) << 32 | low)


def _parse(body: bytes, bytes_max: int) -> list[Incoming]:
    text = body.strip()
    if text.startswith(b"{"):
        if len(text) > bytes_max:
            raise _too_large(None, len(text), bytes_max)
        wire = _decode_one(text)
        return [_read(None, wire)]
    if not text.startswith(b"["):
        raise InvalidEvent(
            what="the request holds no event",
            why="its body is neither a JSON object nor an array of objects",
            fix='send {"name": "app/thing.happened", "data": {}} or an array of such objects',
        )
    wires = _decode_many(text)
    if len(wires) > EVENTS_PER_REQUEST_MAX:
        raise InvalidEvent(
            what=f"Cannot have more than {EVENTS_PER_REQUEST_MAX} events in a batch",
            why=f"the request carries {len(wires)}",
            fix="send them in several requests",
        )
    if len(text) > bytes_max:
        for index, raw in enumerate(_decode_raws(text)):
            size = len(bytes(raw))
            if size > bytes_max:
                raise _too_large(index, size, bytes_max)
    return [_read(index, wire) for index, wire in enumerate(wires)]


def _read(index: int | None, wire: _Wire) -> Incoming:
    data, user, meta = bytes(wire.data), bytes(wire.user), bytes(wire.meta)
    found = _checked(index, wire.name, data, wire.id, wire.ts, wire.v, user, meta)
    if bytes(wire.stepwell) == b"null":
        return found
    return msgspec.structs.replace(found, run_id=_sender(bytes(wire.stepwell)))


def _sender(text: bytes) -> str | None:
    """The run that sends it, if this says so. Anything else may be what a later version says."""
    try:
        run_id = msgspec.json.decode(text, type=_Ours).run_id
    except msgspec.MsgspecError:
        return None
    return run_id if run_id is not None and is_ulid(run_id) else None


def _checked(
    index: int | None,
    name: str,
    data: bytes,
    id: str | None,
    ts: int | float | None,
    v: str | None,
    user: bytes | None,
    meta: bytes | None,
) -> Incoming:
    _check_name(index, name)
    if data == b"null" or data == b"{}":
        data = b"{}"
    else:
        found = _object(index, "data", data)
        if "_inngest" in found:  # only the server itself may say how an event is routed
            del found["_inngest"]
            data = _encode(found)
    if user is not None:
        user = None if user == b"null" or not _object(index, "user", user) else user
    if meta is not None:
        meta = None if meta == b"null" else _sessions(index, meta)
    return Incoming(
        name=name,
        data=data,
        id=_label(index, "id", id) if id else None,
        ts=_moment(index, ts) if ts else 0,
        v=_label(index, "v", v) if v else None,
        user=user,
        meta=meta,
    )


def _check_name(index: int | None, name: str) -> None:
    if not name or name.isspace():
        raise _bad(index, "has no name", "a name says what happened; functions are started by it", _NAME_FIX)
    _label(index, "name", name, EVENT_NAME_BYTES_MAX)
    if name[: len(INTERNAL_PREFIX)].lower() == INTERNAL_PREFIX:
        raise _bad(index, f"is named {name!r}", f"names that begin with {INTERNAL_PREFIX!r} are reserved", _NAME_FIX)


_NAME_FIX: Final = 'choose a name such as "app/thing.happened"'


def _label(index: int | None, field: str, text: str, bytes_max: int = EVENT_ID_BYTES_MAX) -> str:
    """Short text that people, indexes and every database can live with (invariants S13)."""
    if not text.isprintable() and _CONTROL.search(text):
        why = "control characters and broken Unicode look like other text or break databases"
        raise _bad(index, f"has the {field} {text[:80]!r}", why, "use letters, digits and punctuation")
    if len(text) * 4 > bytes_max and (size := len(text.encode())) > bytes_max:
        raise _bad(
            index,
            f"has {'an' if field == 'id' else 'a'} {field} of {size} bytes",
            f"the limit is {bytes_max}",
            "shorten it",
        )
    if text.isspace():
        raise _bad(index, f"has the {field} {text[:80]!r}", "nobody can tell blank texts apart", "leave it out")
    return text


def _moment(index: int | None, ts: int | float) -> int:
    if ts != ts // 1:
        raise _bad(index, f"has the ts {ts!r}", "it is a whole number of milliseconds since 1970", "round it")
    if not EVENT_TS_MS_MIN <= ts <= EVENT_TS_MS_MAX:
        seconds = EVENT_TS_MS_MIN <= ts * 1000 <= EVENT_TS_MS_MAX
        fix = "it looks like seconds: multiply it by 1000" if seconds else "leave it out for now, or send milliseconds"
        raise _bad(index, f"has the ts {ts!r}", "a moment must lie between the years 1980 and 2100", fix)
    return int(ts)


def _object(index: int | None, field: str, text: bytes) -> dict[str, Any]:
    try:
        found = _decode(text)
    except _UNREADABLE as error:
        raise _bad(index, f"has {field} that cannot be read", _reason(error), _fix(error)) from None
    if not isinstance(found, dict):
        why = f"it is {_kind(found)}; {field} is a JSON object"
        raise _bad(index, f"has {field} of the wrong type", why, f'wrap it, as in {{"{field}": {{"value": …}}}}')
    # Counting brackets is an upper bound of the depth, and the only price that an ordinary event pays.
    if text.count(b"{") + text.count(b"[") > JSON_DEPTH_MAX and _depth(text) > JSON_DEPTH_MAX:
        raise _bad(index, f"has {field} nested deeper than {JSON_DEPTH_MAX} levels", _DEPTH_WHY, "flatten it")
    return cast("dict[str, Any]", found)


_DEPTH_WHY: Final = "deeper documents break recursive readers"


def _depth(text: bytes) -> int:
    brackets = _STRING.sub(b"", text).translate(None, _NOT_BRACKETS)
    return max(accumulate(map(_STEP.__getitem__, brackets)))


def _sessions(index: int | None, text: bytes) -> bytes | None:
    """The sessions of an event: those it was given by hand, over those it inherits from a run (semantics §1.7)."""
    try:
        meta = _decode_meta(text)
    except _UNREADABLE as error:
        raise _bad(index, "has a wrong meta", str(error), 'send {"sessions": {"chat": "c1"}}') from None
    if meta.sessions is None:
        return None
    merged = {**(meta.propagated_sessions or {}), **meta.sessions}
    sessions = {key: _session(index, key, value) for key, value in merged.items() if value is not None}
    if len(sessions) > SESSIONS_MAX:
        raise _bad(index, f"has {len(sessions)} sessions", f"an event may belong to {SESSIONS_MAX}", "send fewer")
    return _encode({"sessions": sessions}) if sessions else None


def _session(index: int | None, key: str, value: str | int | float) -> str:
    text = value if isinstance(value, str) else _encode(value).decode()
    if not key or not text:
        raise _bad(index, f"has the session {key[:80]!r} = {text[:80]!r}", "neither side may be empty", "name both")
    _label(index, "session key", key, SESSION_KEY_BYTES_MAX)
    return _label(index, f"session {key!r}", text, SESSION_VALUE_BYTES_MAX)


def _unreadable(error: Exception) -> InvalidEvent:
    if not isinstance(error, msgspec.ValidationError):  # no JSON, or nested too deeply
        return InvalidEvent(what="the request cannot be read", why=_reason(error), fix=_fix(error))
    place = _PLACE.search(str(error))  # one event whose form as a whole is wrong has none
    index = int(place[1]) if place and place[1] else None
    field = place[2] if place else None
    fix = _FIELD_FIXES.get(field or "", 'send {"name": "app/thing.happened", "data": {}}')
    return _bad(index, f"has a wrong {field}" if field else "has the wrong form", _reason(error), fix)


_FIELD_FIXES: Final = {
    "name": _NAME_FIX,
    "id": "send a text, or leave it out",
    "ts": "leave it out for now, or send milliseconds",
    "v": "send a text, or leave it out",
}


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return f"it is nested too deeply; the limit is {JSON_DEPTH_MAX} levels"
    if _is_out_of_range(error):
        return "it has a number that is larger than any a double can hold, about 1.8e308"
    return _PLACE.sub("", str(error))


def _fix(error: Exception) -> str:
    """For what is no JSON that we can read."""
    if isinstance(error, RecursionError):
        return "flatten it"
    return "send that number as a text" if _is_out_of_range(error) else "send valid JSON in UTF-8"


def _is_out_of_range(error: Exception) -> bool:
    return isinstance(error, msgspec.ValidationError) and str(error).startswith("Number out of range")


def _too_large(index: int | None, size: int, bytes_max: int) -> EventTooLarge:
    return EventTooLarge(
        what=f"Event is over the max size: {_name(index)} has {size:,} bytes",
        why=f"events are copied into every call of every run they start; the limit is {bytes_max:,} bytes",
        fix="store the bulk elsewhere and send its address in the event",
    )


def _bad(index: int | None, what: str, why: str, fix: str) -> InvalidEvent:
    return InvalidEvent(what=f"{_name(index)} {what}", why=why, fix=fix)


def _name(index: int | None) -> str:
    return "the event" if index is None else f"event [{index}]"


def _kind(value: object) -> str:
    names: dict[type, str] = {str: "a text", bool: "a boolean", int: "a number", float: "a number", list: "an array"}
    return "null" if value is None else names.get(type(value), "an object")
