"""REST v1: what SDKs and their test suites read (protocol §10.1, §9.4)."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stepwell.errors import NotFound
from stepwell.model.event import Event, rfc3339
from stepwell.model.questions import RunsOfEvent
from stepwell.model.run import Run, RunStatus
from stepwell.protocol.events import Incoming, parse_events
from stepwell.protocol.signals import read_signal
from stepwell.runtime.engine import Engine
from stepwell.server.desk import find_event, find_run, list_events
from stepwell.server.envelopes import plain, v1
from stepwell.server.guard import envelope
from stepwell.server.ingest import read_body
from stepwell.server.replies import Refused, name_of
from stepwell.server.views import raw

_NOBODY: Final = "00000000-0000-0000-0000-000000000000"  # accounts and environments, of which there is one
_STATUS: Final = {
    RunStatus.QUEUED: "Scheduled",
    RunStatus.RUNNING: "Running",
    RunStatus.COMPLETED: "Completed",
    RunStatus.FAILED: "Failed",
    RunStatus.CANCELLED: "Cancelled",
    RunStatus.SKIPPED: "Skipped",
}


class V1:
    """The endpoints of an engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._clock = engine.clock

    def routes(self) -> list[Route]:
        return [
            Route("/v1/events", self.events, methods=["GET"]),
            Route("/v1/events/{event_id}", self.event, methods=["GET"]),
            Route("/v1/events/{event_id}/runs", self.runs_of_event, methods=["GET"]),
            Route("/v1/runs/{run_id}", self.run, methods=["GET"]),
            Route("/v1/runs/{run_id}", self.cancel, methods=["DELETE"]),
            Route("/v1/signals", self.signal, methods=["POST"]),
            Route("/invoke/{slug}", self.invoke, methods=["POST"]),
        ]

    async def events(self, request: Request) -> Response:
        query = dict(request.query_params)
        events, _, _ = await list_events(self._engine, query, after="received_after", before="received_before")
        return v1(self._clock, [_event(event) for event in events])

    async def event(self, request: Request) -> Response:
        return v1(self._clock, _event(await find_event(self._engine, request.path_params["event_id"])))

    async def runs_of_event(self, request: Request) -> Response:
        event = await find_event(self._engine, request.path_params["event_id"])
        runs = await self._engine.store.read(RunsOfEvent(event.id))
        return v1(self._clock, [_run(run) for run in runs])

    async def run(self, request: Request) -> Response:
        return v1(self._clock, _run(await find_run(self._engine, request.path_params["run_id"])))

    async def cancel(self, request: Request) -> Response:
        run = await find_run(self._engine, request.path_params["run_id"])
        await self._engine.cancel(run.id)
        return Response(status_code=200)

    async def signal(self, request: Request) -> Response:
        asked, engine = envelope(request.scope["headers"]), self._engine
        body = await read_body(asked.length, request.receive)
        signal = read_signal(body, bytes_max=engine.settings.event_bytes_max)
        run_id = await engine.signal(signal)
        if run_id is None:
            raise NotFound(
                f"no run waits for signal {signal.name!r}",
                "a signal is not kept: it reaches the run that waits when it is sent, or none",
                "send it when one waits",
            )
        return v1(self._clock, {"run_id": run_id})

    async def invoke(self, request: Request) -> Response:
        asked = envelope(request.scope["headers"])
        slug = name_of(request.path_params["slug"], "the id of a function")
        event = nameless_event(self._engine, await read_body(asked.length, request.receive))
        try:
            event_id, _ = await self._engine.invoke(slug, event, seed=asked.seed)
        except NotFound as error:  # the protocol knows 400 only (§9.4)
            raise Refused(400, error.slug, error.what, error.why, error.fix) from None
        return plain({"id": event_id, "status": 200})


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
_encode: Final = msgspec.json.Encoder().encode


def _event(event: Event) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "internal_id": event.id,
        "account_id": _NOBODY,
        "environment_id": _NOBODY,
        "source": event.source,
        "source_id": None,
        "received_at": rfc3339(event.received_at),
        "id": event.public_id,
        "name": event.name,
        "data": raw(event.data),
        "ts": event.ts,
    }
    if event.user is not None:
        shown["user"] = raw(event.user)
    if event.v is not None:
        shown["v"] = event.v
    return shown


def _run(run: Run) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "run_id": run.id,
        "run_started_at": rfc3339(run.started_at if run.started_at is not None else run.queued_at),
        "function_id": run.function_id,
        "function_version": run.function_version,
        "environment_id": _NOBODY,
        "event_id": run.event_id,
        "status": _STATUS.get(RunStatus(run.status), "Unknown"),
        "ended_at": rfc3339(run.ended_at) if run.ended_at is not None else None,
    }
    if run.output is not None:
        shown["output"] = raw(run.output)
    if run.original is not None:
        shown["original_run_id"] = run.original
    if run.cron is not None:
        shown["cron"] = run.cron
    return shown
