"""``/runs/{run_id}/timeline``: the rows of the timeline of a run, for the module that draws them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from stepwell.dashboard.page import Data, Page, Visit
from stepwell.dashboard.pages.run import find_run
from stepwell.dashboard.timeline import Timeline, timeline
from stepwell.model.questions import Attempts, GetSteps
from stepwell.model.run import Run
from stepwell.protocol.messages import Executing

_encode: Final = msgspec.json.Encoder().encode


async def run_timeline(visit: Visit, run: Run) -> Timeline:
    """All steps of the run, as far as they are known now."""
    reader = visit.source.reader
    steps = await reader.read(GetSteps(run.id))
    attempts = await reader.read(Attempts(run.id))
    bodies: Mapping[str, Executing] = {} if run.ended else visit.source.situation().bodies(run.id)
    return timeline(run, steps, attempts, bodies, visit.now)


async def show(visit: Visit) -> Data:
    return Data(_encode(await run_timeline(visit, await find_run(visit))))


PAGE: Final = Page(path="/runs/{run_id}/timeline", show=show, section="runs")
