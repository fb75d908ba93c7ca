"""From the wire's ops to the engine's, and from the engine's steps to what the wire says of them."""

from __future__ import annotations

import msgspec

from stepwell.model.failure import Failure
from stepwell.model.step import REQUESTS, TO_RUN, Step, StepStatus
from stepwell.ops import Gateway, Invoke, Sleep, StepError, StepPlanned, StepRun, WaitForEvent, WaitForSignal
from stepwell.ops import Op as Instruction
from stepwell.protocol import messages as wire
from stepwell.protocol.requests import Outgoing, encode_request, fetch_request, model_request, refusal, told


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


class _ModelOpts(msgspec.Struct):
    url: str
    auth_key: str = ""
    format: str = ""
    headers: dict[str, str] = {}
    body: msgspec.Raw = msgspec.Raw(b"{}")


class _FetchOpts(msgspec.Struct):
    url: str
    method: str = "POST"
    headers: dict[str, str] = {}
    body: str | None = None


class _InputOpts(msgspec.Struct):
    input: msgspec.Raw = msgspec.Raw(b"")


class _ErrorOpts(msgspec.Struct):
    backoff_ms: tuple[int, ...] | None = None


_sleep_opts = msgspec.json.Decoder(_SleepOpts).decode
_wait_opts = msgspec.json.Decoder(_WaitOpts).decode
_signal_opts = msgspec.json.Decoder(_SignalOpts).decode
_invoke_opts = msgspec.json.Decoder(_InvokeOpts).decode
_model_opts = msgspec.json.Decoder(_ModelOpts).decode
_fetch_opts = msgspec.json.Decoder(_FetchOpts).decode
_input_opts = msgspec.json.Decoder(_InputOpts).decode
_error_opts = msgspec.json.Decoder(_ErrorOpts).decode

_UNNAMED = Failure("Error", "the SDK reported an error without saying which")


def instruction(op: wire.Op) -> Instruction:
    """The engine's form of a wire op.

    Raises ``UnknownOp``, or ``msgspec.ValidationError`` for options it cannot read.
    """
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
        invoke = _invoke_opts(opts)
        return Invoke(
            id=op.id,
            name=op.name,
            repeat=op.repeat,
            function_id=invoke.function_id,
            data=bytes(invoke.data),
            timeout_ms=invoke.timeout_ms,
            cancel_child=invoke.cancel_child,
            parallel=op.parallel,
        )
    if kind == wire.AI_GATEWAY:
        asked = _model_opts(opts)
        return _gateway(op, model_request(asked.url, asked.auth_key, asked.format, asked.headers, bytes(asked.body)))
    if kind == wire.GATEWAY:
        wanted = _fetch_opts(opts)
        return _gateway(op, fetch_request(wanted.url, wanted.method, wanted.headers, wanted.body))
    raise UnknownOp(f"unknown op {kind!r} for step {op.name or op.id!r}")


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
