"""What people ask of an engine: run something again, do not wait for something, pause a function, resume it."""

from __future__ import annotations

from enum import StrEnum

from stepwell.engine import again, pausing
from stepwell.engine import operator as decisions
from stepwell.engine.again import FromStep
from stepwell.engine.operator import Tried
from stepwell.errors import ConfigurationError, LimitExceeded, NotFound
from stepwell.ids import is_ulid
from stepwell.model.history import Outcome, OutcomeKind
from stepwell.model.pause import Pause, PausedEvents, PausedRuns
from stepwell.model.questions import GetRun, ListFunctions, ListStandingOrders
from stepwell.model.run import Run
from stepwell.model.standing import Orders, StandingKind
from stepwell.runtime.edits import check_values, edit
from stepwell.runtime.engine import Engine
from stepwell.runtime.standing import checked_reason


async def rerun(
    engine: Engine,
    run_id: str,
    *,
    key: str | None = None,
    from_step: FromStep | None = None,
    data: bytes | None = None,
    merge: bytes | None = None,
) -> Run:
    """Start a run again, ended or not: a new run, for the same event, under the function as it is now (semantics §9.1).

    With ``from_step`` it begins with one of its steps, and knows what came before. ``data`` are JSON text, which the
    event of the new run has in place of those of the old one; ``merge`` is a merge patch of them (RFC 7396). With a
    ``key`` a second request within 24 hours gives the run of the first. Raises ``NotFound``, ``ConfigurationError`` for
    what cannot be changed, ``InvalidEvent`` for data that no event may have, and ``LimitExceeded`` if the function runs
    alone and does.
    """
    engine.refuse_if_stopping()
    if from_step is not None:
        check_values(from_step)
    edited = await edit(engine, run_id, data, merge) if data is not None or merge is not None else None
    verdict = await engine.commit(lambda draft: again.rerun(draft, run_id, key, from_step=from_step, data=edited))
    await engine.until_ends_seen(verdict)  # it may take the place of a run that another process executes (I18)
    started: Run | Outcome | None = verdict.result.value
    if isinstance(started, Outcome):
        raise LimitExceeded(f"run {run_id} was not started again", started.reason, await _first(engine, started))
    if started is not None:
        return started
    run = await engine.store.read(GetRun(run_id)) if is_ulid(run_id) else None
    if run is None:
        raise _no_run(run_id)
    raise NotFound(
        f"run {run_id} cannot be started again",
        f"no function {run.function_id!r} is registered any more, or it is archived",
        "register the function again, or unarchive it, then repeat this",
    )


async def _first(engine: Engine, why: Outcome) -> str:
    """What has to be done before the function can start a run."""
    if why.kind not in (OutcomeKind.PAUSED, OutcomeKind.DRAINED):
        return "try again when that has ended"
    kind, end = StandingKind.PAUSE, "resume it first: stepwell resume"
    if why.kind == OutcomeKind.DRAINED:
        kind, end = StandingKind.DRAIN, "end that first: stepwell undrain"
    stored = next((each for each in await engine.store.read(ListFunctions()) if each.id == why.function_id), None)
    order = None
    if stored is not None and (kind == StandingKind.DRAIN or stored.pause is None):
        standing = await engine.store.read(ListStandingOrders())
        order = Orders(standing).find(kind, stored.id, stored.app_id)
    return f"{end} {order.argument if order is not None else why.function_id}"


async def retry_now(engine: Engine, run_id: str, step: str | None = None) -> Tried:
    """Make the next attempt at a step now, or without one all attempts for which the run waits (semantics §9). What is
    tried. Raises ``NotFound``, and ``ConfigurationError`` for a name that several steps have."""
    engine.refuse_if_stopping()
    verdict = await engine.commit(lambda draft: decisions.retry_now(draft, run_id, step))
    found: Tried | None = verdict.result.value
    if found is None:
        raise _no_run(run_id)
    return found


async def skip_sleep(engine: Engine, run_id: str, step: str | None = None) -> list[str]:
    """End a sleep before its time, or without a step all in which the run rests (semantics §9). Which, by name; nothing
    if it slept in none. Raises ``NotFound``, and ``ConfigurationError`` for a step that is no sleep."""
    engine.refuse_if_stopping()
    verdict = await engine.commit(lambda draft: decisions.skip_sleep(draft, run_id, step))
    found: list[str] | None = verdict.result.value
    if found is None:
        raise _no_run(run_id)
    return found


def _no_run(run_id: str) -> NotFound:
    return NotFound(
        f"there is no run {run_id}", "it was never there, or retention has removed it", "list them: stepwell runs"
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
