"""What people do about a run that waits for somebody: send the event or the signal that it waits for."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from stepwell.dashboard.action import Action, Done, Field, Form, Given, Kind
from stepwell.dashboard.actions.steps import find_step
from stepwell.dashboard.json_text import indented
from stepwell.dashboard.operations import Operations
from stepwell.dashboard.page import Missing, Visit
from stepwell.model.questions import GetStep, GetWaits
from stepwell.model.run import Run
from stepwell.model.step import Step
from stepwell.model.wait import Wait, WaitKind, signal_of

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder().decode
_EVENT: Final = dict[str, Any] | list[dict[str, Any]]


async def _find_wait(visit: Visit) -> tuple[Run, Step, Wait]:
    run, step = await find_step(visit)
    waits = await visit.source.reader.read(GetWaits(run.id))
    wait = next((each for each in waits if each.id == step.id and each.kind != WaitKind.CANCEL), None)
    if wait is None:
        raise Missing("Nothing is waited for", "It came, the time is over, or the run has ended.")
    return run, step, wait


async def _ask(visit: Visit) -> Form:
    run, step, wait = await _find_wait(visit)
    if wait.kind == WaitKind.SIGNAL:
        name = signal_of(wait)
        data = Field(name="data", label="Data", kind=Kind.JSON, value="null", rows=6, help="Any JSON value.")
        says, fields, verb = [f"The run goes on as if somebody had sent the signal {name}."], [data], "Send the signal"
    else:
        nothing: dict[str, Any] = {}
        event: dict[str, Any] = {"name": wait.event_name, "data": nothing, **_demanded(wait)}
        typed = Field(name="events", label="Event", kind=Kind.JSON, value=indented(_encode(event)), required=True)
        says = ["It is sent like any other event: whatever else listens to it hears of it, too."]
        if wait.condition is not None:
            says.insert(0, f"This run goes on if {wait.condition}, where async is the event.")
        fields, verb = [typed], "Send the event"
    return Form(title=f"Answer the wait {step.name}", says=says, verb=verb, back=f"/runs/{run.id}", fields=fields)


def _demanded(wait: Wait) -> dict[str, Any]:
    """What an event has to have at least, as far as that is one equality."""
    kind, _, text = wait.value.partition(":")
    if not wait.path or not kind:
        return {}
    value: Any = text if kind == "s" else _decode(text)
    found: dict[str, Any] = {}
    inner = found
    *above, last = wait.path.split(".")
    for name in above:
        inner = inner.setdefault(name, {})
    inner[last] = value
    return found


async def _act(operations: Operations, visit: Visit, given: Given) -> Done:
    run, step, wait = await _find_wait(visit)
    address = f"/runs/{run.id}"
    if wait.kind == WaitKind.SIGNAL:
        data = given.json("data")
        given.check()
        await operations.signal(signal_of(wait), data or b"null")
        return Done(text="The run has its signal.", address=address, word="The run")
    events = given.json("events", _EVENT, "an event, or an array of events")
    given.text("events", required=True, chars_max=len(events or b""))
    given.check()
    (first, *_) = await operations.send(events or b"", given.seed)
    now = await visit.source.reader.read(GetStep(run.id, step.id))
    if now is not None and now.open:
        text = "The event was sent. The run still waits: it was not the one that it waits for."
        return Done(text=text, address=f"/events/{first}", word="The event")
    return Done(text="The run has its event.", address=address, word="The run")


async def _ask_signal(visit: Visit) -> Form:
    return Form(
        title="Send a signal",
        says=["The one run that waits for it goes on. A signal is not kept: nobody gets it later."],
        verb="Send",
        back="/runs",
        fields=[
            Field(name="signal", label="Signal", value=visit.query.get("signal", ""), required=True),
            Field(name="data", label="Data", kind=Kind.JSON, value="null", rows=6, help="Any JSON value."),
        ],
    )


async def _signal(operations: Operations, visit: Visit, given: Given) -> Done:
    name, data = given.text("signal", required=True), given.json("data")
    given.check()
    run_id = await operations.signal(name, data or b"null")
    return Done(text=f"The signal {name} reached a run.", address=f"/runs/{run_id}", word="The run")


ANSWER: Final = Action(name="answer-wait", path="/runs/{run_id}/steps/{step_id}/answer", ask=_ask, act=_act)
SIGNAL: Final = Action(name="send-signal", path="/runs/signal", ask=_ask_signal, act=_signal)
