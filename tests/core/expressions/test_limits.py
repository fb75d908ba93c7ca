"""Neither a text nor an event can make an expression run long (invariant S31)."""

from __future__ import annotations

import time
from typing import Any

import pytest

from stepwell import limits
from stepwell.errors import InvalidExpression
from stepwell.expressions import EvaluationError, compile_expression


def evaluate(expression: str, /, **data: Any) -> Any:
    return compile_expression(expression).evaluate({"event": {"data": data}})


@pytest.mark.parametrize("char", ["x", "é"])
def test_an_expression_has_a_length(char: str):
    most = limits.EXPRESSION_BYTES_MAX - 2
    fitting = '"' + char * (most // len(char.encode())) + '"'

    compile_expression(fitting)
    with pytest.raises(InvalidExpression, match="bytes long"):
        compile_expression(fitting + "  ")


def test_an_expression_has_a_number_of_parts():
    terms = (limits.EXPRESSION_NODES_MAX + 1) // 2  # n terms and n-1 operators

    compile_expression("||".join(["1"] * terms))
    with pytest.raises(InvalidExpression, match="parts"):
        compile_expression("||".join(["1"] * (terms + 1)))


@pytest.mark.parametrize(
    ("opening", "middle", "closing"),
    [
        ("(", "1", ")"),
        ("[", "1", "]"),
        ("{1:", "1", "}"),
        ("!", "1", ""),
        ("- ", "event", ""),
        ("size(", "event", ")"),
        ("1+", "1", ""),
        ("1?", "1", ":1"),
        ("1?1:", "1", ""),
        ("", "event", ".a"),
        ("", "event", "[0]"),
        ("1==", "1", ""),
        ("true&&(", "true", ")"),
    ],
)
def test_an_expression_has_a_depth(opening: str, middle: str, closing: str):
    most = limits.EXPRESSION_DEPTH_MAX

    compile_expression(opening * (most // 2 - 1) + middle + closing * (most // 2 - 1))
    with pytest.raises(InvalidExpression, match="levels deep"):
        compile_expression(opening * (most + 1) + middle + closing * (most + 1))
    with pytest.raises(InvalidExpression):
        compile_expression(opening * 1_000 + middle + closing * 1_000)


def test_a_chain_of_conditions_does_not_nest():
    text = " && ".join(f"event.data.a != {number}" for number in range(150))

    assert compile_expression(text).matches({"event": {"data": {"a": -1}}})


@pytest.mark.parametrize(
    "text",
    [
        "list.all(a, list.all(b, list.all(c, true)))",
        "list.map(a, list.map(b, a * b))",
        "list.exists(a, list == other)",
        "list.exists(a, text == same)",
        "list.exists(a, text + 'x' == '')",
        "list.exists(a, lowercase(text) == '')",
        "list.exists(a, text.contains('b'))",
        "list.exists(a, 'b' in list)",
        "list.exists(a, text.matches('b'))",
        "list.exists(a, ''.matches('a{900}' + string(a) + 'a'))",
        "list.exists(a, size(json_parse(text)) > 0)",
        "text.matches('(x+x+)+y')",
        "[text].map(a, a + a)" + ".map(a, a + a)" * 20,
        " + ".join(["text"] * 40),
        "list" + ".map(a, list)" + ".filter(a, a == other)",
    ],
)
def test_the_work_of_an_evaluation_is_bounded(text: str):
    for name in ("list", "other", "text", "same"):
        text = text.replace(name, f"event.data.{name}")
    data = {
        "list": list(range(5_000)),
        "other": [*range(4_999), -1],
        "text": "x" * 400_000,
        "same": "x" * 399_999 + "y",
    }
    started = time.perf_counter()

    with pytest.raises(EvaluationError, match="too much work"):
        evaluate(text, **data)

    assert time.perf_counter() - started < 1  # it is some 10 ms; a missing bound is minutes


def test_running_out_of_steps_is_not_a_failure_to_be_passed_over():
    with pytest.raises(EvaluationError, match="too much work"):
        evaluate("event.data.list.exists(a, event.data.list.all(b, true) && false)", list=list(range(5_000)))


def test_an_ordinary_loop_over_a_large_event_is_within_the_bound():
    assert evaluate("event.data.items.exists(i, i.id == 'no' && i.n > 3)", items=[{"id": "x"}] * 5_000) is False


def test_deep_data_is_an_error_and_not_a_crash():
    deep: Any = 1
    for _ in range(2_000):
        deep = [deep]
    twin: Any = 1
    for _ in range(2_000):
        twin = [twin]

    with pytest.raises(EvaluationError, match="deep"):
        evaluate("event.data.a == event.data.b", a=deep, b=twin)
    with pytest.raises(EvaluationError, match="deep"):
        compile_expression("event.data.a == async.data.a", variables=("event", "async")).bind({"data": {"a": deep}})
    assert compile_expression("event.data.a").key_result({"event": {"data": {"a": deep}}}).failed


def test_an_event_cannot_make_a_condition_deeper_than_it_may_be():
    data: Any = 1
    for _ in range(limits.EXPRESSION_DEPTH_MAX - 5):
        data = [data]
    expression = compile_expression("!" * 10 + "(async.data.a == event.data.a)", variables=("event", "async"))

    with pytest.raises(EvaluationError, match="deep"):
        expression.bind({"data": {"a": data}})


def test_numbers_without_end_are_errors_or_text_of_bounded_cost():
    huge = 10**100_000

    with pytest.raises(EvaluationError):
        evaluate("event.data.n * 1.5", n=huge)
    assert compile_expression("event.data.n").key_result({"event": {"data": {"n": huge}}}).text.startswith("0x")
    with pytest.raises(EvaluationError, match="longer"):
        compile_expression("event.data.n == async.data.n", variables=("event", "async")).bind({"data": {"n": huge}})


def test_a_text_that_is_no_expression_is_refused_quickly():
    started = time.perf_counter()
    for text in (
        '"' + "\\a" * 2_000,
        "'" + "a" * 4_000,
        '"""' + '"' * 4_000,
        "1." * 2_000,
        "a" * 4_000,
        "a.b(" * 1_000,
    ):
        with pytest.raises(InvalidExpression):
            compile_expression(text)

    assert time.perf_counter() - started < 1
