"""Runs plans without a store: what they ask is answered from a dictionary, and what they decide is looked at."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

from stepwell.engine.draft import Draft, Moment
from stepwell.engine.leased import Leased
from stepwell.engine.registry import Registry
from stepwell.ids import ulid
from stepwell.model.changes import Decision, Plan
from stepwell.model.event import Event
from stepwell.model.function import Function
from stepwell.model.item import Lease
from stepwell.model.questions import GetEvent, GetRun, GetSteps, Loaded, LoadRuns, Question
from stepwell.model.run import Run, RunStatus
from stepwell.model.step import Step
from stepwell.model.trigger import EventTrigger

NOW = 1_700_000_000_000
LEASE_MS = 30_000

Answers = dict[type[Question[Any]], Any]

_NOTHING: dict[str, Any] = {
    "WaitPaths": [],
    "FindWaits": [],
    "DueItems": [],
    "Backlog": [],
    "Children": [],
    "GetSteps": [],
    "OpenSteps": [],
    "CountSlots": 0,
    "CountHeld": 0,
    "FindEvents": [],
    "ListFunctions": [],
    "FunctionItems": [],
    "ListStandingOrders": [],
    "Lock": True,
}


def decide(plan: Plan, answers: Answers | None = None) -> Decision:
    """Drive a plan. An answer may be a function of the question; what is not given is answered by "there is none"."""
    known = answers or {}
    answer: Any = None
    while True:
        try:
            question = plan.send(answer)
        except StopIteration as done:
            decision: Decision = done.value
            return decision
        if isinstance(question, LoadRuns) and LoadRuns not in known:
            answer = {run_id: found for run_id in question.run_ids if (found := _loaded(run_id, known)) is not None}
            continue
        found = known.get(type(question), _NOTHING.get(type(question).__name__))
        answer = found(question) if callable(found) else found


def _loaded(run_id: str, known: Answers) -> Loaded | None:
    """A run, its event and its steps from the answers to the questions about each."""

    def answer(question: Question[Any]) -> Any:
        found = known.get(type(question), _NOTHING.get(type(question).__name__))
        return found(question) if callable(found) else found

    run = answer(GetRun(run_id))
    return None if run is None else Loaded(run, answer(GetEvent(run.event_id)), answer(GetSteps(run_id)))


def draft(*functions: Function, room: int = 0, now: int = NOW, chance: float = 0.0, one_shard: bool = False) -> Draft:
    """A draft at ``now`` that knows these functions, in a process that has ``room`` for so many calls."""
    numbers = itertools.count(1)
    tokens = iter(range(1, room + 1))
    return Draft(
        Registry(functions),
        Moment(now, lambda place: ulid(now, next(numbers) << 10 | place), chance),
        take_lease=lambda _: next(tokens, None),
        until=now + LEASE_MS,
        one_shard=one_shard,
    )


def function(
    name: str = "bill", *, trigger: str | None = "shop/ordered", condition: str | None = None, **more: Any
) -> Function:
    triggers = (EventTrigger(trigger, condition),) if trigger else ()
    return Function(id=f"shop-{name}", app_id="shop", name=name, triggers=triggers, **more)


def event(name: str = "shop/ordered", data: bytes = b"{}", **more: Any) -> Event:
    return Event(id=more.pop("id", "e1"), name=name, ts=more.pop("ts", NOW), received_at=NOW, data=data, **more)


def run(**more: Any) -> Run:
    given: dict[str, Any] = {
        "id": "r1",
        "function_id": "shop-bill",
        "event_id": "e1",
        "queued_at": NOW,
        "scheduled_at": NOW,
        "status": RunStatus.RUNNING,
        "started_at": NOW,
    }
    return Run(**(given | more))


def leased(
    of: Run | None = None, *, fn: Function | None = None, steps: Iterable[Step] = (), attempt: int = 0
) -> Leased:
    of = of or run()
    return Leased(
        run=of,
        lease=Lease(of.id, 7),
        until=NOW + LEASE_MS,
        attempt=attempt,
        function=fn or function(),
        events=(event(),),
        steps={step.id: step for step in steps},
    )


def kinds(decision: Decision) -> list[str]:
    return [type(change).__name__ for change in decision.changes]


def only(decision: Decision, kind: type[Any]) -> Any:
    found = [change for change in decision.changes if isinstance(change, kind)]
    assert len(found) == 1, f"{len(found)} changes are {kind.__name__}: {kinds(decision)}"
    return found[0]


def answer_by(field: str, found: dict[str, Any]) -> Callable[[Any], Any]:
    """Answers by one field of the question."""
    return lambda question: found.get(getattr(question, field))
