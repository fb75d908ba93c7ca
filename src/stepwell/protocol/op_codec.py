"""Ops to and from the JSON of protocol §6.1, one pair of functions for each opcode whose options differ from ours.

Our options say lengths and moments in milliseconds (``duration_ms``, ``timeout_ms``, ``until_ms``); the wire says them
as text, and sleeps and waits carry data in ``name``. What the wire has no word for travels in ``opts.stepwell``, which
other servers ignore.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from stepwell.errors import InvalidDuration
from stepwell.model.duration import format_duration, parse_duration
from stepwell.model.log import Logs
from stepwell.protocol import messages as wire
from stepwell.protocol.messages import Op, WireError
from stepwell.protocol.moments import bounded, read_moment, write_moment

_KIND_OF_OP: Final = {
    wire.SLEEP: "sleep",
    wire.WAIT_FOR_EVENT: "waitForEvent",
    wire.WAIT_FOR_SIGNAL: "waitForSignal",
    wire.INVOKE_FUNCTION: "invoke",
    wire.DEFER_ADD: "defer",
    wire.DEFER_ABORT: "defer",
    wire.AI_GATEWAY: "aiInfer",
    wire.GATEWAY: "fetch",
}
_TYPE_OF_KIND: Final = {
    "sendEvent": "step.sendEvent",
    "sendSignal": "step.sendSignal",
    "aiWrap": "step.ai.wrap",
    "realtimePublish": "step.realtime.publish",
    "group.experiment": "group.experiment",
}
_KIND_OF_TYPE: Final = {type: kind for kind, type in _TYPE_OF_KIND.items()}
_STEP: Final = "Step"  # what old SDKs call a step that was run
_SYNC_RUN_COMPLETE: Final = "SyncRunComplete"  # how Go ends a durable endpoint, with its answer inside of "data"
_MEANS: Final = {_STEP: wire.STEP_RUN, _SYNC_RUN_COMPLETE: wire.RUN_COMPLETE}
_BODIES: Final = frozenset({wire.STEP_RUN, wire.STEP_ERROR, wire.STEP_FAILED, _STEP})
_OWN: Final = "stepwell"  # among the options: what only we say (ADR 0008)
_NOTHING: Final = msgspec.Raw(b"")
_NULL: Final = msgspec.Raw(b"null")
_MS_NS: Final = 1_000_000


class Unreadable(ValueError):
    """The other side sent something that the protocol does not know. The attempt fails, and may be repeated."""


class _Userland(msgspec.Struct):
    id: str
    index: int | None = None


class _Timing(msgspec.Struct):
    """When the body began, and how long it took, in nanoseconds."""

    a: int | float
    b: int | float


class _Extra(msgspec.Struct, omit_defaults=True):
    attempt: int | None = None
    max_attempts: int | None = None
    retry_at: int | None = None
    no_retry: bool = False
    backoff_ms: list[int] | None = None
    lookback: str | None = None
    cancel_child: bool = False
    logs: Logs | None = None


class _Op(msgspec.Struct, omit_defaults=True):
    id: str
    op: str
    name: str | None = None
    display_name: str | None = msgspec.field(default=None, name="displayName")
    opts: dict[str, msgspec.Raw] | None = None
    userland: _Userland | None = None
    data: msgspec.Raw = _NOTHING
    error: msgspec.Raw = _NOTHING
    timing: _Timing | None = None
    metadata: msgspec.Raw = _NOTHING


class _Error(msgspec.Struct):
    name: str | None = None
    message: str | None = None
    stack: str | None = None
    code: str | None = None
    error: str | None = None
    cause: msgspec.Raw = _NOTHING


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder().decode
_decode_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_ops: Final = msgspec.json.Decoder(list[_Op]).decode
_decode_error: Final = msgspec.json.Decoder(_Error).decode
_decode_extra: Final = msgspec.json.Decoder(_Extra).decode
_decode_text: Final[Callable[[msgspec.Raw], str | None]] = msgspec.json.Decoder(str | None).decode

Opts = dict[str, msgspec.Raw]


def encode_ops(ops: Iterable[Op], *, attempt: int = 0) -> bytes:
    """The JSON array of these ops. ``attempt`` is that of the call, which the reader takes for ops that say nothing."""
    return _encode([_write(op, attempt) for op in ops])


def decode_ops(
    body: bytes,
    *,
    now: int,
    no_retry: bool = False,
    retry_at: int | None = None,
    attempt: int = 0,
    called_at: int = 0,
) -> tuple[Op, ...]:
    """The ops of an array, or of a single object. ``no_retry`` and ``retry_at`` are what the headers say of them all.

    ``attempt`` and ``called_at`` are for ops which do not say theirs. ``now`` is in milliseconds. Opcodes that nobody
    knows pass: the engine refuses them (§6.1). Raises ``Unreadable``.
    """
    text = body.strip()
    try:
        found = _decode_ops(b"[" + text + b"]" if text.startswith(b"{") else text)
        return tuple(
            _read(op, no_retry, retry_at, now, attempt, called_at)
            for op in found
            if op.op != wire.NONE or _OWN in (op.opts or ())
        )
    except InvalidDuration as error:
        raise Unreadable(f"an op cannot be read: {error.what}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(f"the ops cannot be read: {error}") from None


def read_error(text: bytes, fallback: str) -> WireError:
    """The error object of any SDK (protocol §5.6); ``fallback`` is its message if it has none."""
    try:
        found = _decode_error(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return WireError("Error", fallback)
    message = found.error if found.message is None else found.message
    error = WireError(found.name or "Error", fallback if message is None else message, found.stack, found.code)
    cause = bytes(found.cause)  # a copy: it would keep the whole text
    return error if cause in (b"", b"null") else msgspec.structs.replace(error, cause=msgspec.Raw(cause))


def _write(op: Op, called_as: int) -> _Op:
    opts = _decode_object(op.opts) if op.opts else {}
    name, opts, extra = _WRITERS.get(op.op, _write_plain)(op, opts)
    extra.attempt, extra.max_attempts = op.attempt if op.attempt or called_as else None, op.max_attempts
    extra.retry_at, extra.no_retry, extra.logs = op.retry_at, op.no_retry, op.logs
    if op.parallel == "race":
        opts["parallelMode"] = _raw(op.parallel)
    if extra != _Extra():
        opts[_OWN] = msgspec.Raw(_encode(extra))
    timed = op.started_at or op.ended_at
    return _Op(
        id=op.id,
        op=op.op,
        name=name,
        display_name=op.name,
        opts=opts or None,
        userland=_Userland(op.name, op.repeat),
        data=_NOTHING if op.data is None else msgspec.Raw(op.data),
        error=_NOTHING if op.error is None else msgspec.Raw(op.error.json()),
        timing=_Timing(op.started_at * _MS_NS, (op.ended_at - op.started_at) * _MS_NS) if timed else None,
        metadata=_NOTHING if op.metadata is None else msgspec.Raw(op.metadata),
    )


def _read(found: _Op, no_retry: bool, retry_at: int | None, now: int, attempt: int, called_at: int) -> Op:
    opts = found.opts or {}
    own = opts.pop(_OWN, None)
    extra = _Extra(attempt=attempt) if own is None else _decode_extra(own)
    mode = _text(opts, "parallelMode")
    opts.pop("parallelMode", None)
    kind = _KIND_OF_OP.get(found.op)
    if kind is None:
        kind = _KIND_OF_TYPE.get(_text(opts, "type") or "", "run")
        if kind != "run":
            del opts["type"]
    opts = _READERS.get(found.op, _read_plain)(found, opts, extra, now)
    failing = found.op in (wire.STEP_ERROR, wire.STEP_FAILED)
    error = bytes(found.error)
    timing = found.timing
    if timing is None and called_at and found.op in _BODIES:  # Python says nothing of the time a body took
        timing = _Timing(called_at * _MS_NS, (now - called_at) * _MS_NS)
    started_at = bounded(int(timing.a) // _MS_NS) if timing else 0
    meant = _MEANS.get(found.op, found.op)
    data = bytes(found.data) or b"null" if meant in (wire.STEP_RUN, wire.RUN_COMPLETE) else None
    return Op(
        op=meant,
        id=found.id,
        name=(found.userland.id if found.userland else None) or found.display_name or found.name or found.id,
        repeat=(found.userland.index if found.userland else None) or 0,
        kind=kind,
        opts=_encode(opts) if opts else None,
        # SDKs write null where there is no result, too (protocol §6.1).
        data=_inner(data) if found.op == _SYNC_RUN_COMPLETE and data is not None else data,
        error=read_error(error, "the error has no message") if failing and error not in (b"", b"null") else None,
        attempt=extra.attempt or 0,
        max_attempts=extra.max_attempts,
        retry_at=extra.retry_at if extra.retry_at is not None or not failing else retry_at,
        no_retry=failing and (extra.no_retry or no_retry),
        started_at=started_at,
        ended_at=bounded(started_at + int(timing.b) // _MS_NS) if timing else 0,
        parallel="race" if mode == "race" else None,
        metadata=None if bytes(found.metadata) in (b"", b"null", b"[]") else bytes(found.metadata),
        logs=extra.logs,
    )


def _inner(data: bytes) -> bytes:
    """What is wrapped once more, as the results of steps are in memos."""
    if data.startswith(b"{"):
        members = _decode_object(data)
        if members.keys() == {"data"}:
            return bytes(members["data"])
    return data


# Each opcode's options -----------------------------------------------------------------------------------------------


def _write_plain(op: Op, opts: Opts) -> tuple[str, Opts, _Extra]:
    if op.kind in _TYPE_OF_KIND:
        opts["type"] = _raw(_TYPE_OF_KIND[op.kind])
    return op.name, opts, _Extra()


def _read_plain(found: _Op, opts: Opts, extra: _Extra, now: int) -> Opts:
    return opts


def _write_failure(op: Op, opts: Opts) -> tuple[str, Opts, _Extra]:
    backoff = opts.pop("backoff_ms", None)
    name, opts, extra = _write_plain(op, opts)
    extra.backoff_ms = None if backoff is None else _decode(backoff)
    return name, opts, extra


def _read_failure(found: _Op, opts: Opts, extra: _Extra, now: int) -> Opts:
    return opts if extra.backoff_ms is None else opts | {"backoff_ms": _raw(extra.backoff_ms)}


def _write_sleep(op: Op, opts: Opts) -> tuple[str, Opts, _Extra]:
    text = _write_time(opts, "duration_ms") or "0s"
    return text, {"duration": _raw(text)}, _Extra()


def _read_sleep(found: _Op, opts: Opts, extra: _Extra, now: int) -> Opts:
    text = _text(opts, "duration")
    return _read_time(found.name or "" if text is None else text, "duration_ms")


def _write_wait(op: Op, opts: Opts) -> tuple[str, Opts, _Extra]:
    written: Opts = {}
    timeout = _write_time(opts, "timeout_ms")
    if timeout is not None:
        written["timeout"] = _raw(timeout)
    if _text(opts, "if"):
        written["if"] = opts["if"]
    lookback = format_duration(_decode(opts["lookback_ms"])) if "lookback_ms" in opts else _text(opts, "lookback")
    return _text(opts, "event") or "", written, _Extra(lookback=lookback)


def _read_wait(found: _Op, opts: Opts, extra: _Extra, now: int) -> Opts:
    event = _text(opts, "event") or found.name
    if not event:
        raise Unreadable("a wait names no event")
    read: Opts = {"event": _raw(event)}
    if _text(opts, "if"):
        read["if"] = opts["if"]
    timeout = _text(opts, "timeout")
    if timeout is not None:
        read |= _read_time(timeout, "timeout_ms")
    if extra.lookback == "run":
        read["lookback"] = _raw("run")
    elif extra.lookback is not None:
        read["lookback_ms"] = _raw(parse_duration(extra.lookback))
    return read


def _write_signal(op: Op, opts: Opts) -> tuple[str, Opts, _Extra]:
    written: Opts = {"signal": opts.get("signal", _NULL)}
    timeout = _write_time(opts, "timeout_ms")
    if timeout is not None:
        written["timeout"] = _raw(timeout)
    if "conflict" in opts:
        written["conflict"] = opts["conflict"]
    return op.name, written, _Extra()


def _read_signal(found: _Op, opts: Opts, extra: _Extra, now: int) -> Opts:
    signal, timeout, conflict = _text(opts, "signal"), _text(opts, "timeout"), _text(opts, "conflict")
    if not signal:
        raise Unreadable("a wait names no signal")
    if conflict not in (None, "fail", "replace"):
        raise Unreadable(f"a wait for signal {signal!r:.80} has conflict {conflict!r:.80}, not 'fail' or 'replace'")
    read: Opts = {"signal": _raw(signal)}
    if timeout is not None:
        read |= _read_time(timeout, "timeout_ms")
    if conflict is not None:
        read["conflict"] = _raw(conflict)
    return read


_INVOKED: Final = ("id", "ts", "v", "user", "meta")  # what the event of an invoke may have besides its data


def _write_invoke(op: Op, opts: Opts) -> tuple[str, Opts, _Extra]:
    payload = {"data": opts.get("data", msgspec.Raw(b"{}"))} | {name: opts[name] for name in _INVOKED if name in opts}
    written: Opts = {"function_id": opts.get("function_id", _NULL), "payload": _raw(payload)}
    timeout = _write_time(opts, "timeout_ms")
    if timeout is not None:
        written["timeout"] = _raw(timeout)
    return op.name, written, _Extra(cancel_child=bytes(opts.get("cancel_child", b"")) == b"true")


def _read_invoke(found: _Op, opts: Opts, extra: _Extra, now: int) -> Opts:
    target = _text(opts, "function_id")
    if not target:
        raise Unreadable("an invoke names no function")
    payload = bytes(opts.get("payload", _NULL))
    members = _decode_object(payload) if payload != b"null" else {}
    data = bytes(members.get("data", _NULL))
    read: Opts = {"function_id": _raw(target), "data": msgspec.Raw(b"{}" if data == b"null" else data)}
    read |= {name: members[name] for name in _INVOKED if bytes(members.get(name, _NULL)) not in (b"null", b"{}")}
    timeout = _text(opts, "timeout")
    if timeout is not None:
        until = read_moment(timeout)
        length = parse_duration(timeout, empty_is_zero=True) if until is None else max(0, until - now)
        read["timeout_ms"] = _raw(length)
    if extra.cancel_child:
        read["cancel_child"] = _raw(True)
    return read


def _write_model_request(op: Op, opts: Opts) -> tuple[str, Opts, _Extra]:
    return op.name, {"type": _raw("step.ai.infer"), **opts}, _Extra()


def _read_model_request(found: _Op, opts: Opts, extra: _Extra, now: int) -> Opts:
    if not _text(opts, "url"):
        raise Unreadable("a request to a model names no URL")
    # JavaScript passes on whatever else it was given.
    known = ("url", "auth_key", "format", "headers", "body", "publish")
    return {name: opts[name] for name in known if not _is_null(opts, name)}


def _read_request(found: _Op, opts: Opts, extra: _Extra, now: int) -> Opts:
    if not _text(opts, "url"):
        raise Unreadable("a fetch names no URL")
    return {name: opts[name] for name in ("url", "method", "headers", "body", "publish") if not _is_null(opts, name)}


_WRITERS: Final[dict[str, Callable[[Op, Opts], tuple[str, Opts, _Extra]]]] = {
    wire.STEP_ERROR: _write_failure,
    wire.STEP_FAILED: _write_failure,
    wire.SLEEP: _write_sleep,
    wire.WAIT_FOR_EVENT: _write_wait,
    wire.WAIT_FOR_SIGNAL: _write_signal,
    wire.INVOKE_FUNCTION: _write_invoke,
    wire.AI_GATEWAY: _write_model_request,
}
_READERS: Final[dict[str, Callable[[_Op, Opts, _Extra, int], Opts]]] = {
    wire.STEP_ERROR: _read_failure,
    wire.STEP_FAILED: _read_failure,
    wire.SLEEP: _read_sleep,
    wire.WAIT_FOR_EVENT: _read_wait,
    wire.WAIT_FOR_SIGNAL: _read_signal,
    wire.INVOKE_FUNCTION: _read_invoke,
    wire.AI_GATEWAY: _read_model_request,
    wire.GATEWAY: _read_request,
}


def _write_time(opts: Opts, length: str) -> str | None:
    """The wire's text of a length, or of the moment ``until_ms`` that stands in its place."""
    until: Any = _decode(opts.get("until_ms", _NULL))
    if until is not None:
        return write_moment(until)
    ms: Any = _decode(opts.get(length, _NULL))
    return None if ms is None else format_duration(max(0, ms))


def _read_time(text: str, length: str) -> Opts:
    until = read_moment(text)
    return {length: _raw(parse_duration(text, empty_is_zero=True))} if until is None else {"until_ms": _raw(until)}


def _text(opts: Opts, name: str) -> str | None:
    return _decode_text(opts.get(name, _NULL))


def _is_null(opts: Opts, name: str) -> bool:
    return bytes(opts.get(name, _NULL)) == b"null"


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(_encode(value))
