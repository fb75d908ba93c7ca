"""``/runs/{run_id}/timeline``: the rows of the timeline of a run, for the module that draws them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from stepwell.dashboard.page import Data, Page, Visit
from stepwell.dashboard.pages.run import find_run
from stepwell.dashboard.timeline import timeline
from stepwell.model.questions import Attempts, GetSteps
from stepwell.protocol.messages import Executing

_encode: Final = msgspec.json.Encoder().encode


async def show(visit: Visit) -> Data:
    reader = visit.source.reader
    run = await find_run(visit)
    steps = await reader.read(GetSteps(run.id))
    attempts = await reader.read(Attempts(run.id))
    bodies: Mapping[str, Executing] = {} if run.ended else visit.source.situation().bodies(run.id)
    return Data(_encode(timeline(run, steps, attempts, bodies, visit.now)))


PAGE: Final = Page(path="/runs/{run_id}/timeline", show=show, section="runs")
