"""What code has logged is kept with the report that brings it, within limits; the run never notices (ADR 0050)."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, Final

from stepwell.engine.draft import Draft
from stepwell.engine.leased import Leased
from stepwell.limits import LOG_BYTES_MAX, LOG_LINES_MAX, LOG_PER_RUN_BYTES_MAX
from stepwell.model.changes import SaveLogs
from stepwell.model.log import Logged, Logs, Said, encode
from stepwell.model.questions import LoggedBytes, ask
from stepwell.ops import Annotated

_PARTS: Final = 2  # with a step come the lines of its body, and those of the code before it


def log_step(draft: Draft, leased: Leased, op: Annotated, position: int) -> Generator[Any, Any, None]:
    """Keep what came with a step."""
    if op.logs is not None:
        yield from _log(draft, leased, op.logs, op.id, op.attempt, position)


def log_call(draft: Draft, leased: Leased, logs: Logs | None) -> Generator[Any, Any, None]:
    """Keep what came with the end of a call."""
    if logs is not None:
        yield from _log(draft, leased, logs, "", leased.attempt, leased.position)


def lines_so_far(leased: Leased, said: Sequence[Said], position: int) -> tuple[SaveLogs, ...]:
    """What to write of bodies that still run, where it is known how much is kept. Each takes a position, so that they
    stay in their order where they spoke at the same moment."""
    assert leased.logged is not None, "it was looked at"
    found: list[SaveLogs] = []
    before = leased.logged
    for place, each in enumerate(said, position):
        attempt = each.attempt if each.step_id else leased.attempt
        logged = _kept(leased, each.logs, each.step_id, attempt, place, before, each.name)
        if logged is not None:
            found.append(SaveLogs(logged))
            before += len(logged.lines)
    return tuple(found)


def with_step(leased: Leased, op: Annotated, position: int) -> tuple[SaveLogs, ...]:
    """What to write with a step where it is known how much is kept."""
    assert op.logs is not None and leased.logged is not None, "it was looked at"
    logged = _kept(leased, op.logs, op.id, op.attempt, position, leased.logged)
    return () if logged is None else (SaveLogs(logged),)


def _kept(
    leased: Leased, logs: Logs, step_id: str, attempt: int, position: int, before: int, name: str = ""
) -> Logged | None:
    """What is kept of these lines, where so many bytes are kept already; ``None`` if there is nothing to say.

    All of them or none: what is cut off was cut off where it was said.
    """
    if not logs.lines and not logs.dropped:
        return None
    lines = encode(logs.lines)
    fits = before + len(lines) <= LOG_PER_RUN_BYTES_MAX and _is_bounded(logs)
    return Logged(
        run_id=leased.run.id,
        at=logs.lines[0].at if logs.lines else 0,
        token=leased.lease.token,
        step_id=step_id,
        attempt=attempt,
        position=position,
        name=name,
        lines=lines if fits else b"[]",
        dropped=logs.dropped if fits else logs.dropped + len(logs.lines),
    )


def _is_bounded(logs: Logs) -> bool:
    """Whether an SDK has kept to the limits of one report."""
    if len(logs.lines) > _PARTS * LOG_LINES_MAX:
        return False
    return sum(line.size for line in logs.lines) <= _PARTS * LOG_BYTES_MAX


def _log(
    draft: Draft, leased: Leased, logs: Logs, step_id: str, attempt: int, position: int
) -> Generator[Any, Any, None]:
    before = leased.logged if leased.logged is not None else (yield from ask(LoggedBytes(leased.run.id)))
    so_far = sum(len(change.logged.lines) for change in draft.changes if isinstance(change, SaveLogs))
    logged = _kept(leased, logs, step_id, attempt, position, before + so_far)
    if logged is not None:
        draft.add(SaveLogs(logged))
