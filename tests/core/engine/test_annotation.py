"""What is said about a run, as decisions (semantics §5.10, ADR 0018)."""

from __future__ import annotations

import pytest

from stepwell.engine.annotation import annotate
from stepwell.engine.progress import report
from stepwell.limits import METADATA_BYTES_MAX, METADATA_PER_RUN_MAX
from stepwell.model.changes import Decision, FinishRun, Retry, SaveMetadata, SaveNote, SaveStep
from stepwell.model.metadata import Entry, Metadata
from stepwell.model.questions import GetMetadata, GetSteps
from stepwell.model.step import Step, StepStatus
from stepwell.ops import Annotated, StepRun
from tests.core.engine.plans import NOW, Answers, decide, draft, function, leased, only, run

RAN = StepRun(id="s1", name="load", repeat=0, kind="run", output=b"1", attempt=0, started_at=NOW, ended_at=NOW)


def entry(kind: str = "a", values: bytes = b'{"n":1}', **more: object) -> Entry:
    return Entry(kind=kind, values=values, **more)  # type: ignore[arg-type]


def known(kind: str = "a", values: bytes = b'{"n":1}', step_id: str = "") -> Metadata:
    return Metadata(run_id="r1", kind=kind, values=values, updated_at=1, step_id=step_id)


def said(*entries: Entry, before: tuple[Metadata, ...] = (), steps: tuple[Step, ...] = ()) -> Decision:
    answers: Answers = {GetMetadata: list(before), GetSteps: list(steps)}
    return decide(annotate(draft(), run(), entries), answers)


def kept(decision: Decision) -> list[tuple[str, str, bytes]]:
    found = [change.metadata for change in decision.changes if isinstance(change, SaveMetadata)]
    return [(one.step_id, one.kind, one.values) for one in found]


def test_it_takes_the_place_of_what_was_said_or_is_merged_into_it() -> None:
    assert kept(said(entry(values=b'{"m":2}'), before=(known(),))) == [("", "a", b'{"m":2}')]
    assert kept(said(entry(values=b'{"m":2}', merge=True), before=(known(),))) == [("", "a", b'{"n":1,"m":2}')]
    assert kept(said(entry(merge=True), entry(values=b'{"m":2}', merge=True))) == [("", "a", b'{"n":1,"m":2}')]


def test_a_step_is_meant_by_its_id_or_by_its_name_and_turn() -> None:
    steps = tuple(
        Step(run_id="r1", id=f"s{turn}", name="load", kind="run", status=StepStatus.COMPLETED, repeat=turn)
        for turn in range(2)
    )
    for meant, found in (("s1", "s1"), ("load", "s0"), ("later", "later")):
        assert kept(said(entry(step_id=meant), steps=steps)) == [(found, "a", b'{"n":1}')]
    assert kept(said(entry(step_id="load", repeat=1), steps=steps)) == [("s1", "a", b'{"n":1}')]


@pytest.mark.parametrize(
    "too_much",
    [
        (entry(values=b'{"n":"%b"}' % (b"x" * METADATA_BYTES_MAX)),),
        tuple(entry(f"k{number}", b"{}") for number in range(METADATA_PER_RUN_MAX + 1)),
        tuple(entry(f"k{number}", b'{"n":"%b"}' % (b"x" * 60_000)) for number in range(18)),
    ],
)
def test_beyond_its_limits_nothing_of_a_request_is_kept(too_much: tuple[Entry, ...]) -> None:
    decision = said(entry("small"), *too_much)

    assert decision.changes == ()
    assert "the limit is" in decision.result.value


def test_merging_is_bounded_too() -> None:
    half = b'{"%b":"' + b"x" * (METADATA_BYTES_MAX // 2) + b'"}'

    assert said(entry(values=half % b"m", merge=True), before=(known(values=half % b"n"),)).changes == ()


def test_what_comes_with_a_step_is_kept_with_it_and_what_cannot_be_kept_is_noted() -> None:
    large = entry("large", b'{"n":"%b"}' % (b"x" * METADATA_BYTES_MAX))
    op = Annotated(RAN, (large, entry(step_id="s1")))

    decision = decide(report(draft(function()), leased(attempt=1), (op,)), {GetMetadata: []})

    assert only(decision, SaveStep).step.output == b"1"
    assert kept(decision) == [("s1", "a", b'{"n":1}')]
    assert "'large'" in only(decision, SaveNote).note.text
    assert only(decision, Retry).attempt == 0  # the step is a result as any other
    assert not any(isinstance(change, FinishRun) for change in decision.changes)


def test_what_nobody_can_read_is_noted() -> None:
    decision = decide(report(draft(function()), leased(), (Annotated(RAN, problem="so"),)))

    assert only(decision, SaveNote).note.text == "metadata is not kept: so"
