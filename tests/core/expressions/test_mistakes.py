"""Expressions that cannot work are refused when they are declared, and the message shows where."""

from __future__ import annotations

import pytest

from stepwell.errors import InvalidExpression
from stepwell.expressions import compile_expression, match_expression

BOTH = ("event", "async")

MISTAKES = [
    ("event.data.a === 1", 14, "write =="),
    ("event.data.a = 1", 14, "write =="),
    ("event.data.a !== 1", 14, "write !="),
    ("event.data.a & true", 14, "write &&"),
    ("event.data.a ?? 1", 14, "||"),
    ("event.data?.a", 11, "plain dot"),
    ("event.data.a and true", 14, "write &&"),
    ("not event.data.a", 1, "write !"),
    ("event.data.a == None", 17, "write null"),
    ("event.data.a == “x”", 17, "straight quotes"),
    ("event.data.a == $x", 17, ""),
    ("event.data.a ==", 16, ""),
    ("(event.data.a", 14, ""),
    ("event.data.a)", 13, ""),
    ("event.data.a b", 14, ""),
    ("event..a", 7, ""),
    ("event.1", 6, ""),
    ("[1, 2", 6, ""),
    ("[1 2]", 4, ""),
    ("{1}", 3, ""),
    ('"abc', 1, "close it"),
    ('"a\\qb"', 1, "backslash"),
    ('"\\U00110000"', 1, "backslash"),
    ("b'\\u1234'", 1, "backslash"),
    ("12ab", 1, "quotes"),
    ("1e999", 1, ""),
    ("1" * 401, 1, ""),
    ("", 1, ""),
    ("while", 1, ""),
    ("evnt.data.a", 1, "event"),
    ("steps.a.b", 1, "not visible"),
    ("async.data.a", 1, "wait"),
    ("pending == event.data.a", 1, "quotes"),
    ("lowercas(event.data.a)", 1, "lowercase"),
    ("event.data.a.lowercase()", 13, "lowercase(x)"),
    ('contains("a", "b")', 1, "x.contains()"),
    ("size()", 1, ""),
    ("size(1, 2)", 1, ""),
    ("has(1)", 1, "has(event.data.id)"),
    ("has(event)", 1, "has(event.data.id)"),
    ("event.data.a.all(1, true)", 13, "items.all(item"),
    ("event.data.a.map(x)", 13, "items.map(item"),
    ("event.data.a.map(event, true)", 13, "another name"),
    ("event.data.a.map(int, true)", 13, "another name"),
    ("event.data.a.exists(x, y)", 24, ""),
    ("event.data.a.exists(x, true) || x", 33, ""),
    ("{true: 1}", 2, ""),
    ('event.data.a.matches("(")', 13, ""),
    ("event.data.a ==\n  event.data.", 14, ""),
]


@pytest.mark.parametrize(("text", "column", "hint"), MISTAKES)
def test_a_mistake_is_shown_where_it_is_with_what_to_write_instead(text: str, column: int, hint: str):
    with pytest.raises(InvalidExpression) as raised:
        compile_expression(text)

    assert f"column {column}:" in raised.value.why
    assert hint in raised.value.fix
    *_, line, caret = raised.value.why.splitlines()
    assert caret.strip() == "^"
    assert len(caret) <= len(line) + 1


def test_the_message_points_into_the_line_of_the_mistake():
    with pytest.raises(InvalidExpression) as raised:
        compile_expression("event.data.a == 1 &&\nevent.data.b = 2")

    assert str(raised.value) == (
        "invalid expression: = is not part of the language\n"
        "  why: line 2, column 14:\n"
        "    event.data.b = 2\n"
        "                 ^\n"
        "  fix: write == to compare"
    )


def test_a_long_line_is_shown_only_around_the_mistake():
    with pytest.raises(InvalidExpression) as raised:
        compile_expression("true && " * 100 + "? && " + "true && " * 100)

    *_, line, caret = raised.value.why.splitlines()
    assert len(line) < 80
    assert line[len(caret) - 1] == "?"


@pytest.mark.parametrize(
    "text",
    [
        '"text"',
        "1",
        "event.data.a + 1",
        "-event.data.a",
        "[event.data.a]",
        "{}",
        "size(event.data.a)",
        "event.data.a == 1 && 5",
        "1 || 'a'",
        "event.data.a ? 1 : 2",
        "event.data.a.map(x, x)",
        "now()",
        "int",
        "null",
    ],
)
def test_a_condition_that_is_never_true_is_refused(text: str):
    with pytest.raises(InvalidExpression, match="never true"):
        compile_expression(text, boolean=True)


@pytest.mark.parametrize(
    "text",
    [
        "event.data.a",
        "true",
        "false",
        "5 || event.data.a",
        "event.data.a ? 1 : true",
        "!event.data.a",
        "event.data.a.exists(x, x)",
        "has(event.data.a)",
        "event.data.a in [1]",
        "event.data.a[0]",
        "bool(event.data.a)",
    ],
)
def test_a_condition_that_may_be_true_is_accepted(text: str):
    compile_expression(text, boolean=True)


@pytest.mark.parametrize(
    "text",
    [
        "has(event.data.a)",
        "event.data.a.exists(x, x == async.data.a)",
        "event.data.a + 1 == async.data.a",
        "-event.data.a == async.data.a",
        "event.data.a % 2 == 0",
        "size(event.data.a) == 1",
        'event.data.a.startsWith("x")',
        "now() == async.data.a",
    ],
)
def test_a_cancellation_only_compares(text: str):
    compile_expression(text, variables=BOTH)

    with pytest.raises(InvalidExpression, match="cannot be used here"):
        compile_expression(text, variables=BOTH, restricted=True)


@pytest.mark.parametrize(
    "text",
    [
        "event.data.a == async.data.a && async.data.b in ['x', 'y']",
        "int(event.data.a) < double(async.data.a) || uint(async.data.b) == 1u",
        "async.data.a ? async.data.a >= -5 : !async.data.list[0]",
    ],
)
def test_comparisons_and_numbers_are_enough_for_a_cancellation(text: str):
    compile_expression(text, variables=BOTH, restricted=True)


def test_match_compares_one_path_of_both_events():
    assert match_expression("data.id") == "event.data.id == async.data.id"
    assert match_expression("name") == "event.name == async.name"
    assert match_expression("data.order-id") == 'event.data["order-id"] == async.data["order-id"]'


@pytest.mark.parametrize(
    "path", ["", ".", "data.", ".data", "data..id", "data id", "data.id == 1", 'data."x"', "data[0]"]
)
def test_match_is_a_path_and_nothing_else(path: str):
    with pytest.raises(InvalidExpression, match="not a path"):
        match_expression(path)
