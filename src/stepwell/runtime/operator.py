"""What people ask of an engine: run something again, cancel many runs, and hear how far that is."""

from __future__ import annotations

from collections.abc import Generator
from enum import StrEnum
from typing import Any

import msgspec

from stepwell.engine import bulk, operator, pausing
from stepwell.errors import ConfigurationError, LimitExceeded, NotFound
from stepwell.expressions import compile_expression
from stepwell.ids import is_ulid
from stepwell.model.cancellation import Cancellation
from stepwell.model.history import Outcome, OutcomeKind
from stepwell.model.pause import Pause, PausedEvents, PausedRuns
from stepwell.model.questions import GetCancellation, GetRun, ListFunctions, Question
from stepwell.model.run import Run
from stepwell.runtime.engine import Engine
from stepwell.runtime.standing import checked_reason
from stepwell.storage.interface import Store

_SLACK_MS = 5_000  # the clock of whoever asks may be ahead of ours (semantics §8.3)


_FIRST: dict[str, str] = {
    OutcomeKind.PAUSED: "resume it first: stepwell resume {}",
    OutcomeKind.DRAINED: "end that first: stepwell undrain",
}


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which runs are meant: of this function, created in this span of time, for whose event ``condition`` is true.

    Moments are milliseconds, both included; without ``started_before`` it is all until now.
    """

    app_id: str
    function_id: str
    started_before: int | None = None
    started_after: int | None = None
    condition: str | None = None


async def rerun(engine: Engine, run_id: str, *, key: str | None = None) -> Run:
    """Start a run again, ended or not: a new run, for the same event, under the function as it is now (semantics §9.1).

    With a ``key`` a second request within 24 hours gives the run of the first. Raises ``NotFound``, and
    ``LimitExceeded`` if the function runs alone and does.
    """
    engine.refuse_if_stopping()
    verdict = await engine.commit(lambda draft: operator.rerun(draft, run_id, key))
    await engine.until_ends_seen(verdict)  # it may take the place of a run that another process executes (I18)
    started: Run | Outcome | None = verdict.result.value
    if isinstance(started, Outcome):
        fix = _FIRST.get(started.kind, "try again when that has ended").format(started.function_id)
        raise LimitExceeded(f"run {run_id} was not started again", started.reason, fix)
    if started is not None:
        return started
    run = await engine.store.read(GetRun(run_id)) if is_ulid(run_id) else None
    if run is None:
        raise NotFound(
            f"there is no run {run_id}", "it was never there, or retention has removed it", "list them: stepwell runs"
        )
    raise NotFound(
        f"run {run_id} cannot be started again",
        f"no function {run.function_id!r} is registered any more, or it is archived",
        "register the function again, or unarchive it, then repeat this",
    )


async def pause(
    engine: Engine, function_id: str, *, events: str = "skip", runs: str = "finish", reason: str = ""
) -> Pause:
    """Pause a function until somebody resumes it: the choices of ``PausedEvents`` and ``PausedRuns`` (semantics §9.5).

    One that is paused already gets these choices in place of those it had. Raises ``NotFound``, and
    ``ConfigurationError`` for choices that there are not, a reason that is too long, or a durable endpoint.
    """
    engine.refuse_if_stopping()
    _choice("events", events, PausedEvents)
    _choice("runs", runs, PausedRuns)
    checked_reason(reason)
    function = engine.registry.of_run(function_id)
    if function is not None and function.endpoint is not None:
        raise ConfigurationError(
            f"{function_id} cannot be paused",
            "it is a durable endpoint: its own clients call it, and it begins its runs by itself",
            "refuse the requests in the app",
        )
    found: Pause | None = await engine.declare(
        lambda draft: pausing.pause(draft, function_id, events=events, runs=runs, reason=reason)
    )
    if found is None:
        raise _no_function(function_id)
    await engine.until_seen()
    return found


async def resume(engine: Engine, function_id: str) -> Pause | None:
    """End the pause of a function: what waited for that goes on. What it skipped stays skipped. The pause, ``None`` if
    there was none. Raises ``NotFound``."""
    engine.refuse_if_stopping()
    found: Pause | None = await engine.declare(lambda draft: pausing.resume(draft, function_id))
    if found is None and all(each.id != function_id for each in await engine.store.read(ListFunctions(archived=True))):
        raise _no_function(function_id)
    return found


def _no_function(function_id: str) -> NotFound:
    return NotFound(
        f"there is no function {function_id!r}", "no app has ever registered it", "list them: stepwell functions"
    )


def _choice(name: str, value: object, choices: type[StrEnum]) -> None:
    if value not in list(choices):
        raise ConfigurationError(
            f"{name} is {value!r:.40}",
            "it says what becomes of them while the function is paused",
            f"choose one of {', '.join(repr(choice.value) for choice in choices)}",
        )


async def cancel_many(engine: Engine, selection: Selection) -> Cancellation:
    """Order all these runs to be cancelled; it is durable, and worked off by the process that leads.

    Raises ``ConfigurationError`` for a selection that cannot be one.
    """
    engine.refuse_if_stopping()
    now = engine.clock.now_ms()
    before = _checked(selection, now)
    verdict = await engine.commit(
        lambda draft: bulk.begin(
            draft,
            selection.app_id,
            selection.function_id,
            started_before=before,
            started_after=selection.started_after,
            condition=selection.condition,
        )
    )
    cancellation: Cancellation = verdict.result.value
    return cancellation


async def count_many(engine: Engine, selection: Selection) -> int:
    """How many runs it would cancel now. Looks at all that is live, some at a time. Raises ``ConfigurationError``."""
    now = engine.clock.now_ms()
    looking: Cancellation | None = Cancellation(
        id="\x7f",  # after every id
        app_id=selection.app_id,
        function_id=selection.function_id,
        created_at=now,
        started_before=_checked(selection, now),
        started_after=selection.started_after,
        condition=selection.condition,
    )
    found = set[str]()  # a run that begins meanwhile is met in both states
    while looking is not None:
        runs = await engine.store.read(bulk.next_runs(looking))
        found.update(run.id for run in await _answered(engine.store, bulk.fit(looking, runs, now)))
        looking = bulk.after(looking, runs)
    return len(found)


async def end_cancellation(engine: Engine, cancellation_id: str) -> None:
    """Cancel no more runs for this order, and forget it. Raises ``NotFound``."""
    verdict = await engine.commit(lambda draft: bulk.end(draft, cancellation_id))
    if not verdict.result.value:
        raise _unknown(cancellation_id)


async def find_cancellation(engine: Engine, cancellation_id: str) -> Cancellation:
    """An order, and how far it has come. Raises ``NotFound``."""
    found = await engine.store.read(GetCancellation(cancellation_id))
    if found is None:
        raise _unknown(cancellation_id)
    return found


def _checked(selection: Selection, now: int) -> int:
    """The moment until which runs are meant."""
    if selection.condition is not None:
        compile_expression(selection.condition, boolean=True)
    before = selection.started_before if selection.started_before is not None else now
    if before > now + _SLACK_MS:
        raise ConfigurationError(
            "runs are to be cancelled that were started before a moment in the future",
            "those of the future are not there yet, and are not cancelled",
            "give a moment that has passed, or none for now",
        )
    if selection.started_after is not None and selection.started_after > before:
        raise ConfigurationError(
            "no run can have been started in that time", "it ends before it begins", "exchange the two moments"
        )
    return min(before, now)


async def _answered(store: Store, asking: Generator[Question[Any], Any, list[Run]]) -> list[Run]:
    """What a plan asks for, outside of a transaction."""
    answer: Any = None
    while True:
        try:
            question = asking.send(answer)
        except StopIteration as done:
            found: list[Run] = done.value
            return found
        answer = await store.read(question)


def _unknown(cancellation_id: str) -> NotFound:
    return NotFound(
        f"there is no cancellation {cancellation_id}",
        "it was never there, was ended, or retention has removed it",
        "list them: GET /v1/cancellations",
    )
