"""Answers "why": why a run has not ended, why it ended as it did, why an event started nothing (dashboard U2)."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from stepwell.engine.registry import Registry
from stepwell.model.event import Event, rfc3339
from stepwell.model.questions import Notes
from stepwell.model.run import Rerun, Run
from stepwell.views.nouns import Reader, moment
from stepwell.views.trace import note_view
from stepwell.views.why.ended import cause
from stepwell.views.why.events import explain_event, nearest, trigger_names
from stepwell.views.why.live import deadlines, gates, listeners
from stepwell.views.why.shapes import EventWhy, RunWhy, Situation, Why
from stepwell.views.why.text import sentences

__all__ = [
    "EventWhy",
    "RunWhy",
    "Situation",
    "Why",
    "nearest",
    "sentences",
    "trigger_names",
    "why_event",
    "why_run",
]

_DEPTH_MAX: Final = 10  # of runs that invoke runs; each level is a handful of reads


async def why_run(reader: Reader, registry: Registry, run: Run, situation: Situation) -> RunWhy:
    """The gates a live run waits at, or the root cause of an ended one; through the runs it invoked, if need be."""
    why = await _explain(reader, registry, run, situation, _DEPTH_MAX)
    return replace(why, text=tuple(sentences(why, situation.now)))


async def why_event(reader: Reader, registry: Registry, event: Event, now: int) -> EventWhy:
    """What became of an event."""
    why = await explain_event(reader, registry, event)
    return replace(why, text=tuple(sentences(why, now)))


async def _explain(reader: Reader, registry: Registry, run: Run, situation: Situation, depth: int) -> RunWhy:
    async def deeper(child: Run) -> RunWhy | None:
        return await _explain(reader, registry, child, situation, depth - 1) if depth > 0 else None

    again = run.rerun or Rerun()
    return RunWhy(
        id=run.id,
        function_id=run.function_id,
        status=run.status,
        queued_at=rfc3339(run.queued_at),
        started_at=moment(run.started_at),
        ended_at=moment(run.ended_at),
        gates=[] if run.ended else await gates(reader, registry, run, situation, deeper),
        cause=await cause(reader, run, deeper) if run.ended else None,
        notes=[note_view(note) for note in await reader.read(Notes(run.id))],
        original_run_id=run.original,
        replay_id=again.replay,
        from_step=again.name or None,
        copied_steps=again.copied,
        event_edited=again.edited,
        deadlines=() if run.ended else await deadlines(reader, run),
        listeners=() if run.ended else await listeners(reader, run, situation.now),
    )
