import msgspec
import pytest

from stepwell.engine.intake import accept
from stepwell.flow import Concurrency, Idempotency
from stepwell.model.changes import (
    CloseWait,
    CreateRun,
    Enqueue,
    FinishRun,
    OpenWait,
    PutCell,
    SaveEvent,
    SaveNote,
    SaveOutcome,
    SettleStep,
    Wake,
)
from stepwell.model.history import Cell, OutcomeKind
from stepwell.model.item import ItemKind
from stepwell.model.place import place_of
from stepwell.model.questions import FindWaits, GetCell, GetEvent, GetRun, Lock, WaitPaths
from stepwell.model.run import RunStatus
from stepwell.model.trigger import CancelOn, EventTrigger
from stepwell.model.wait import Wait, WaitKind
from tests.core.engine.plans import LEASE_MS, NOW, answer_by, decide, draft, event, function, kinds, only, run


def test_an_event_that_nothing_matches_is_only_saved() -> None:
    decision = decide(accept(draft(function()), [event("other/thing")]))

    assert kinds(decision) == ["SaveEvent"]
    assert decision.result.value == ["e1"]


@pytest.mark.parametrize("one_shard", [False, True])
def test_the_place_of_an_event_is_locked_unless_there_is_one_shard(one_shard: bool) -> None:
    locked: list[Lock] = []

    def lock(asked: Lock) -> bool:
        locked.append(asked)
        return True

    decide(accept(draft(function(), one_shard=one_shard), [event()]), {Lock: lock})

    assert locked == ([] if one_shard else [Lock((place_of("e1"),))])


def test_the_places_of_all_events_of_a_request_are_held_at_once() -> None:
    locked: list[Lock] = []

    def lock(asked: Lock) -> bool:
        locked.append(asked)
        return False

    ids = [f"01H{'0' * 21}{place}" for place in ("07", "0M", "07", "03")]
    events = [msgspec.structs.replace(event(), id=id, sent_by=f"01H{'0' * 21}01") for id in ids]

    decide(accept(draft(function()), events), {Lock: lock})

    assert locked == [Lock((1, 3, 7, 20))]


def test_an_event_and_the_run_it_starts_are_one_decision() -> None:
    decision = decide(accept(draft(function()), [event()]))

    assert kinds(decision) == ["SaveEvent", "CreateRun", "Enqueue"]
    assert only(decision, CreateRun).run.status == RunStatus.QUEUED
    assert only(decision, Enqueue).item.at == NOW
    assert decision.result.wake == NOW


def test_a_run_is_born_leased_while_the_process_has_room() -> None:
    decision = decide(accept(draft(function(), room=1), [event(id="e1"), event(id="e2")]))

    first, second = [change.item for change in decision.changes if isinstance(change, Enqueue)]
    assert (first.lease, first.at) == (1, NOW + LEASE_MS)
    assert (second.lease, second.at) == (0, NOW)
    assert [leased.run.status for leased in decision.result.leased] == [RunStatus.RUNNING]


def test_a_run_under_a_limit_is_never_born_leased() -> None:
    limited = function(controls=(Concurrency(1, key="event.data.k"),))

    decision = decide(accept(draft(limited, room=9), [event(data=b'{"k":"a"}')]))

    assert decision.result.leased == ()
    assert only(decision, CreateRun).run.slots[0].endswith("/a")


def test_a_future_ts_delays_the_start_and_nothing_else() -> None:
    decision = decide(accept(draft(function(), room=1), [event(ts=NOW + 5000)]))

    assert only(decision, CreateRun).run.scheduled_at == NOW + 5000
    assert only(decision, Enqueue).item.at == NOW + 5000
    assert decision.result.leased == ()


def test_a_function_starts_once_per_event_however_many_triggers_match() -> None:
    twice = function(trigger=None)
    twice = type(twice)(
        id=twice.id, app_id="shop", name="bill", triggers=(EventTrigger("shop/*"), EventTrigger("shop/ordered"))
    )

    decision = decide(accept(draft(twice), [event()]))

    assert kinds(decision).count("CreateRun") == 1


def test_every_matching_function_starts() -> None:
    decision = decide(accept(draft(function("bill"), function("ship"), function("other", trigger="x/y")), [event()]))

    assert [c.run.function_id for c in decision.changes if isinstance(c, CreateRun)] == ["shop-bill", "shop-ship"]


def test_a_condition_that_is_false_starts_nothing_and_leaves_no_trace() -> None:
    decision = decide(accept(draft(function(condition="event.data.amount > 100")), [event(data=b'{"amount":5}')]))

    assert kinds(decision) == ["SaveEvent"]


def test_a_condition_that_fails_is_recorded_and_other_functions_start() -> None:
    broken = function("broken", condition="event.data.text < [1]")

    decision = decide(accept(draft(broken, function("bill")), [event(data=b'{"text":"a"}')]))

    assert only(decision, SaveOutcome).outcome.kind == OutcomeKind.EXPRESSION_FAILED
    assert only(decision, CreateRun).run.function_id == "shop-bill"


def test_the_same_event_id_within_a_day_starts_no_second_run_and_says_which_was_first() -> None:
    seen = Cell(key="event/shop-bill/k1", value="r0", expires_at=NOW + 1)

    decision = decide(accept(draft(function()), [event(key="k1")]), {GetCell: answer_by("key", {seen.key: seen})})

    outcome = only(decision, SaveOutcome).outcome
    assert (outcome.kind, outcome.run_id) == (OutcomeKind.DEDUPLICATED, "r0")
    assert "CreateRun" not in kinds(decision)


def test_two_events_with_one_id_in_one_request_start_one_run() -> None:
    decision = decide(accept(draft(function()), [event(id="e1", key="k"), event(id="e2", key="k")]))

    assert kinds(decision).count("CreateRun") == 1
    assert only(decision, SaveOutcome).outcome.event_id == "e2"


def test_an_idempotency_key_that_is_taken_skips_and_takes_nothing_else() -> None:
    fn = function(controls=(Idempotency("event.data.cart"),))
    taken = Cell(key="idempotency/shop-bill/c", value="r0", expires_at=NOW + 1)

    decision = decide(
        accept(draft(fn), [event(data=b'{"cart":"c"}', key="new")]), {GetCell: answer_by("key", {taken.key: taken})}
    )

    assert only(decision, SaveOutcome).outcome.kind == OutcomeKind.IDEMPOTENT
    assert "PutCell" not in kinds(decision)


def test_a_first_start_remembers_its_keys() -> None:
    fn = function(controls=(Idempotency("event.data.cart"),))

    decision = decide(accept(draft(fn), [event(data=b'{"cart":"c"}', key="k")]))

    keys = {c.cell.key for c in decision.changes if isinstance(c, PutCell)}
    assert keys == {"idempotency/shop-bill/c", "event/shop-bill/k"}


def test_a_request_sent_again_with_its_seed_changes_nothing() -> None:
    decision = decide(accept(draft(function()), [event()], seeded=True), {GetEvent: event()})

    assert decision.changes == ()
    assert decision.result.value == ["e1"]


def _wait(kind: str = WaitKind.EVENT, condition: str | None = None) -> Wait:
    return Wait(
        run_id="r1", id="w1", kind=kind, event_name="paid", since=NOW - 9, expires_at=NOW + 9, condition=condition
    )


def test_an_event_settles_the_waits_it_satisfies_and_wakes_their_runs() -> None:
    decision = decide(accept(draft(), [event("paid", b'{"n":1}')]), {WaitPaths: [""], FindWaits: [_wait()]})

    settled = only(decision, SettleStep)
    assert (settled.run_id, settled.step_id) == ("r1", "w1")
    assert b'"n":1' in settled.output
    assert only(decision, CloseWait).wait_id == "w1"
    assert only(decision, Wake).at == NOW
    assert decision.result.touched == ("r1",)


def test_a_wait_whose_condition_does_not_hold_or_fails_stays() -> None:
    for condition in ("async.data.n == 2", "async.data.n < [1]"):
        decision = decide(
            accept(draft(), [event("paid", b'{"n":1}')]), {WaitPaths: [""], FindWaits: [_wait(condition=condition)]}
        )

        assert kinds(decision) == ["SaveEvent"]


def test_a_cancel_listener_ends_its_run_with_all_that_follows() -> None:
    decision = decide(
        accept(draft(), [event("paid", id="e9")]),
        {
            WaitPaths: lambda q: [""] if q.event_name == "paid" else [],
            FindWaits: [_wait(WaitKind.CANCEL)],
            GetRun: run(),
            GetEvent: event(),
        },
    )

    assert only(decision, FinishRun).status == RunStatus.CANCELLED
    assert {"DropRunItems", "CloseWaits", "SaveNote"} <= set(kinds(decision))
    names = [change.event.name for change in decision.changes if isinstance(change, SaveEvent)]
    assert names == ["paid", "inngest/function.cancelled"]


def test_a_run_cancelled_twice_in_one_request_ends_once() -> None:
    decision = decide(
        accept(draft(), [event("paid", id="e8"), event("paid", id="e9")]),
        {
            WaitPaths: lambda q: [""] if q.event_name == "paid" else [],
            FindWaits: [_wait(WaitKind.CANCEL)],
            GetRun: run(),
            GetEvent: event(),
        },
    )

    assert kinds(decision).count("FinishRun") == 1


def test_a_cancel_event_ends_the_runs_that_came_before_it_in_the_same_request_and_no_others() -> None:
    fn = function(cancels=(CancelOn("shop/ordered"),))

    decision = decide(accept(draft(fn, room=2), [event(id="e1"), event(id="e2")]))

    first, second = [change.run.id for change in decision.changes if isinstance(change, CreateRun)]
    assert only(decision, FinishRun).run_id == first
    assert [leased.run.id for leased in decision.result.leased] == [second]


def test_a_condition_that_fails_is_no_outcome_if_another_trigger_starts_the_function() -> None:
    fn = function(trigger=None)
    fn = type(fn)(
        id=fn.id,
        app_id=fn.app_id,
        name=fn.name,
        triggers=(EventTrigger("shop/ordered", "event.data.x < 'a'"), EventTrigger("shop/*")),
    )

    decision = decide(accept(draft(fn), [event(data=b'{"x":1}')]))

    assert kinds(decision) == ["SaveEvent", "CreateRun", "Enqueue"]


def test_cancel_listeners_are_opened_with_the_run_unless_they_can_never_fire() -> None:
    cancels = (
        CancelOn("order/cancelled", "event.data.id == async.data.id"),
        CancelOn("order/cancelled", "event.data.id == 'other' && async.data.id == 'x'"),
    )

    decision = decide(accept(draft(function(cancels=cancels)), [event(data=b'{"id":"o1"}')]))

    wait = only(decision, OpenWait).wait
    assert (wait.id, wait.kind, wait.path) == ("cancel:0", WaitKind.CANCEL, "data.id")


def test_a_condition_that_an_event_makes_too_deep_listens_for_nothing_and_says_so() -> None:
    cancels = (CancelOn("order/cancelled", "event.data.id == async.data.id"),)
    deep = b'{"id":' + b"[" * 60 + b"1" + b"]" * 60 + b"}"

    decision = decide(accept(draft(function(cancels=cancels)), [event(data=deep)]))

    assert "order/cancelled" in only(decision, SaveNote).note.text
    assert "OpenWait" not in kinds(decision)


def test_a_start_timeout_is_a_timer_of_the_run() -> None:
    decision = decide(accept(draft(function(start_timeout_ms=1000)), [event()]))

    timers = [c.item for c in decision.changes if isinstance(c, Enqueue) and c.item.kind == ItemKind.START_TIMEOUT]
    assert [(timer.id.endswith("/start"), timer.at) for timer in timers] == [(True, NOW + 1000)]
