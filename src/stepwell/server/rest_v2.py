"""REST v2: what people's tools and our own command line read (protocol §10.3)."""

from __future__ import annotations

from functools import partial
from typing import Final

import msgspec
from starlette.responses import Response

from stepwell.engine.again import FromStep
from stepwell.limits import EVENT_ID_BYTES_MAX
from stepwell.model.questions import Outcomes, RunsOfEvent
from stepwell.protocol.events import parse_events
from stepwell.runtime.engine import Engine
from stepwell.runtime.operator import rerun
from stepwell.server.desk import RUNS_QUERY, events_query, find_event, find_run, list_events, list_runs, situation
from stepwell.server.envelopes import Page, v2
from stepwell.server.operations import Asked, Opaque, Operation, Style
from stepwell.server.parameters import choice, flag, text
from stepwell.server.replies import Refused
from stepwell.views.logs import LEVELS, LogsView, logs_view
from stepwell.views.nouns import (
    EventView,
    ListedRun,
    OutcomeView,
    RunView,
    View,
    event_view,
    listed_run,
    outcome_view,
    run_view,
    whole_run,
)
from stepwell.views.trace import TraceView, trace_view
from stepwell.views.why import why_event, why_run
from stepwell.views.why.events import explain_event
from stepwell.views.why.shapes import EventWhy, HeldBack, RunWhy, StartedRun, Unstarted

_OUTPUTS: Final = choice("outputs", "`full` includes outputs over 16 KiB", "full")
_LEVEL: Final = choice("level", "only lines of this level, and worse", *LEVELS)
_EVENT: Final = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "data": {"type": ["object", "null"]},
        "id": {"type": "string"},
        "ts": {"type": "integer"},
        "user": {"type": ["object", "null"]},
        "v": {"type": "string"},
    },
}
EVENTS: Final = {"anyOf": [_EVENT, {"type": "array", "items": _EVENT}]}


class HealthView(View, frozen=True):
    """Whether due work moves, and with ``counts`` how much there is: null otherwise, because whoever asks every second
    is not to cost more with each run that waits."""

    healthy: bool
    why: str
    leads: bool
    calls_in_flight: int
    calls_max: int
    live_runs: int | None
    items: int | None
    blocked: int | None
    waits: int | None


class SentView(View, frozen=True):
    """The internal ids of events, in their order."""

    ids: list[str]


class CancelledView(View, frozen=True):
    """A run that is to be cancelled: false if it had ended."""

    cancelled: bool
    run: RunView


class From(View, frozen=True):
    """The step that a run begins with, by its name or the id in the trace. ``input`` are the arguments of its body in
    place of those that the code gives; for a request of the engine's it is one object, with members of it."""

    step_id: str
    input: list[msgspec.Raw] | None = None


class Again(View, frozen=True):
    """A request to run something again. A second one with the same key within 24 hours gets the run of the first.

    With ``fromStep`` it begins with a step, and the results of those before it are taken over, or are what ``outputs``
    say, by name or id. ``data`` are the data of its event in place of those that it had, ``merge`` a JSON merge patch.
    """

    idempotency_key: str | None = None
    from_step: From | None = None
    outputs: dict[str, msgspec.Raw] | None = None
    data: dict[str, msgspec.Raw] | None = None
    merge: dict[str, msgspec.Raw] | None = None


class CausedView(View, frozen=True):
    """What an event caused: runs, and why it started none of a function."""

    runs: list[RunView]
    outcomes: list[OutcomeView]


_encode: Final = msgspec.json.Encoder().encode


def _text(given: object) -> bytes | None:
    return None if given is None else _encode(given)


def _begin(asked: Again) -> FromStep | None:
    start = asked.from_step
    if start is None:
        if asked.outputs:
            why, fix = "they are those of steps before the one that the run begins with", "name that in fromStep"
            raise Refused(400, "invalid-body", "outputs are given without a step", why, fix)
        return None
    outputs = {name: bytes(output) for name, output in (asked.outputs or {}).items()}
    return FromStep(step=start.step_id, input=_text(start.input), outputs=outputs)


class WholeEventView(EventView, frozen=True, kw_only=True):
    """An event with what became of it for each function that it could have started: a run; an outcome, which says why
    there is none; a window in which it is ``held``; or a trigger whose condition is not true for it.
    """

    runs: list[StartedRun]
    outcomes: list[OutcomeView]
    held: list[HeldBack]
    unstarted: list[Unstarted]


class V2:
    """The endpoints of an engine. ``led`` tells whether any process runs what the database owes."""

    def __init__(self, engine: Engine, *, led: bool = True) -> None:
        self._engine = engine
        self._clock = engine.clock
        self._led = led

    def routes(self, prefix: str) -> list[Operation]:
        op = partial(Operation, style=Style.V2)
        run, event = f"{prefix}/runs/{{run_id}}", f"{prefix}/events/{{event_id}}"
        listed = events_query("receivedAfter", "receivedBefore")
        return [
            op(
                "GET",
                f"{prefix}/health",
                self.health,
                "whether due work moves",
                query=(flag("counts", "also how much is live, which costs a look at all of it"),),
                answer=HealthView,
            ),
            op(
                "GET",
                f"{prefix}/runs",
                self.runs,
                "runs, newest first",
                query=RUNS_QUERY,
                answer=list[ListedRun],
                paged=True,
                refuses=[404],
            ),
            op("GET", run, self.run, "a run with its output or error", answer=RunView),
            op(
                "GET",
                f"{run}/trace",
                self.trace,
                "the run as a tree: steps, attempts, waits, notes, invoked runs",
                query=(_OUTPUTS,),
                answer=TraceView,
            ),
            op(
                "GET",
                f"{run}/logs",
                self.logs,
                "[what its code has logged](#logs)",
                query=(_LEVEL, text("step", "only what was logged in the body of this step: its name, or its id")),
                answer=LogsView,
            ),
            op("GET", f"{run}/why", self.why_run, "[why](#why) it waits or failed", answer=RunWhy),
            op(
                "POST",
                f"{run}/cancel",
                self.cancel,
                "cancels it; `cancelled` is false if it had ended",
                body=Opaque(required=False),
                answer=CancelledView,
            ),
            op(
                "POST",
                f"{run}/rerun",
                self.rerun,
                "starts it again, perhaps [from a step](#rerun) or with other data; the new run",
                body=Again,
                answer=RunView,
                refuses=[429],
            ),
            op(
                "GET",
                f"{prefix}/events",
                self.events,
                "events, newest first",
                query=listed,
                answer=list[EventView],
                paged=True,
            ),
            op(
                "POST",
                f"{prefix}/events",
                self.send,
                "sends events as `/e/{key}` does",
                body=Opaque(schema=EVENTS),
                answer=SentView,
            ),
            op("GET", event, self.event, "an event, and what became of it for each function", answer=WholeEventView),
            op(
                "GET",
                f"{event}/runs",
                self.runs_of_event,
                "runs it started, and outcomes: why it started none of a function",
                answer=CausedView,
            ),
            op("GET", f"{event}/why", self.why_event, "[why](#why) it started something or did not", answer=EventWhy),
        ]

    async def health(self, asked: Asked) -> Response:
        health = await self._engine.health(count=asked.query["counts"])
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

    async def runs(self, asked: Asked) -> Response:
        found = await list_runs(self._engine, asked.query)
        page = Page(asked.query["limit"], found.after is not None, found.after)
        return v2(self._clock, [listed_run(run, found.names.get(run.event_id)) for run in found.runs], page=page)

    async def run(self, asked: Asked) -> Response:
        return v2(self._clock, await self._run(asked.path["run_id"]))

    async def trace(self, asked: Asked) -> Response:
        run = await find_run(self._engine, asked.path["run_id"])
        outputs = asked.query["outputs"] == "full"
        engine = self._engine
        trace = await trace_view(engine.store, run, engine.registry.get, bodies=engine.executing, outputs=outputs)
        return v2(self._clock, trace)

    async def logs(self, asked: Asked) -> Response:
        run = await find_run(self._engine, asked.path["run_id"])
        query = asked.query
        return v2(self._clock, await logs_view(self._engine.store, run, level=query["level"], step=query["step"]))

    async def why_run(self, asked: Asked) -> Response:
        run = await find_run(self._engine, asked.path["run_id"])
        return v2(
            self._clock,
            await why_run(self._engine.store, self._engine.registry, run, situation(self._engine, led=self._led)),
        )

    async def cancel(self, asked: Asked) -> Response:
        run = await find_run(self._engine, asked.path["run_id"])
        cancelled = await self._engine.cancel(run.id)
        return v2(self._clock, CancelledView(cancelled=cancelled, run=await self._run(run.id)))

    async def rerun(self, asked: Asked) -> Response:
        run = await find_run(self._engine, asked.path["run_id"])
        key: str | None = asked.body.idempotency_key
        if key is not None and len(key.encode()) > EVENT_ID_BYTES_MAX:
            why = f"the limit is {EVENT_ID_BYTES_MAX} bytes, as for the id of an event"
            raise Refused(400, "invalid-body", "the idempotencyKey is too long", why, "shorten it")
        started = await rerun(
            self._engine,
            run.id,
            key=key,
            from_step=_begin(asked.body),
            data=_text(asked.body.data),
            merge=_text(asked.body.merge),
        )
        return v2(self._clock, await whole_run(self._engine.store, started))

    async def events(self, asked: Asked) -> Response:
        events, limit, more = await list_events(self._engine, asked.query)
        page = Page(limit, more, events[-1].id if more else None)
        return v2(self._clock, [event_view(event) for event in events], page=page)

    async def send(self, asked: Asked) -> Response:
        events = parse_events(asked.body, bytes_max=self._engine.settings.event_bytes_max)
        return v2(self._clock, SentView(ids=await self._engine.send(events, seed=asked.seed)))

    async def event(self, asked: Asked) -> Response:
        event = await find_event(self._engine, asked.path["event_id"])
        became = await explain_event(self._engine.store, self._engine.registry, event)
        shown = WholeEventView(
            **msgspec.structs.asdict(event_view(event)),
            runs=became.runs,
            outcomes=became.outcomes,
            held=list(became.held),
            unstarted=became.unstarted,
        )
        return v2(self._clock, shown)

    async def runs_of_event(self, asked: Asked) -> Response:
        event = await find_event(self._engine, asked.path["event_id"])
        runs = await self._engine.store.read(RunsOfEvent(event.id))
        outcomes = await self._engine.store.read(Outcomes(event.id))
        repeated = {run.id: [each.id for each in runs if each.original == run.id] for run in runs}
        shown = CausedView(
            runs=[run_view(run, event, repeated[run.id]) for run in runs],
            outcomes=[outcome_view(outcome) for outcome in outcomes],
        )
        return v2(self._clock, shown)

    async def why_event(self, asked: Asked) -> Response:
        event = await find_event(self._engine, asked.path["event_id"])
        now = self._clock.now_ms()
        return v2(self._clock, await why_event(self._engine.store, self._engine.registry, event, now))

    async def _run(self, run_id: str) -> RunView:
        return await whole_run(self._engine.store, await find_run(self._engine, run_id))
