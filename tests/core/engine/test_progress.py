from typing import Any

import msgspec
import pytest

from stepwell.engine import progress
from stepwell.engine.draft import Moment
from stepwell.flow import Concurrency
from stepwell.limits import OPS_PER_ANSWER_MAX, STEP_BYTES_MAX, STEPS_PER_RUN_MAX
from stepwell.model.changes import (
    CreateRun,
    Decision,
    FinishRun,
    FreeSlots,
    OpenWait,
    Park,
    Release,
    Retry,
    SaveAttempt,
    SaveStep,
    SettleStep,
    TakeSlots,
    Wake,
)
from stepwell.model.failure import Failure
from stepwell.model.questions import CountSlots, FindEvents, GetSteps
from stepwell.model.run import RunStatus
from stepwell.model.step import Step, StepStatus
from stepwell.ops import Invoke, Op, Sleep, StepError, StepRun, WaitForEvent
from tests.core.engine.plans import NOW, Answers, decide, draft, event, function, kinds, leased, only, run

_DAY_MS = 86_400_000


def _ran(step_id: str = "s", output: bytes = b"1", attempt: int = 0, **more: Any) -> StepRun:
    return StepRun(
        id=step_id,
        name=step_id,
        repeat=0,
        kind="run",
        output=output,
        attempt=attempt,
        started_at=NOW,
        ended_at=NOW,
        **more,
    )


def _erred(attempt: int = 0, **more: Any) -> StepError:
    error = Failure("ValueError", "no")
    return StepError(
        id="s", name="s", repeat=0, kind="run", error=error, attempt=attempt, started_at=NOW, ended_at=NOW, **more
    )


def _sleep(**more: Any) -> Sleep:
    return Sleep(id="z", name="z", repeat=0, **more)


def _wait(**more: Any) -> WaitForEvent:
    return WaitForEvent(id="w", name="w", repeat=0, event="paid", **more)


def _save(op: Op, of: Any = None, answers: Answers | None = None) -> Decision:
    of = of or leased()
    work = progress.save(of, op, of.position, Moment(NOW, lambda _: "id"))
    return work if isinstance(work, Decision) else decide(work(draft(function())), answers)


def _suspend(*ops: Op, of: Any = None, answers: Answers | None = None, fns: tuple[Any, ...] = ()) -> Decision:
    return decide(progress.suspend(draft(function(), *fns), of or leased(), ops), answers)


def test_a_result_is_one_fenced_row_and_nothing_else() -> None:
    decision = _save(_ran())

    assert kinds(decision) == ["SaveStep"]
    assert decision.holds is not None
    assert decision.holds.token == 7


@pytest.mark.parametrize("op", [_ran(), _erred(attempt=4)], ids=["result", "error for good"])
def test_a_result_gives_the_code_after_it_all_its_attempts(op: Op) -> None:
    decision = _save(op, leased(attempt=3))

    assert only(decision, Retry).attempt == 0


def test_a_step_that_is_to_be_tried_again_gives_the_code_no_attempts() -> None:
    decision = _save(_erred(attempt=0), leased(attempt=3))

    assert "Retry" not in kinds(decision)


def test_a_sleep_saves_the_step_and_parks_the_run_in_one_decision() -> None:
    decision = _suspend(_sleep(duration_ms=5000))

    assert kinds(decision) == ["Park", "SaveStep"]
    assert only(decision, Park).at == NOW + 5000
    assert only(decision, SaveStep).step.status == StepStatus.SLEEPING


@pytest.mark.parametrize("past", [{"duration_ms": 0}, {"duration_ms": -5}, {"until_ms": NOW - 1}])
def test_a_sleep_that_is_over_resumes_at_once(past: dict[str, int]) -> None:
    decision = _suspend(_sleep(**past))

    assert only(decision, Park).at == NOW
    assert only(decision, SaveStep).step.status == StepStatus.COMPLETED


def test_a_run_is_due_when_the_first_of_its_open_steps_is() -> None:
    known = Step(run_id="r1", id="a", name="a", kind="sleep", status=StepStatus.SLEEPING, due=NOW + 3000)

    decision = _suspend(_sleep(duration_ms=5000), of=leased(steps=[known]))

    assert only(decision, Park).at == NOW + 3000


def test_a_sleep_of_more_than_a_year_fails_the_run() -> None:
    decision = _suspend(_sleep(duration_ms=367 * _DAY_MS))

    assert b"InngestErrTimeoutTooLong" in only(decision, FinishRun).output


def test_a_wait_of_more_than_a_year_fails_the_run_and_leaves_no_listener() -> None:
    decision = _suspend(
        _wait(timeout_ms=1000), WaitForEvent(id="v", name="v", repeat=0, event="x", timeout_ms=367 * _DAY_MS)
    )

    assert only(decision, FinishRun).status == RunStatus.FAILED
    assert kinds(decision).index("CloseWaits") > kinds(decision).index("OpenWait")


def test_a_wait_is_registered_before_anything_else_of_the_same_answer() -> None:
    decision = _suspend(_ran("a"), _wait(timeout_ms=1000))

    saved = [change.step.id for change in decision.changes if isinstance(change, SaveStep)]
    assert saved == ["w", "a"]


def test_a_wait_keeps_an_equality_for_the_index_and_says_its_condition_in_literals() -> None:
    of = leased()
    of.events = (event(data=b'{"id":"o1"}'),)

    decision = _suspend(_wait(timeout_ms=1000, condition="event.data.id == async.data.id"), of=of)

    wait = only(decision, OpenWait).wait
    assert wait.path == "data.id"
    assert "o1" in (wait.condition or "")


def test_a_wait_that_can_no_longer_come_true_opens_no_listener_and_times_out() -> None:
    decision = _suspend(_wait(timeout_ms=1000, condition="event.data.id == 'other' && async.data.x == 1"))

    assert "OpenWait" not in kinds(decision)
    assert only(decision, Park).at == NOW + 1000


def test_an_invalid_condition_fails_the_run_without_a_retry() -> None:
    decision = _suspend(_wait(timeout_ms=1000, condition="event.data.id =="))

    assert b"InvalidExpression" in only(decision, FinishRun).output


def test_a_condition_that_the_event_makes_too_deep_fails_the_run_and_says_so() -> None:
    of = leased()
    of.events = (event(data=b'{"id":' + b"[" * 60 + b"1" + b"]" * 60 + b"}"),)

    decision = _suspend(_wait(timeout_ms=1000, condition="event.data.id == async.data.id"), of=of)

    assert b"InvalidExpression" in only(decision, FinishRun).output


def test_a_look_back_finds_the_newest_earlier_match_but_never_the_triggering_event() -> None:
    earlier = [event("paid", b'{"n":2}', id="e1"), event("paid", b'{"n":1}', id="e7"), event("paid", id="e6")]

    decision = _suspend(_wait(timeout_ms=1000, lookback_ms=500), answers={FindEvents: earlier})

    step = only(decision, SaveStep).step
    assert (step.status, b'"n":1' in (step.output or b"")) == (StepStatus.COMPLETED, True)
    assert only(decision, Park).at == NOW


def test_a_step_that_fails_is_tried_again_after_the_back_off() -> None:
    decision = _suspend(_erred())

    step = only(decision, SaveStep).step
    assert (step.status, step.attempt, step.due) == (StepStatus.ERRORED, 1, NOW + 15_000)
    assert only(decision, Park).at == NOW + 15_000
    assert only(decision, SaveAttempt).attempt.attempt == 0


def test_a_step_without_attempts_left_has_failed_for_good() -> None:
    for op in (_erred(attempt=4), _erred(final=True), _erred(attempt=1, max_attempts=2)):
        step = only(_save(op), SaveStep).step

        assert (step.status, step.ended_at) == (StepStatus.FAILED, NOW)


@pytest.mark.parametrize(
    ("op", "most"), [(_erred(), 5), (_erred(attempt=4), 5), (_erred(max_attempts=2), 2), (_erred(final=True), 5)]
)
def test_a_step_that_fails_keeps_how_many_attempts_it_has(op: Op, most: int) -> None:
    step = only(_save(op), SaveStep).step

    assert step.details == b'{"max_attempts":%d}' % most


def test_a_result_after_errors_keeps_how_many_attempts_there_were() -> None:
    failed = only(_save(_erred(max_attempts=2)), SaveStep).step

    step = only(_save(_ran(attempt=1), leased(steps=[failed])), SaveStep).step

    assert (step.status, step.attempt, step.details) == (StepStatus.COMPLETED, 1, b'{"max_attempts":2}')


def test_a_result_at_the_first_attempt_says_nothing_of_attempts() -> None:
    assert only(_save(_ran(max_attempts=2)), SaveStep).step.details is None


def test_a_requested_retry_is_kept_between_one_second_and_one_day() -> None:
    for requested, due in ((NOW - 5, NOW + 1000), (NOW + 7000, NOW + 7000), (NOW + 9 * _DAY_MS, NOW + _DAY_MS)):
        assert only(_save(_erred(retry_at=requested)), SaveStep).step.due == due


def test_an_output_that_is_too_large_fails_the_attempt() -> None:
    step = only(_save(_ran(output=b"x" * (STEP_BYTES_MAX + 1))), SaveStep).step

    assert step.status == StepStatus.ERRORED
    assert b"output_too_large" in (step.output or b"")


def test_the_step_after_the_last_allowed_one_fails_the_run() -> None:
    steps = [
        Step(run_id="r1", id=str(n), name="s", kind="run", status=StepStatus.COMPLETED, ended_at=NOW)
        for n in range(STEPS_PER_RUN_MAX)
    ]

    decision = _save(_ran("one-more"), leased(steps=steps))

    assert b"InngestErrFunctionOverflowed" in only(decision, FinishRun).output


def test_an_answer_with_more_ops_than_a_run_may_have_fails_the_run() -> None:
    decision = _suspend(*(_sleep(duration_ms=1) for _ in range(OPS_PER_ANSWER_MAX + 1)))

    assert b"InngestErrFunctionOverflowed" in only(decision, FinishRun).output


def test_a_step_that_is_reported_again_is_ignored() -> None:
    known = Step(run_id="r1", id="z", name="z", kind="sleep", status=StepStatus.SLEEPING, due=NOW + 3000)

    decision = _suspend(_sleep(duration_ms=9000), of=leased(steps=[known]))

    assert kinds(decision) == ["Park"]


def test_an_answer_with_nothing_in_it_and_nothing_open_leads_to_another_call() -> None:
    assert only(_suspend(), Park).at == NOW


def test_a_run_that_only_waits_for_others_is_owed_its_timeout() -> None:
    assert only(_suspend(_wait(timeout_ms=1000)), Park).at == NOW + 1000


def test_an_invoked_run_starts_in_the_decision_that_opens_the_step() -> None:
    child = function("child", trigger=None)
    op = Invoke(id="i", name="i", repeat=0, function_id="shop-child", data=b'{"n":1}')

    decision = _suspend(op, fns=(child,))

    created = only(decision, CreateRun).run
    assert (created.parent, created.parent_step, created.depth) == ("r1", "i", 1)
    assert created.id.encode() in (only(decision, SaveStep).step.details or b"")


def test_whom_a_step_invokes_is_looked_up_when_it_is_decided() -> None:
    """A decision that has to be made again, because functions were changed, is made with those that there are then."""
    op = Invoke(id="i", name="i", repeat=0, function_id="shop-child")
    of = leased()
    work = progress.save(of, op, of.position, Moment(NOW, lambda _: "id"))
    assert not isinstance(work, Decision)

    there = decide(work(draft(function(), function("child", trigger=None))))
    gone = decide(work(draft(function())))

    assert only(there, SaveStep).step.status == StepStatus.INVOKING
    assert only(gone, SaveStep).step.status == StepStatus.FAILED


def test_an_invoke_of_an_unknown_function_fails_the_step_at_once() -> None:
    decision = _suspend(Invoke(id="i", name="i", repeat=0, function_id="shop-none"))

    assert only(decision, SaveStep).step.status == StepStatus.FAILED
    assert only(decision, Park).at == NOW


def test_the_end_of_a_run_tells_the_parent_in_the_same_decision() -> None:
    child = run(parent="p1", parent_step="i")
    for plan, status in (
        (lambda d, of: progress.complete(d, of, b"42"), StepStatus.COMPLETED),
        (
            lambda d, of: progress.fail(d, of, Failure("E", "m"), final=True, requested_at=None, started_at=0),
            StepStatus.FAILED,
        ),
    ):
        decision = decide(plan(draft(function()), leased(child)))

        assert (only(decision, SettleStep).run_id, only(decision, SettleStep).status) == ("p1", status)
        assert only(decision, Wake).item_id == "p1"
        assert decision.result.touched == ("p1",)


def test_a_function_that_raises_is_called_again_with_the_next_attempt() -> None:
    plan = progress.fail(
        draft(function()), leased(attempt=1), Failure("E", "m"), final=False, requested_at=None, started_at=0
    )

    decision = decide(plan)

    park = only(decision, Park)
    assert (park.attempt, park.at) == (2, NOW + 30_000)


def test_a_function_out_of_attempts_fails_with_its_own_error() -> None:
    for attempt, final in ((4, False), (0, True)):
        plan = progress.fail(
            draft(function()),
            leased(attempt=attempt),
            Failure("E", "m", "trace"),
            final=final,
            requested_at=None,
            started_at=0,
        )

        decision = decide(plan)

        assert only(decision, FinishRun).status == RunStatus.FAILED
        assert b"trace" in only(decision, FinishRun).output
        assert "SaveEvent" in kinds(decision)


def test_every_way_out_of_a_call_frees_its_slots_and_lets_the_next_go() -> None:
    holder = run(slots=("fn/shop-bill",))
    ways = (
        progress.complete(draft(function()), leased(holder), b"1"),
        progress.suspend(draft(function()), leased(holder), [_sleep(duration_ms=5000)]),
        progress.fail(
            draft(function()), leased(holder), Failure("E", "m"), final=False, requested_at=None, started_at=0
        ),
        progress.fail(
            draft(function()), leased(holder), Failure("E", "m"), final=True, requested_at=None, started_at=0
        ),
    )
    for plan in ways:
        decision = decide(plan)

        assert only(decision, FreeSlots).holder == "r1"
        assert only(decision, Release).backlog == "fn/shop-bill"


def test_time_passing_in_a_live_call_settles_what_is_over_and_only_that() -> None:
    over = Step(run_id="r1", id="a", name="a", kind="sleep", status=StepStatus.SLEEPING, due=NOW)
    later = Step(run_id="r1", id="b", name="b", kind="sleep", status=StepStatus.SLEEPING, due=NOW + 1)

    decision = decide(progress.elapse(draft(function()), leased(steps=[over, later])), {GetSteps: [over, later]})

    assert only(decision, SettleStep).step_id == "a"
    assert [step.id for step in decision.result.value[0]] == ["a"]


def test_a_step_that_failed_again_while_its_moment_came_is_not_tried_too_early() -> None:
    """The call knows only of its failure before: what it has just reported is on its way to the disk."""
    known = Step(run_id="r1", id="a", name="a", kind="run", status=StepStatus.ERRORED, attempt=0, due=NOW)
    again = msgspec.structs.replace(known, attempt=1, due=NOW + 5_000)

    still = decide(progress.elapse(draft(function()), leased(steps=[known])), {GetSteps: [known]})
    failed = decide(progress.elapse(draft(function()), leased(steps=[known])), {GetSteps: [again]})

    assert still.result.value == ([known], [])
    assert failed.result.value == ([], [again])


def test_a_call_gets_the_slots_that_are_free_for_its_branches_and_gives_them_all_back() -> None:
    fn = function(controls=(Concurrency(5),))
    of = leased(run(slots=("fn/shop-bill",)), fn=fn)

    granted = decide(progress.widen(draft(fn), of, 9), {CountSlots: 3})
    of.width += granted.result.value
    ended = decide(progress.complete(draft(fn), of, b"1"))

    assert [change.holder for change in granted.changes if isinstance(change, TakeSlots)] == ["r1/1", "r1/2"]
    assert only(ended, Release).count == 3
