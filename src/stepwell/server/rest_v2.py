"""REST v2: what people's tools and our own command line read (protocol §10.3)."""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stepwell.errors import NotFound
from stepwell.model.event import rfc3339
from stepwell.model.history import Outcome
from stepwell.model.questions import GetEvent, GetMetadata, ListFunctions, Outcomes, RunsOfEvent, StoredFunction
from stepwell.protocol.events import parse_events
from stepwell.runtime.engine import Engine
from stepwell.server.desk import Query, find_event, find_function, find_run, list_events, list_runs
from stepwell.server.envelopes import Page, v2
from stepwell.server.guard import envelope
from stepwell.server.ingest import read_body
from stepwell.server.replies import Refused, name_of
from stepwell.server.rest_v1 import nameless_event
from stepwell.server.views import (
    RunView,
    View,
    app_views,
    event_view,
    function_view,
    listed_run,
    outcome_view,
    run_view,
    trace_view,
)
from stepwell.server.why import Situation, why_event, why_run

PREFIXES: Final = ("/v2", "/api/v2")


class HealthView(View, frozen=True):
    """Whether due work moves, and how much there is."""

    healthy: bool
    why: str
    leads: bool
    calls_in_flight: int
    calls_max: int
    live_runs: int | None
    items: int | None
    blocked: int | None
    waits: int | None


class V2:
    """The endpoints of an engine. ``led`` tells whether any process runs what the database owes."""

    def __init__(self, engine: Engine, *, led: bool = True) -> None:
        self._engine = engine
        self._clock = engine.clock
        self._led = led

    def routes(self) -> list[Route]:
        table = (
            ("GET", "/health", self.health),
            ("GET", "/runs", self.runs),
            ("GET", "/runs/{run_id}", self.run),
            ("GET", "/runs/{run_id}/trace", self.trace),
            ("GET", "/runs/{run_id}/why", self.why_run),
            ("POST", "/runs/{run_id}/cancel", self.cancel),
            ("GET", "/events", self.events),
            ("POST", "/events", self.send),
            ("GET", "/events/{event_id}", self.event),
            ("GET", "/events/{event_id}/runs", self.runs_of_event),
            ("GET", "/events/{event_id}/why", self.why_event),
            ("GET", "/apps", self.apps),
            ("GET", "/apps/{app_id}/functions", self.functions_of_app),
            ("POST", "/apps/{app_id}/functions/{function_id}/invoke", self.invoke),
            ("GET", "/functions", self.functions),
            ("GET", "/functions/{function_id}", self.function),
        )
        return [Route(prefix + path, do, methods=[method]) for prefix in PREFIXES for method, path, do in table]

    async def health(self, request: Request) -> Response:
        health = await self._engine.health()
        totals = health.totals
        shown = HealthView(
            healthy=health.healthy,
            why=health.why,
            leads=self._engine.leads,
            calls_in_flight=len(self._engine.caller.live),
            calls_max=self._engine.calls_max,
            live_runs=totals.live_runs if totals else None,
            items=totals.items if totals else None,
            blocked=totals.blocked if totals else None,
            waits=totals.waits if totals else None,
        )
        return v2(self._clock, shown)

    async def runs(self, request: Request) -> Response:
        runs, limit, more = await list_runs(self._engine, dict(request.query_params))
        page = Page(limit, more, runs[-1].id if more else None)
        return v2(self._clock, [listed_run(run) for run in runs], page=page)

    async def run(self, request: Request) -> Response:
        return v2(self._clock, await self._run(request.path_params["run_id"]))

    async def trace(self, request: Request) -> Response:
        run = await find_run(self._engine, request.path_params["run_id"])
        outputs = request.query_params.get("outputs") == "full"
        engine = self._engine
        trace = await trace_view(engine.store, run, engine.registry.get, bodies=engine.executing, outputs=outputs)
        return v2(self._clock, trace)

    async def why_run(self, request: Request) -> Response:
        run = await find_run(self._engine, request.path_params["run_id"])
        return v2(self._clock, await why_run(self._engine.store, self._engine.registry, run, self._situation()))

    async def cancel(self, request: Request) -> Response:
        run = await find_run(self._engine, request.path_params["run_id"])
        cancelled = await self._engine.cancel(run.id)
        return v2(self._clock, {"cancelled": cancelled, "run": await self._run(run.id)})

    async def events(self, request: Request) -> Response:
        events, limit, more = await list_events(self._engine, dict(request.query_params))
        page = Page(limit, more, events[-1].id if more else None)
        return v2(self._clock, [event_view(event) for event in events], page=page)

    async def send(self, request: Request) -> Response:
        asked = envelope(request.scope["headers"])
        body = await read_body(asked.length, request.receive)
        events = parse_events(body, bytes_max=self._engine.settings.event_bytes_max)
        return v2(self._clock, {"ids": await self._engine.send(events, seed=asked.seed)})

    async def event(self, request: Request) -> Response:
        return v2(self._clock, event_view(await find_event(self._engine, request.path_params["event_id"])))

    async def runs_of_event(self, request: Request) -> Response:
        event = await find_event(self._engine, request.path_params["event_id"])
        runs = await self._engine.store.read(RunsOfEvent(event.id))
        outcomes = await self._engine.store.read(Outcomes(event.id))
        shown = {
            "runs": [run_view(run, event) for run in runs],
            "outcomes": [outcome_view(outcome) for outcome in outcomes],
        }
        return v2(self._clock, shown)

    async def why_event(self, request: Request) -> Response:
        event = await find_event(self._engine, request.path_params["event_id"])
        now = self._clock.now_ms()
        return v2(self._clock, await why_event(self._engine.store, self._engine.registry, event, now))

    async def apps(self, request: Request) -> Response:
        return v2(self._clock, app_views(await self._registered({})))

    async def functions(self, request: Request) -> Response:
        return v2(self._clock, await self._views(await self._registered(dict(request.query_params))))

    async def functions_of_app(self, request: Request) -> Response:
        app_id = name_of(request.path_params["app_id"], "the id of an app")
        registered = await self._registered(dict(request.query_params))
        found = [function for function in registered if function.app_id == app_id]
        if not found:
            raise NotFound(
                f"there is no app {app_id!r}", "no function is registered under it", "list them: GET /v2/apps"
            )
        return v2(self._clock, await self._views(found))

    async def function(self, request: Request) -> Response:
        found = await find_function(self._engine, request.path_params["function_id"])
        return v2(self._clock, await function_view(self._engine.store, found))

    async def invoke(self, request: Request) -> Response:
        app_id = name_of(request.path_params["app_id"], "the id of an app")
        name = name_of(request.path_params["function_id"], "the id of a function")
        asked = envelope(request.scope["headers"])
        event = nameless_event(self._engine, await read_body(asked.length, request.receive), key="idempotencyKey")
        composite = name if name.startswith(f"{app_id}-") else f"{app_id}-{name}"
        _, started = await self._engine.invoke(composite, event, seed=asked.seed)
        if isinstance(started, Outcome):
            if started.run_id is None:
                raise Refused(409, started.kind, f"{composite} was not started", started.reason)
            started = await find_run(self._engine, started.run_id)
        return v2(self._clock, {"runId": started.id, "queuedAt": rfc3339(started.queued_at)})

    async def _run(self, run_id: str) -> RunView:
        run = await find_run(self._engine, run_id)
        read = self._engine.store.read
        return run_view(
            run,
            await read(GetEvent(run.event_id, run.shard)),
            await read(GetMetadata(run.id, run.shard)),
        )

    async def _registered(self, query: Query) -> list[StoredFunction]:
        archived = query.get("archived", "").lower() in ("1", "true")
        functions = await self._engine.store.read(ListFunctions(archived=archived))
        return sorted(functions, key=lambda function: function.id)

    async def _views(self, functions: list[StoredFunction]) -> list[Any]:
        return [await function_view(self._engine.store, function) for function in functions]

    def _situation(self) -> Situation:
        engine = self._engine
        return Situation(
            now=self._clock.now_ms(),
            led=self._led,
            draining=engine.stopping,
            calls=len(engine.caller.live),
            calls_max=engine.calls_max,
            bodies=engine.executing,
        )
