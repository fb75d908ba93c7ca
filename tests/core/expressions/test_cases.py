"""The rules of semantics §3, row by row. ``cases.json`` is shared with the tests of other implementations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stepwell.expressions import MISSING, EvaluationError, compile_expression

CASES = json.loads((Path(__file__).parent / "cases.json").read_text(encoding="utf-8"))
BOTH = ("event", "async")


def env_of(case: dict[str, Any]) -> dict[str, Any]:
    return {"event": CASES["event"], "async": case.get("async", {})}


def with_types(value: Any) -> Any:
    """The value, told apart from values of other types that Python thinks are equal."""
    if isinstance(value, list):
        return [with_types(item) for item in value]
    if isinstance(value, dict):
        return {key: with_types(item) for key, item in value.items()}
    return type(value).__name__, value


def name_of(case: dict[str, Any]) -> str:
    return f"{case.get('rule', 'key')}: {case['expression']}"


@pytest.mark.parametrize("case", CASES["values"], ids=name_of)
def test_an_expression_gives_what_its_rule_says(case: dict[str, Any]):
    expression = compile_expression(case["expression"], variables=BOTH)

    if "error" in case:
        with pytest.raises(EvaluationError):
            expression.evaluate(env_of(case), now_ms=CASES["now_ms"])
        return
    value = expression.evaluate(env_of(case), now_ms=CASES["now_ms"])

    assert with_types(value) == with_types(MISSING if "missing" in case else case["expected"])


@pytest.mark.parametrize("case", CASES["values"], ids=name_of)
def test_a_condition_matches_only_if_it_is_true(case: dict[str, Any]):
    expression = compile_expression(case["expression"], variables=BOTH)

    try:
        matched = expression.matches(env_of(case), now_ms=CASES["now_ms"])
    except EvaluationError:
        assert "error" in case or not isinstance(case.get("expected"), bool)
        return

    assert matched is (case.get("expected") is True)
    assert "missing" in case or isinstance(case["expected"], bool)


@pytest.mark.parametrize("case", CASES["keys"], ids=name_of)
def test_a_key_has_one_text_for_equal_values(case: dict[str, Any]):
    result = compile_expression(case["expression"]).key_result(env_of(case), now_ms=CASES["now_ms"])

    assert result.text == case["text"]
    assert result.failed is case.get("failed", False)
    assert result.is_false is case.get("is_false", False)
    assert result.missing is case.get("missing", False)
    assert bool(result.reason) is result.failed


def test_the_keys_of_unequal_values_differ():
    texts = [case["text"] for case in CASES["keys"] if case["expression"] not in ("1.0", "1u")]
    repeated = {text for text in texts if texts.count(text) > 1}

    assert repeated == {"false", "missing", "text"}


def test_missing_is_falsy_and_stays_itself_when_copied():
    import copy
    import pickle

    assert not MISSING
    assert copy.deepcopy(MISSING) is MISSING
    assert pickle.loads(pickle.dumps(MISSING)) is MISSING
