"""What people do about a function: invoke it, pause it, and let it go on."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

from stepwell.dashboard.action import Action, Choice, Done, Field, Form, Given, Kind
from stepwell.dashboard.actions.runs import editable
from stepwell.dashboard.operations import Operations
from stepwell.dashboard.page import Missing, Visit
from stepwell.limits import PAUSE_REASON_CHARS_MAX
from stepwell.model.function import Function
from stepwell.model.pause import PausedEvents, PausedRuns
from stepwell.model.questions import GetEvent, ListRuns
from stepwell.model.run import Run

EVENTS: Final = (
    Choice(value=PausedEvents.SKIP, word="Skip them", says="They start nothing, and say why; they can be replayed."),
    Choice(value=PausedEvents.HOLD, word="Hold them", says="Their runs are made, and wait until it is resumed."),
)
RUNS: Final = (
    Choice(value=PausedRuns.FINISH, word="Let them finish", says="They go on to their end."),
    Choice(value=PausedRuns.HOLD, word="Hold them", says="They wait, from their next rest on, until it is resumed."),
    Choice(value=PausedRuns.CANCEL, word="Cancel them", says="All that have not ended. That cannot be taken back."),
)
REASON: Final = Field(name="reason", label="Reason", help="For people who ask why. One line.")


def pause_fields() -> list[Field]:
    return [
        Field(name="events", label="New events, ticks", kind=Kind.CHOICE, choices=EVENTS, value=PausedEvents.SKIP),
        Field(name="runs", label="Runs that there are", kind=Kind.CHOICE, choices=RUNS, value=PausedRuns.FINISH),
        REASON,
    ]


def pause_given(given: Given) -> tuple[str, str, str]:
    """What becomes of events, and of runs, and why. Raises ``Wrong``."""
    events, runs = given.choice("events", list(PausedEvents)), given.choice("runs", list(PausedRuns))
    reason = given.text("reason", chars_max=PAUSE_REASON_CHARS_MAX)
    given.check()
    return events, runs, reason


def find_function(visit: Visit) -> Function:
    """The function in the address. Raises ``Missing``."""
    found = visit.source.registry().of_run(visit.path["function_id"])
    if found is None:
        raise Missing("There is no such function", "No app that is known has it, or has had it lately.")
    return found


def page_of(function_id: str) -> str:
    """The address of a function's page."""
    return f"/functions/{quote(function_id, safe='')}"


async def _ask_invoke(visit: Visit) -> Form:
    function = find_function(visit)
    return Form(
        title=f"Invoke {function.id}",
        says=["One run of it starts, whatever its triggers are. Its rules hold."],
        verb="Invoke",
        back=page_of(function.id),
        fields=[
            Field(
                name="data",
                label="Data",
                kind=Kind.JSON,
                value=await _last_data(visit, function) or "{}",
                help="A JSON object: event.data of the run. At first it is that of the last run.",
                rows=10,
            )
        ],
    )


async def _last_data(visit: Visit, function: Function) -> str | None:
    reader = visit.source.reader
    runs: list[Run] = await reader.read(ListRuns(1, function_id=function.id))
    event = await reader.read(GetEvent(runs[0].event_id, runs[0].place)) if runs else None
    return None if event is None or event.source == "cron" else editable(event.data)


async def _invoke(operations: Operations, visit: Visit, given: Given) -> Done:
    function = find_function(visit)
    data = given.json("data", dict[str, Any], "a JSON object")
    given.check()
    event_id, started = await operations.invoke(function.id, data or b"{}", given.seed)
    if isinstance(started, Run):
        return Done(text=f"{function.id} was invoked.", address=f"/runs/{started.id}", word="The run")
    return Done(text=f"No run was started: {started.reason}", address=f"/events/{event_id}", word="The event")


async def _ask_pause(visit: Visit) -> Form:
    function = find_function(visit)
    says = ["Until it is resumed:"]
    if function.pause is not None:
        says = ["It is paused already. What is chosen here holds from now on."]
    return Form(
        title=f"Pause {function.id}?",
        says=says,
        verb="Pause",
        back=page_of(function.id),
        fields=pause_fields(),
    )


async def _pause(operations: Operations, visit: Visit, given: Given) -> Done:
    function = find_function(visit)
    events, runs, reason = pause_given(given)
    await operations.pause(function.id, events=events, runs=runs, reason=reason)
    return Done(text=f"{function.id} is paused.", address=page_of(function.id), word="The function")


async def _ask_resume(visit: Visit) -> Form:
    function = find_function(visit)
    says = ["What waited for that goes on. What was skipped stays skipped: a replay starts it."]
    return Form(title=f"Resume {function.id}?", says=says, verb="Resume", back=page_of(function.id))


async def _resume(operations: Operations, visit: Visit, given: Given) -> Done:
    function = find_function(visit)
    resumed = await operations.resume(function.id)
    text = f"{function.id} goes on." if resumed else f"{function.id} had no pause of its own."
    return Done(text=text, address=page_of(function.id), word="The function")


INVOKE: Final = Action(name="invoke", path="/functions/{function_id}/invoke", ask=_ask_invoke, act=_invoke)
PAUSE: Final = Action(name="pause", path="/functions/{function_id}/pause", ask=_ask_pause, act=_pause)
RESUME: Final = Action(name="resume", path="/functions/{function_id}/resume", ask=_ask_resume, act=_resume)
