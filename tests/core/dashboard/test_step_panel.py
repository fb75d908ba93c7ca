"""What the panel of a step says: where its time went, how attempts differ, what it was given and gave."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from stepwell.dashboard.pages.step import Try, against, pieces
from stepwell.dashboard.values import answer_in, given_to, sent_by
from stepwell.model.event import INVOKED, Event
from stepwell.model.questions import GetEvent
from stepwell.model.run import Rerun, Run
from stepwell.model.step import Step, StepStatus
from stepwell.views.nouns import ErrorView

ID = "01HF7YAT00000000000000000A"
RUN = Run(id=ID, function_id="shop-bill", event_id=ID, queued_at=0, scheduled_at=0)


def attempt(number: int, queued: int, start: int, end: int | None, message: str = "") -> Try:
    error = ErrorView(name="ValueError", message=message) if message else None
    return Try(number, "ERRORED", queued, start, end, error, None, None)


def step(**more: Any) -> Step:
    return Step(run_id=ID, id="a", name="a", **{"kind": "run", "status": StepStatus.COMPLETED, "ended_at": 9} | more)


class Store:
    async def read(self, question: Any) -> Any:
        if isinstance(question, GetEvent):
            data = b'{"order":1,"_inngest":{"fn_id":"x"}}'
            return Event(id=ID, name=INVOKED, ts=0, received_at=0, data=data)
        return RUN


def test_the_time_of_a_step_is_its_attempts_the_pauses_between_them_and_what_held_them_up():
    found = pieces([attempt(1, 10, 10, 15, "x"), attempt(2, 40, 48, None)], "step", 10, None, 60)

    assert [tuple(each) for each in found] == [
        ("executing", 0, 5),
        ("retrying", 5, 25),
        ("queued", 30, 8),
        ("executing", 38, 12),
    ]


def test_a_clock_that_runs_behind_makes_no_time_less_than_none():
    found = pieces([attempt(1, 10, 10, 15, "x"), attempt(2, 12, 13, 14)], "step", 10, 14, 14)

    assert all(each.length > 0 for each in found)


def test_a_rest_waits_for_all_of_its_time():
    assert [tuple(each) for each in pieces([], "sleep", 10, 30, 99)] == [("waiting", 0, 20)]
    assert pieces([], "deferred", 10, None, 99) == []


def test_attempts_are_compared_with_the_one_before():
    tries = [attempt(1, 0, 0, 1, "no card"), attempt(2, 2, 2, 3, "no card"), attempt(3, 4, 4, 5, "no bank")]

    found = against(tries)

    assert found.keys() == {2, 3}
    assert found[2].same
    assert [line.changed for line in found[3].lines] == ["card", "bank"]


async def test_the_input_of_an_invoke_is_what_its_run_was_started_with():
    given = await given_to(Store(), RUN, step(kind="invoke", details=f'{{"run_id":"{ID}"}}'.encode()))

    assert given is not None
    assert given.text == b'{"order":1}'


async def test_an_input_that_was_recorded_or_replaced_is_told_and_of_others_nobody_knows():
    wrapped = await given_to(Store(), RUN, step(kind="aiWrap", details=b'{"input":[1]}'))
    assert wrapped is not None
    assert wrapped.text == b"[1]"
    again = replace(RUN, rerun=Rerun(from_step="a", input="[2]"))
    replaced = await given_to(Store(), again, step())
    assert replaced is not None
    assert replaced.text == b"[2]"
    assert await given_to(Store(), RUN, step()) is None


@pytest.mark.parametrize("output", [f'["{ID}"]', f'{{"ids":["{ID}"]}}', f'["{ID}", 7, "not an id"]'])
def test_the_events_that_a_step_has_sent_are_found_whatever_its_sdk_calls_them(output: str):
    assert sent_by(step(kind="sendEvent", output=output.encode())) == [ID]


def test_a_response_is_told_apart_from_other_results():
    output = b'{"url":"x","status_code":404,"headers":{"b":"2","a":"1"},"body":"gone"}'
    answer = answer_in(step(kind="fetch", output=output))

    assert answer is not None
    assert (answer.status, list(answer.headers), answer.body) == (404, [("a", "1"), ("b", "2")], b"gone")
    assert answer_in(step(kind="fetch", output=b"7")) is None
    assert answer_in(step(output=output)) is None
