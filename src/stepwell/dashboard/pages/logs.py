"""``/runs/{run_id}/logs``: what the code of a run has logged: of a step, from a level on, with a text in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from stepwell.dashboard.log_rows import Log, log_of
from stepwell.dashboard.page import Page, Shown, Visit, address
from stepwell.dashboard.pages.run import find_run, run_name
from stepwell.model.log import Logged
from stepwell.model.questions import GetLogs, GetSteps
from stepwell.model.run import Run
from stepwell.model.step import Step
from stepwell.views.logs import LEVELS, step_names

_ROWS: Final = 500
OWN: Final = "-"  # no step: the function's own code


class LogsPage(NamedTuple):
    """The lines and what they were asked for. ``steps`` are those that have logged something, by id, in their order;
    ``own`` is whether the code between them has. ``rest`` is where all of it is, if not all is on the page."""

    run: Run
    name: str
    log: Log
    levels: Sequence[str]
    steps: dict[str, str]
    own: str
    level: str
    step: str
    text: str
    filtered: bool
    rest: str


async def show(visit: Visit) -> Shown:
    reader, query = visit.source.reader, visit.query
    run = await find_run(visit)
    logged: list[Logged] = await reader.read(GetLogs(run.id))
    steps: list[Step] = await reader.read(GetSteps(run.id))
    level = query.get("level", "") if query.get("level", "") in LEVELS else ""
    step, text = query.get("step", ""), query.get("q", "").strip()
    log = log_of(
        run,
        logged,
        steps,
        _ROWS,
        bodies=visit.source.situation().bodies(run.id),
        level=level,
        step=("" if step == OWN else step) if step else None,
        text=text,
    )
    heard = {each.step_id for each in logged}
    said = {"level": level, "step": step, "q": text}
    view = LogsPage(
        run=run,
        name=run_name(visit, run),
        log=log,
        levels=tuple(LEVELS),
        steps={id: name for id, name in step_names(logged, steps).items() if id in heard},
        own=OWN,
        level=level,
        step=step,
        text=text,
        filtered=any(said.values()),
        rest=f"stepwell logs {run.id}",
    )
    here = address(visit.address, said)
    return Shown(title=f"Logs · {view.name}", view=view, topics=(f"run:{run.id}",), address=here)


PAGE: Final = Page(path="/runs/{run_id}/logs", show=show, section="runs", template="logs.html", parts=("results",))
