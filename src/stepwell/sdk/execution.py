"""One call of one function: what both drivers share. It builds what is said to the engine; the drivers say it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from hashlib import sha1
from random import Random
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from stepwell.clock import Clock
from stepwell.errors import InvalidOutput
from stepwell.limits import STEP_BYTES_MAX
from stepwell.model.log import Logs
from stepwell.protocol.messages import (
    STEP_ERROR,
    STEP_FAILED,
    STEP_RUN,
    Answer,
    Call,
    Completed,
    Failed,
    Memo,
    Op,
    Progress,
)
from stepwell.sdk.codec import Decode, encode, mismatch
from stepwell.sdk.events import propagated
from stepwell.sdk.failures import StepNested, step_error, verdict, wire_error
from stepwell.sdk.lines import Lines, take_lines
from stepwell.sdk.replay import Replay

if TYPE_CHECKING:
    from stepwell.sdk.options import Backoff

RUN: Final = "run"
SEND_EVENT: Final = "sendEvent"
SLEEP: Final = "sleep"
SEND_SIGNAL: Final = "sendSignal"
WAIT: Final = "waitForEvent"
REALTIME: Final = "realtimePublish"
WAIT_FOR_SIGNAL: Final = "waitForSignal"
INVOKE: Final = "invoke"
DEFER: Final = "defer"
AI_INFER: Final = "aiInfer"
AI_WRAP: Final = "aiWrap"
FETCH: Final = "fetch"

# The kinds of steps whose body runs here, and which have attempts.
BODIES: Final = (RUN, SEND_EVENT, SEND_SIGNAL, REALTIME, AI_WRAP)


class StepOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a step may have of its own. ``timeout_s`` is in seconds."""

    retries: int | None = None
    timeout_s: float | None = None
    backoff: Backoff | None = None


class StepRef(msgspec.Struct, frozen=True):
    """Which step it is: the wire's hashed id, what the user wrote, how often that was used before, the kind.

    ``opts`` is JSON text: what is told of its body besides.
    """

    id: str
    name: str
    repeat: int
    kind: str
    opts: bytes | None = None


class Running:
    """A step body that is running now. ``attempt`` counts from 0, ``started_at`` is in milliseconds."""

    __slots__ = ("attempt", "execution", "lines", "metadata", "over", "random", "started_at", "step")

    def __init__(self, execution: Execution, step: StepRef, attempt: int, started_at: int) -> None:
        self.execution = execution
        self.step = step
        self.attempt = attempt
        self.started_at = started_at
        self.random: Random | None = None
        self.metadata: list[dict[str, Any]] | None = None
        self.lines: Lines | None = None
        self.over = False  # a thread cannot be stopped: what it still says belongs to nothing


# The innermost step body around the present code. It may belong to another execution: a body may do anything,
# even start an engine whose tasks inherit this.
RUNNING: Final[ContextVar[Running | None]] = ContextVar("stepwell_running", default=None)

# The call whose function the present code belongs to, also between its steps.
EXECUTION: Final[ContextVar[Execution | None]] = ContextVar("stepwell_execution", default=None)


def recorded(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes:
    """The arguments of a body as the options of its step, for people to see. What is no JSON is told by its type."""
    given = b",".join([_shown(value) for value in ((*args, dict(kwargs)) if kwargs else args)])
    if len(given) > STEP_BYTES_MAX:
        given = _encode(f"({len(given):,} bytes)")
    return b'{"input":[%b]}' % given


def _shown(value: object) -> bytes:
    try:
        return encode(value)
    except InvalidOutput:
        return _encode(f"({type(value).__qualname__})")


class Execution:
    """What a call knows and how it speaks. The two drivers add how to wait."""

    def __init__(self, call: Call, progress: Progress, clock: Clock) -> None:
        self.call = call
        self.progress = progress
        self.clock = clock
        self.replay = Replay(call.steps, call.pending, call.stack, call.started_at)
        self.began_at = clock.now_ms()
        self.lazy: list[Op] = []  # what the next message brings along: nothing waits for it
        self.put_off: dict[str, tuple[str, int]] = {}  # by hashed id, the step and attempt whose body said so
        self.aborted: set[str] = set()
        self.lines: Lines | None = None  # what its own code has logged, and no op has taken along yet
        self.speakers: list[Running] = []  # the bodies that run and have logged something
        self.keeps_own = True

    @property
    def running(self) -> Running | None:
        """The step body of this very call in which the present code runs."""
        running = RUNNING.get()
        return running if running is not None and running.execution is self else None

    def nested(self, running: Running, name: str, kind: str) -> StepNested:
        instead = "use an HTTP client in the body" if kind == FETCH else "make the body a plain function"
        return StepNested(
            f"step {name!r} is used inside the body of step {running.step.name!r}; only the outer one could be "
            f"remembered: move it out, or {instead}"
        )

    def value(self, memo: Memo, decode: Decode, name: str) -> Any:
        """The result of a step from what is remembered. Raises ``StepError`` if an error is."""
        if memo.kind == "error":
            raise step_error(memo.data)
        try:
            return decode(memo.data)
        except Exception as error:
            raise InvalidOutput(
                what=f"the remembered result of step {name!r} has not the declared type: {mismatch(error, 'result')}",
                why="the return annotation decides how it is read; was it changed since the step ran?",
                fix="let the type accept the old form as well, or give the step a new id",
            ) from None

    def result_op(
        self, step: StepRef, result: object, decode: Decode, attempt: int, started_at: int, most: int | None
    ) -> tuple[Op, Any]:
        """What to save for a result, and the result as replay will see it. Raises ``InvalidOutput``."""
        data = encode(result)
        try:
            value = decode(data)
        except Exception as error:
            raise InvalidOutput(
                what=f"it returned something else than it is annotated with: {mismatch(error, 'result')}",
                why="the return annotation decides how a remembered result is read",
                fix="correct the annotation or the result",
            ) from None
        op = Op(
            op=STEP_RUN,
            id=step.id,
            name=step.name,
            repeat=step.repeat,
            kind=step.kind,
            opts=step.opts,
            data=data,
            attempt=attempt,
            max_attempts=most,
            started_at=started_at,
            ended_at=self.clock.now_ms(),
        )
        return op, value

    def error_op(
        self, step: StepRef, error: BaseException, attempt: int, started_at: int, options: StepOptions | None
    ) -> Op:
        """What to save for a body that raised: try again, or this was the last attempt (semantics §6.3)."""
        now = self.clock.now_ms()
        said = verdict(error, now)
        own = None if options is None or options.retries is None else options.retries + 1
        final = said.final or attempt + 1 >= (own if own is not None else self.call.max_attempts)
        place = f"step {step.name!r}: " if isinstance(error, InvalidOutput) else ""
        return Op(
            op=STEP_FAILED if final else STEP_ERROR,
            id=step.id,
            name=step.name,
            repeat=step.repeat,
            kind=step.kind,
            opts=step.opts if final or options is None else self._backoff(step, options),
            error=wire_error(error, place),
            attempt=attempt,
            max_attempts=own,
            retry_at=said.retry_at,  # after the last attempt it is what others are to wait for (ADR 0030)
            no_retry=final,
            started_at=started_at,
            ended_at=now,
        )

    def completed(self, result: object) -> Answer:
        try:
            return Completed(encode(result))
        except InvalidOutput as error:
            return self.failed(error)

    def failed(self, error: BaseException) -> Failed:
        """What to answer when the function itself raised."""
        said = verdict(error, self.clock.now_ms())
        return Failed(wire_error(error), said.final, said.retry_at, self.began_at)

    def edited(
        self, step_id: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of a body, or those that a person has given in their place: positional ones, and after them an
        object of those with a name, where the code gives some by name."""
        text = self.call.inputs.get(step_id)
        if text is None:
            return args, kwargs
        given: list[Any] = msgspec.json.decode(text)
        if kwargs and len(given) == len(args) + 1 and isinstance(given[-1], dict):
            return tuple(given[:-1]), cast("dict[str, Any]", given[-1])
        return tuple(given), kwargs

    def own_logs(self, later: Logs | None = None) -> Logs | None:
        """What the function's own code has logged, and after it the others: taken along by whatever is said next."""
        logs = take_lines(self, anew=True)
        return later if logs is None else logs.and_then(later)

    def heard(self) -> None:
        """Something was logged. A thread may say so."""

    @property
    def sessions(self) -> dict[str, str]:
        """Those that what this run sends belongs to."""
        return propagated(self.call.events)

    def drain(self) -> tuple[Op, ...]:
        """What is to be brought along, which is then said. A thread may add to it meanwhile."""
        found: list[Op] = []
        while self.lazy:
            found.append(self.lazy.pop(0))
        return tuple(found)

    def chance(self, salt: str) -> Random:
        """Random numbers that are the same each time this run asks for them."""
        digest = sha1(f"{self.call.run_id}/{salt}".encode(), usedforsecurity=False).digest()
        return Random(int.from_bytes(digest))

    def _backoff(self, step: StepRef, options: StepOptions) -> bytes | None:
        backoff = options.backoff
        if backoff is None:
            return None
        chance = self.chance(step.id)
        delays = [delay + int(chance.random() * backoff.jitter_ms) for delay in backoff.delays_ms]
        return _encode({"backoff_ms": delays})


_encode: Final = msgspec.json.Encoder().encode
