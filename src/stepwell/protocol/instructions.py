"""From the wire's ops to the engine's, and from the engine's steps to what the wire says of them."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Final

import msgspec

from stepwell.errors import InvalidEvent
from stepwell.model.failure import Failure
from stepwell.model.run import Run
from stepwell.model.step import REQUESTS, TO_RUN, Step, StepStatus
from stepwell.ops import (
    Annotated,
    DeferAbort,
    DeferAdd,
    Gateway,
    Invoke,
    Sleep,
    StepError,
    StepPlanned,
    StepRun,
    WaitForEvent,
    WaitForSignal,
)
from stepwell.ops import Op as Instruction
from stepwell.protocol import messages as wire
from stepwell.protocol.events import Incoming, merged_sessions, validate_incoming
from stepwell.protocol.metadata import UnreadableMetadata, read_of_step
from stepwell.protocol.requests import Outgoing, Place, encode_request, fetch_request, model_request, refusal, told


class UnknownOp(Exception):
    """An SDK gave an instruction that this engine does not have: the attempt fails (protocol §6.1)."""


class _SleepOpts(msgspec.Struct):
    duration_ms: int | None = None
    until_ms: int | None = None


class _WaitOpts(msgspec.Struct, rename={"condition": "if"}):
    event: str
    condition: str | None = None
    timeout_ms: int | None = None
    until_ms: int | None = None
    lookback_ms: int | None = None
    lookback: str | None = None


class _SignalOpts(msgspec.Struct):
    signal: str
    timeout_ms: int | None = None
    until_ms: int | None = None
    conflict: str | None = None


class _InvokeOpts(msgspec.Struct):
    function_id: str
    data: msgspec.Raw = msgspec.Raw(b"{}")
    timeout_ms: int | None = None
    cancel_child: bool = False
    id: str | None = None
    ts: int | float = 0
    v: str | None = None
    user: msgspec.Raw = msgspec.Raw(b"null")
    meta: msgspec.Raw = msgspec.Raw(b"null")


class _DeferOpts(msgspec.Struct):
    fn_slug: msgspec.Raw = msgspec.Raw(b'""')
    input: msgspec.Raw = msgspec.Raw(b"{}")
    meta: msgspec.Raw = msgspec.Raw(b"null")
    target_hashed_id: str | None = None
    problem: str | None = None  # what our SDK has found wrong with it


class _ModelOpts(msgspec.Struct):
    url: str
    auth_key: str = ""
    format: str = ""
    headers: dict[str, str] = {}
    body: msgspec.Raw = msgspec.Raw(b"{}")
    publish: Place | None = None


class _FetchOpts(msgspec.Struct):
    url: str
    method: str = "POST"
    headers: dict[str, str] = {}
    body: str | None = None
    publish: Place | None = None


class _InputOpts(msgspec.Struct):
    input: msgspec.Raw = msgspec.Raw(b"")


class _ErrorOpts(msgspec.Struct):
    backoff_ms: tuple[int, ...] | None = None


_sleep_opts = msgspec.json.Decoder(_SleepOpts).decode
_wait_opts = msgspec.json.Decoder(_WaitOpts).decode
_signal_opts = msgspec.json.Decoder(_SignalOpts).decode
_invoke_opts = msgspec.json.Decoder(_InvokeOpts).decode
_defer_opts = msgspec.json.Decoder(_DeferOpts).decode
_model_opts = msgspec.json.Decoder(_ModelOpts).decode
_fetch_opts = msgspec.json.Decoder(_FetchOpts).decode
_input_opts = msgspec.json.Decoder(_InputOpts).decode
_error_opts = msgspec.json.Decoder(_ErrorOpts).decode

_text = msgspec.json.Decoder(str).decode
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_values = msgspec.json.Decoder(list[msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode
ASKED_OF_US: Final = frozenset({wire.AI_GATEWAY, wire.GATEWAY})
NO_INPUTS: Final[Mapping[str, bytes]] = {}

_UNNAMED = Failure("Error", "the SDK reported an error without saying which")


def instruction(op: wire.Op) -> Instruction:
    """The engine's form of a wire op.

    Raises ``UnknownOp``, or ``msgspec.ValidationError`` for options it cannot read.
    """
    plain = _instruction(op)
    if op.metadata is None:
        return plain if op.logs is None else Annotated(plain, logs=op.logs, attempt=op.attempt)
    try:
        entries, problem = read_of_step(op.metadata, op.id, op.attempt), None
    except UnreadableMetadata as error:
        entries, problem = (), str(error)
    return Annotated(plain, entries, problem, op.logs, op.attempt)


def _instruction(op: wire.Op) -> Instruction:
    kind = op.op
    if kind == wire.STEP_RUN:
        return StepRun(
            id=op.id,
            name=op.name,
            repeat=op.repeat,
            kind=op.kind,
            output=op.data if op.data is not None else b"null",
            attempt=op.attempt,
            started_at=op.started_at,
            ended_at=op.ended_at,
            max_attempts=op.max_attempts,
            parallel=op.parallel,
            details=_input(op) if op.opts else None,
        )
    if kind == wire.STEP_PLANNED:
        return StepPlanned(id=op.id, name=op.name, repeat=op.repeat, kind=op.kind, parallel=op.parallel)
    opts = op.opts or b"{}"
    if kind in (wire.STEP_ERROR, wire.STEP_FAILED):
        return StepError(
            id=op.id,
            name=op.name,
            repeat=op.repeat,
            kind=op.kind,
            error=op.error or _UNNAMED,
            attempt=op.attempt,
            started_at=op.started_at,
            ended_at=op.ended_at,
            max_attempts=op.max_attempts,
            final=kind == wire.STEP_FAILED or op.no_retry,
            retry_at=op.retry_at,
            backoff=_error_opts(opts).backoff_ms,
            parallel=op.parallel,
            details=_input(op),
        )
    if kind == wire.SLEEP:
        sleep = _sleep_opts(opts)
        return Sleep(
            id=op.id,
            name=op.name,
            repeat=op.repeat,
            duration_ms=sleep.duration_ms,
            until_ms=sleep.until_ms,
            parallel=op.parallel,
        )
    if kind == wire.WAIT_FOR_EVENT:
        wait = _wait_opts(opts)
        return WaitForEvent(
            id=op.id,
            name=op.name,
            repeat=op.repeat,
            event=wait.event,
            condition=wait.condition,
            timeout_ms=wait.timeout_ms,
            until_ms=wait.until_ms,
            lookback_ms=wait.lookback_ms,
            lookback_run=wait.lookback == "run",
            parallel=op.parallel,
        )
    if kind == wire.WAIT_FOR_SIGNAL:
        awaited = _signal_opts(opts)
        return WaitForSignal(
            id=op.id,
            name=op.name,
            repeat=op.repeat,
            signal=awaited.signal,
            timeout_ms=awaited.timeout_ms,
            until_ms=awaited.until_ms,
            replace=awaited.conflict == "replace",
            parallel=op.parallel,
        )
    if kind == wire.INVOKE_FUNCTION:
        return _invoke(op, _invoke_opts(opts))
    if kind in wire.LAZY:
        return _lazy(op, _defer_opts(opts))
    if kind == wire.AI_GATEWAY:
        asked = _model_opts(opts)
        request = model_request(asked.url, asked.auth_key, asked.format, asked.headers, bytes(asked.body))
        return _gateway(op, msgspec.structs.replace(request, publish=asked.publish) if asked.publish else request)
    if kind == wire.GATEWAY:
        wanted = _fetch_opts(opts)
        request = fetch_request(wanted.url, wanted.method, wanted.headers, wanted.body)
        return _gateway(op, msgspec.structs.replace(request, publish=wanted.publish) if wanted.publish else request)
    raise UnknownOp(f"unknown op {kind!r} for step {op.name or op.id!r}")


def _invoke(op: wire.Op, opts: _InvokeOpts) -> Instruction:
    event, problem = _PLAIN, None
    if opts.id or opts.ts or opts.v or bytes(opts.user) != b"null" or bytes(opts.meta) != b"null":
        given = Incoming(
            name=_PLAIN.name,
            id=opts.id,
            ts=opts.ts,  # type: ignore[arg-type]  # it is checked
            v=opts.v,
            user=bytes(opts.user),
            meta=bytes(opts.meta),
        )
        try:
            event = validate_incoming(given)
        except InvalidEvent as error:
            problem = Failure("InvalidEvent", str(error))
    return Invoke(
        id=op.id,
        name=op.name,
        repeat=op.repeat,
        function_id=opts.function_id,
        data=bytes(opts.data),
        timeout_ms=opts.timeout_ms,
        cancel_child=opts.cancel_child,
        key=event.id,
        ts=event.ts,
        v=event.v,
        user=event.user,
        meta=event.meta,
        problem=problem,
        parallel=op.parallel,
    )


def _gateway(op: wire.Op, request: Outgoing) -> Gateway:
    content = encode_request(request)
    return Gateway(
        id=op.id,
        name=op.name,
        repeat=op.repeat,
        kind=op.kind,
        content=content,
        details=told(request).json(),
        refused=refusal(request, content),
        parallel=op.parallel,
    )


_PLAIN = Incoming(name="invoke")


def _lazy(op: wire.Op, opts: _DeferOpts) -> Instruction:
    """What is put off, with what is wrong with it: that is the run's to note, and fails nothing (protocol §6.6)."""
    problem = opts.problem
    function_id, data, meta = "", bytes(opts.input), None
    try:
        function_id = _text(bytes(opts.fn_slug))
    except msgspec.MsgspecError:
        problem = problem or "the id of its function is no text"
    if op.op == wire.DEFER_ABORT:
        return DeferAbort(id=op.id, name=op.name, target=opts.target_hashed_id or op.id, function_id=function_id)
    if not function_id:
        problem = problem or "it names no function"
    if not data.startswith(b"{"):
        problem = problem or "its data is no JSON object"
    try:
        meta = merged_sessions(bytes(opts.meta))
    except InvalidEvent as error:
        problem = problem or f"its meta cannot be used: {error.why}"
    return DeferAdd(id=op.id, name=op.name, function_id=function_id, data=data, meta=meta, problem=problem)


def _input(op: wire.Op) -> dict[str, msgspec.Raw] | None:
    """What the body of the step was given, where people are to see it."""
    given = bytes(_input_opts(op.opts).input) if op.opts and op.kind == "aiWrap" else b""
    return {"input": msgspec.Raw(given)} if given else None


def memo(step: Step) -> wire.Memo | None:
    """What is remembered of a step (protocol §5.3); ``None`` while it is open."""
    if step.ended_at is None:
        return None
    output = step.output if step.output is not None else b"null"
    if step.status == StepStatus.FAILED:
        return wire.Memo("error", output, step.ended_at)
    # What a signal brought is data, and that none came is not (protocol §5.3).
    bare = step.kind in ("sleep", "waitForEvent") or step.status == StepStatus.TIMED_OUT
    kind = "bare" if bare else "data"
    return wire.Memo(kind, output, step.ended_at)


def inputs(run: Run, known: Container[str]) -> Mapping[str, bytes]:
    """What is to be said of the input of a step that is not ``known`` yet: a person has replaced it. Of a step whose
    request the engine makes nothing is said: there it is replaced by us."""
    again = run.rerun
    if again is None or again.input is None or again.from_step is None or again.from_step in known:
        return NO_INPUTS
    return NO_INPUTS if again.kind in REQUESTS else {again.from_step: again.input.encode()}


def with_input(run: Run, op: wire.Op) -> wire.Op:
    """The op, and if it asks for the request whose input a person has replaced, with that: its first value has members
    of the body that a model is sent, or of the request."""
    again = run.rerun
    if again is None or again.input is None or op.op not in ASKED_OF_US or again.from_step != op.id:
        return op
    opts = _members(op.opts or b"{}")
    (given,) = _decode_values(again.input)
    if op.op == wire.AI_GATEWAY:
        opts["body"] = msgspec.Raw(
            _encode({**_members(bytes(opts.get("body", msgspec.Raw(b"{}")))), **_members(bytes(given))})
        )
    else:
        opts |= _members(bytes(given))
    return msgspec.structs.replace(op, opts=_encode(opts))


def pending(step: Step) -> wire.Pending:
    """What is to be said of an open step."""
    planned = step.status == StepStatus.QUEUED or (step.parallel is not None and step.status in TO_RUN)
    return wire.Pending(
        step.kind,
        step.attempt,
        step.due,
        planned=planned and step.kind not in REQUESTS,
        parallel=step.parallel,
        name=step.name,
        repeat=step.repeat,
    )


def settled(step: Step) -> wire.Settled:
    known = memo(step)
    return wire.Settled(memo=known) if known else wire.Settled(pending=pending(step))
