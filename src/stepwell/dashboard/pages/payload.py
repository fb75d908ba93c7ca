"""What a run or a step gave, or an event says, as it is: for the module that shows what is too long for a page."""

from __future__ import annotations

from typing import Final

from stepwell.dashboard.page import Data, Missing, Page, Visit
from stepwell.dashboard.pages.event import find_event
from stepwell.dashboard.pages.run import find_run
from stepwell.model.questions import GetStep

_NONE: Final = Missing("It has given nothing", "Or it has not ended yet.")


async def of_run(visit: Visit) -> Data:
    run = await find_run(visit)
    if run.output is None:
        raise _NONE
    return Data(run.output)


async def of_step(visit: Visit) -> Data:
    run = await find_run(visit)
    step = await visit.source.reader.read(GetStep(run.id, visit.path["step_id"]))
    if step is None or step.output is None:
        raise _NONE
    return Data(step.output)


async def of_event(visit: Visit) -> Data:
    return Data((await find_event(visit)).data)


RUN: Final = Page(path="/runs/{run_id}/output", show=of_run, section="runs")
STEP: Final = Page(path="/runs/{run_id}/steps/{step_id}/output", show=of_step, section="runs")
EVENT: Final = Page(path="/events/{event_id}/data", show=of_event, section="events")
