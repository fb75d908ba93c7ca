"""``/functions``: what is registered: what starts each function, how its last runs went, who holds it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from stepwell.dashboard.lately import Lately, lately
from stepwell.dashboard.page import Page, Shown, Visit, address
from stepwell.engine.registry import Registry, cron_triggers
from stepwell.model.function import Function
from stepwell.model.questions import ListRuns
from stepwell.model.run import Run
from stepwell.model.trigger import CronTrigger, EventTrigger
from stepwell.views.nouns import Reader
from stepwell.views.queues.controls import NAMES

_ROWS: Final = 40  # each costs a question, for its last runs
_LAST: Final = 20


class Row(NamedTuple):
    """A function. ``tick`` is the next moment of its schedules; ``departed`` whether nothing starts it any more."""

    function: Function
    name: str
    events: Sequence[EventTrigger]
    crons: Sequence[CronTrigger]
    controls: Sequence[str]
    tick: int | None
    departed: bool


class Listed(NamedTuple):
    """A function with its last runs, the oldest first."""

    row: Row
    strip: Sequence[Run]
    lately: Lately


class FunctionsView(NamedTuple):
    """The list and what it was asked for. ``more`` is where it goes on, ``left`` how many there are beyond it."""

    rows: Sequence[Listed]
    apps: Sequence[str]
    q: str
    app: str
    first: bool
    filtered: bool
    more: str | None
    left: int


async def show(visit: Visit) -> Shown:
    reader, registry = visit.source.reader, visit.source.registry()
    q, app, after = visit.query.get("q", "").strip(), visit.query.get("app", ""), visit.query.get("after", "")
    known = (*registry.functions.values(), *registry.departed.values())
    found = [
        function
        for function in sorted(known, key=lambda each: _place(registry, each.id))
        if (not app or function.app_id == app) and q.lower() in f"{function.id} {function.name}".lower()
    ]
    left = [each for each in found if _place(registry, each.id) > _place(registry, after)] if after else found
    shown = left[:_ROWS]
    said = {"q": q, "app": app}
    view = FunctionsView(
        rows=[await _listed(reader, registry, function, visit.now) for function in shown],
        apps=sorted({function.app_id for function in known}),
        q=q,
        app=app,
        first=not after,
        filtered=any(said.values()),
        more=address(visit.address, {**said, "after": shown[-1].id}) if len(left) > _ROWS else None,
        left=len(left) - len(shown),
    )
    return Shown(title="Functions", view=view, topics=("functions", "runs"), address=address(visit.address, said))


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


def _place(registry: Registry, function_id: str) -> tuple[bool, str]:
    """In the list: those that nothing starts any more are at its end."""
    return function_id in registry.departed and function_id not in registry.functions, function_id


async def _listed(reader: Reader, registry: Registry, function: Function, now: int) -> Listed:
    last: list[Run] = await reader.read(ListRuns(_LAST, function_id=function.id))
    departed, _ = _place(registry, function.id)
    return Listed(row(function, now, departed=departed), last[::-1], lately(last, now, _LAST))


PAGE: Final = Page(path="/functions", show=show, section="functions", template="functions.html", parts=("results",))
