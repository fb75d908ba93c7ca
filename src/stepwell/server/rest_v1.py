"""REST v1: what SDKs and their test suites read (protocol §10.1, §9.4)."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType
from starlette.responses import Response

from stepwell.errors import NotFound
from stepwell.limits import TRACES_BYTES_MAX
from stepwell.model.event import Event, rfc3339
from stepwell.model.questions import BacklogPosition, ListFunctions, Outcomes, RunItems, RunsOfEvent, StoredFunction
from stepwell.model.run import Run, RunStatus
from stepwell.protocol.events import Incoming, parse_events
from stepwell.protocol.signals import read_signal
from stepwell.runtime.engine import Engine
from stepwell.server.desk import events_query, find_event, find_run, list_events
from stepwell.server.envelopes import plain, v1
from stepwell.server.operations import Asked, Opaque, Operation, Style
from stepwell.server.replies import Refused
from stepwell.views.nouns import raw

NOBODY: Final = "00000000-0000-0000-0000-000000000000"  # accounts and environments, of which there is one
_JOBS_SHOWN: Final = 10
_STATUS: Final = {
    RunStatus.QUEUED: "Scheduled",
    RunStatus.RUNNING: "Running",
    RunStatus.COMPLETED: "Completed",
    RunStatus.FAILED: "Failed",
    RunStatus.CANCELLED: "Cancelled",
    RunStatus.SKIPPED: "Skipped",
}


class V1Event(msgspec.Struct, frozen=True, kw_only=True):
    """An accepted event in the words of v1. ``user`` and ``v`` are there if the sender gave them."""

    internal_id: str
    account_id: str = NOBODY
    environment_id: str = NOBODY
    source: str
    source_id: str | None = None
    received_at: str
    id: str
    name: str
    data: msgspec.Raw
    ts: int
    user: msgspec.Raw | UnsetType = UNSET
    v: str | UnsetType = UNSET


class V1Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """Why an event started no run of a function. ``run_id`` names the run that stands in its place."""

    function_id: str
    kind: str
    reason: str
    at: str
    run_id: str | None


class V1WholeEvent(V1Event, frozen=True, kw_only=True):
    """An event, and why it started none of a function. The runs that it did start have an address of their own."""

    outcomes: list[V1Outcome]


class V1Run(msgspec.Struct, frozen=True, kw_only=True):
    """A run in the words of v1. ``output`` is there once it has one: its result, or its error."""

    run_id: str
    run_started_at: str
    function_id: str
    function_version: int
    environment_id: str = NOBODY
    event_id: str
    batch_id: str | UnsetType = UNSET
    status: str
    ended_at: str | None
    output: msgspec.Raw | UnsetType = UNSET
    original_run_id: str | UnsetType = UNSET
    cron: str | UnsetType = UNSET


class Job(msgspec.Struct, frozen=True, kw_only=True, rename={"job_id": "JobID"}):
    """Work that is owed to a run: when it is due, and how many go before it under the same limit."""

    job_id: str
    at: str | None
    position: int
    kind: str
    attempt: int


class V1Function(msgspec.Struct, frozen=True, kw_only=True):
    """A function of an app. ``config`` is what the app sent."""

    id: str
    slug: str
    name: str
    app_id: str
    version: int
    config: msgspec.Raw


class Resumed(msgspec.Struct, frozen=True):
    """The run that waited for a signal."""

    run_id: str


class Invoked(msgspec.Struct, frozen=True):
    """The event that was made for an invocation."""

    id: str
    status: int = 200


class Nothing(msgspec.Struct, frozen=True):
    """There is nothing to say."""


class _Named(msgspec.Struct):
    name: str | None = None


_SIGNAL: Final = {
    "type": "object",
    "required": ["signal"],
    "properties": {"signal": {"type": "string", "minLength": 1}, "data": {}},
}
INVOCATION: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "data": {"type": ["object", "null"]},
        "id": {"type": "string"},
        "ts": {"type": "integer"},
        "user": {"type": ["object", "null"]},
        "v": {"type": "string"},
    },
}
_SPANS: Final = Opaque(types=("application/x-protobuf", "application/json"), required=False)
_EVENTS: Final = ("received_after", "received_before")


class V1:
    """The endpoints of an engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._clock = engine.clock

    def routes(self) -> list[Operation]:
        op = partial(Operation, style=Style.V1)
        signal = Opaque(schema=_SIGNAL)
        invocation = Opaque(schema=INVOCATION, required=False)
        return [
            op(
                "GET",
                "/v1/events",
                self.events,
                "events, newest first",
                query=events_query(*_EVENTS),
                answer=list[V1Event],
            ),
            op("GET", "/v1/events/{event_id}", self.event, "an event, and why it started no run", answer=V1WholeEvent),
            op(
                "GET",
                "/v1/events/{event_id}/runs",
                self.runs_of_event,
                "the runs it started, reruns among them",
                answer=list[V1Run],
            ),
            op("GET", "/v1/runs/{run_id}", self.run, "a run with its output", answer=V1Run),
            op("DELETE", "/v1/runs/{run_id}", self.cancel, "cancels it; no body, also if it had ended"),
            op(
                "GET",
                "/v1/runs/{run_id}/jobs",
                self.jobs,
                "what is owed to it, the first 10",
                answer=list[Job],
            ),
            op(
                "POST",
                "/v1/signals",
                self.signal,
                "resumes the run that waits for a signal; 404 if none does",
                body=signal,
                answer=Resumed,
                refuses=[404],
            ),
            op(
                "GET",
                "/v1/apps/{app_id}/functions",
                self.functions,
                "the functions of an app, without an envelope",
                style=Style.PLAIN,
                answer=list[V1Function],
            ),
            op(
                "POST",
                "/v1/traces/userland",
                self.traces,
                "takes spans of an app's own tracing, and drops them",
                style=Style.PLAIN,
                body=_SPANS,
                answer=Nothing,
                refuses=[413],
            ),
            op(
                "POST",
                "/v0/telemetry",
                self.telemetry,
                "takes what SDKs say of themselves, and drops it",
                style=Style.PLAIN,
                body=Opaque(required=False),
                answer=Nothing,
            ),
            op(
                "POST",
                "/invoke/{slug}",
                self.invoke,
                "starts one function, whatever its triggers are",
                style=Style.PLAIN,
                body=invocation,
                answer=Invoked,
            ),
        ]

    async def events(self, asked: Asked) -> Response:
        events, _, _ = await list_events(self._engine, asked.query, after=_EVENTS[0], before=_EVENTS[1])
        return v1(self._clock, [_event(event) for event in events])

    async def event(self, asked: Asked) -> Response:
        event = await find_event(self._engine, asked.path["event_id"])
        outcomes = [
            V1Outcome(
                function_id=outcome.function_id,
                kind=outcome.kind,
                reason=outcome.reason,
                at=rfc3339(outcome.at),
                run_id=outcome.run_id,
            )
            for outcome in await self._engine.store.read(Outcomes(event.id))
        ]
        return v1(self._clock, V1WholeEvent(**msgspec.structs.asdict(_event(event)), outcomes=outcomes))

    async def runs_of_event(self, asked: Asked) -> Response:
        event = await find_event(self._engine, asked.path["event_id"])
        runs = await self._engine.store.read(RunsOfEvent(event.id))
        return v1(self._clock, [_run(run) for run in runs])

    async def run(self, asked: Asked) -> Response:
        return v1(self._clock, _run(await find_run(self._engine, asked.path["run_id"])))

    async def cancel(self, asked: Asked) -> Response:
        run = await find_run(self._engine, asked.path["run_id"])
        await self._engine.cancel(run.id)
        return Response(status_code=200)

    async def jobs(self, asked: Asked) -> Response:
        run = await find_run(self._engine, asked.path["run_id"])
        read, shown = self._engine.store.read, list[Job]()
        for item in (await read(RunItems(run.id)))[:_JOBS_SHOWN]:
            found = await read(BacklogPosition(item.id)) if item.backlog is not None else None
            at = rfc3339(item.at) if item.at is not None else None
            position = found[0] if found is not None else 0
            shown.append(Job(job_id=item.id, at=at, position=position, kind=item.kind, attempt=item.attempt))
        return v1(self._clock, shown)

    async def signal(self, asked: Asked) -> Response:
        engine = self._engine
        signal = read_signal(asked.body, bytes_max=engine.settings.event_bytes_max)
        run_id = await engine.signal(signal)
        if run_id is None:
            raise nobody_waits(signal.name)
        return v1(self._clock, Resumed(run_id))

    async def functions(self, asked: Asked) -> Response:
        app_id: str = asked.path["app_id"]
        found = [each for each in await self._engine.store.read(ListFunctions()) if each.app_id == app_id]
        if not found:
            raise NotFound(f"there is no app {app_id!r}", "no function is registered under it", "check its id")
        return plain([_function(each) for each in found])

    async def traces(self, asked: Asked) -> Response:
        if len(asked.body) > TRACES_BYTES_MAX:
            why = f"the limit is {TRACES_BYTES_MAX:,} bytes"
            raise Refused(413, "request-too-large", "these are too many spans at once", why, "send them in parts")
        return plain(Nothing())

    async def telemetry(self, asked: Asked) -> Response:
        return plain(Nothing())

    async def invoke(self, asked: Asked) -> Response:
        event = nameless_event(self._engine, asked.body)
        try:
            event_id, _ = await self._engine.invoke(asked.path["slug"], event, seed=asked.seed)
        except NotFound as error:  # the protocol knows 400 only (§9.4)
            raise Refused(400, error.slug, error.what, error.why, error.fix) from None
        return plain(Invoked(event_id))


def nobody_waits(signal: str) -> NotFound:
    return NotFound(
        f"no run waits for signal {signal!r}",
        "a signal is not kept: it reaches the run that waits when it is sent, or none",
        "send it when one waits",
    )


def nameless_event(engine: Engine, body: bytes, *, key: str = "id") -> Incoming:
    """The event of an invocation: like any other, but that it needs no name. ``key`` is the member with its idempotency
    key. Raises ``InvalidEvent``, ``Refused``."""
    try:
        fields: dict[str, msgspec.Raw] = _decode_object(body or b"{}")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        why = str(error)
        raise Refused(400, "invalid-event", "the request holds no event", why, 'send {"data": {}}') from None
    fields["name"] = msgspec.Raw(b'"invoke"')
    if key in fields:
        fields["id"] = fields[key]
    return parse_events(_encode(fields), bytes_max=engine.settings.event_bytes_max)[0]


_decode_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_named: Final = msgspec.json.Decoder(_Named).decode
_encode: Final = msgspec.json.Encoder().encode


def _event(event: Event) -> V1Event:
    return V1Event(
        internal_id=event.id,
        source=event.source,
        received_at=rfc3339(event.received_at),
        id=event.public_id,
        name=event.name,
        data=raw(event.data),
        ts=event.ts,
        user=UNSET if event.user is None else raw(event.user),
        v=UNSET if event.v is None else event.v,
    )


def _run(run: Run) -> V1Run:
    return V1Run(
        run_id=run.id,
        run_started_at=rfc3339(run.started_at if run.started_at is not None else run.queued_at),
        function_id=run.function_id,
        function_version=run.function_version,
        event_id=run.event_id,
        batch_id=UNSET if run.batch is None else run.id,
        status=_STATUS.get(RunStatus(run.status), "Unknown"),
        ended_at=rfc3339(run.ended_at) if run.ended_at is not None else None,
        output=UNSET if run.output is None else raw(run.output),
        original_run_id=UNSET if run.original is None else run.original,
        cron=UNSET if run.cron is None else run.cron,
    )


def _function(function: StoredFunction) -> V1Function:
    return V1Function(
        id=function.id,
        slug=function.id,
        name=_decode_named(function.config).name or function.id,
        app_id=function.app_id,
        version=function.version,
        config=msgspec.Raw(function.config),
    )
