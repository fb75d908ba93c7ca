"""What an event led to: the runs that it started, the events that these sent, the runs that those started."""

from __future__ import annotations

from collections import deque
from typing import Final

from stepwell.dashboard.graph import Graph, Node
from stepwell.dashboard.states import state_of
from stepwell.dashboard.values import sent_by
from stepwell.engine.registry import Registry
from stepwell.limits import FLOW_NODES_MAX
from stepwell.model.event import Event
from stepwell.model.questions import GetEvent, GetRun, RunsOfEvent, StepsOfKinds
from stepwell.model.run import Run
from stepwell.model.step import DEFER
from stepwell.views.nouns import Reader
from stepwell.views.trace import child_run
from stepwell.views.wording import span

_KINDS: Final = ("sendEvent", "invoke", DEFER)
_STEPS_MAX: Final = 50  # of one run that are followed


async def event_flow(reader: Reader, registry: Registry, event: Event, now: int) -> Graph:
    """Whatever came before, one step back, and all that came after as far as it is drawn. Each run and event that is
    drawn costs a question or two; a run says itself what it sent, so what it sent outside of steps is not known."""
    return await _Flow(reader, registry, now).follow(event)


class _Flow:
    def __init__(self, reader: Reader, registry: Registry, now: int) -> None:
        self._reader, self._registry, self._now = reader, registry, now
        self._nodes: dict[str, Node] = {}
        self._edges: list[tuple[str, str]] = []
        self._open: deque[Event | Run] = deque()
        self._left_out: set[str] = set()

    async def follow(self, event: Event) -> Graph:
        self._add(event)
        sender = await self._reader.read(GetRun(event.sent_by)) if event.sent_by is not None else None
        if sender is not None:
            self._nodes[sender.id] = self._run(sender)
            self._edges.append((sender.id, event.id))
        while self._open:
            each = self._open.popleft()
            if isinstance(each, Run):
                await self._after_run(each)
            else:
                for run in await self._reader.read(RunsOfEvent(each.id)):
                    self._lead(each.id, run)
        return Graph(nodes=list(self._nodes.values()), edges=self._edges, left_out=len(self._left_out))

    async def _after_run(self, run: Run) -> None:
        for step in await self._reader.read(StepsOfKinds(run.id, _KINDS, _STEPS_MAX)):
            child = child_run(step)
            for id in sent_by(step) if child is None else (child,):
                if id in self._nodes:
                    self._edges.append((run.id, id))
                elif len(self._nodes) >= FLOW_NODES_MAX:
                    self._left_out.add(id)
                else:
                    await self._next(run.id, id, invoked=child is not None)

    async def _next(self, run_id: str, id: str, *, invoked: bool) -> None:
        if invoked:
            run = await self._reader.read(GetRun(id))
            if run is not None:
                self._lead(run_id, run)
            return
        event = await self._reader.read(GetEvent(id))
        if event is not None:
            self._lead(run_id, event)

    def _lead(self, before: str, after: Event | Run) -> None:
        if after.id not in self._nodes:
            if len(self._nodes) >= FLOW_NODES_MAX:
                self._left_out.add(after.id)
                return
            self._add(after)
        self._edges.append((before, after.id))

    def _add(self, each: Event | Run) -> None:
        self._nodes[each.id] = self._run(each) if isinstance(each, Run) else self._event(each)
        self._open.append(each)

    def _event(self, event: Event) -> Node:
        href = f"/events/{event.id}" if self._nodes else ""  # the first is the one whose page it is
        return Node(id=event.id, name=event.name, note="event", shape="events", href=href)

    def _run(self, run: Run) -> Node:
        look = state_of(run.status)
        function = self._registry.of_run(run.function_id)
        name = run.function_id if function is None else run.function_id.removeprefix(f"{function.app_id}-")
        begun = run.queued_at if run.started_at is None else run.started_at
        length = span(max(0, (self._now if run.ended_at is None else run.ended_at) - begun))
        note = f"run · {length}"
        return Node(
            id=run.id, name=name, note=note, tone=look.tone, shape=look.shape, word=look.word, href=f"/runs/{run.id}"
        )
