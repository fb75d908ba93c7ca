"""Any text is an expression or is refused, and on any events an expression gives a value or an error."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from stepwell.errors import InvalidExpression
from stepwell.expressions import EvaluationError, compile_expression

from .generate import EVENTS, EXPRESSIONS

TOKENS = """
    ( ) [ ] { } . , : ? ! - + * / % && || == != < <= in event async data a x has( .all( .map(x, .exists(x size(
    matches( 1 1.5 1u 0x1 1e9 'a' "b" '''c b'd' r'e true null missing // ?. === google int type( now() \\ é ' "
"""
WORDS = st.sampled_from([*re.findall(r"\S+", TOKENS), "\n", " ", "\ud800", "\x00"])
SOUP = st.lists(WORDS, max_size=25).map(" ".join)


def refused_or_compiled(text: str, **options: Any) -> Any:
    try:
        return compile_expression(text, variables=("event", "async"), **options)
    except InvalidExpression as error:
        str(error).encode("utf-8", "surrogatepass")
        return None


@pytest.mark.slow
@settings(max_examples=3 * settings.default.max_examples)
@given(st.one_of(st.text(max_size=60), SOUP), st.booleans(), st.booleans())
@example("\ud800", False, False)
@example("'\ud800'", False, False)
@example("x" * 5_000, False, False)
def test_any_text_is_an_expression_or_is_refused(text: str, restricted: bool, boolean: bool):
    started = time.thread_time()

    expression = refused_or_compiled(text, restricted=restricted, boolean=boolean)

    if expression is not None:
        assert expression.text == text
        assert expression.key_result({"event": {"data": {"a": [1]}}}).text
    assert time.thread_time() - started < 1


@pytest.mark.slow
@settings(max_examples=3 * settings.default.max_examples, suppress_health_check=[HealthCheck.too_slow])
@given(EXPRESSIONS, EVENTS, EVENTS)
def test_any_evaluation_ends_with_a_value_or_an_evaluation_error(text: str, event: Any, async_event: Any):
    expression = refused_or_compiled(text)
    if expression is None:
        return
    env = {"event": event, "async": async_event}

    results = []
    for _ in range(2):
        try:
            results.append(repr(expression.evaluate(env, now_ms=1)))
        except EvaluationError as error:
            results.append(f"error: {error}")

    assert results[0] == results[1]
    assert expression.key_result(env, now_ms=1).failed is results[0].startswith("error: ")
