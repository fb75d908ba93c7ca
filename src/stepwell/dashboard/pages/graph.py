"""``/runs/{run_id}/graph``: the steps of a run and what comes after what, for the module that draws them."""

from __future__ import annotations

from typing import Final

import msgspec

from stepwell.dashboard.graph import step_graph
from stepwell.dashboard.page import Data, Page, Visit
from stepwell.dashboard.pages.run import find_run
from stepwell.dashboard.pages.timeline import run_timeline
from stepwell.model.questions import GetEvent

_encode: Final = msgspec.json.Encoder().encode


async def show(visit: Visit) -> Data:
    run = await find_run(visit)
    timeline = await run_timeline(visit, run)
    event = await visit.source.reader.read(GetEvent(run.event_id, run.place))
    trigger = run.cron or (event.name if event is not None else "")
    return Data(_encode(step_graph(timeline, trigger, f"/events/{run.event_id}")))


PAGE: Final = Page(path="/runs/{run_id}/graph", show=show, section="runs")
