"""What engine and SDK say to each other. In process these values are passed as they are; ``codec.py`` turns
them into the JSON of protocol.md §5 and §6 at the edge.

JSON payloads (outputs, errors, options) stay text: nobody parses what only passes through (design D15).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import msgspec

from stepwell.model.event import Event
from stepwell.model.failure import Failure as WireError
from stepwell.model.log import Logs, Said

if TYPE_CHECKING:
    from stepwell.protocol.gate import Gate

__all__ = [
    "AI_GATEWAY",
    "DEFER_ABORT",
    "DEFER_ADD",
    "DISCOVERY_REQUEST",
    "GATEWAY",
    "INVOKE_FUNCTION",
    "LAZY",
    "NONE",
    "RUN_COMPLETE",
    "SLEEP",
    "STEP_ERROR",
    "STEP_FAILED",
    "STEP_PLANNED",
    "STEP_RUN",
    "WAIT_FOR_EVENT",
    "WAIT_FOR_SIGNAL",
    "Answer",
    "Call",
    "Completed",
    "Failed",
    "Memo",
    "Op",
    "Ops",
    "Pending",
    "Progress",
    "Reports",
    "Settled",
    "Superseded",
    "Transport",
    "WireError",
]

# Opcodes (protocol §6.2).
STEP_RUN: Final = "StepRun"
STEP_PLANNED: Final = "StepPlanned"
STEP_ERROR: Final = "StepError"
STEP_FAILED: Final = "StepFailed"
SLEEP: Final = "Sleep"
WAIT_FOR_EVENT: Final = "WaitForEvent"
WAIT_FOR_SIGNAL: Final = "WaitForSignal"
INVOKE_FUNCTION: Final = "InvokeFunction"
AI_GATEWAY: Final = "AIGateway"
GATEWAY: Final = "Gateway"
RUN_COMPLETE: Final = "RunComplete"
DISCOVERY_REQUEST: Final = "DiscoveryRequest"
DEFER_ADD: Final = "DeferAdd"
DEFER_ABORT: Final = "DeferAbort"
NONE: Final = "None"  # says that there is nothing to do
LAZY: Final = frozenset({DEFER_ADD, DEFER_ABORT})  # they ride along with other ops, and nothing waits for them


class Memo(msgspec.Struct, frozen=True):
    """What is remembered of a step: exactly one of the forms of protocol §5.3.

    ``data`` is JSON text of the result (``kind`` "data"), of the error ("error"), or of the bare value ("bare":
    ``null`` for a sleep or a timeout, the event for a wait). ``at`` is the moment it became known, in milliseconds; 0
    if nobody says.
    """

    kind: str
    data: bytes
    at: int = 0


class Pending(msgspec.Struct, frozen=True, omit_defaults=True):
    """A step that was reported before and has no result yet. ``due`` is the moment it moves by itself, in milliseconds.

    ``attempt`` is the number of the next try of a step that failed (``kind`` "run"), which may be made from ``due`` on.
    ``planned`` is true for one that the app has found and is to be told to run; ``parallel`` is that of the step
    (``model/step.py``), ``name`` and ``repeat`` are what the user wrote: the SDK knows these by itself.
    """

    kind: str
    attempt: int
    due: int | None
    planned: bool = False
    parallel: str | None = None
    name: str = ""
    repeat: int = 0


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """Server to SDK: run this function as far as it goes (protocol §5.2).

    ``attempt`` is that of the function's own code since its last progress. ``stack`` lists the memos in the order in
    which they became known. ``parallel_max`` bounds the step bodies that may run at one moment within this call.
    ``started_at`` is when the run's first call began, in milliseconds.

    ``step_id`` is the step that is to be run, or "step" to find out what comes next; with ``plans_only`` nothing is run
    unless it is named there. ``version`` is the dialect of the run's answers so far (protocol §7.5). ``generation``
    distinguishes the calls of a run that may report steps while they run; 0 where that is not possible. ``endpoint`` is
    that of the function (``model/function.py``): with it the call is made in another form.

    ``inputs`` are what the bodies of steps without a result are to be given in place of their arguments, JSON text of
    an array each (protocol §5.3). ``defers`` says of what the run has put off, by hashed id, whether it can still be
    aborted.
    """

    function_id: str
    run_id: str
    request_id: str
    attempt: int
    max_attempts: int
    events: tuple[Event, ...]
    steps: Mapping[str, Memo]
    stack: Sequence[str]
    pending: Mapping[str, Pending]
    step_id: str = "step"
    parallel_max: int | None = None
    started_at: int = 0
    version: int = -1
    plans_only: bool = False
    generation: int = 0
    defers: Mapping[str, bool] = {}
    endpoint: str | None = None
    inputs: Mapping[str, bytes] = {}


class Op(msgspec.Struct, frozen=True, kw_only=True):
    """SDK to server: one thing a function did or wants (protocol §6.1).

    ``id`` is the hashed step id; ``name`` and ``repeat`` are what the user wrote. ``opts`` is JSON text, as the
    opcode has it. ``attempt`` and ``max_attempts`` are those of the step where it has its own; ``retry_at`` overrides
    the back-off, and ``no_retry`` ends it. ``started_at`` and ``ended_at`` are when the body ran. ``parallel`` says of
    an op that was reported with others how the run goes on when it is done. ``metadata`` is what is to be known of the
    step, JSON text of a list (protocol §6.1). ``logs`` is what was logged in this attempt, and before it by the
    function's own code.
    """

    op: str
    id: str
    name: str = ""
    repeat: int = 0
    kind: str = "run"
    opts: bytes | None = None
    data: bytes | None = None
    error: WireError | None = None
    attempt: int = 0
    max_attempts: int | None = None
    retry_at: int | None = None
    no_retry: bool = False
    started_at: int = 0
    ended_at: int = 0
    parallel: str | None = None
    metadata: bytes | None = None
    logs: Logs | None = None


class Completed(msgspec.Struct, frozen=True):
    """The function returned (200). ``data`` is JSON text; ``note`` is what people are to know of how it came to be.

    ``logs``, here and in the other answers, is what the function's own code has logged since the last op.
    """

    data: bytes
    note: str | None = None
    logs: Logs | None = None


class Failed(msgspec.Struct, frozen=True):
    """The function raised (400, 500), or could not be called at all."""

    error: WireError
    no_retry: bool = False
    retry_at: int | None = None
    started_at: int = 0
    logs: Logs | None = None


class Ops(msgspec.Struct, frozen=True):
    """The call ends here, the run does not (206). ``ops`` are new; what was saved during the call is not repeated.

    ``version`` is the dialect of the answer. ``then`` is the end of the run if the app has reported steps together with
    it, which come first. ``in_one_call`` is true of an app that runs all its branches within one call: it is never
    asked for one of them, and goes on after each.
    """

    ops: tuple[Op, ...] = ()
    version: int | None = None
    then: Completed | Failed | None = None
    in_one_call: bool = False
    logs: Logs | None = None


Answer = Ops | Completed | Failed


class Superseded(BaseException):
    """The lease of this call was lost: cancelled, or taken over. Whatever it does next is not written.

    A ``BaseException`` so that no handler of the user takes it for an error of theirs.
    """


class Executing(NamedTuple):
    """A step body that executes now. ``started_at`` is in milliseconds."""

    name: str
    repeat: int
    kind: str
    attempt: int
    started_at: int


class Progress(Protocol):
    """What a call may do while it runs: save steps without ending (protocol §8.2).

    ``executing`` are the bodies that execute now, by step id, as far as the call tells: for people who look. ``gate``
    bounds them, over all calls of one lease; ``None`` if nothing does. ``news`` are steps whose results came while the
    call went on: it takes out those that it has acted upon, and the rest is a reason to call again.
    """

    executing: dict[str, Executing]
    gate: Gate | None
    news: set[str]

    @property
    def lost(self) -> bool:
        """Whether it is known by now that the run was cancelled or taken over: then no other body may begin (I18)."""
        ...

    @property
    def unsure(self) -> bool:
        """Whether others may have cancelled the run or taken it over so long ago that ``look`` comes before a body."""
        ...

    @property
    def stopping(self) -> bool:
        """Whether the engine stops: a call that is cancelled otherwise was so by its own code, and is repeated."""
        ...

    async def look(self) -> None:
        """Find out whether the run was cancelled or taken over: ``lost`` says so then."""
        ...

    def save(self, op: Op) -> Awaitable[Settled]:
        """Make one op durable. Raises ``Superseded`` if the lease of the call is lost."""
        ...

    @property
    def keeps(self) -> bool:
        """Whether ``keep`` can be asked for."""
        ...

    def keep(self, said: Sequence[Said]) -> Awaitable[None]:
        """Make what was logged so far durable, before there is a result. Raises ``Superseded``."""
        ...

    def widen(self, wanted: int) -> Awaitable[int]:
        """Ask for room for ``wanted`` more step bodies at one moment than ``parallel_max`` allows so far.

        Returns how many are granted, which may be none; the call keeps them until it ends.
        """
        ...

    def watch(self, step_id: str) -> Awaitable[Settled]:
        """Wait for a pending step of this run to move: its result arrived, its sleep or wait is over (a memo), or its
        next attempt is due (``pending`` with ``due`` in the past). Only useful while other branches of the call have
        work to do; a call that has none ends with ``Ops`` instead, and cancels what it watches.
        """
        ...


class Reports(Progress, Protocol):
    """What a transport may do besides that calls an app again and again within one lease."""

    @property
    def call(self) -> Call:
        """The call as it would be made now: with all that has become known of its run since."""
        ...

    async def catch_up(self) -> bool:
        """Read what another process has written about this run: ``call`` knows it then. False if none ever has."""
        ...

    async def hear(self) -> None:
        """Find out what the app has reported to other processes until now: ``call`` knows it then."""
        ...

    def report(self, ops: Sequence[Op], version: int | None) -> Awaitable[None]:
        """Make several ops durable, all or none; ``call`` knows them then. Raises ``Superseded``.

        ``version`` is the dialect in which the app has answered.
        """
        ...

    def afterwards(self, do: Callable[[], None]) -> None:
        """Do this once the end of the call is written down, or it is known that nobody wants it."""
        ...


class Settled(msgspec.Struct, frozen=True):
    """The answer to a saved op: what is now known about the step. At most one of the two is set.

    A step that failed with attempts left, a sleep or a wait is ``pending``; a memo is there when the step has a
    result that the SDK does not already know (a look-back match, an invoke that could not start, retries exhausted).
    """

    memo: Memo | None = None
    pending: Pending | None = None


class Transport(Protocol):
    """A way to call functions."""

    async def call(self, call: Call, progress: Reports) -> Answer:
        """Run the function. Raises ``Superseded`` when there is nothing to say any more."""
        ...

    def serves(self, function_id: str) -> bool: ...
