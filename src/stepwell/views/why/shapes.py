"""The answers to "why": each kind says exactly what there is to know, and nothing as text only.

``text`` of the outermost answers is the same in sentences, with times in UTC; ``sentences()`` of ``why/text.py`` makes
them for another zone.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from stepwell.views.nouns import ErrorView, OutcomeView, View
from stepwell.views.queues.shapes import HolderView
from stepwell.views.trace import (
    AttemptView,
    Bodies,
    NoteView,
    nobody,
)


class Sleeping(View, frozen=True, tag_field="kind", tag="sleeping"):
    step: str
    until: str


class Waiting(View, frozen=True, tag_field="kind", tag="waiting"):
    """For an event of this name for which the condition is true. Without a condition any will do."""

    step: str
    event: str
    condition: str | None
    until: str


class WaitingForSignal(View, frozen=True, tag_field="kind", tag="waiting-for-signal"):
    step: str
    signal: str
    until: str


class Retrying(View, frozen=True, tag_field="kind", tag="retrying"):
    """Retry ``retry`` of ``retries`` of a step, or of the function's own code, comes at ``at``."""

    step: str | None
    retry: int
    retries: int
    at: str
    error: ErrorView | None


class Invoking(View, frozen=True, tag_field="kind", tag="invoking"):
    """For another run to end. ``child`` says why that one has not."""

    step: str
    function_id: str
    run_id: str | None
    until: str | None
    child: RunWhy | None


class Limited(View, frozen=True, tag_field="kind", tag="limited"):
    """Held back by a concurrency limit, of steps, or ``of_runs`` under way. ``value`` is that of the key,
    ``expression`` what it was worked out from.

    ``position`` counts from 1; ``queued`` is how many are held back by the same limit. Both are only the least with
    their ``more``. A priority has moved it forward by ``head_start_ms``, back if that is negative. It can move when one
    of the ``holders`` lets its slot go."""

    key: str
    value: str | None
    expression: str | None
    scope: str
    limit: int | None
    used: int
    held_by: list[str]
    position: int
    queued: int
    of_runs: bool = False
    holders: tuple[HolderView, ...] = ()
    position_more: bool = False
    queued_more: bool = False
    head_start_ms: int = 0


class Throttled(View, frozen=True, tag_field="kind", tag="throttled"):
    """Its start waits its turn. ``value`` is that of the key, ``expression`` what it was worked out from.

    ``limit`` starts are let through in each ``period_ms``; the next one at ``next_at``. ``position`` counts from 1;
    ``queued`` is how many wait for the same turns. A priority has moved it forward by ``head_start_ms``.
    """

    value: str | None
    expression: str | None
    limit: int
    period_ms: int
    next_at: str
    position: int
    queued: int
    position_more: bool = False
    queued_more: bool = False
    head_start_ms: int = 0


class Scheduled(View, frozen=True, tag_field="kind", tag="scheduled"):
    """Its event says that it happens later."""

    at: str


class Unserved(View, frozen=True, tag_field="kind", tag="unserved"):
    """No process that is attached serves the function. ``registered`` is false if its app no longer has it at all."""

    function_id: str
    registered: bool


class Paused(View, frozen=True, tag_field="kind", tag="paused"):
    """A person holds its function, ``since`` then: it goes on when that is resumed. ``app_id`` is set if what they hold
    is the whole app."""

    function_id: str
    app_id: str | None
    since: str
    reason: str


class Pressed(View, frozen=True, tag_field="kind", tag="pressed"):
    """Nothing of its ``queue`` begins before ``until``, because what the function calls wants to be left alone: so said
    ``step`` of run ``run_id``, or without one its function's own code, with this ``message``. ``position`` counts from
    1; ``queued`` is how many wait for the same. A priority has moved it forward by ``head_start_ms``."""

    queue: str
    until: str
    run_id: str
    step: str | None
    message: str
    position: int
    queued: int
    position_more: bool = False
    queued_more: bool = False
    head_start_ms: int = 0


class Executing(View, frozen=True, tag_field="kind", tag="executing"):
    """A call of the function is in flight. ``since`` is the last moment at which something was recorded about it.

    ``step`` is the one whose body executes, and ``since`` then when that began; the process that executes it knows, and
    others only when a failed step is being tried again. ``after`` names the step recorded last.
    """

    since: str
    step: str | None
    retry: int
    after: str | None


class Reporting(View, frozen=True, tag_field="kind", tag="reporting"):
    """A durable endpoint executes the run by itself. ``since`` is the last moment at which it reported anything, and
    ``until`` when it is called again if it stays silent. ``after`` names the step recorded last.
    """

    since: str
    until: str
    after: str | None


class Lapsed(View, frozen=True, tag_field="kind", tag="lapsed"):
    """The process that ran it has gone without a word. It is taken over at ``at``."""

    at: str


class Postponed(View, frozen=True, tag_field="kind", tag="postponed"):
    """The processes that ran it died so many times in a row that it is left alone until ``at``."""

    at: str
    losses: int
    losses_max: int


class Due(View, frozen=True, tag_field="kind", tag="due"):
    """It may go on at once, and nothing of its own holds it back. ``because`` says what does, if it is known."""

    since: str
    because: Literal["draining", "all-busy"] | None
    calls: int
    calls_max: int


class Leaderless(View, frozen=True, tag_field="kind", tag="no-leader"):
    """No process runs what the database owes, so nothing moves."""


class Lost(View, frozen=True, tag_field="kind", tag="lost"):
    """Nothing is owed to the run and nothing can wake it. This is a fault of Stepwell."""


Gate = (
    Sleeping
    | Waiting
    | WaitingForSignal
    | Retrying
    | Invoking
    | Limited
    | Throttled
    | Scheduled
    | Unserved
    | Paused
    | Pressed
    | Executing
    | Reporting
    | Lapsed
    | Postponed
    | Due
    | Leaderless
    | Lost
)


class Frame(View, frozen=True):
    """The line of the user's code that raised."""

    file: str
    line: int
    function: str | None
    code: str | None


class Completed(View, frozen=True, tag_field="kind", tag="completed"):
    duration_ms: int
    steps: int


class Failed(View, frozen=True, tag_field="kind", tag="failed"):
    """``step`` is the one whose error ended the run; without one the function's own code raised, or, if it had no
    ``tries``, we gave the run up.

    ``caught`` are further steps that failed; ``child`` says why the run failed that the step had invoked.
    """

    step: str | None
    error: ErrorView
    attempts: list[AttemptView]
    tries: int
    frame: Frame | None
    caught: list[str]
    child: RunWhy | None


class Cancelled(View, frozen=True, tag_field="kind", tag="cancelled"):
    """By an event, a timeout of the function, the run that took its place (``run_id``), the one that invoked it, or a
    person: ``by``."""

    by: Literal["event", "start-timeout", "finish-timeout", "parent", "singleton", "operator"]
    reason: str
    event_id: str | None = None
    event_name: str | None = None
    condition: str | None = None
    run_id: str | None = None


Cause = Completed | Failed | Cancelled


class Deadline(View, frozen=True):
    """A timeout of its function cancels the run at this moment: of its ``start``, if its first call has not begun by
    then, or of its ``finish``."""

    timeout: Literal["start", "finish"]
    at: str


class Listener(View, rename={"condition": "if"}, frozen=True):
    """An event of this name cancels the run until this moment, if its ``condition``, over ``async``, is true for it:
    what that says of the event that started the run is in it already."""

    event: str
    condition: str | None
    until: str


class RunWhy(View, frozen=True, tag_field="subject", tag="run"):
    """Why a run is where it is: the gates it waits at, one for each branch, or what ended it; and why it is there, if
    somebody has started it again (``views.ListedRun``). ``deadlines`` are when it is cancelled if it has not got on,
    ``listeners`` the events that cancel it."""

    id: str
    function_id: str
    status: str
    queued_at: str
    started_at: str | None
    ended_at: str | None
    gates: list[Gate]
    cause: Cause | None
    notes: list[NoteView]
    text: tuple[str, ...] = ()
    original_run_id: str | None = None
    replay_id: str | None = None
    from_step: str | None = None
    copied_steps: int = 0
    event_edited: bool = False
    deadlines: tuple[Deadline, ...] = ()
    listeners: tuple[Listener, ...] = ()


class Unstarted(View, frozen=True):
    """A function that an event of this name can start, and this one did not.

    ``because`` is ``"condition"`` if its trigger's expression is false for the event, ``"later"`` if the function as it
    is now was registered, or brought back by an operator, after the event, ``"archived"`` if nothing starts it now: its
    app does not list it any more, or an operator has archived it.
    """

    function_id: str
    because: Literal["condition", "later", "archived", "unknown"]
    expression: str | None


class StartedRun(View, frozen=True):
    id: str
    function_id: str
    status: str


class HeldBack(View, frozen=True):
    """A function for which the event waits: for others to come, or for them to stop. ``by`` is the option that says so.

    ``count`` events have come so far. The run ``run_id`` will start at ``at`` at the latest.
    """

    function_id: str
    by: Literal["batch_events", "debounce"]
    run_id: str
    at: str
    count: int


class EventWhy(View, frozen=True, tag_field="subject", tag="event"):
    """What became of an event: a run, an outcome or a reason for each function it could have started.

    ``nearest`` are the names most like it that do start something, if nothing listens to this one.
    """

    id: str
    name: str
    received_at: str
    runs: list[StartedRun]
    outcomes: list[OutcomeView]
    unstarted: list[Unstarted]
    nearest: list[str]
    held: tuple[HeldBack, ...] = ()
    text: tuple[str, ...] = ()


Why = RunWhy | EventWhy


class Situation(msgspec.Struct, frozen=True):
    """What the process that is asked knows about itself. ``led`` is whether any process runs what is owed."""

    now: int
    led: bool = True
    draining: bool = False
    calls: int = 0
    calls_max: int = 0
    bodies: Bodies = nobody
