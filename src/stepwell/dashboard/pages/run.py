"""``/runs/{run_id}``: one run: how it is and why, its steps in time, what it was given and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from markupsafe import Markup

from stepwell.dashboard.linking import with_links
from stepwell.dashboard.log_rows import Log, log_of
from stepwell.dashboard.page import Missing, Page, Shown, Visit
from stepwell.dashboard.pages.function import version_address
from stepwell.ids import is_ulid
from stepwell.model.event import Event
from stepwell.model.log import Logged
from stepwell.model.metadata import Metadata
from stepwell.model.questions import GetEvent, GetLogs, GetMetadata, GetRun, GetSteps, HeldEvents, Reruns
from stepwell.model.run import Rerun, Run, RunStatus
from stepwell.model.step import Step
from stepwell.views.nouns import ErrorView, deferred_by, error_view
from stepwell.views.why import why_run
from stepwell.views.why.ended import first_user_frame
from stepwell.views.why.shapes import Frame

_EVENTS_SHOWN: Final = 20
_LINES_SHOWN: Final = 20
_LOOKS: Final = ("timeline", "list", "graph")


class Link(NamedTuple):
    """Another run, and what it is to this one."""

    what: str
    run_id: str


class RunView(NamedTuple):
    """A run with all that is on its page but its steps. ``why`` are sentences, the first of which says the state.
    ``version`` is the one that its function has now, and ``version_at`` where one sees what has changed since."""

    run: Run
    name: str
    app: str
    version: int
    version_at: str
    trigger: str
    known: bool
    event: Event | None
    events: Sequence[Event]
    error: ErrorView | None
    frame: Frame | None
    output: bytes | None
    why: Sequence[Markup]
    links: Sequence[Link]
    again: Rerun | None
    metadata: Sequence[Metadata]
    log: Log
    address: str
    look: str


async def find_run(visit: Visit) -> Run:
    """The run in the address. Raises ``Missing``."""
    run_id = visit.path["run_id"]
    run = await visit.source.reader.read(GetRun(run_id)) if is_ulid(run_id) else None
    if run is None:
        raise Missing("There is no such run")
    return run


def run_name(visit: Visit, run: Run) -> str:
    """The function of the run, as its app calls it."""
    function = visit.source.registry().of_run(run.function_id)
    return run.function_id if function is None else run.function_id.removeprefix(f"{function.app_id}-")


async def show(visit: Visit) -> Shown:
    reader, registry = visit.source.reader, visit.source.registry()
    run = await find_run(visit)
    event = await reader.read(GetEvent(run.event_id, run.place))
    situation = visit.source.situation()
    why = await why_run(reader, registry, run, situation)
    reruns: list[str] = await reader.read(Reruns(run.id))
    metadata: list[Metadata] = await reader.read(GetMetadata(run.id))
    logged: list[Logged] = await reader.read(GetLogs(run.id))
    steps: list[Step] = await reader.read(GetSteps(run.id)) if logged else []
    batch: list[Event] = await reader.read(HeldEvents(run.id)) if run.batch is not None else []
    function = registry.of_run(run.function_id)
    app = function.app_id if function is not None else ""
    failed = run.status == RunStatus.FAILED
    error = error_view(run.output) if failed and run.output is not None else None
    view = RunView(
        run=run,
        name=run_name(visit, run),
        app=app,
        version=run.function_version if function is None else function.version,
        version_at="" if function is None else version_address(function, run.function_version),
        trigger=run.cron or (event.name if event is not None else ""),
        known=function is not None,
        event=event,
        events=batch[:_EVENTS_SHOWN],
        error=error,
        frame=first_user_frame(error.stack) if error is not None else None,
        output=None if failed else run.output,
        why=[with_links(sentence) for sentence in _without_name(why.text, run)],
        links=_links(run, event, reruns),
        again=run.rerun,
        metadata=[each for each in metadata if not each.step_id],
        log=log_of(run, logged, steps, _LINES_SHOWN, bodies=situation.bodies(run.id)),
        address=visit.address,
        look=asked if (asked := visit.query.get("view", "")) in _LOOKS else _LOOKS[0],
    )
    return Shown(title=view.name, view=view, topics=(f"run:{run.id}",))


def _without_name(sentences: Sequence[str], run: Run) -> Sequence[str]:
    """What the heading says already is left out: the name, the id, and that a run which has not ended is as it is."""
    first, *others = sentences
    told = first.removeprefix(f"{run.function_id} {run.id} ")
    return [f"It {told}", *others] if run.ended or not others else others


def _links(run: Run, event: Event | None, reruns: Sequence[str]) -> list[Link]:
    found = [("Invoked by", run.parent), ("Runs again", run.original)]
    found += [("Sent its event", event.sent_by if event is not None else None)]
    found += [("Deferred by", deferred_by(event) if event is not None else None)]
    found += [("Run again as", each) for each in reruns]
    first: dict[str, str] = {}  # by id: who invokes a run has also sent its event
    for what, id in found:
        if id is not None and id != run.id:
            first.setdefault(id, what)
    return [Link(what, id) for id, what in first.items()]


PAGE: Final = Page(path="/runs/{run_id}", show=show, section="runs", template="run.html", parts=("summary", "detail"))
