import itertools
from collections.abc import Mapping
from typing import Any

import pytest

from stepwell.engine.dispatch import claim
from stepwell.engine.draft import Draft
from stepwell.engine.registry import Registry
from stepwell.flow import Concurrency
from stepwell.limits import LEASE_LOSSES_MAX
from stepwell.model.changes import (
    Block,
    CloseWait,
    Drop,
    Enqueue,
    Extend,
    FinishRun,
    Grant,
    Postpone,
    Release,
    SaveNote,
    Schedule,
    SettleStep,
    StartRun,
    TakeSlots,
)
from stepwell.model.event import CANCELLED
from stepwell.model.item import Item, ItemKind
from stepwell.model.pause import Pause
from stepwell.model.questions import (
    BacklogItems,
    CountHeld,
    CountSlots,
    DueItems,
    FindWaits,
    GetEvent,
    GetRun,
    GetSteps,
    NextDue,
    Occupied,
    WaitPaths,
)
from stepwell.model.run import RunStatus
from stepwell.model.step import Step, StepStatus
from stepwell.model.wait import Wait, WaitKind
from tests.core.engine.plans import LEASE_MS, NOW, Answers, answer_by, decide, draft, event, function, kinds, only, run


def _claim(
    of: Draft,
    answers: Answers,
    *,
    room: int = 10,
    serves: bool = True,
    mine: Mapping[str, int] | None = None,
    crowded: bool = True,
    waiting: tuple[str, ...] | None = None,
) -> Any:
    tokens, held = itertools.count(100), mine or {}
    plan = claim(
        of,
        shard=0,
        room=room,
        new_token=lambda: next(tokens),
        serves=lambda _: serves,
        mine=lambda run_id: held.get(run_id, 0),
        crowded=crowded,
        waiting=waiting,
    )
    return decide(plan, {GetEvent: event()} | answers)


def _item(run_id: str = "r1", **more: Any) -> Item:
    return Item(id=run_id, kind=ItemKind.RUN, function_id="shop-bill", run_id=run_id, at=NOW, queued_at=NOW, **more)


def _queued(**more: Any) -> Any:
    return run(status=RunStatus.QUEUED, started_at=None, **more)


def test_a_due_run_is_leased_and_its_first_call_starts_it() -> None:
    decision = _claim(draft(function()), {DueItems: [_item()], GetRun: _queued()})

    grant = only(decision, Grant)
    assert (grant.token, grant.until) == (100, NOW + LEASE_MS)
    assert only(decision, StartRun).started_at == NOW
    (leased,) = decision.result.leased
    assert (leased.lease.token, leased.run.status) == (100, RunStatus.RUNNING)


def test_a_run_that_was_started_before_is_not_started_again() -> None:
    decision = _claim(draft(function()), {DueItems: [_item()], GetRun: run()})

    assert kinds(decision) == ["Grant"]


def test_the_finish_timeout_counts_from_the_first_call() -> None:
    fn = function(finish_timeout_ms=5000, start_timeout_ms=1000)

    decision = _claim(draft(fn), {DueItems: [_item()], GetRun: _queued()})

    assert only(decision, Enqueue).item.at == NOW + 5000
    assert only(decision, Drop).item_id == "r1/start"


def test_an_item_of_a_run_that_has_ended_is_dropped() -> None:
    decision = _claim(draft(function()), {DueItems: [_item()], GetRun: run(ended_at=NOW)})

    assert kinds(decision) == ["Drop"]


def test_a_run_whose_timeout_is_due_too_is_ended_and_not_called() -> None:
    timeout = Item(
        id="r1/finish", kind=ItemKind.FINISH_TIMEOUT, function_id="shop-bill", run_id="r1", at=NOW, queued_at=NOW
    )

    late = run(started_at=NOW - 60)
    decision = _claim(draft(function(finish_timeout_ms=60)), {DueItems: [_item(), timeout], GetRun: late})

    assert only(decision, FinishRun).status == RunStatus.CANCELLED
    assert "Grant" not in kinds(decision)
    assert decision.result.leased == ()


def test_a_run_that_is_leased_and_then_cancelled_by_what_the_same_claim_says_is_not_called() -> None:
    other = run(id="r2", function_id="shop-other", event_id="e2", started_at=NOW - 60)
    timeout = Item(
        id="r2/finish", kind=ItemKind.FINISH_TIMEOUT, function_id="shop-other", run_id="r2", at=NOW, queued_at=NOW
    )
    listener = Wait(
        run_id="r1", id="cancel:0", kind=WaitKind.CANCEL, event_name=CANCELLED, since=NOW, expires_at=NOW + 1
    )
    answers: Answers = {
        DueItems: [_item(), timeout],
        GetRun: answer_by("run_id", {"r1": run(), "r2": other}),
        WaitPaths: lambda question: [""] if question.event_name == CANCELLED else [],
        FindWaits: lambda question: [listener] if question.event_name == CANCELLED else [],
    }

    decision = _claim(draft(function(), function("other", finish_timeout_ms=60)), answers)

    assert "Grant" in kinds(decision)
    assert decision.result.leased == ()


def test_a_run_that_no_process_serves_waits_out_of_sight_and_keeps_its_attempts() -> None:
    for known, serves in ((draft(), True), (draft(function()), False)):
        decision = _claim(known, {DueItems: [_item(attempt=2)], GetRun: run()}, serves=serves)

        assert only(decision, Block).backlog == "unserved/shop-bill"
        assert decision.result.leased == ()


def test_one_claim_grants_no_more_slots_than_there_are() -> None:
    fn = function(controls=(Concurrency(2),))
    items = [_item(f"r{n}") for n in range(4)]
    runs = {f"r{n}": run(id=f"r{n}", slots=("fn/shop-bill",)) for n in range(4)}

    decision = _claim(draft(fn), {DueItems: items, GetRun: answer_by("run_id", runs), CountSlots: 1})

    assert [leased.run.id for leased in decision.result.leased] == ["r0"]
    assert [c.item_id for c in decision.changes if isinstance(c, Block)] == ["r1", "r2", "r3"]
    assert only(decision, TakeSlots).holder == "r0"


def test_a_lapsed_lease_does_not_block_itself_and_gives_back_what_its_branches_held() -> None:
    fn = function(controls=(Concurrency(1),))

    decision = _claim(
        draft(fn), {DueItems: [_item(lease=9)], GetRun: run(slots=("fn/shop-bill",)), CountSlots: 3, CountHeld: 3}
    )

    assert [leased.run.id for leased in decision.result.leased] == ["r1"]
    assert only(decision, Release).count == 2
    assert kinds(decision).index("FreeSlots") < kinds(decision).index("TakeSlots")


def test_a_lost_lease_spends_no_attempt_and_is_noted() -> None:
    decision = _claim(draft(function()), {DueItems: [_item(lease=9, attempt=2)], GetRun: run()})

    assert decision.result.leased[0].attempt == 2
    assert "SaveNote" in kinds(decision)
    assert only(decision, Grant).losses == 1


def test_a_run_that_kills_its_process_again_and_again_fails() -> None:
    item = _item(lease=9, losses=LEASE_LOSSES_MAX - 1)

    decision = _claim(draft(function()), {DueItems: [item], GetRun: run()})

    assert only(decision, FinishRun).status == RunStatus.FAILED
    assert b"WorkerLost" in only(decision, FinishRun).output
    assert decision.result.leased == ()


def test_from_the_third_loss_on_a_run_is_left_alone_for_a_while_and_uses_no_slot() -> None:
    fn = function(controls=(Concurrency(1),))
    item = _item(lease=9, losses=2, attempt=1)
    answers: Answers = {DueItems: [item], GetRun: run(slots=("fn/shop-bill",)), CountSlots: 1, CountHeld: 1}

    decision = _claim(draft(fn), answers)

    postponed = only(decision, Postpone)
    assert (postponed.losses, postponed.mark) == (3, 0)
    assert NOW + 500 <= postponed.at <= NOW + 1_000
    assert decision.result.leased == ()
    assert "(3 in a row)" in only(decision, SaveNote).note.text
    assert only(decision, Release).count == 1
    assert not {"Grant", "TakeSlots"} & set(kinds(decision))


def test_a_run_that_is_given_up_gives_its_slot_to_the_next() -> None:
    fn = function(controls=(Concurrency(1),))
    item = _item(lease=9, losses=LEASE_LOSSES_MAX - 1)

    decision = _claim(draft(fn), {DueItems: [item], GetRun: run(slots=("fn/shop-bill",)), CountSlots: 1, CountHeld: 1})

    assert only(decision, FinishRun).status == RunStatus.FAILED
    assert "Postpone" not in kinds(decision)
    assert [change.count for change in decision.changes if isinstance(change, Release)] == [1]


def test_a_run_whose_process_died_is_left_alone_although_its_limit_is_full_meanwhile() -> None:
    fn = function(controls=(Concurrency(1),))
    answers: Answers = {
        DueItems: [_item(lease=9, losses=2)],
        GetRun: run(slots=("fn/shop-bill",)),
        CountSlots: 2,
        CountHeld: 1,
    }

    assert only(_claim(draft(fn), answers), Postpone).losses == 3


def test_a_loss_counts_also_where_nobody_serves_the_function_any_more() -> None:
    decision = _claim(draft(function()), {DueItems: [_item(lease=9, losses=4)], GetRun: run()}, serves=False)

    blocked = only(decision, Block)
    assert (blocked.losses, blocked.mark) == (5, 0)
    assert "SaveNote" in kinds(decision)


def test_a_run_is_given_up_where_nobody_serves_its_function_too() -> None:
    """Else it would never be, where every process that serves it dies of it before others take over."""
    item = _item(lease=9, losses=LEASE_LOSSES_MAX - 1)

    decision = _claim(draft(function()), {DueItems: [item], GetRun: run()}, serves=False)

    assert only(decision, FinishRun).status == RunStatus.FAILED
    assert "Block" not in kinds(decision)


def test_a_run_that_was_left_alone_keeps_its_count_until_it_gets_on() -> None:
    decision = _claim(draft(function()), {DueItems: [_item(losses=5, mark=2)], GetRun: run()})

    grant = only(decision, Grant)
    assert (grant.losses, grant.mark) == (5, 2)
    assert "SaveNote" not in kinds(decision)


def test_progress_between_two_losses_starts_the_count_again() -> None:
    item = _item(lease=9, losses=LEASE_LOSSES_MAX - 1, mark=0)
    step = Step(run_id="r1", id="s", name="s", kind="run", status=StepStatus.COMPLETED, ended_at=NOW, output=b"1")

    decision = _claim(draft(function()), {DueItems: [item], GetRun: run(), GetSteps: [step]})

    assert only(decision, Grant).losses == 1


def test_a_run_this_process_is_calling_is_extended_and_not_started_a_second_time() -> None:
    decision = _claim(draft(function()), {DueItems: [_item(lease=9)], GetRun: run()}, mine={"r1": 9})

    assert only(decision, Extend).lease.token == 9
    assert decision.result.leased == ()


def test_a_run_whose_call_has_just_written_its_end_is_called_again_without_delay() -> None:
    decision = _claim(draft(function()), {DueItems: [_item(lease=0)], GetRun: run()}, mine={"r1": 9})

    assert kinds(decision) == ["Grant"]
    assert [leased.run.id for leased in decision.result.leased] == ["r1"]


def test_what_a_peer_has_left_behind_is_taken_over_although_a_call_that_it_fenced_off_still_goes_on_here() -> None:
    decision = _claim(draft(function()), {DueItems: [_item(lease=12)], GetRun: run()}, mine={"r1": 9})

    assert "Extend" not in kinds(decision), "it would be kept from all for as long as the old call lasts"
    assert [leased.run.id for leased in decision.result.leased] == ["r1"]


def test_a_peer_takes_from_what_waits_only_what_is_for_it() -> None:
    asked: list[Occupied] = []

    def occupied(question: Occupied) -> list[str]:
        asked.append(question)
        return ["unserved/shop-bill"]

    answers: Answers = {Occupied: occupied, DueItems: [], BacklogItems: [_item()], GetRun: run()}

    decision = _claim(draft(function()), answers, waiting=("ready/shop-bill", "unserved/shop-bill"))

    assert [question.names for question in asked] == [("ready/shop-bill", "unserved/shop-bill")]
    assert [leased.run.id for leased in decision.result.leased] == ["r1"]


def _open(status: str, kind: str, due: int) -> Step:
    return Step(run_id="r1", id="s", name="s", kind=kind, status=status, started_at=NOW - 9, due=due)


def test_what_is_over_is_settled_by_the_claim_that_wakes_the_run() -> None:
    for status, kind, settled, output in (
        (StepStatus.SLEEPING, "sleep", StepStatus.COMPLETED, b"null"),
        (StepStatus.WAITING, "waitForEvent", StepStatus.TIMED_OUT, b"null"),
        (StepStatus.INVOKING, "invoke", StepStatus.FAILED, b"InngestInvokeTimeoutError"),
    ):
        decision = _claim(draft(function()), {DueItems: [_item()], GetRun: run(), GetSteps: [_open(status, kind, NOW)]})

        change = only(decision, SettleStep)
        assert (change.status, change.position) == (settled, 1)
        assert output in change.output
        assert decision.result.leased[0].steps["s"].ended_at == NOW
        assert (CloseWait in {type(c) for c in decision.changes}) == (kind == "waitForEvent")


def test_what_is_not_over_stays_open_and_never_fires_early() -> None:
    decision = _claim(
        draft(function()),
        {DueItems: [_item()], GetRun: run(), GetSteps: [_open(StepStatus.SLEEPING, "sleep", NOW + 1)]},
    )

    assert "SettleStep" not in kinds(decision)
    assert decision.result.leased[0].steps["s"].open


def test_it_says_when_to_come_back() -> None:
    def page(question: DueItems) -> list[Item]:
        return [_item()] * question.limit

    idle = _claim(draft(function()), {DueItems: [_item()], GetRun: _queued(), NextDue: NOW + 700})
    busy = _claim(draft(function()), {DueItems: page, GetRun: _queued(), NextDue: NOW + 700}, room=1)
    done = _claim(draft(function()), {DueItems: [], NextDue: None})

    assert [decision.result.value for decision in (idle, busy, done)] == [NOW + 700, NOW, None]


def test_a_process_without_room_still_looks_after_timers() -> None:
    asked: list[Any] = []

    def due(question: DueItems) -> list[Item]:
        asked.append(question.timers_only)
        return []

    _claim(draft(function()), {DueItems: due}, room=0)

    assert asked == [True]


def test_a_start_timeout_cancels_only_a_run_that_has_not_started() -> None:
    timer = Item(id="r1/start", kind=ItemKind.START_TIMEOUT, function_id="shop-bill", run_id="r1", at=NOW)

    impatient = function(start_timeout_ms=60)

    late = _claim(draft(impatient), {DueItems: [timer], GetRun: _queued(queued_at=NOW - 60)})
    fine = _claim(draft(impatient), {DueItems: [timer], GetRun: run(queued_at=NOW - 60)})

    assert only(late, FinishRun).status == RunStatus.CANCELLED
    assert kinds(fine) == ["Drop"]


def test_a_finish_timeout_cancels_a_run_that_is_running() -> None:
    timer = Item(id="r1/finish", kind=ItemKind.FINISH_TIMEOUT, function_id="shop-bill", run_id="r1", at=NOW)

    decision = _claim(draft(function(finish_timeout_ms=60)), {DueItems: [timer], GetRun: run(started_at=NOW - 60)})

    assert "finish timeout" in only(decision, FinishRun).reason


def test_a_timeout_that_is_longer_now_is_set_again_and_one_that_is_gone_is_dropped() -> None:
    timer = Item(id="r1/finish", kind=ItemKind.FINISH_TIMEOUT, function_id="shop-bill", run_id="r1", at=NOW)
    answers: Answers = {DueItems: [timer], GetRun: run(started_at=NOW - 60)}

    longer = _claim(draft(function(finish_timeout_ms=61)), answers)
    gone = _claim(draft(function()), answers)

    assert only(longer, Schedule).item.at == NOW + 1
    assert kinds(gone) == ["Drop"]


@pytest.mark.parametrize(
    ("found", "slots"), [(run(started_at=NOW - 60), ()), (run(started_at=NOW - 60, slots=("fn/shop-bill",)), ("a",))]
)
def test_a_run_that_comes_too_late_for_a_timeout_without_a_timer_is_not_called(found: Any, slots: Any) -> None:
    answers: Answers = {DueItems: [_item(lease=7 if slots else 0)], GetRun: found, CountHeld: len(slots)}

    decision = _claim(draft(function(finish_timeout_ms=60)), answers)

    assert "finish timeout" in only(decision, FinishRun).reason
    assert decision.result.leased == ()
    assert [change.count for change in decision.changes if isinstance(change, Release)] == [1] * len(slots)


def test_a_run_goes_on_whose_function_its_app_no_longer_lists_and_nothing_starts_another() -> None:
    of = draft()
    of.registry = Registry((), [function()])

    decision = _claim(of, {DueItems: [_item()], GetRun: run()})

    assert only(decision, Grant).until == NOW + LEASE_MS
    assert of.registry.get("shop-bill") is None
    assert [of.registry.matches(trigger.event) for trigger in function().triggers] == [[]]


@pytest.mark.parametrize(("crowded", "room", "says"), [(True, 10, False), (False, 10, None), (True, 0, None)])
def test_only_who_has_looked_says_that_nobody_waits_for_room(crowded: bool, room: int, says: bool | None) -> None:
    """A run may have been put there after the process was asked whether it has, and before this was decided."""
    decision = _claim(draft(function()), {}, room=room, crowded=crowded)

    assert decision.result.ready is says


@pytest.mark.parametrize(
    ("pause", "started_at", "queued_at", "waits"),
    [
        (Pause(since=NOW), None, NOW, False),
        (Pause(since=NOW, events="hold"), None, NOW - 1, False),
        (Pause(since=NOW, events="hold"), None, NOW, True),
        (Pause(since=NOW, events="hold"), NOW, NOW, False),
        (Pause(since=NOW, runs="hold"), NOW - 1, NOW - 1, True),
        (Pause(since=NOW, runs="cancel"), None, NOW - 1, True),
    ],
)
def test_a_pause_holds_the_runs_that_it_says(pause: Pause, started_at: int | None, queued_at: int, waits: bool) -> None:
    held = run(status=RunStatus.RUNNING if started_at else RunStatus.QUEUED, started_at=started_at, queued_at=queued_at)

    decision = _claim(draft(function(pause=pause)), {DueItems: [_item()], GetRun: held})

    assert ("Block" in kinds(decision), "Grant" in kinds(decision)) == (waits, not waits)
    if waits:
        assert only(decision, Block).backlog == "paused/shop-bill"
