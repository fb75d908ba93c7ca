"""What an event led to, as it is drawn."""

from __future__ import annotations

from typing import Any

import msgspec

from stepwell.dashboard.flow import event_flow
from stepwell.dashboard.graph import Graph
from stepwell.engine.registry import Registry
from stepwell.ids import ulid
from stepwell.limits import FLOW_NODES_MAX
from stepwell.model.event import Event
from stepwell.model.questions import GetEvent, GetRun, RunsOfEvent, StepsOfKinds
from stepwell.model.run import Run
from stepwell.model.step import Step


class Store:
    """Events start runs, whose steps send events and invoke runs, as ``leads`` says: by the names of both."""

    def __init__(self, **leads: list[str]) -> None:
        self.names = sorted({*leads, *(each for found in leads.values() for each in found)})
        self.ids = {name: ulid(number, number) for number, name in enumerate(self.names)}
        self.leads = leads
        self.asked = 0

    def name(self, id: str) -> str:
        return next(name for name, each in self.ids.items() if each == id)

    def event(self, name: str, sent_by: str | None = None) -> Event:
        sender = None if sent_by is None else self.ids[sent_by]
        return Event(id=self.ids[name], name=name, ts=0, received_at=0, sent_by=sender)

    def run(self, name: str) -> Run:
        id = self.ids[name]
        return Run(id=id, function_id=name, event_id=id, queued_at=0, scheduled_at=0, status="RUNNING")

    def step(self, run_id: str, number: int, name: str) -> Step:
        id = self.ids[name]
        sends = name.startswith("event")
        return Step(
            run_id=run_id,
            id=str(number),
            name="",
            kind="sendEvent" if sends else "invoke",
            status="COMPLETED",
            ended_at=1,
            output=msgspec.json.encode([id]) if sends else b"1",
            details=None if sends else msgspec.json.encode({"run_id": id}),
        )

    async def read(self, question: Any) -> Any:
        self.asked += 1
        if isinstance(question, GetEvent):
            return self.event(self.name(question.event_id))
        if isinstance(question, GetRun):
            return self.run(self.name(question.run_id))
        if isinstance(question, RunsOfEvent):
            return [self.run(name) for name in self.leads.get(self.name(question.event_id), ())]
        assert isinstance(question, StepsOfKinds)
        led = self.leads.get(self.name(question.run_id), ())
        return [self.step(question.run_id, number, name) for number, name in enumerate(led)]


async def flow(store: Store, event: Event) -> Graph:
    return await event_flow(store, Registry(), event, 10)


def drawn(graph: Graph) -> set[tuple[str, str]]:
    names = {node.id: node.name for node in graph.nodes}
    return {(names[a], names[b]) for a, b in graph.edges}


async def test_events_lead_to_runs_and_runs_to_events_and_runs():
    store = Store(
        event1=["run_a", "run_b"], run_a=["event2", "run_c"], event2=["run_d"], run_b=["event2"], run_z=["event1"]
    )

    graph = await flow(store, store.event("event1", sent_by="run_z"))

    assert drawn(graph) == {
        ("run_z", "event1"),
        ("event1", "run_a"),
        ("event1", "run_b"),
        ("run_a", "event2"),
        ("run_a", "run_c"),
        ("run_b", "event2"),
        ("event2", "run_d"),
    }
    assert graph.left_out == 0


async def test_what_starts_itself_again_ends():
    store = Store(event1=["run_a"], run_a=["event1"])

    assert drawn(await flow(store, store.event("event1"))) == {("event1", "run_a"), ("run_a", "event1")}


async def test_of_much_so_much_is_drawn_and_read_and_the_rest_is_counted():
    many = [f"event_{number:03}" for number in range(200)]
    store = Store(event1=["run_a"], run_a=many, **{name: [f"run_{name}"] for name in many})

    graph = await flow(store, store.event("event1"))

    assert len(graph.nodes) == FLOW_NODES_MAX
    assert graph.left_out >= 200 - FLOW_NODES_MAX
    assert store.asked < 4 * FLOW_NODES_MAX
