"""``/functions``: what is registered: what starts each function, under which rules, and whether somebody holds it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from stepwell.dashboard.page import Page, Shown, Visit
from stepwell.engine.registry import cron_triggers
from stepwell.model.function import Function
from stepwell.model.trigger import CronTrigger, EventTrigger
from stepwell.views.queues.controls import NAMES

_ROWS_MAX: Final = 500


class Row(NamedTuple):
    """A function. ``tick`` is the next moment of its schedules; ``departed`` whether nothing starts it any more."""

    function: Function
    name: str
    events: Sequence[EventTrigger]
    crons: Sequence[CronTrigger]
    controls: Sequence[str]
    tick: int | None
    departed: bool


class FunctionsView(NamedTuple):
    """The list and what it was asked for; ``more`` is how many there are beyond it."""

    rows: Sequence[Row]
    apps: Sequence[str]
    q: str
    app: str
    filtered: bool
    more: int
    first: bool = True


async def show(visit: Visit) -> Shown:
    registry = visit.source.registry()
    q, app = visit.query.get("q", "").strip(), visit.query.get("app", "")
    known = [(each, False) for each in registry.functions.values()]
    known += [(each, True) for each in registry.departed.values()]
    found = [
        (function, departed)
        for function, departed in sorted(known, key=lambda each: (each[1], each[0].id))
        if (not app or function.app_id == app) and q.lower() in f"{function.id} {function.name}".lower()
    ]
    view = FunctionsView(
        rows=[row(function, visit.now, departed=departed) for function, departed in found[:_ROWS_MAX]],
        apps=sorted({function.app_id for function, _ in known}),
        q=q,
        app=app,
        filtered=bool(q or app),
        more=max(0, len(found) - _ROWS_MAX),
    )
    return Shown(title="Functions", view=view, topics=("functions",))


def row(function: Function, now: int, *, departed: bool) -> Row:
    """A function with what is said of it in lists."""
    ticks = [schedule.next_after(now) for _, schedule in cron_triggers(function).values()]
    return Row(
        function=function,
        name=function.id.removeprefix(f"{function.app_id}-"),
        events=[each for each in function.triggers if isinstance(each, EventTrigger)],
        crons=[each for each in function.triggers if isinstance(each, CronTrigger)],
        controls=[NAMES[type(each)] for each in function.controls],
        tick=None if departed else min((tick for tick in ticks if tick is not None), default=None),
        departed=departed,
    )


PAGE: Final = Page(path="/functions", show=show, section="functions", template="functions.html", parts=("results",))
