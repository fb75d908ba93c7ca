"""What differs between two runs, and how that is said."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from stepwell.dashboard.comparison import What, aligned, pairs
from stepwell.dashboard.json_diff import GONE, NEW, SAME, json_diff
from stepwell.limits import DIFF_BYTES_MAX, DIFF_LINES_MAX
from stepwell.model.run import Run
from stepwell.model.step import Step, StepStatus

RUN = Run(id="01", function_id="shop-bill", event_id="e", queued_at=0, scheduled_at=0, ended_at=100)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab ", max_size=3),
    lambda each: st.lists(each, max_size=4) | st.dictionaries(st.text("abc", max_size=2), each, max_size=4),
    max_leaves=12,
)


def step(id: str, output: bytes | None = b"1", took: int = 5, **more: Any) -> Step:
    ended = {"status": StepStatus.COMPLETED, "started_at": 10, "ended_at": 10 + took, "output": output}
    return Step(run_id="01", id=id, name=id, kind="run", **ended | more)


def text(value: object) -> bytes:
    return msgspec.json.encode(value)


@given(JSON, JSON)
def test_the_lines_of_each_mark_are_one_of_the_two_texts(before: object, after: object):
    found = json_diff(text(before), text(after))

    ordered = msgspec.json.Encoder(order="sorted").encode
    if found.same:
        assert ordered(before) == ordered(after)
        return
    for mark, value in ((GONE, before), (NEW, after)):
        whole = msgspec.json.format(ordered(value), indent=2).decode().splitlines()
        shown = ["".join(line[1:]) for line in found.lines if line.mark == mark]
        assert [each for each in shown if each not in whole] == []
    assert any(line.mark in (GONE, NEW) for line in found.lines)


def test_the_order_of_members_is_no_difference_and_nor_is_the_comma_after_the_last():
    assert json_diff(b'{"a":1,"b":2}', b'{"b":2,"a":1}').same
    found = json_diff(b'{"a":1}', b'{"a":1,"b":2}')
    assert [(line.mark, "".join(line[1:])) for line in found.lines] == [
        (SAME, "{"),
        (SAME, '  "a": 1'),
        (NEW, '  "b": 2'),
        (SAME, "}"),
    ]


def test_what_changed_within_a_line_is_told():
    found = json_diff(b'{"status": "paid in full"}', b'{"status": "paid in part"}')

    (gone,) = [line for line in found.lines if line.mark == GONE]
    (new,) = [line for line in found.lines if line.mark == NEW]
    assert (gone.before, gone.changed, gone.after) == ('  "status": "paid in ', "full", '"')
    assert new.changed == "part"


def test_what_is_no_json_is_compared_as_text_and_what_is_missing_is_empty():
    assert [line.mark for line in json_diff(b"not json", None).lines] == [GONE]


def test_what_is_too_long_is_not_compared_and_says_so():
    found = json_diff(b'"' + b"x" * DIFF_BYTES_MAX + b'"', b"1")
    assert (found.same, found.more, found.lines) == (False, True, ())
    many = json_diff(text(list(range(DIFF_LINES_MAX * 2))), text([0]))
    assert many.more
    assert len(many.lines) <= DIFF_LINES_MAX


def test_steps_are_beside_their_likes_in_the_order_of_the_first_run():
    left = [step("a"), step("b"), step("c")]
    right = [step("z"), step("a"), step("x"), step("y"), step("c")]

    found = aligned(left, right)

    assert [(a and a.id, b and b.id) for a, b in found] == [
        (None, "z"),
        ("a", "a"),
        (None, "x"),
        (None, "y"),
        ("b", None),
        ("c", "c"),
    ]


@given(st.lists(st.sampled_from("abcdefg"), unique=True), st.lists(st.sampled_from("abcdefg"), unique=True))
def test_each_step_of_both_is_there_once(left: list[str], right: list[str]):
    found = aligned([step(id) for id in left], [step(id) for id in right])

    assert [a.id for a, _ in found if a] == left
    assert sorted(b.id for _, b in found if b) == sorted(right)
    assert all(a is None or b is None or a.id == b.id for a, b in found)


def test_what_is_different_about_a_step_is_said():
    failed = {"status": StepStatus.FAILED}
    left = [
        step("same"),
        step("output"),
        step("state"),
        step("error", b'{"name":"A","message":"x"}', **failed),
        step("gone"),
        step("order", b'{"a":1,"b":2}'),
    ]
    right = [
        step("same", took=9),
        step("output", b"2"),
        step("state", **failed),
        step("error", b'{"name":"A","message":"y"}', **failed),
        step("order", b'{"b":2,"a":1}'),
        step("new"),
    ]

    found = {pair.name: pair for pair in pairs(RUN, left, RUN, right)}

    assert {name: pair.what for name, pair in found.items()} == {
        "same": What.SAME,
        "output": What.OUTPUT,
        "state": What.STATE,
        "error": What.ERROR,
        "gone": What.GONE,
        "order": What.SAME,
        "new": What.NEW,
    }
    assert found["same"].slower == 4
    assert found["gone"].slower is None
