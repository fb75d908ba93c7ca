"""What people do about one run: cancel it, and start it again."""

from __future__ import annotations

from typing import Any, Final, cast

import msgspec

from stepwell.dashboard.action import Action, Done, Field, Form, Given, Kind
from stepwell.dashboard.json_text import indented
from stepwell.dashboard.operations import Operations
from stepwell.dashboard.page import Missing, Visit
from stepwell.dashboard.pages.run import find_run
from stepwell.limits import JSON_SHOWN_BYTES_MAX
from stepwell.model.questions import Children, GetEvent, GetSteps
from stepwell.model.run import Run
from stepwell.views.wording import count

OURS: Final = "_inngest"  # where an event came from and goes to, which no sender may say

_decode: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.Encoder().encode


async def _ask_cancel(visit: Visit) -> Form:
    run = await find_run(visit)
    if run.ended:
        raise Missing("There is nothing to cancel", f"The run has ended: it is {run.status.lower()}.")
    says = ["No further step of it begins, and the result of one that is running now is not kept."]
    return Form(
        title=f"Cancel this run of {run.function_id}?",
        says=[*says, *await _of_children(visit, run)],
        verb="Cancel the run",
        back=f"/runs/{run.id}",
        harm=True,
    )


async def _of_children(visit: Visit, run: Run) -> list[str]:
    """What becomes of the runs that it has invoked (semantics §5.5)."""
    reader = visit.source.reader
    children = await reader.read(Children(run.id))
    if not children:
        return []
    steps = {step.id: step for step in await reader.read(GetSteps(run.id))}
    ending = sum(
        b'"cancel_child":true' in (steps[each.parent_step].details or b"")
        for each in children
        if each.parent_step in steps
    )
    found: list[str] = []
    if ending:
        found.append(f"{count(ending, 'run')} that it invoked is cancelled with it, as its code says.")
    if len(children) > ending:
        found.append(f"{count(len(children) - ending, 'run')} that it invoked goes on.")
    return found


async def _cancel(operations: Operations, visit: Visit, given: Given) -> Done:
    run = await find_run(visit)
    cancelled = await operations.cancel(run.id)
    text = f"The run of {run.function_id} is cancelled." if cancelled else "The run had ended before."
    return Done(text=text, address=f"/runs/{run.id}", word="The run")


async def _ask_again(visit: Visit) -> Form:
    run = await find_run(visit)
    data = await _data(visit, run)
    says = ["A new run starts for the same event, with the code as it is now. This one stays as it is."]
    if run.batch:
        says.append(f"It gets the same {count(run.batch, 'event')}.")
    edited = Field(
        name="data",
        label="Data of its event",
        kind=Kind.JSON,
        value=data or "",
        help="Change them, and the new run gets an event of its own with these.",
        rows=10,
    )
    return Form(
        title=f"Run {run.function_id} again?",
        says=says,
        verb="Run it again",
        back=f"/runs/{run.id}",
        fields=[edited] if data is not None else [],
    )


async def _again(operations: Operations, visit: Visit, given: Given) -> Done:
    run = await find_run(visit)
    before = await _data(visit, run)
    data = given.json("data", dict[str, Any], "a JSON object") if before is not None else None
    given.check()
    if data is not None and before is not None and _decode(data) == _decode(before):
        data = None
    started = await operations.rerun(run.id, given.seed, data=data)
    return Done(text=f"{run.function_id} runs again.", address=f"/runs/{started.id}", word="The new run")


async def _data(visit: Visit, run: Run) -> str | None:
    """The data of its event as people may edit them; ``None`` if they cannot: there are several, or they are long."""
    event = await visit.source.reader.read(GetEvent(run.event_id, run.place)) if not run.batch else None
    return None if event is None else editable(event.data)


def editable(text: bytes) -> str | None:
    """JSON text without what no sender may say, ``None`` if there is too much of it for a form."""
    value: object = _decode(text)
    if isinstance(value, dict) and OURS in value:
        members = cast("dict[str, object]", value)
        text = _encode({name: each for name, each in members.items() if name != OURS})
    return indented(text) if len(text) <= JSON_SHOWN_BYTES_MAX else None


CANCEL: Final = Action(name="cancel-run", path="/runs/{run_id}/cancel", ask=_ask_cancel, act=_cancel)
AGAIN: Final = Action(name="rerun", path="/runs/{run_id}/rerun", ask=_ask_again, act=_again)
