from typing import Any

import msgspec
import pytest

from stepwell.engine.due import cron_item_id, fire
from stepwell.engine.registration import register
from stepwell.model.app import App
from stepwell.model.changes import (
    ArchiveFunction,
    CreateRun,
    Decision,
    Drop,
    Enqueue,
    Plan,
    SaveEvent,
    SaveFunction,
    Schedule,
)
from stepwell.model.item import Item, ItemKind
from stepwell.model.questions import Backlog, FunctionItems, ListApps, ListFunctions, NextBacklog, StoredFunction
from stepwell.model.trigger import CronTrigger
from tests.core.engine.plans import NOW, Answers, decide, draft, function, kinds, only

_HOUR = 3_600_000
_TICK = NOW - NOW % _HOUR  # an hour on the hour, not later than NOW


def _hourly(missed: str = "latest") -> Any:
    plain = function("report", trigger=None)
    return type(plain)(id=plain.id, app_id="shop", name="report", triggers=(CronTrigger("0 * * * *", missed=missed),))


def _fire(missed: str, tick: int, now: int) -> Decision:
    item = Item(
        id=cron_item_id("shop-report", "0 * * * *"),
        kind=ItemKind.CRON,
        function_id="shop-report",
        at=tick,
        queued_at=tick,
    )
    of = draft(_hourly(missed), now=now)

    def plan() -> Plan:
        yield from fire(of, item)
        return of.decision()

    return decide(plan())


def _scheduled(decision: Decision) -> list[str]:
    events = [change.event for change in decision.changes if isinstance(change, SaveEvent)]
    return [msgspec.json.decode(event.data)["scheduledAt"] for event in events]


def test_a_tick_starts_a_run_and_arms_the_next_in_one_decision() -> None:
    decision = _fire("latest", _TICK, _TICK + 5)

    assert only(decision, CreateRun).run.cron == "0 * * * *"
    assert only(decision, Schedule).item.queued_at == _TICK + _HOUR


@pytest.mark.parametrize(
    ("missed", "starts", "following"),
    [("latest", 1, 4), ("skip", 0, 4), ("all", 1, 1)],
)
def test_after_a_downtime_missed_ticks_are_treated_as_asked(missed: str, starts: int, following: int) -> None:
    decision = _fire(missed, _TICK, _TICK + 3 * _HOUR + 30 * 60_000)

    assert kinds(decision).count("CreateRun") == starts
    assert only(decision, Schedule).item.queued_at == _TICK + following * _HOUR


def test_the_latest_missed_tick_is_the_one_that_runs() -> None:
    decision = _fire("latest", _TICK, _TICK + 3 * _HOUR + 1)

    assert _scheduled(decision)[0].startswith("2023-11-1")
    assert only(decision, SaveEvent).event.key == _scheduled(decision)[0]
    late = _fire("latest", _TICK + 3 * _HOUR, _TICK + 3 * _HOUR + 1)
    assert _scheduled(decision) == _scheduled(late)


def test_a_tick_in_time_runs_also_for_those_who_skip() -> None:
    assert kinds(_fire("skip", _TICK, _TICK + 59_000)).count("CreateRun") == 1


def test_a_tick_of_a_schedule_that_is_gone_is_dropped() -> None:
    item = Item(id=cron_item_id("shop-report", "5 * * * *"), kind=ItemKind.CRON, function_id="shop-report", at=_TICK)
    of = draft(_hourly())

    def plan() -> Plan:
        yield from fire(of, item)
        return of.decision()

    assert kinds(decide(plan())) == ["Drop"]


def _register(functions: list[Any], answers: Answers) -> Decision:
    return decide(register(draft(), "shop", functions), answers)


def _stored(of: Any, *, config: bytes = b"{}", archived: bool = False) -> StoredFunction:
    return StoredFunction(
        id=of.id, app_id="shop", config=config, version=3, updated_at=1, archived_at=2 if archived else None
    )


def test_registering_the_same_again_changes_nothing() -> None:
    decision = _register([function()], {ListFunctions: [_stored(function())]})

    assert decision.result.value is False
    assert kinds(decision) == []


def test_registering_the_same_again_costs_no_question_for_each_function() -> None:
    """All shards are locked meanwhile: nobody writes anything, in any process."""
    functions = [function(f"f{number}") for number in range(50)]
    asked: list[Any] = []
    known: Answers = {ListFunctions: [_stored(each) for each in functions], NextBacklog: asked.append}

    _register(functions, known | {Backlog: asked.append, FunctionItems: asked.append})

    assert [type(question) for question in asked] == [NextBacklog]


def test_a_changed_configuration_is_the_next_version() -> None:
    decision = _register([function()], {ListFunctions: [_stored(function(), config=b"old")]})

    assert only(decision, SaveFunction).function.version == 4


def test_versions_go_on_where_an_app_that_has_left_had_the_function_before() -> None:
    left = msgspec.structs.replace(_stored(function(), config=b"old", archived=True), app_id="sh")

    decision = _register([function()], {ListFunctions: [left]})

    assert only(decision, SaveFunction).function.version == 4


def test_a_version_is_kept_with_what_its_app_says_of_itself() -> None:
    served = App(id="shop", url="http://a", sdk="py:v1", version="7f3a", checksum="1", synced_at=1)

    decision = decide(register(draft(), "shop", [function()], served), {ListFunctions: [], ListApps: []})

    saved = only(decision, SaveFunction)
    assert (saved.sdk, saved.app_version) == ("py:v1", "7f3a")


def test_other_limits_apply_at_once_to_what_waits_for_room() -> None:
    config = b'{"concurrency":5}'
    limited = msgspec.structs.replace(function(), config=config)

    same = _register([limited], {ListFunctions: [_stored(limited, config=b'{"name":"old","concurrency":5}')]})
    other = _register([limited], {ListFunctions: [_stored(limited, config=b'{"concurrency":1}')]})

    assert "Schedule" not in kinds(same)
    assert only(other, Schedule).item.id == "review/shop"


def test_a_function_that_comes_back_unchanged_keeps_its_version() -> None:
    decision = _register([function()], {ListFunctions: [_stored(function(), archived=True)]})

    assert only(decision, SaveFunction).function.version == 3


def test_a_function_that_is_missing_is_archived() -> None:
    decision = _register([], {ListFunctions: [_stored(function())]})

    assert only(decision, ArchiveFunction).function_id == "shop-bill"
    assert decision.result.value is True


def test_a_new_cron_is_armed_from_now_and_an_old_one_keeps_its_tick() -> None:
    decision = _register([_hourly()], {})

    assert only(decision, Enqueue).item.queued_at == _TICK + _HOUR


def test_a_cron_that_the_configuration_no_longer_has_is_dropped() -> None:
    gone = Item(id=cron_item_id("shop-report", "5 * * * *"), kind=ItemKind.CRON, function_id="shop-report", at=_TICK)

    decision = _register([_hourly()], {FunctionItems: [gone]})

    assert only(decision, Drop).item_id == gone.id


def test_what_only_a_newer_version_knows_is_left_to_it() -> None:
    """ADR 0045: two versions run side by side, and the older one may find it first."""
    item = Item(id="shop-report/new", kind="of-tomorrow", function_id="shop-report", at=_TICK, queued_at=_TICK)
    of = draft(_hourly(), now=NOW)

    def plan() -> Plan:
        yield from fire(of, item)
        return of.decision()

    decision = decide(plan())

    assert decision.changes == (Schedule(msgspec.structs.replace(item, at=NOW + 60_000)),)
    assert decision.result.wake == NOW + 60_000
