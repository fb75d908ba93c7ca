"""What a run puts off until its end, as decisions (semantics §5.11, ADR 0017)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stepwell.engine.ending import cancel
from stepwell.engine.intake import announce
from stepwell.engine.leased import Leased
from stepwell.engine.progress import complete, report, save, suspend
from stepwell.limits import DEFER_BYTES_MAX, DEFER_META_BYTES_MAX, DEFERS_PER_RUN_MAX
from stepwell.model.changes import (
    CreateRun,
    Decision,
    FinishRun,
    Park,
    Plan,
    Retry,
    SaveEvent,
    SaveNote,
    SaveStep,
    SettleStep,
)
from stepwell.model.questions import GetEvent, GetRun, OpenSteps
from stepwell.model.step import Step, StepStatus
from stepwell.ops import DeferAbort, DeferAdd, Op, Sleep
from stepwell.ops.defer import row_id
from tests.core.engine.plans import decide, draft, event, function, leased, only, run

MAIL = function("mail", trigger=None)
DATA = b'{"to":"ada"}'


def add(name: str = "mail", **more: Any) -> DeferAdd:
    return DeferAdd(**{"id": name, "name": name, "function_id": "shop-mail", "data": DATA, **more})


def abort(target: str = "mail") -> DeferAbort:
    return DeferAbort(id=f"{target}:abort", name=target, target=target, function_id="shop-mail")


def reported(*ops: Op, of: Leased | None = None) -> Decision:
    return decide(report(draft(function()), of or leased(), ops))


def saved(decision: Decision) -> list[Step]:
    return [change.step for change in decision.changes if isinstance(change, SaveStep)]


def knowing(decision: Decision, **more: Any) -> Leased:
    """The holder of a lease who has heard of what was decided."""
    holder = leased(**more)
    for step in saved(decision):
        holder.gain(step)
    return holder


def test_what_is_put_off_is_remembered_beside_the_steps() -> None:
    decision = reported(add())

    (step,) = saved(decision)
    assert (step.id, step.kind, step.status) == (row_id("mail"), "defer", StepStatus.DEFERRED)
    assert step.output == DATA
    holder = knowing(decision, attempt=2)
    assert (holder.steps, list(holder.defers), holder.attempt) == ({}, [step.id], 2)
    assert (holder.steps_besides(""), holder.state_bytes, holder.position) == (0, 0, 1)


def test_said_again_it_changes_nothing() -> None:
    assert saved(reported(add(data=b"{}"), of=knowing(reported(add())))) == []
    assert len(saved(reported(add(), add()))) == 1


def test_what_is_aborted_stays_aborted() -> None:
    aborted = knowing(reported(add()))
    decision = reported(abort(), of=aborted)

    (step,) = saved(decision)
    assert (step.id, step.status, step.output) == (row_id("mail"), StepStatus.ABORTED, None)
    aborted.gain(step)
    assert saved(reported(add(), of=aborted)) == []
    assert saved(reported(abort(), of=aborted)) == []


def test_what_is_aborted_before_it_is_known_is_not_put_off_later() -> None:
    assert [step.status for step in saved(reported(abort(), add()))] == [StepStatus.ABORTED]


@pytest.mark.parametrize(
    ("op", "word"),
    [
        (add(problem="its data is no JSON object"), "no JSON object"),
        (add(data=b'{"a":"' + b"x" * DEFER_BYTES_MAX + b'"}'), "bytes; the limit"),
        (add(meta=b"x" * (DEFER_META_BYTES_MAX + 1)), "its meta"),
    ],
)
def test_what_cannot_be_put_off_is_noted_and_fails_nothing(op: DeferAdd, word: str) -> None:
    decision = reported(op)

    (step,) = saved(decision)
    assert (step.status, step.output) == (StepStatus.REJECTED, None)
    assert word in only(decision, SaveNote).note.text
    assert not any(isinstance(change, FinishRun) for change in decision.changes)
    assert saved(reported(op, of=knowing(decision))) == []


def test_all_data_together_is_bounded() -> None:
    half = b'{"a":"' + b"x" * (DEFER_BYTES_MAX // 2) + b'"}'

    first, second = saved(reported(add("a", data=half), add("b", data=half)))

    assert (first.status, second.status) == (StepStatus.DEFERRED, StepStatus.REJECTED)


def test_a_run_puts_off_so_many_and_what_is_refused_is_not_remembered_for_ever() -> None:
    steps = saved(reported(*(add(f"mail {n}") for n in range(100))))

    assert [step.status for step in steps].count(StepStatus.DEFERRED) == DEFERS_PER_RUN_MAX
    assert len(steps) == 2 * DEFERS_PER_RUN_MAX


def test_it_is_no_progress_of_the_code_and_no_reason_to_rest() -> None:
    decision = decide(report(draft(function()), leased(attempt=2), (add(), abort())))
    assert not any(isinstance(change, Retry) for change in decision.changes)
    work = save(leased(attempt=2), abort(), 1, draft().moment)
    assert callable(work)
    assert not any(isinstance(change, Retry) for change in decide(work(draft())).changes)

    alone = decide(suspend(draft(function()), leased(), (add(),)))
    beside = decide(suspend(draft(function()), leased(), (add(), Sleep(id="s", name="s", repeat=0, duration_ms=1))))
    holder = knowing(reported(add()))
    resting = decide(suspend(draft(function()), holder, ()))
    now = draft().now
    assert [only(found, Park).at - now for found in (alone, beside, resting)] == [0, 1, 0]


def ended(plan: Plan, *open: Step) -> Decision:
    return decide(plan, {OpenSteps: list(open), GetRun: run(), GetEvent: event()})


def test_the_end_of_the_run_starts_it_in_its_own_transaction() -> None:
    from stepwell.model.trigger import EventTrigger

    mail = function("mail", trigger=None)
    mail = type(mail)(
        id=mail.id,
        app_id="shop",
        name="mail",
        triggers=(EventTrigger("inngest/deferred.schedule", "event.data._inngest.fn_slug == 'shop-mail'"),),
    )
    known = reported(add(meta=b'{"sessions":{"chat":"c1"}}'))
    decision = ended(complete(draft(function(), mail), knowing(known), b"1"), *saved(known))

    found = only(decision, SaveEvent).event
    data = json.loads(found.data)
    routing = data.pop("_inngest")
    assert (found.name, data, found.meta) == ("inngest/deferred.schedule", {"to": "ada"}, b'{"sessions":{"chat":"c1"}}')
    assert routing.pop("parent_app_id") and routing.pop("parent_fn_id")
    assert routing == {"fn_slug": "shop-mail", "parent_fn_slug": "shop-bill", "parent_run_id": "r1"}
    child = only(decision, CreateRun).run
    settled = only(decision, SettleStep)
    assert (settled.step_id, settled.status) == (row_id("mail"), StepStatus.COMPLETED)
    assert json.loads(settled.details)["run_id"] == child.id


def test_a_function_that_nobody_has_is_noted() -> None:
    known = reported(add())
    decision = ended(complete(draft(function()), knowing(known), b"1"), *saved(known))

    assert "shop-mail" in only(decision, SaveNote).note.text


def test_a_run_that_put_nothing_off_is_not_asked() -> None:
    plan = complete(draft(function()), leased(), b"1")
    asked: list[type] = []
    try:
        question = next(plan)
        while True:
            asked.append(type(question))
            question = plan.send([])
    except StopIteration:
        pass

    assert OpenSteps not in asked


@pytest.mark.parametrize("name", ["inngest/function.finished", "inngest/function.failed", "shop/ordered"])
def test_a_run_that_is_cancelled_starts_it_whatever_had_started_the_run(name: str) -> None:
    known = saved(reported(add()))
    work = draft(function(), MAIL)

    def plan() -> Plan:
        yield from cancel(work, "r1", "so")
        yield from announce(work)
        return work.decision()

    decision = decide(plan(), {OpenSteps: known, GetRun: run(), GetEvent: event(name)})

    names = [change.event.name for change in decision.changes if isinstance(change, SaveEvent)]
    assert names == ["inngest/deferred.schedule", *(["inngest/function.cancelled"] if name == "shop/ordered" else [])]


def test_one_that_the_same_answer_puts_off_and_that_ends_the_run_is_started() -> None:
    too_long = Sleep(id="s", name="s", repeat=0, duration_ms=400 * 24 * 3600 * 1000)

    decision = ended(report(draft(function(), MAIL), leased(), (add(), too_long)))

    names = [change.event.name for change in decision.changes if isinstance(change, SaveEvent)]
    assert names == ["inngest/deferred.schedule", "inngest/function.failed"]
