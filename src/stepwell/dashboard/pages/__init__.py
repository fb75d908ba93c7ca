"""The pages, in the order in which an address is looked for. To add one: a file here, its template, a row."""

from __future__ import annotations

from typing import Final

from stepwell.dashboard.page import Page
from stepwell.dashboard.pages import (
    about,
    apps,
    audit,
    compare,
    copied,
    crons,
    event,
    event_type,
    events,
    flow,
    function,
    functions,
    graph,
    order,
    overview,
    palette,
    payload,
    queue,
    run,
    runs,
    sessions,
    step,
    timeline,
    users,
)

PAGES: Final[tuple[Page, ...]] = (
    overview.PAGE,
    runs.PAGE,
    order.PAGE,
    run.PAGE,
    timeline.PAGE,
    graph.PAGE,
    compare.PAGE,
    compare.ASKED,
    copied.PAGE,
    payload.RUN,
    payload.STEP,
    payload.EVENT,
    flow.PAGE,
    step.PAGE,
    events.PAGE,
    event_type.PAGE,
    event.PAGE,
    functions.PAGE,
    function.PAGE,
    crons.PAGE,
    queue.PAGE,
    palette.PAGE,
    apps.PAGE,
    about.PAGE,
    users.PAGE,
    sessions.PAGE,
    audit.PAGE,
)
