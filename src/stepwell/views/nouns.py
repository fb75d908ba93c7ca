"""What people are shown of events and runs: the shapes of REST v2, which the command line reads as well.

Names become lowerCamelCase on the wire; moments are RFC 3339 text with milliseconds, in UTC.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol, TypeVar

import msgspec

from stepwell.model.event import DEFERRED, Event, rfc3339
from stepwell.model.history import Outcome
from stepwell.model.metadata import EVERY_ATTEMPT, Metadata
from stepwell.model.questions import GetEvent, GetMetadata, Question, Reruns
from stepwell.model.run import Rerun, Run, RunStatus

A = TypeVar("A")

NULL: Final = msgspec.Raw(b"null")
_PLAIN: Final = Rerun()


class Reader(Protocol):
    """Whatever answers questions: a store."""

    async def read(self, question: Question[A]) -> A: ...


class View(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of what is shown."""


class ErrorView(View, frozen=True, omit_defaults=True):
    """An error as it was reported. ``stack`` is text of the language it came from; ``cause`` is as its SDK says it."""

    name: str
    message: str
    stack: str | None = None
    code: str | None = None
    cause: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class ListedRun(View, frozen=True):
    """One execution of a function as lists have it: without what would have to be read for each run by itself.

    ``event_count`` is how many events it was started with: more than one if they were collected for it (a batch), and
    ``event_id`` is the first. Of a run that repeats another, ``from_step`` is the name of the step that it began with
    if not with the first, and ``event_edited`` whether its event has other data; ``replay_id`` is the order that
    started it.
    """

    id: str
    function_id: str
    function_version: int
    status: str
    event_id: str
    queued_at: str
    scheduled_at: str
    started_at: str | None
    ended_at: str | None
    event_name: str | None = None
    reason: str | None = None
    parent_run_id: str | None = None
    original_run_id: str | None = None
    cron: str | None = None
    event_count: int = 1
    replay_id: str | None = None
    from_step: str | None = None
    event_edited: bool = False


class MetadataView(View, frozen=True):
    """What is said about a run, or about a step or one attempt at it. ``values`` is an object."""

    kind: str
    values: msgspec.Raw
    updated_at: str
    step_id: str | None
    attempt: int | None


class RunView(ListedRun, frozen=True, kw_only=True):
    """The whole of a run. ``output`` is there for a Completed one, ``error`` for a Failed one.

    ``rerun_ids`` are the runs that were made to run this one again. Of one that began with a step of another run,
    ``copied_steps`` is how many it has from that one, ``input_replaced`` whether that step was given something else,
    and ``overridden_steps`` are the ids of those whose results a person has given. ``deferred_by`` is the run that had
    put this one off until its own end. ``metadata`` is what is said about it and its steps, where that was asked for.
    """

    output: msgspec.Raw
    error: ErrorView | None = None
    rerun_ids: list[str] = []
    copied_steps: int = 0
    input_replaced: bool = False
    overridden_steps: list[str] = []
    deferred_by: str | None = None
    metadata: list[MetadataView] = []


class EventView(View, frozen=True):
    """An accepted event. ``id`` is what functions see, the sender's own if there is one; ``internal_id`` is unique.

    ``sent_by`` is the run that it comes from, if that is known.
    """

    internal_id: str
    id: str
    name: str
    ts: str
    received_at: str
    source: str
    data: msgspec.Raw
    user: msgspec.Raw
    meta: msgspec.Raw
    v: str | None = None
    sent_by: str | None = None


class OutcomeView(View, frozen=True):
    """Why an event started no run of a function. ``run_id`` names the run that stands in its place."""

    event_id: str
    function_id: str
    kind: str
    reason: str
    at: str
    run_id: str | None = None


def event_view(event: Event) -> EventView:
    return EventView(
        internal_id=event.id,
        id=event.public_id,
        name=event.name,
        ts=rfc3339(event.ts),
        received_at=rfc3339(event.received_at),
        source=event.source,
        data=msgspec.Raw(event.data),
        user=raw(event.user),
        meta=raw(event.meta),
        v=event.v,
        sent_by=event.sent_by,
    )


def outcome_view(outcome: Outcome) -> OutcomeView:
    return OutcomeView(
        event_id=outcome.event_id,
        function_id=outcome.function_id,
        kind=outcome.kind,
        reason=outcome.reason,
        at=rfc3339(outcome.at),
        run_id=outcome.run_id,
    )


def listed_run(run: Run, event_name: str | None) -> ListedRun:
    return ListedRun(**_of_run(run), event_name=event_name)


def metadata_view(one: Metadata) -> MetadataView:
    return MetadataView(
        kind=one.kind,
        values=msgspec.Raw(one.values),
        updated_at=rfc3339(one.updated_at),
        step_id=one.step_id or None,
        attempt=one.attempt if one.attempt != EVERY_ATTEMPT else None,
    )


async def whole_run(reader: Reader, run: Run) -> RunView:
    """A run with what stands elsewhere: its event, the runs that repeat it, what is said about it."""
    event = await reader.read(GetEvent(run.event_id, run.place))
    reruns: list[str] = await reader.read(Reruns(run.id))
    metadata: list[Metadata] = await reader.read(GetMetadata(run.id))
    return run_view(run, event, reruns, metadata)


def run_view(run: Run, event: Event | None, reruns: Sequence[str] = (), metadata: Sequence[Metadata] = ()) -> RunView:
    failed = run.status == RunStatus.FAILED
    again = run.rerun or _PLAIN
    return RunView(
        **_of_run(run),
        event_name=event.name if event else None,
        rerun_ids=list(reruns),
        deferred_by=deferred_by(event) if event else None,
        copied_steps=again.copied,
        input_replaced=again.input is not None,
        overridden_steps=list(again.overridden),
        output=raw(None if failed else run.output),
        error=error_view(run.output) if failed and run.output is not None else None,
        metadata=[metadata_view(one) for one in metadata],
    )


class _Routing(msgspec.Struct, frozen=True):
    parent_run_id: str | None = None


class _Routed(msgspec.Struct):
    routing: _Routing = msgspec.field(name="_inngest", default=_Routing())


_decode_routed: Final = msgspec.json.Decoder(_Routed).decode


def deferred_by(event: Event) -> str | None:
    """The run that had put off the one that this event starts (protocol §6.6)."""
    return _decode_routed(event.data).routing.parent_run_id if event.name == DEFERRED else None


def _of_run(run: Run) -> dict[str, Any]:
    again = run.rerun or _PLAIN
    return {
        "replay_id": again.replay,
        "from_step": again.name or None,
        "event_edited": again.edited,
        "id": run.id,
        "function_id": run.function_id,
        "function_version": run.function_version,
        "status": run.status,
        "event_id": run.event_id,
        "queued_at": rfc3339(run.queued_at),
        "scheduled_at": rfc3339(run.scheduled_at),
        "started_at": moment(run.started_at),
        "ended_at": moment(run.ended_at),
        "reason": run.reason,
        "parent_run_id": run.parent,
        "original_run_id": run.original,
        "cron": run.cron,
        "event_count": run.batch or 1,
    }


_decode_error: Final = msgspec.json.Decoder(ErrorView).decode


def error_view(text: bytes) -> ErrorView:
    """An error from its JSON text, whatever an SDK made of it: what cannot be read is shown as it is."""
    try:
        return _decode_error(text)
    except msgspec.MsgspecError:
        return ErrorView(name="Error", message=text.decode(errors="replace")[:1_000])


def moment(ms: int | None) -> str | None:
    return None if ms is None else rfc3339(ms)


def raw(text: bytes | None) -> msgspec.Raw:
    """JSON text to be passed on as it is (design D15); ``null`` for none, because a Raw cannot be optional."""
    return NULL if text is None else msgspec.Raw(text)
