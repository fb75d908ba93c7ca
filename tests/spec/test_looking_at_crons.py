"""What people are shown of schedules: the next ticks, what became of the last one, and of those that were missed."""

from __future__ import annotations

from typing import Any

from stepwell import Stepwell, TriggerCron
from stepwell.clock import to_ms
from stepwell.testing import Harness, harness
from stepwell.views.crons import RUNS_LOOKED, LastTick, Timetable, last_ticks, next_of_all, timetables

HOUR = 3_600_000


class Counting:
    """A store that remembers what it was asked."""

    def __init__(self, t: Harness) -> None:
        self._store = t.engine.store
        self.asked: list[str] = []

    async def read(self, question: Any) -> Any:
        self.asked.append(type(question).__name__)
        return await self._store.read(question)


def tables(t: Harness) -> list[Timetable]:
    return list(timetables(t.engine.registry))


def last(t: Harness, *, later: int = 0) -> list[LastTick | None]:
    return t._do(lambda: last_ticks(t.engine.store, tables(t), to_ms(t.now) + later))


def asked(t: Harness) -> list[str]:
    reader = Counting(t)
    t._do(lambda: last_ticks(reader, tables(t), to_ms(t.now)))
    return reader.asked


def report(app: Stepwell, *triggers: Any, id: str = "report") -> Any:
    @app.create_function(id=id, trigger=list(triggers))
    async def report(ctx):
        return None

    return report


def test_the_next_ticks_are_told_by_the_clock_of_their_zone(app) -> None:
    report(app, TriggerCron("0 9 * * 1", tz="Europe/Paris"))

    with harness(app, start="2026-03-20T00:00:00Z") as t:
        (table,) = tables(t)

        assert (table.zone, table.fields) == ("Europe/Paris", "0 9 * * 1")
        found = table.next_ticks(to_ms(t.now), 2)
        # Paris puts its clocks forward on 29 March.
        assert [(tick.at, tick.local) for tick in found] == [
            (1_774_252_800_000, "Mon 23 Mar 09:00"),
            (1_774_854_000_000, "Mon 30 Mar 09:00"),
        ]


def test_a_tick_is_shown_for_the_moment_at_which_it_fires(app) -> None:
    report(app, TriggerCron("0 * * * *", jitter="5m"))

    with harness(app, start="2026-01-01T00:30:00Z") as t:
        (table,) = tables(t)
        first, second = table.next_ticks(to_ms(t.now), 2)
        t.advance(first.at - to_ms(t.now) - 1)
        assert t.runs() == []
        assert table.next_ticks(to_ms(t.now), 1) == [first]
        t.advance(1)

        assert len(t.runs()) == 1
        assert table.next_ticks(to_ms(t.now), 1) == [second]


def test_the_next_ticks_of_all_are_the_soonest_of_each(app) -> None:
    report(app, TriggerCron("0 3 * * *"), id="nightly")
    report(app, TriggerCron("*/15 * * * *"), TriggerCron("5 0 * * *"), id="often")

    with harness(app) as t:
        found = next_of_all(t.engine.registry, to_ms(t.now), 2)

        assert [(tick.local, table.function.id) for tick, table in found] == [
            ("Thu 01 Jan 00:05", "shop-often"),
            ("Thu 01 Jan 00:15", "shop-often"),
        ]


def test_the_last_tick_is_that_of_the_schedule_and_no_rerun_of_it(app) -> None:
    report(app, TriggerCron("0 * * * *"), TriggerCron("30 * * * *"), "report/wanted")

    with harness(app) as t:
        assert last(t) == [None, None]
        t.advance("100m")
        _, hourly, half = t.runs()
        t.rerun(half)
        t.send("report/wanted")

        assert [(tick.run.id, tick.late, tick.missed) for tick in last(t) if tick and tick.run] == [
            (hourly.id, 0, ""),
            (half.id, 0, ""),
        ]


def test_a_tick_that_is_behind_many_runs_of_events_is_found(app) -> None:
    report(app, TriggerCron("0 * * * *"), "report/wanted")

    with harness(app) as t:
        t.advance("1h")
        (ticked,) = t.runs()
        for _ in range(RUNS_LOOKED):
            t.send("report/wanted")
        (found,) = last(t)

        assert found is not None and found.run is not None
        assert found.run.id == ticked.id


def test_ticks_that_were_missed_are_told_with_what_was_done_about_them(app) -> None:
    report(app, TriggerCron("0 * * * *"))

    with harness(app) as t:
        t.advance("1h")
        t.crash(down="3h30m")
        t.run_until_idle()
        (found,) = last(t)

        assert found is not None and found.run is not None
        assert found.scheduled == to_ms(t.now) - HOUR // 2
        assert found.late == HOUR // 2
        assert "left out were 2 since 2026-01-01T02:00" in found.missed


def test_a_tick_that_was_skipped_says_why(app) -> None:
    report(app, TriggerCron("0 * * * *", missed="skip"))
    report(app, TriggerCron("0 * * * *"), id="other")

    with harness(app) as t:
        t.crash(down="90m")
        t.run_until_idle()
        other, mine = last(t)

        assert other is not None and other.run is not None
        assert mine is not None and mine.outcome is not None
        assert (mine.outcome.function_id, mine.outcome.kind) == ("shop-report", "missed")


def test_a_tick_of_a_paused_function_says_so(app) -> None:
    function = report(app, TriggerCron("0 * * * *"))

    with harness(app) as t:
        t.advance("1h")
        t.pause(function, reason="broken")
        t.advance("1h")
        ((found,), (table,)) = last(t), tables(t)

        assert table.held
        assert found is not None and found.outcome is not None
        assert found.outcome.kind == "paused"


def test_a_tick_that_nobody_starts_is_overdue(app) -> None:
    report(app, TriggerCron("0 * * * *"))

    with harness(app) as t:
        assert last(t, later=HOUR + 30_000) == [None]
        (found,) = last(t, later=HOUR + 90_000)

        assert found == LastTick(to_ms(t.now) + HOUR, due=True)


def test_what_is_looked_at_does_not_grow(app) -> None:
    report(app, TriggerCron("* * * * *"))

    with harness(app) as t:
        t.advance("2m")
        few = asked(t)
        t.advance("2h")

        assert asked(t) == few == ["ListRuns", "GetEvent", "Notes"]
