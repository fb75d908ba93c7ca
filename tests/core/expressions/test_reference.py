"""The examples of the reference page are true."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from stepwell import limits
from stepwell.errors import InvalidExpression
from stepwell.expressions import MISSING, EvaluationError, compile_expression
from stepwell.expressions.functions import FUNCTIONS
from stepwell.expressions.parser import MACROS

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "expressions.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


EVENT = json.loads(blocks("json")[0])
EXAMPLES = [tuple(line.rsplit("  // ", 1)) for block in blocks("cel") for line in block.splitlines()]


@pytest.mark.parametrize(("text", "result"), EXAMPLES)
def test_an_example_gives_what_the_page_says(text: str, result: str):
    expression = compile_expression(text)
    env = {"event": EVENT}

    if result == "error":
        with pytest.raises(EvaluationError):
            expression.evaluate(env, now_ms=EVENT["ts"])
        return
    value = expression.evaluate(env, now_ms=EVENT["ts"])

    assert (value is MISSING) if result == "missing" else (json.dumps(value) == result)


def test_the_page_names_every_function_and_macro():
    for name in [*FUNCTIONS, *MACROS, "has"]:
        assert re.search(rf"\b{name}\b", PAGE), name


def test_the_page_states_the_limits():
    assert f"{limits.EXPRESSION_BYTES_MAX // 1024} KiB" in PAGE
    assert f"| {limits.EXPRESSION_NODES_MAX:,} |" in PAGE
    assert f"| {limits.EXPRESSION_DEPTH_MAX} levels" in PAGE
    assert f"| {limits.EXPRESSION_STEPS_MAX:,} steps" in PAGE


def test_the_page_shows_a_message_as_it_is():
    with pytest.raises(InvalidExpression) as raised:
        compile_expression("event.data.n = 3")

    assert str(raised.value) + "\n" in blocks("text")
