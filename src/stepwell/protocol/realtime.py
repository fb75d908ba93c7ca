"""Messages to whoever listens now: what is published, to whom, and who may listen (protocol §12)."""

from __future__ import annotations

import re
from codecs import getincrementaldecoder
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Literal

import msgspec

from stepwell.errors import InvalidMessage, MessageTooLarge
from stepwell.limits import (
    REALTIME_BYTES_MAX,
    REALTIME_CHUNK_BYTES_MAX,
    REALTIME_CHUNKS_MAX,
    REALTIME_METADATA_BYTES_MAX,
    REALTIME_NAME_BYTES_MAX,
    REALTIME_TOPICS_MAX,
    TOKEN_CHARS_MAX,
    TOKEN_TIME,
)
from stepwell.model.event import rfc3339
from stepwell.protocol.surrogates import without_lone_surrogates
from stepwell.protocol.tokens import InvalidToken, sign

ISSUER: Final = "rt.inngest.com"
RUN_TOPIC: Final = "$run"  # on the channel that is a run's id: what becomes of the run
STREAM_TOPIC: Final = "$stream"  # on the same: what a durable endpoint streams, as it is
_NOBODY: Final = "00000000-0000-0000-0000-000000000000"  # accounts and environments, of which there is one

Kind = Literal[
    "data", "run", "step", "event", "datastream-start", "datastream-end", "chunk", "ping", "pong", "sub", "unsub"
]

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder().decode
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_OVER: Final = re.compile(rb"^event: ?inngest\.response\r?$", re.MULTILINE)
_decoder: Final = getincrementaldecoder("utf-8")
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class Topic(msgspec.Struct, frozen=True):
    """What somebody listens to. ``kind`` is the wire's, and says nothing to us."""

    channel: str
    name: str
    kind: str = "run"


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One message, as subscribers get it (protocol §12.4). Members without a value are left out, never null."""

    kind: Kind
    channel: str = ""
    topic: str = ""
    data: msgspec.Raw
    created_at: str = ""
    run_id: str = ""
    stream_id: str = ""
    metadata: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET

    def json(self) -> bytes:
        """As it goes over the wire: one line."""
        return _encode(self)


class Received(msgspec.Struct, kw_only=True):
    """A message as it comes from any server of this protocol: everything but its kind may be missing."""

    kind: str
    channel: str | None = None
    topic: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"null")
    created_at: str | None = None
    run_id: str | None = None
    stream_id: str | None = None


class Control(msgspec.Struct):
    """What a subscriber may say."""

    kind: Literal["sub", "unsub", "ping", "pong"]
    data: Any = None


decode_message: Final = msgspec.json.Decoder(Received).decode
decode_control: Final = msgspec.json.Decoder(Control).decode


# Publishing -----------------------------------------------------------------------------------------------------------


def address(channel: object, topic: object) -> Topic:
    """Where a message goes. Raises ``InvalidMessage``."""
    return Topic(_name("channel", channel), _name("topic", topic))


def message(to: Topic, data: bytes, now: int, *, run_id: str | None = None, metadata: bytes | None = None) -> Message:
    """The message of a request to publish: ``data`` is JSON, or text that becomes a JSON string (protocol §12.1).

    Raises ``InvalidMessage`` and ``MessageTooLarge``.
    """
    if len(data) > REALTIME_BYTES_MAX:
        raise too_large()
    return Message(
        kind="data",
        channel=to.channel,
        topic=to.name,
        data=_json_or_text(data),
        created_at=rfc3339(now),
        run_id=run_id or "",
        metadata=msgspec.UNSET if metadata is None else _metadata(metadata),
    )


def too_large() -> MessageTooLarge:
    return MessageTooLarge(
        f"the message has more than {REALTIME_BYTES_MAX:,} bytes",
        "it is kept in memory for each subscriber that is slow",
        "publish where the bulk can be fetched, or publish a stream",
    )


def stream_edge(kind: Literal["datastream-start", "datastream-end"], to: Topic, stream_id: str, now: int) -> Message:
    """The beginning or the end of a stream."""
    return _of_stream(kind, to, stream_id, stream_id, now)


def chunk(to: Topic, stream_id: str, text: str, now: int) -> Message:
    """A piece of a stream. It names its channel and topic, because subscribers ignore it otherwise (protocol §16)."""
    return _of_stream("chunk", to, stream_id, text, now)


def whole_stream(to: Topic, stream_id: str, text: str, now: int) -> list[Message]:
    """The messages of a stream that is known as a whole. Raises ``InvalidMessage`` if it is too long."""
    pieces = list(Pieces().feed(text.encode(errors="replace"), last=True))
    if len(pieces) > REALTIME_CHUNKS_MAX:
        raise too_many_chunks()
    return [
        stream_edge("datastream-start", to, stream_id, now),
        *(chunk(to, stream_id, piece, now) for piece in pieces),
        stream_edge("datastream-end", to, stream_id, now),
    ]


def too_many_chunks() -> InvalidMessage:
    return InvalidMessage(
        f"the stream has more than {REALTIME_CHUNKS_MAX:,} chunks",
        "subscribers put it together from them",
        "publish it in several streams",
    )


class Pieces:
    """Cuts what arrives of a stream into chunks: never inside a character, none larger than the limit."""

    def __init__(self) -> None:
        self._decoder = _decoder()

    def feed(self, data: bytes, *, last: bool = False) -> Iterator[str]:
        """The chunks that are whole by now. Raises ``InvalidMessage`` for what is not UTF-8."""
        try:
            waiting = self._decoder.decode(data, last).encode()
        except UnicodeDecodeError as error:
            raise _not_utf8(error) from None
        while waiting:
            piece = waiting[:REALTIME_CHUNK_BYTES_MAX].decode(errors="ignore")  # what is cut at its end comes next
            yield piece
            waiting = waiting[len(piece.encode()) :]


def ends_stream(events: bytes) -> bool:
    """Is the last of the events among these that a durable endpoint streams (protocol §12.5)?"""
    return _OVER.search(events) is not None


# Listening ------------------------------------------------------------------------------------------------------------


def read_topics(body: bytes) -> tuple[Topic, ...]:
    """The topics of a request for a token (protocol §12.2). Raises ``InvalidMessage``."""
    try:
        found = _decode_topics(body)
    except _UNREADABLE as error:
        raise InvalidMessage(
            "the request names no topics", str(error), 'send [{"channel": "…", "name": "…", "kind": "run"}]'
        ) from None
    return checked_topics(found)


def checked_topics(topics: Iterable[Topic]) -> tuple[Topic, ...]:
    """Raises ``InvalidMessage``."""
    found = tuple(dict.fromkeys(topics))
    for each in found:
        address(each.channel, each.name)
        if len(each.kind) > 32 or not each.kind.isprintable():
            raise InvalidMessage(f"a topic is of the kind {each.kind!r:.80}", "", 'write "run"')
    if not 1 <= len(found) <= REALTIME_TOPICS_MAX:
        raise InvalidMessage(
            f"there are {len(found)} topics", f"a subscriber has 1 to {REALTIME_TOPICS_MAX}", "subscribe several times"
        )
    return found


def subscription_token(topics: Sequence[Topic], key: str, now: int, token_id: str, *, publish: bool = False) -> str:
    """A token to listen to these topics, or with ``publish`` to publish on them, for a minute from now.

    Raises ``InvalidMessage``.
    """
    claims = {
        "iss": ISSUER,
        "sub": _NOBODY,
        "env": _NOBODY,
        "topics": [{"channel": each.channel, "name": each.name, "kind": each.kind} for each in topics],
        "publish": publish,
        "iat": now // 1000,
        "exp": now // 1000 + round(TOKEN_TIME.total_seconds()),
        "jti": token_id,
    }
    token = sign(claims, key)
    if len(token) > TOKEN_CHARS_MAX:
        raise InvalidMessage(
            "the names of the topics are too long together",
            f"they are in the token, which has at most {TOKEN_CHARS_MAX:,} characters",
            "ask for several tokens",
        )
    return token


def topics_of(claims: dict[str, Any], *, publish: bool = False) -> tuple[Topic, ...]:
    """What the claims of a token allow to listen to, or to ``publish`` on. Raises ``InvalidToken``."""
    if claims.get("iss") != ISSUER:
        raise InvalidToken("it is for something else")
    if claims.get("publish") is not publish:
        raise InvalidToken("it is for publishing" if not publish else "it is for listening")
    try:
        return checked_topics(msgspec.convert(claims.get("topics"), tuple[Topic, ...]))
    except (msgspec.MsgspecError, InvalidMessage):
        raise InvalidToken("it names no topics") from None


_decode_topics: Final = msgspec.json.Decoder(tuple[Topic, ...]).decode


def _of_stream(kind: Kind, to: Topic, stream_id: str, text: str, now: int) -> Message:
    return Message(
        kind=kind,
        channel=to.channel,
        topic=to.name,
        data=msgspec.Raw(_encode(text)),
        created_at=rfc3339(now),
        stream_id=stream_id,
    )


def _name(what: str, given: object) -> str:
    if not isinstance(given, str) or not given.strip():
        raise InvalidMessage(f"there is no {what}", "whoever listens names it", f"name it: {what}=…")
    if _CONTROL.search(given):
        why = "control characters and broken Unicode look like other text"
        raise InvalidMessage(f"the {what} is {given!r:.80}", why, "use letters, digits and punctuation")
    if (size := len(given.encode())) > REALTIME_NAME_BYTES_MAX:
        why = f"the limit is {REALTIME_NAME_BYTES_MAX}"
        raise InvalidMessage(f"the name of the {what} has {size} bytes", why, "shorten it")
    return given


def _json_or_text(data: bytes) -> msgspec.Raw:
    repaired = without_lone_surrogates(data)
    try:
        _decode(repaired)
        return msgspec.Raw(msgspec.json.format(repaired, indent=-1))  # on one line, as frames of SSE are
    except _UNREADABLE:
        return msgspec.Raw(_encode(_utf8(data)))


def _metadata(text: bytes) -> msgspec.Raw:
    fix = "send an object of a few fields"
    if len(text) > REALTIME_METADATA_BYTES_MAX:
        raise InvalidMessage(
            f"the metadata has {len(text):,} bytes", f"the limit is {REALTIME_METADATA_BYTES_MAX:,}", fix
        )
    try:
        _decode(text)
        return msgspec.Raw(msgspec.json.format(text, indent=-1))
    except _UNREADABLE as error:
        raise InvalidMessage("the metadata is not JSON", str(error), fix) from None


def _utf8(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise _not_utf8(error) from None


def _not_utf8(error: UnicodeDecodeError) -> InvalidMessage:
    return InvalidMessage("the message is not UTF-8", str(error), "send JSON or text in UTF-8")
