"""``/crons``: all schedules: their next ticks, what became of the last one, and of those that were missed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from stepwell.dashboard.page import Page, Shown, Visit, address
from stepwell.views.crons import LastTick, Tick, Timetable, last_ticks, timetables

_ROWS: Final = 30  # each costs three questions, for what became of its last tick
_TICKS: Final = 10
_RULES: Final = {
    "latest": "makes up for the latest tick that it missed",
    "skip": "skips ticks that it missed",
    "all": "makes up for every tick that it missed",
}


class Row(NamedTuple):
    """One schedule. ``ticks`` are the next ones, none if the function has left; ``rule`` is what becomes of ticks that
    are missed."""

    table: Timetable
    name: str
    ticks: Sequence[Tick]
    last: LastTick | None
    departed: bool
    rule: str


class CronsView(NamedTuple):
    """A page of schedules, by function, out of ``total``. ``more`` is where they go on."""

    rows: Sequence[Row]
    total: int
    first: bool
    more: str | None


async def show(visit: Visit) -> Shown:
    registry = visit.source.registry()
    known = [(table, False) for table in timetables(registry)]
    known += [(table, True) for table in timetables(registry, departed=True)]
    given = visit.query.get("from", "")
    begin = min(int(given), len(known)) if given.isascii() and given.isdigit() and len(given) < 10 else 0
    shown = known[begin : begin + _ROWS]
    last = await last_ticks(visit.source.reader, [table for table, _ in shown], visit.now)
    end = begin + len(shown)
    view = CronsView(
        rows=[
            _row(table, each, visit.now, departed=departed) for (table, departed), each in zip(shown, last, strict=True)
        ],
        total=len(known),
        first=begin == 0,
        more=address(visit.address, {"from": str(end)}) if end < len(known) else None,
    )
    return Shown(title="Crons", view=view, topics=("functions", "runs"))


def _row(table: Timetable, last: LastTick | None, now: int, *, departed: bool) -> Row:
    function = table.function
    return Row(
        table=table,
        name=function.id.removeprefix(f"{function.app_id}-"),
        ticks=[] if departed else table.next_ticks(now, _TICKS),
        last=last,
        departed=departed,
        rule=_RULES.get(table.trigger.missed, table.trigger.missed),
    )


PAGE: Final = Page(path="/crons", show=show, section="crons", template="crons.html", parts=("results",))
