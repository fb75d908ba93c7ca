"""What both versions of the REST API ask of an engine: one place that finds things or says that they are not there."""

from __future__ import annotations

from typing import Any, Final

from stepwell.errors import NotFound
from stepwell.model.event import Event
from stepwell.model.questions import GetEvent, GetRun, ListEvents, ListFunctions, StoredFunction
from stepwell.model.run import Run
from stepwell.runtime.engine import Engine
from stepwell.server.parameters import CURSOR, LIMIT, STATUS, Parameter, flag, moment, named, text
from stepwell.server.replies import name_of, ulid_of
from stepwell.views.search import Found, Wanted, search
from stepwell.views.why import Situation, nearest

Query = dict[str, Any]

_OF_FUNCTION: Final = "only runs of this function, by its full id, or the one in the code if only one app has it"
RUNS_QUERY: Final = (
    LIMIT,
    CURSOR,
    STATUS,
    named("functionId", "the id of a function", _OF_FUNCTION),
    named("function", "the id of a function", "the same as functionId"),
)


def events_query(after: str, before: str) -> tuple[Parameter, ...]:
    """The parameters of a list of events. The two moments have other names in each version of the API."""
    return (
        LIMIT,
        CURSOR,
        text("name", "only events of this name"),
        moment(after, "only events received at this moment or later"),
        moment(before, "only events received before this moment"),
        flag("internal", "also those that the server itself makes"),
    )


async def find_run(engine: Engine, run_id: str) -> Run:
    """Raises ``NotFound``, or ``Refused`` if this is no run id."""
    run = await engine.store.read(GetRun(ulid_of(run_id, "a run")))
    if run is None:
        raise NotFound(
            f"there is no run {run_id}", "it was never there, or retention has removed it", "list them: stepwell runs"
        )
    return run


async def find_event(engine: Engine, event_id: str) -> Event:
    """Raises ``NotFound``, or ``Refused`` if this is no internal event id."""
    event = await engine.store.read(GetEvent(ulid_of(event_id, "an event")))
    if event is None:
        raise NotFound(
            f"there is no event {event_id}",
            "it was never there, or retention has removed it",
            "list them: stepwell events",
        )
    return event


async def find_function(engine: Engine, name: str) -> StoredFunction:
    """A function, archived ones included, by its full id, or by the id its code gives it if only one app has that.

    Raises ``NotFound``, or ``Refused`` if this can be no id.
    """
    name_of(name, "the id of a function")
    functions = {function.id: function for function in await engine.store.read(ListFunctions(archived=True))}
    if name in functions:
        return functions[name]
    found = sorted(function.id for function in functions.values() if function.id == f"{function.app_id}-{name}")
    if len(found) == 1:
        return functions[found[0]]
    if found:
        raise NotFound(
            f"{len(found)} apps have a function {name!r}", f"they are {', '.join(found)}", "use one of these full ids"
        )
    own = {function.id.removeprefix(f"{function.app_id}-"): function.id for function in functions.values()}
    near = nearest(name, functions) or [own[each] for each in nearest(name, own)]
    meant = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    raise NotFound(
        f"there is no function {name!r}",
        "a function is named by the id its code gives it, or by that after its app's id and a dash",
        f"{meant}list them: stepwell functions",
    )


async def list_runs(engine: Engine, query: Query) -> Found:
    """The page of runs that is asked for. It may have fewer than it could: what no index has is looked for in so many
    at once, and then there is more."""
    function = query["functionId"] or query["function"]
    function_id = (await find_function(engine, function)).id if function else None
    wanted = Wanted(status=query["status"], function_id=function_id)
    return await search(engine.store, wanted, before=query["cursor"], limit=query["limit"])


async def list_events(
    engine: Engine, query: Query, *, after: str = "receivedAfter", before: str = "receivedBefore"
) -> tuple[list[Event], int, bool]:
    """The page of events that is asked for, its limit, and whether there are more."""
    limit: int = query["limit"]
    question = ListEvents(
        limit + 1,
        before=query["cursor"],
        name=query["name"],
        received_after=query[after],
        received_before=query[before],
        internal=query["internal"],
    )
    events = await engine.store.read(question)
    return events[:limit], limit, len(events) > limit


def situation(engine: Engine, *, led: bool) -> Situation:
    """What this process knows of itself. ``led`` tells whether any process runs what the database owes."""
    return Situation(
        now=engine.clock.now_ms(),
        led=led,
        draining=engine.stopping,
        calls=len(engine.caller.live),
        calls_max=engine.calls_max,
        bodies=engine.executing,
    )
