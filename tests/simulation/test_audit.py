"""The audit of a store finds each bug that is planted, and says nothing of what is right (I12 to I14, I19 to I23)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell import (
    BatchEvents,
    Debounce,
    Event,
    RateLimit,
    RunConcurrency,
    Singleton,
    Stepwell,
    Throttle,
    TriggerCron,
)
from stepwell.flow.verdicts import Accept
from stepwell.model import changes as c
from stepwell.model.schedule import Schedule
from stepwell.testing import Harness, harness
from stepwell.testing.audit import Interval, audit, audit_file, main, too_many_at_once, too_many_in_a_while
from stepwell.testing.tables import Tables
from tests.simulation.mutants import MUTANTS, MUTANTS_OF_RULES, Mutant, _writing


def rules(**options: Any) -> Stepwell:
    app = Stepwell("shop")

    @app.create_function(id="work", trigger=options.pop("trigger", "go"), **options)
    async def work(ctx: Any) -> None:
        await ctx.step.sleep("rest", "10s")

    return app


APPS: dict[str, Callable[[], Stepwell]] = {
    "throttle": lambda: rules(throttle=Throttle(2, "20s", key="event.data.k")),
    "rate limit": lambda: rules(rate_limit=RateLimit(1, "20s", key="event.data.k")),
    "idempotency": lambda: rules(idempotency="event.data.k"),
    "singleton": lambda: rules(singleton=Singleton("skip", key="event.data.k")),
    "debounce": lambda: rules(debounce=Debounce("10s", timeout="25s", key="event.data.k")),
    "batch": lambda: rules(batch_events=BatchEvents(3, "15s", key="event.data.k")),
    "places": lambda: rules(run_concurrency=RunConcurrency(1, key="event.data.k")),
    "cron": lambda: rules(trigger=TriggerCron("* * * * *", missed="all")),
}


def play(t: Harness) -> list[str]:
    """Things come and go. What the audit says of it, by its rules."""
    for number in range(24):
        data = {"n": number, "k": "ab"[number % 5 // 3]}
        t.send(Event("go", data, id=f"id{number % 9}", ts=int(t.now.timestamp() * 1000) - number % 2 * 5_000))
        t.advance((0, 1_000, 4_000, 9_000)[number % 4])
        if number % 10 == 7:
            t.crash(down=(number % 3) * 5_000)
    t.advance("3m")
    return [violation.rule for violation in audit(Tables(t.store).ask)]


@pytest.mark.parametrize("name", APPS)
def test_what_is_right_is_not_complained_of(name: str) -> None:
    with harness(APPS[name]()) as t:
        assert play(t) == []


def _early_windows(patch: pytest.MonkeyPatch) -> None:
    def early(change: Any) -> Any:
        if type(change) is c.Schedule and change.item.kind == "window" and change.item.at is not None:
            return c.Schedule(msgspec.structs.replace(change.item, at=change.item.at - 1_000))
        return change

    _writing(early)(patch)


def _no_idempotency(patch: pytest.MonkeyPatch) -> None:
    from stepwell.flow import Idempotency

    patch.setattr(Idempotency, "admit", lambda self, key, cell, run_id, now: Accept())


def _skipped_ticks(patch: pytest.MonkeyPatch) -> None:
    following = Schedule.next_after
    patch.setattr(Schedule, "next_after", lambda self, ms: following(self, ms + 90_000))


def _early_ticks(patch: pytest.MonkeyPatch) -> None:
    def early(change: Any) -> Any:
        if type(change) is c.SaveEvent and change.event.source == "cron":
            return c.SaveEvent(msgspec.structs.replace(change.event, received_at=change.event.received_at - 1))
        return change

    _writing(early)(patch)


def _twice(patch: pytest.MonkeyPatch) -> None:
    def same(change: Any) -> Any:
        if type(change) is c.SaveEvent and change.event.source == "cron":
            data = msgspec.json.decode(change.event.data) | {"scheduledAt": "2026-01-01T00:01:00.000Z"}
            return c.SaveEvent(msgspec.structs.replace(change.event, data=msgspec.json.encode(data)))
        return change

    _writing(same)(patch)


PLANTED: list[tuple[str, str, Mutant]] = [
    ("throttle", "I14", MUTANTS["throttles let everybody through"]),
    ("rate limit", "I14", MUTANTS["rate limits let everybody through"]),
    ("idempotency", "I19", _no_idempotency),
    ("throttle", "I19", MUTANTS["an event id is not remembered"]),
    ("singleton", "I22", MUTANTS["a second run starts beside the one there may be"]),
    ("debounce", "I20", MUTANTS["a debounce keeps the oldest"]),
    ("debounce", "I20", _early_windows),
    ("batch", "I21", MUTANTS["events of a batch are not kept"]),
    ("batch", "I21", _early_windows),
    ("batch", "I21", MUTANTS["a window is used again"]),
    ("places", "I12", MUTANTS_OF_RULES["places are given to everybody"]),
    ("places", "I13", MUTANTS["slots are not given back"]),
    ("cron", "I23", _early_ticks),
    ("cron", "I23", _twice),
]


@pytest.mark.parametrize(("app", "rule", "plant"), PLANTED)
def test_what_is_wrong_is_found(app: str, rule: str, plant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    made = APPS[app]()
    plant(monkeypatch)

    with harness(made) as t:
        assert rule in play(t)


def test_a_tick_that_never_came_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """I23: the engine goes by a wrong calendar, and the audit by the right one."""
    with harness(APPS["cron"]()) as t:
        with monkeypatch.context() as patch:
            _skipped_ticks(patch)
            t.advance("20m")
        found = [str(violation) for violation in audit(Tables(t.store).ask)]

    assert any("never came" in each for each in found)


def test_ticks_of_a_time_in_which_the_function_was_archived_are_not_missed() -> None:
    with harness(APPS["cron"]()) as t:
        t.advance("5m")
        t.archive("work")
        t.advance("20m")
        t.unarchive("work")
        t.advance("5m")

        assert len(t.runs("work")) == 10
        assert list(audit(Tables(t.store).ask)) == []


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 10)), max_size=12), st.integers(1, 4))
def test_the_sweep_counts_as_one_does_moment_by_moment(spans: list[tuple[int, int]], limit: int) -> None:
    intervals = [Interval(start, start + length) for start, length in spans]

    most = max((sum(each.start <= moment < each.end for each in intervals) for moment in range(41)), default=0)

    assert bool(list(too_many_at_once("I12", "", intervals, limit))) == (most > limit)


@given(
    st.lists(st.integers(0, 5_000), max_size=12), st.integers(1, 5), st.sampled_from((1_000, 3_000)), st.integers(0, 2)
)
def test_a_rate_is_judged_as_over_every_span_of_time(moments: list[int], limit: int, period: int, burst: int) -> None:
    found = sorted(moments)
    spans = [(first, last) for last in range(len(found)) for first in range(last)]

    wrong = any((last - first - burst) * period > (found[last] - found[first]) * limit for first, last in spans)

    assert bool(list(too_many_in_a_while("", moments, limit, period, burst))) == wrong


def test_a_file_is_audited_without_its_program(tmp_path: Path, monkeypatch, capsys) -> None:
    path = tmp_path / "shop.db"
    MUTANTS["throttles let everybody through"](monkeypatch)
    with harness(rules(throttle=Throttle(1, "1h", burst=0))) as t:
        t.send([Event("go"), Event("go")])
        Tables(t.store).ask("VACUUM INTO ?", str(path))

    assert [violation.rule for violation in audit_file(path)] == ["I14"]
    assert main([str(path)]) == 1
    assert f"{path}: I14" in capsys.readouterr().out


def test_the_command_says_that_nothing_is_wrong_and_what_it_cannot_look_at(tmp_path, capsys) -> None:
    with harness(Stepwell("shop")) as t:
        Tables(t.store).ask("VACUUM INTO ?", str(tmp_path / "fine.db"))

    assert main([str(tmp_path / "fine.db")]) == 0
    assert "fine.db: no rule was broken" in capsys.readouterr().out
    assert main([str(tmp_path / "none.db")]) == 2
    assert f"there is no file {tmp_path / 'none.db'}" in capsys.readouterr().err
    assert main([]) == 2
