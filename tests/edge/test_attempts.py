"""What a trace tells of attempts (semantics §4.3, ADR 0013): most of it is derived, so most of it is tested here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from rich.console import Console

from stepwell.cli.tree import trace_tree
from stepwell.model.run import Run, RunStatus
from stepwell.model.step import Attempt, Step, StepStatus
from stepwell.protocol.messages import Executing
from stepwell.views.nouns import run_view
from stepwell.views.trace import (
    AttemptView,
    StepView,
    TraceView,
    own_attempts,
    step_attempts,
    step_view,
    with_running,
)
from stepwell.views.wording import clock_time, nth_attempt, parse_moment, size

NOW = 1_700_000_000_000
ERROR = b'{"name":"OSError","message":"no line"}'


def run(**more: Any) -> Run:
    given: dict[str, Any] = {
        "id": "r1",
        "function_id": "shop-bill",
        "function_version": 1,
        "status": RunStatus.RUNNING,
        "event_id": "e1",
        "queued_at": NOW,
        "scheduled_at": NOW,
        "started_at": NOW,
    }
    return Run(**{**given, **more})


def step(**more: Any) -> Step:
    given: dict[str, Any] = {
        "run_id": "r1",
        "id": "s1",
        "name": "charge",
        "kind": "run",
        "status": StepStatus.COMPLETED,
        "started_at": NOW,
        "ended_at": NOW + 40,
        "output": b"12",
    }
    return Step(**{**given, **more})


def errored(**more: Any) -> Step:
    open_step: dict[str, Any] = {"status": StepStatus.ERRORED, "ended_at": None, "output": ERROR}
    return step(**{**open_step, "details": b'{"max_attempts":5}', **more})


def tried(attempt: int, started_at: int, *, retry_at: int | None = None, step_id: str = "s1") -> Attempt:
    return Attempt(
        run_id="r1",
        step_id=step_id,
        attempt=attempt,
        started_at=started_at,
        ended_at=started_at + 10,
        error=ERROR,
        retry_at=retry_at,
    )


def times(view: AttemptView) -> tuple[int, int, int | None]:
    """Queued, started, ended: in milliseconds from ``NOW``."""
    ended = None if view.ended_at is None else parse_moment(view.ended_at) - NOW
    return parse_moment(view.queued_at) - NOW, parse_moment(view.started_at) - NOW, ended


def shown(of: Step, *failed: Attempt) -> StepView:
    return step_view(of, failed, None, None, outputs=True)


def drawn(steps: Sequence[StepView] = (), own: Sequence[AttemptView] = (), most: int | None = 5) -> list[str]:
    """The lines below the heading, for a run that is looked at 9 seconds after it began."""
    trace = TraceView(
        run=run_view(run(), None),
        steps=list(steps),
        max_attempts=most,
        attempts=list(own),
        waits=[],
        notes=[],
        due=None,
        executing=False,
    )
    console = Console(width=200, markup=False, emoji=False)
    with console.capture() as captured:
        console.print(trace_tree(trace, NOW + 9_000))
    return [line.rstrip() for line in captured.get().splitlines()[3:]]


def test_a_result_at_the_first_attempt_is_an_attempt_of_its_own() -> None:
    (attempt,) = step_attempts(step(), [])

    assert (attempt.attempt, attempt.status, attempt.output_bytes) == (0, "COMPLETED", 2)
    assert times(attempt) == (0, 0, 40)
    assert (attempt.error, attempt.retry_at) == (None, None)


def test_a_later_attempt_was_queued_when_the_one_before_it_asked_for_it() -> None:
    failed = [tried(0, NOW, retry_at=NOW + 100), tried(1, NOW + 150, retry_at=NOW + 300)]

    attempts = step_attempts(step(attempt=2, started_at=NOW + 301, ended_at=NOW + 310), failed)

    assert [(each.attempt, each.status) for each in attempts] == [(0, "ERRORED"), (1, "ERRORED"), (2, "COMPLETED")]
    assert [times(each) for each in attempts] == [(0, 0, 10), (100, 150, 160), (300, 301, 310)]


def test_the_attempt_after_which_nothing_is_tried_has_failed() -> None:
    failed = [tried(0, NOW, retry_at=NOW + 100), tried(1, NOW + 100)]

    attempts = step_attempts(step(status=StepStatus.FAILED, attempt=1, output=ERROR), failed)

    assert [(each.status, each.output_bytes) for each in attempts] == [("ERRORED", 0), ("FAILED", 0)]
    assert attempts[1].error is not None and attempts[1].error.message == "no line"


def test_no_attempt_began_before_it_was_queued_whatever_clock_told_its_beginning() -> None:
    attempts = step_attempts(step(attempt=1, started_at=NOW + 90), [tried(0, NOW, retry_at=NOW + 100)])

    assert times(attempts[1])[:2] == (90, 90)


@pytest.mark.parametrize("kind", ["sleep", "waitForEvent", "invoke"])
def test_a_step_without_a_body_has_no_attempts(kind: str) -> None:
    assert step_attempts(step(kind=kind), []) == []


@pytest.mark.parametrize("kind", ["run", "sendEvent", "aiWrap"])
def test_a_step_with_a_body_has_attempts(kind: str) -> None:
    assert [each.status for each in step_attempts(step(kind=kind), [])] == ["COMPLETED"]


def test_a_step_that_was_tried_again_began_when_it_was_first_tried() -> None:
    view = shown(step(attempt=1, started_at=NOW + 100), tried(0, NOW, retry_at=NOW + 100))

    assert parse_moment(view.started_at) == NOW


@pytest.mark.parametrize(
    ("details", "most"), [(None, None), (b'{"max_attempts":5}', 5), (b'{"event":"paid","expires_at":7}', None)]
)
def test_a_step_has_as_many_attempts_as_were_in_force_when_it_failed(details: bytes | None, most: int | None) -> None:
    assert shown(step(details=details)).max_attempts == most


def test_a_body_that_executes_is_an_attempt_that_has_not_ended() -> None:
    body = Executing("mail", 0, "run", 0, NOW + 5)

    (view,) = with_running([], {"s2": body})

    assert [(each.attempt, each.status) for each in view.attempts] == [(0, "RUNNING")]
    assert times(view.attempts[0]) == (5, 5, None)
    assert view.max_attempts is None


def test_a_retry_that_executes_follows_the_attempts_that_failed() -> None:
    open_step = shown(errored(attempt=1, due=NOW + 100), tried(0, NOW, retry_at=NOW + 100))

    (view,) = with_running([open_step], {"s1": Executing("charge", 0, "run", 1, NOW + 250)})

    assert [(each.attempt, each.status) for each in view.attempts] == [(0, "ERRORED"), (1, "RUNNING")]
    assert times(view.attempts[1]) == (100, 250, None)
    assert (view.status, view.max_attempts) == ("RUNNING", 5)


def test_a_result_that_came_meanwhile_is_not_shown_as_executing() -> None:
    (view,) = with_running([shown(step())], {"s1": Executing("charge", 0, "run", 0, NOW)})

    assert [each.status for each in view.attempts] == ["COMPLETED"]


def test_the_first_attempt_of_the_functions_own_code_was_queued_when_the_run_was_to_start() -> None:
    late = run(queued_at=NOW, scheduled_at=NOW + 1_000)
    attempts = [
        tried(0, NOW + 4_000, retry_at=NOW + 5_000, step_id=""),
        tried(1, NOW + 5_200, step_id=""),
    ]

    views = own_attempts(late, [], attempts)

    assert [times(each)[:2] for each in views] == [(1_000, 4_000), (5_000, 5_200)]
    assert [each.status for each in views] == ["ERRORED", "FAILED"]


def test_code_after_a_rest_was_queued_when_the_rest_was_over_although_it_counts_from_0_again() -> None:
    rest = step(kind="sleep", ended_at=NOW + 60_000)
    attempts = [tried(0, NOW, retry_at=NOW + 1_000, step_id=""), tried(0, NOW + 60_500, step_id="")]

    assert [times(each)[:2] for each in own_attempts(run(), [rest], attempts)] == [(0, 0), (60_000, 60_500)]


def test_code_that_goes_on_for_the_sake_of_a_steps_retry_was_queued_at_that_moment() -> None:
    attempts = [tried(0, NOW, retry_at=NOW + 15_000), tried(0, NOW + 15_200, step_id="")]

    (view,) = own_attempts(run(), [errored(attempt=1, due=NOW + 15_000)], attempts)

    assert times(view)[:2] == (15_000, 15_200)


def test_what_failed_is_told_as_attempts_out_of_so_many() -> None:
    failed = [tried(0, NOW, retry_at=NOW + 100), tried(1, NOW + 100, retry_at=NOW + 200)]
    after = step(attempt=2, started_at=NOW + 200, ended_at=NOW + 240, details=b'{"max_attempts":5}')

    clock = clock_time(NOW, NOW, None)
    assert drawn([shown(after, *failed)]) == [
        "└── ✓ charge  240 ms  attempt 3 of 5  +0 ms",
        f"    ├── ✗ attempt 1 of 5  {clock}  10 ms  OSError: no line",
        f"    ├── ✗ attempt 2 of 5  {clock}  10 ms  the same",
        f"    └── ✓ attempt 3 of 5  {clock}  40 ms",
    ]


def test_a_step_that_is_to_be_tried_again_says_which_attempt_comes_when() -> None:
    view = shown(errored(attempt=1, due=NOW + 15_000), tried(0, NOW, retry_at=NOW + 15_000))

    assert drawn([view])[0].startswith("└── ↻ charge  attempt 2 of 5 at ")


def test_a_step_that_was_cut_off_says_before_which_attempt() -> None:
    view = step_view(errored(attempt=1, due=NOW + 15_000), [], None, NOW + 3_000, outputs=False)

    assert drawn([view]) == ["└── ■ charge  3.00 s  cancelled before attempt 2 of 5  +0 ms"]


def test_a_step_that_never_failed_has_one_line_and_no_word_of_attempts() -> None:
    assert drawn([shown(step())]) == ["└── ✓ charge  40 ms  +0 ms"]


@pytest.mark.parametrize(("started_at", "told"), [(NOW + 199, ""), (NOW + 200, "  queued for 100 ms")])
def test_an_attempt_that_began_late_says_how_long_it_was_queued(started_at: int, told: str) -> None:
    last = step(attempt=1, started_at=started_at, ended_at=started_at, details=b'{"max_attempts":2}')

    line = drawn([shown(last, tried(0, NOW, retry_at=NOW + 100))])[-1]

    assert line.endswith(f"  0 ms{told}")


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"output": b"x" * 1023}, ""),
        ({"output": b"x" * 12_595}, "  12.3 KiB"),
        ({"output": b"x" * 2048, "kind": "waitForEvent", "details": b'{"event":"paid"}'}, "  got paid  2.0 KiB"),
        ({"output": b"x" * 2048, "status": StepStatus.TIMED_OUT}, ""),
    ],
)
def test_a_large_output_is_told_by_its_size(more: dict[str, Any], told: str) -> None:
    assert drawn([shown(step(**more))])[0].endswith(f"charge  40 ms{told}  +0 ms")


@pytest.mark.parametrize(("most", "told"), [(5, "attempt 1 of 5"), (None, "attempt 1")])
def test_the_functions_own_attempts_are_counted_out_of_what_is_registered(most: int | None, told: str) -> None:
    own = own_attempts(run(), [], [tried(0, NOW, retry_at=NOW + 10_000, step_id="")])

    (line,) = drawn(own=own, most=most)

    assert line.startswith(f"└── ✗ function's own code, {told}  ") and line.endswith("  10 ms  OSError: no line")


@pytest.mark.parametrize(
    ("attempt", "most", "told"), [(0, 1, "attempt 1 of 1"), (1, 5, "attempt 2 of 5"), (4, 3, "attempt 5")]
)
def test_nobody_is_told_of_attempt_5_of_3(attempt: int, most: int, told: str) -> None:
    """The function may have been registered with fewer retries since then."""
    assert nth_attempt(attempt, most) == told


@pytest.mark.parametrize(
    ("number", "told"),
    [(1, "1 byte"), (1023, "1,023 bytes"), (1024, "1.0 KiB"), (12_595, "12.3 KiB"), (3 * 2**20, "3.0 MiB")],
)
def test_sizes_are_told_in_about_three_digits(number: int, told: str) -> None:
    assert size(number) == told


def test_names_on_the_wire_are_in_lower_camel_case() -> None:
    (attempt,) = msgspec.to_builtins(step_attempts(step(), []))

    assert list(attempt) == [
        "attempt",
        "status",
        "queuedAt",
        "startedAt",
        "endedAt",
        "outputBytes",
        "error",
        "retryAt",
    ]
