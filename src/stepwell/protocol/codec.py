"""Messages to and from the JSON of the wire: calls (protocol §5.2), memos (§5.3) and answers (§5.5).

Payloads pass through as the text they are. What our calls can say and the protocol cannot travels in ``ctx.stepwell``,
which other SDKs ignore.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha1
from typing import Final

import msgspec

from stepwell.model.event import Event
from stepwell.model.function import function_uuid
from stepwell.model.log import Logs
from stepwell.protocol import messages as wire
from stepwell.protocol.canonical import canonical
from stepwell.protocol.messages import Answer, Call, Completed, Failed, Memo, Op, Ops, Pending, WireError
from stepwell.protocol.moments import read_retry_after, write_moment
from stepwell.protocol.op_codec import Unreadable, decode_ops, encode_ops, read_error
from stepwell.protocol.surrogates import without_lone_surrogates

__all__ = [
    "CALL_BYTES_MAX",
    "Unreadable",
    "answer_of",
    "decode_answer",
    "decode_call",
    "decode_memo",
    "decode_ops",
    "dispatch_id",
    "encode_answer",
    "encode_call",
    "encode_events",
    "encode_memo",
    "encode_memos",
    "encode_ops",
    "function_uuid",
    "generation_of",
    "signature_within",
    "state_elsewhere",
]

CALL_BYTES_MAX: Final = 4 * 1024 * 1024

_LOGS_ID: Final = "logs"
_COMPLETE_ID: Final = sha1(
    b"complete", usedforsecurity=False
).hexdigest()  # JavaScript's step id for the function itself
_REQUEST_VERSION: Final = "2"  # the execution version that our SDK speaks (protocol §7.5)
_VERSIONS: Final = ("1", "2")
_BUSY: Final = (429, 503)
_NOTHING: Final = msgspec.Raw(b"")
_TEXT_MAX: Final = 1_000  # characters of a foreign body that are kept to explain a failure
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class _Event(msgspec.Struct, omit_defaults=True):
    name: str
    data: msgspec.Raw = _NOTHING
    id: str = ""
    ts: int = 0
    user: msgspec.Raw = _NOTHING
    v: str | None = None
    meta: msgspec.Raw = _NOTHING


class _Stack(msgspec.Struct):
    stack: list[str] | None
    current: int = 0


class _Extra(msgspec.Struct, omit_defaults=True):
    pending: dict[str, Pending] = {}
    known_at: list[int] = []
    parallel_max: int | None = None
    started_at: int = 0


class _Ctx(msgspec.Struct):
    run_id: str
    attempt: int
    max_attempts: int | None = None
    stack: _Stack | None = None
    step_id: str = "step"
    request_id: str = ""
    env: str = ""
    disable_immediate_execution: bool = False
    use_api: bool = False
    fn_id: str | msgspec.UnsetType = msgspec.UNSET
    qi_id: str | msgspec.UnsetType = msgspec.UNSET
    generation_id: int | msgspec.UnsetType = msgspec.UNSET
    stepwell: _Extra | msgspec.UnsetType = msgspec.UNSET


class _Defer(msgspec.Struct):
    abortable: bool = False


class _Call(msgspec.Struct):
    ctx: _Ctx
    event: _Event
    events: list[_Event]
    steps: dict[str, msgspec.Raw]
    use_api: bool
    version: int = -1
    defers: dict[str, _Defer] = {}


class _Streamed(msgspec.Struct):
    status: int = 0
    headers: dict[str, str] = {}
    body: msgspec.Raw = _NOTHING
    error: msgspec.Raw = _NOTHING


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder().decode
_decode_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_call: Final = msgspec.json.Decoder(_Call).decode
_decode_events: Final = msgspec.json.Decoder(list[_Event]).decode
_decode_streamed: Final = msgspec.json.Decoder(_Streamed).decode
_decode_text: Final = msgspec.json.Decoder(str).decode


def dispatch_id(run_id: str, generation: int) -> str:
    """What an SDK gives back with the steps it reports while it runs, by which we know the call that it was given.

    JavaScript 3 gives nothing else back (protocol §8.2)."""
    return f"{run_id}.{generation:x}"


def generation_of(text: str, run_id: str) -> int | None:
    """The generation of the call that this was given to, if it is one of this run."""
    found = _DISPATCH.fullmatch(text)
    return int(found[2], 16) if found is not None and found[1] == run_id else None


_DISPATCH: Final = re.compile(r"([0-9A-Z]{26})\.([0-9a-f]{1,15})")


# Calls ---------------------------------------------------------------------------------------------------------------


def encode_call(call: Call, *, signed: bool = False) -> bytes:
    """The body of a call. With ``signed`` it is canonical JSON, which both sides sign (protocol §3.2).

    A body over 4 MiB leaves out events and memos, which the SDK then fetches (protocol §5.4). Raises ``InvalidOutput``
    if data that is to be signed has no canonical form.
    """
    body = b"" if _data_bytes(call) > CALL_BYTES_MAX else _encode(_write_call(call, use_api=False))
    if not body or len(body) > CALL_BYTES_MAX:
        body = _encode(_write_call(call, use_api=True))
    return canonical(body) if signed else body


def _data_bytes(call: Call) -> int:
    """What the body of a call has at least: to write a large one only to see that it is large would double its cost,
    with each call of the run."""
    memos = sum(len(call.steps[id].data) for id in call.stack if id in call.steps)
    return memos + sum(len(event.data) for event in call.events)


def state_elsewhere(body: bytes) -> str | None:
    """The id of the run whose memos and events are to be fetched, because they are too large for this call.

    Raises ``Unreadable``.
    """
    try:
        found = _decode_call(body)
    except _UNREADABLE as error:
        raise Unreadable(f"the call cannot be read: {error}") from None
    return found.ctx.run_id if found.use_api or found.ctx.use_api else None


def decode_call(
    body: bytes, *, function_id: str, step_id: str | None = None, state: tuple[bytes, bytes] | None = None
) -> Call:
    """The call in this body; ``function_id`` and ``step_id`` are those of its URL. Raises ``Unreadable``.

    ``generation`` is there only if the server is one of ours, which shows by how it knows the function: others take no
    reports of the kind that we make.

    ``state`` are the memos and the events that were fetched for it; without them a call is not readable that only says
    where they are (protocol §5.4).
    """
    try:
        found = _decode_call(body)
        ctx = found.ctx
        if state is not None:
            found.steps, found.events = _decode_object(state[0]), _decode_events(state[1])
        elif ctx.use_api or found.use_api:
            raise Unreadable("the state of this call is to be fetched from the server, which is not possible here")
        extra = _Extra() if ctx.stepwell is msgspec.UNSET else ctx.stepwell
        stack = tuple(ctx.stack.stack or () if ctx.stack else found.steps)
        at = dict(zip(stack, extra.known_at, strict=False))
        memos = {id: decode_memo(bytes(memo), at=at.get(id, 0)) for id, memo in found.steps.items()}
        return Call(
            function_id=function_id,
            run_id=ctx.run_id,
            request_id=ctx.request_id,
            attempt=ctx.attempt,
            # Who does not say decides by itself which attempt is the last.
            max_attempts=ctx.attempt + 2 if ctx.max_attempts is None else ctx.max_attempts,
            events=tuple(map(_read_event, found.events or [found.event])),
            steps={id: memo for id, memo in memos.items() if memo.kind != "input"},
            stack=stack,
            pending=extra.pending,
            step_id=step_id or ctx.step_id,
            parallel_max=extra.parallel_max,
            started_at=extra.started_at,
            version=found.version,
            plans_only=ctx.disable_immediate_execution,
            generation=ctx.generation_id if _is_ours(ctx, function_id) and ctx.generation_id else 0,
            defers={id: known.abortable for id, known in found.defers.items()},
            inputs={id: memo.data for id, memo in memos.items() if memo.kind == "input"},
        )
    except _UNREADABLE as error:
        raise Unreadable(f"the call cannot be read: {error}") from None


def _is_ours(ctx: _Ctx, function_id: str) -> bool:
    return ctx.fn_id == function_uuid(function_id)


def encode_memos(steps: Mapping[str, Memo], stack: Sequence[str], inputs: Mapping[str, bytes]) -> bytes:
    """All memos by step id, in the order in which they became known, and after them the ``inputs`` of steps without a
    result (protocol §5.3, §5.4)."""
    return _encode(_write_memos(steps, stack, inputs))


def encode_events(events: Iterable[Event]) -> bytes:
    """The events of a run, as a call carries them."""
    return _encode([_write_event(event) for event in events])


def encode_memo(memo: Memo) -> bytes:
    """What a call says of a step that has a result (protocol §5.3)."""
    return memo.data if memo.kind == "bare" else b'{"%b":%b}' % (memo.kind.encode(), memo.data)


def decode_memo(text: bytes, *, at: int = 0) -> Memo:
    """The memo in this JSON: an object with the one member ``data``, ``error`` or ``input``, or else a bare value."""
    if text.startswith(b"{"):
        members = _decode_object(text)
        if len(members) == 1:
            ((kind, value),) = members.items()
            if kind in ("data", "error", "input"):
                return Memo(kind, bytes(value), at)
    return Memo("bare", text, at)


def _write_call(call: Call, *, use_api: bool) -> _Call:
    # JavaScript resolves a memo only when it comes to it in the stack, so the two must agree (protocol §7.4).
    stack = [id for id in call.stack if id in call.steps]
    known_at = [call.steps[id].at for id in stack]
    extra = _Extra(dict(call.pending), known_at if any(known_at) else [], call.parallel_max, call.started_at)
    return _Call(
        ctx=_Ctx(
            run_id=call.run_id,
            attempt=call.attempt,
            max_attempts=call.max_attempts,
            stack=_Stack(stack, len(stack)),
            step_id=call.step_id,
            request_id=call.request_id,
            use_api=use_api,
            disable_immediate_execution=call.plans_only,
            # With these three an SDK may report steps while it runs (protocol §8.2).
            fn_id=function_uuid(call.function_id) if call.generation else msgspec.UNSET,
            qi_id=dispatch_id(call.run_id, call.generation) if call.generation else msgspec.UNSET,
            generation_id=call.generation or msgspec.UNSET,
            stepwell=msgspec.UNSET if extra == _Extra() else extra,
        ),
        event=_write_event(call.events[0]),
        events=[] if use_api else [_write_event(event) for event in call.events],
        steps={} if use_api else _write_memos(call.steps, stack, call.inputs),
        use_api=use_api,
        version=call.version,
        defers={id: _Defer(abortable) for id, abortable in call.defers.items()},
    )


def _write_memos(
    steps: Mapping[str, Memo], stack: Sequence[str], inputs: Mapping[str, bytes]
) -> dict[str, msgspec.Raw]:
    found = {id: msgspec.Raw(encode_memo(steps[id])) for id in stack if id in steps}
    for id, text in inputs.items():
        found.setdefault(id, msgspec.Raw(b'{"input":%b}' % text))
    return found


def _write_event(event: Event) -> _Event:
    return _Event(
        name=event.name,
        data=msgspec.Raw(event.data),
        id=event.public_id,
        ts=event.ts,
        user=msgspec.Raw(event.user or b"{}"),
        v=event.v,
        meta=msgspec.Raw(event.meta) if event.meta else _NOTHING,
    )


def _read_event(found: _Event) -> Event:
    def text(raw: msgspec.Raw) -> bytes | None:
        return None if bytes(raw) in (b"", b"null", b"{}") else bytes(raw)

    return Event(
        id=found.id,
        name=found.name,
        ts=found.ts,
        received_at=found.ts,
        data=text(found.data) or b"{}",
        v=found.v,
        user=text(found.user),
        meta=text(found.meta),
    )


# Answers -------------------------------------------------------------------------------------------------------------


def encode_answer(
    answer: Answer, *, sdk: str, foreign: bool = False, attempt: int = 0
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of an answer. ``sdk`` names the SDK that gives it, such as ``stepwell-py:v0.1.0``.

    ``attempt`` is that of the call, which a step has as well whose op says nothing of it.
    A ``foreign`` server is told in the headers only whether and when a step is to be tried again.
    """
    headers = {
        "Content-Type": "application/json",
        "X-Inngest-SDK": sdk,
        "X-Inngest-SDK-Handled": "true",
        "X-Inngest-Req-Version": _REQUEST_VERSION,
    }
    if answer.logs is not None and not foreign and not isinstance(answer, Ops):
        answer = Ops(then=answer)  # as an op it can say more
    if isinstance(answer, Completed):
        return 200, headers, answer.data
    if isinstance(answer, Ops):
        ops = answer.ops if answer.then is None else (*answer.ops, _end(answer.then))
        if answer.logs is not None and not foreign:
            ops = (*ops, Op(op=wire.NONE, id=_LOGS_ID, logs=answer.logs))
        if len(ops) == 1:  # the headers speak of every op of the answer
            headers |= _write_verdict(ops[0].no_retry, ops[0].retry_at)
        if foreign:
            ops = tuple(msgspec.structs.replace(op, no_retry=False, retry_at=None) for op in ops)
        return 206, headers, encode_ops(ops, attempt=0 if foreign else attempt)
    headers |= _write_verdict(answer.no_retry, answer.retry_at)
    return 400 if answer.no_retry else 500, headers, answer.error.json()


def _end(then: Completed | Failed) -> Op:
    """The end of a run as an op, where others come before it (protocol §6.2)."""
    if isinstance(then, Completed):
        return Op(op=wire.RUN_COMPLETE, id=_COMPLETE_ID, data=then.data, logs=then.logs)
    kind = wire.STEP_FAILED if then.no_retry else wire.STEP_ERROR
    return Op(
        op=kind, id=_COMPLETE_ID, error=then.error, no_retry=then.no_retry, retry_at=then.retry_at, logs=then.logs
    )


def decode_answer(
    status: int, headers: Mapping[str, str], body: bytes, *, now: int, attempt: int = 0, called_at: int = 0
) -> Answer:
    """What an app answered to a call (protocol §5.5). ``now``, in milliseconds, is where relative times begin.

    ``attempt`` and ``called_at`` are those of the call: they hold for the step it has run unless the app says other.

    The text of results is checked here, so that it can be stored and read again. An answer that makes no sense is a
    ``Failed`` that may be repeated, as is one that no SDK can have given.
    """
    fields = {name.lower(): value for name, value in headers.items()}
    if status == 201:
        try:
            status, fields, body = _unwrap(fields, body)
        except _UNREADABLE as error:
            return Failed(WireError("Error", f"the streamed answer cannot be read: {error}"))
    # A proxy that limits rates, or an app that is overloaded, says when it has room again; it may only delay.
    later = read_retry_after(fields.get("retry-after", ""), now) if status in _BUSY else None
    if "x-inngest-sdk" not in fields and fields.get("x-inngest-sdk-handled") != "true":
        return Failed(WireError("Server returned a fatal error", _of_nobody(status, fields, body)), retry_at=later)
    no_retry = fields.get("x-inngest-no-retry", "").lower() == "true"
    retry_at = None if no_retry else read_retry_after(fields.get("retry-after", ""), now)
    if status not in (200, 206):
        return Failed(read_error(body, f"status {status}: {_excerpt(body)}"), no_retry, retry_at)
    try:
        body = _checked(body)
        if status == 200:
            return Completed(body)
        ops = decode_ops(body, no_retry=no_retry, retry_at=retry_at, now=now, attempt=attempt, called_at=called_at)
        version = fields.get("x-inngest-req-version", "")
        # Our SDK plans nothing, unless it was told to go step by step as others do.
        planned = any(op.op == wire.STEP_PLANNED or op.parallel is not None for op in ops)
        in_one_call = fields.get("x-inngest-sdk", "").startswith("stepwell") and not planned
        return answer_of(ops, int(version) if version in _VERSIONS else None, in_one_call=in_one_call)
    except Unreadable as error:
        return Failed(WireError("Error", str(error)))
    except _UNREADABLE as error:
        return Failed(WireError("Error", f"the answer is not JSON: {error}"))


def signature_within(body: bytes) -> tuple[str | None, bytes]:
    """The signature inside a streamed answer, if it has one there, and what was signed (protocol §3.3)."""
    try:
        _, fields, inner = _unwrap({}, body)
    except _UNREADABLE:
        return None, b""
    return fields.get("x-inngest-signature"), inner


def _unwrap(fields: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
    """The answer inside a streamed one, which began with spaces to keep the connection alive (protocol §5.8)."""
    streamed = _decode_streamed(body.strip())
    if bytes(streamed.error) not in (b"", b"null"):
        return 500, fields, bytes(streamed.error)
    inner = bytes(streamed.body)
    if inner.startswith(b'"'):
        inner = _decode_text(without_lone_surrogates(inner)).encode()
    return streamed.status, fields | {name.lower(): value for name, value in streamed.headers.items()}, inner


def _checked(body: bytes) -> bytes:
    body = body.strip()
    try:
        _decode(body)
    except _UNREADABLE:
        body = without_lone_surrogates(body)
        _decode(body)
    return body


def answer_of(ops: tuple[Op, ...], version: int | None, *, in_one_call: bool = False) -> Answer:
    """What these ops say together: the end of a run may be among them (protocol §6.2)."""
    steps: list[Op] = []
    then: Completed | Failed | None = None
    logs: Logs | None = None
    for op in ops:
        if op.op == wire.NONE:
            logs = op.logs
        elif op.op == wire.RUN_COMPLETE:
            then = Completed(op.data or b"null", logs=op.logs)
        elif op.id == _COMPLETE_ID and op.error is not None:
            final = op.no_retry or op.op == wire.STEP_FAILED
            then = Failed(op.error, final, None if final else op.retry_at, logs=op.logs)
        else:
            steps.append(op)
    if then is not None and not steps:
        return then
    return Ops(tuple(steps), version, then, in_one_call, logs)


def _write_verdict(no_retry: bool, retry_at: int | None) -> dict[str, str]:
    headers = {"X-Inngest-No-Retry": "true" if no_retry else "false"}
    return headers if retry_at is None else headers | {"Retry-After": write_moment(retry_at)}


def _of_nobody(status: int, fields: Mapping[str, str], body: bytes) -> str:
    """What was answered by something that is not an SDK."""
    if 300 <= status < 400:
        return (
            f"status {status}: it redirects to {fields.get('location', 'nowhere')[:_TEXT_MAX]}, and calls do not follow"
        )
    # An answer whose headers were lost on its way may have the keys of requests in it (protocol §6.5).
    return f"status {status}, and not from an SDK: {'(steps)' if status == 206 else _excerpt(body)}"


def _excerpt(body: bytes) -> str:
    return body[:_TEXT_MAX].decode(errors="replace") or "(empty)"
