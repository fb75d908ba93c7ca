"""What both versions of the REST API ask of an engine: one place that finds things or says that they are not there."""

from __future__ import annotations

from typing import Final

from stepwell.errors import NotFound
from stepwell.model.event import Event
from stepwell.model.questions import GetEvent, GetRun, ListEvents, ListFunctions, ListRuns, StoredFunction
from stepwell.model.run import Run, RunStatus
from stepwell.runtime.engine import Engine
from stepwell.server.replies import Refused, name_of, number_of, ulid_of
from stepwell.server.why import nearest
from stepwell.server.wording import parse_moment

PAGE_DEFAULT: Final = 20
PAGE_MAX: Final = 1_000
_ALIASES: Final = {"SCHEDULED": RunStatus.QUEUED}

Query = dict[str, str]


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


async def find_function(engine: Engine, text: str) -> StoredFunction:
    """A function, archived ones included, by its full id, or by the id its code gives it if only one app has that.

    Raises ``NotFound``, or ``Refused`` if this can be no id.
    """
    name_of(text, "the id of a function")
    functions = {function.id: function for function in await engine.store.read(ListFunctions(archived=True))}
    if text in functions:
        return functions[text]
    found = sorted(function.id for function in functions.values() if function.id == f"{function.app_id}-{text}")
    if len(found) == 1:
        return functions[found[0]]
    if found:
        raise NotFound(
            f"{len(found)} apps have a function {text!r}", f"they are {', '.join(found)}", "use one of these full ids"
        )
    own = {function.id.removeprefix(f"{function.app_id}-"): function.id for function in functions.values()}
    near = nearest(text, functions) or [own[name] for name in nearest(text, own)]
    meant = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    raise NotFound(
        f"there is no function {text!r}",
        "a function is named by the id its code gives it, or by that after its app's id and a dash",
        f"{meant}list them: stepwell functions",
    )


async def list_runs(engine: Engine, query: Query, *, outputs: bool = False) -> tuple[list[Run], int, bool]:
    """The page of runs that is asked for, its limit, and whether there are more."""
    limit = number_of(query.get("limit"), "limit", PAGE_DEFAULT, PAGE_MAX)
    function = query.get("functionId") or query.get("function")
    question = ListRuns(
        limit + 1,
        before=cursor_of(query),
        function_id=(await find_function(engine, function)).id if function else None,
        status=status_of(query.get("status")),
        output=outputs,
    )
    runs = await engine.store.read(question)
    return runs[:limit], limit, len(runs) > limit


async def list_events(
    engine: Engine, query: Query, *, after: str = "receivedAfter", before: str = "receivedBefore"
) -> tuple[list[Event], int, bool]:
    """The page of events that is asked for, its limit, and whether there are more."""
    limit = number_of(query.get("limit"), "limit", PAGE_DEFAULT, PAGE_MAX)
    question = ListEvents(
        limit + 1,
        before=cursor_of(query),
        name=query.get("name") or None,
        received_after=moment_of(query.get(after), after),
        received_before=moment_of(query.get(before), before),
        internal=query.get("internal", "").lower() in ("1", "true"),
    )
    events = await engine.store.read(question)
    return events[:limit], limit, len(events) > limit


def cursor_of(query: Query) -> str | None:
    cursor = query.get("cursor")
    return ulid_of(cursor, "a page") if cursor else None


def status_of(text: str | None) -> str | None:
    """A status in any spelling of the protocol."""
    if not text:
        return None
    status = _ALIASES.get(text.upper(), text.upper())
    if status not in RunStatus.__members__:
        why, fix = f"it is one of {', '.join(RunStatus)}", "use one of these, or leave it out for all"
        raise Refused(400, "invalid-parameter", f"there is no status {text[:80]!r}", why, fix)
    return status


def moment_of(text: str | None, what: str) -> int | None:
    if not text:
        return None
    try:
        return parse_moment(text)
    except (ValueError, OverflowError):
        why, fix = "it is a moment as RFC 3339 writes it", "write it like 2026-01-02T03:04:05Z, with + as %2B"
        raise Refused(400, "invalid-parameter", f"{what} is {text[:80]!r}", why, fix) from None
