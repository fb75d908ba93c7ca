"""What remains of a condition once the triggering event is known is the same condition (semantics §3.5)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings

from stepwell import limits
from stepwell.errors import InvalidExpression
from stepwell.expressions import EvaluationError, Expression, compile_expression, probe_value

from .generate import CONDITIONS, EVENTS, EXPRESSIONS, PLAIN_EVENTS

NOW_MS = 1_709_251_200_000
EVENT = {
    "name": "shop/order.created",
    "data": {"id": "o-1", "n": 5, "f": 1.0, "yes": True, "nil": None, "tags": ["a", "b"], "text": 'say "hi"\n'},
}


def condition(text: str) -> Expression:
    return compile_expression(text, variables=("event", "async"))


def over_async(text: str) -> Expression:
    return compile_expression(text, variables=("async",))


def outcome(expression: Expression, env: dict[str, Any]) -> str:
    try:
        value = expression.evaluate(env, now_ms=NOW_MS)
    except EvaluationError:
        return "error"
    return f"{type(value).__name__} {value!r}"


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("event.data.id == async.data.id", '"o-1" == async.data.id'),
        ("async.data.n > event.data.n + 1", "async.data.n > 6"),
        ("async.data.f == event.data.f", "async.data.f == 1.0"),
        ("async.data.x == event.data.no", "async.data.x == missing"),
        ("async.data.x == event.data.nil", "async.data.x == null"),
        ("async.data.tag in event.data.tags", 'async.data.tag in ["a", "b"]'),
        ("async.data.text == event.data.text", 'async.data.text == "say \\"hi\\"\\n"'),
        ("event.data.yes && async.data.a == 1", "async.data.a == 1"),
        ("async.data.a == 1 && event.data.yes", "async.data.a == 1"),
        ("async.data.a && event.data.yes", "async.data.a && true"),
        ("async.data.a == 1 && event.data.id", 'async.data.a == 1 && "o-1"'),
        ("async.data.a == 1 || event.data.no", "async.data.a == 1 || missing"),
        ("event.data.no || async.data.a == 1", "async.data.a == 1"),
        ("async.data.a == 1 || event.data.yes || async.data.b", "async.data.a == 1 || true"),
        ("event.data.n > 3 ? async.data.a == 1 : async.data.b == 1", "async.data.a == 1"),
        ("event.data.tags.exists(t, t == async.data.tag)", '["a", "b"].exists(t, t == async.data.tag)'),
        ("async.data[event.data.id] == 1", 'async.data["o-1"] == 1'),
        ("has(event.data.id) && has(async.data.id)", "has(async.data.id)"),
        ("(async.data.a || async.data.b) && async.data.c", "(async.data.a || async.data.b) && async.data.c"),
        ("async.data.a - (1 - async.data.b)", "async.data.a - (1 - async.data.b)"),
        ("(async.data.a - 1) - async.data.b", "async.data.a - 1 - async.data.b"),
        ("date(async.data.at) > now_minus('1h')", 'date(async.data.at) > now_minus("1h")'),
        ("date(async.data.at) > date('2024-01-01')", 'date(async.data.at) > timestamp("2024-01-01T00:00:00Z")'),
        ("1 / 0 == async.data.a", "1 / 0 == async.data.a"),
        ("type(async.data.a) == type(event.data.n)", "type(async.data.a) == int"),
        ("event == async", None),
    ],
)
def test_the_interpolated_text_shows_what_is_waited_for(text: str, bound: str | None):
    result = condition(text).bind(EVENT)

    assert bound is None or result.text == bound
    assert result.never is (result.text == 'async.data.a == 1 && "o-1"')


@pytest.mark.parametrize(
    "text",
    [
        "event.data.n > 10 && async.data.a == 1",
        "async.data.a == 1 && event.data.no",
        "async.data.a == 1 && (async.data.b == 2 && event.data.id == 'other')",
        "event.data.no",
        "event.data.id",
        "async.data.a && 5",
        "event.data.n > 10 ? async.data.a == 1 : false",
    ],
)
def test_a_condition_that_no_event_can_make_true_says_so(text: str):
    result = condition(text).bind(EVENT)

    assert result.never
    assert result.probe is None


@pytest.mark.parametrize(
    ("text", "probe"),
    [
        ("event.data.id == async.data.id", ("data.id", "s:o-1")),
        ("async.data.id == event.data.id", ("data.id", "s:o-1")),
        ("async.data.n == event.data.n", ("data.n", "n:5")),
        ("async.data.f == event.data.f", ("data.f", "n:1")),
        ("async.data.yes == event.data.yes", ("data.yes", "b:true")),
        ('async["data"]["order-id"] == event.data.id', ("data.order-id", "s:o-1")),
        ("async.name == event.name", ("name", "s:shop/order.created")),
        # What comes from the event tells waits apart, a constant does not.
        ("async.data.kind == 'paid' && async.data.id == event.data.id", ("data.id", "s:o-1")),
        ("async.data.id == event.data.id && async.data.kind == 'paid'", ("data.id", "s:o-1")),
        ("async.data.yes == event.data.yes && async.data.id == event.data.id", ("data.id", "s:o-1")),
        ("async.data.kind == 'paid' && async.data.n > 1", ("data.kind", "s:paid")),
        ("async.data.a > 1 && (async.data.b && async.data.id == event.data.id)", ("data.id", "s:o-1")),
        ("async.data.id == lowercase(event.data.id)", ("data.id", "s:o-1")),
        ("async.data.id == event.data.id || async.data.a == 1", None),
        ("async.data.id != event.data.id", None),
        ("!(async.data.id == event.data.id)", None),
        ("async.data.id == event.data.nil", None),
        ("async.data.id == event.data.no", None),
        ("async.data.id == event.data.tags", None),
        ("async.data.id == event.data.text", None),
        ("async.data['a.b'] == event.data.id", None),
        ("async.data[0] == event.data.id", None),
        ("lowercase(async.data.id) == event.data.id", None),
        ("async == event.data.id", None),
        ("async.data.id == async.data.other", None),
    ],
)
def test_an_equality_that_must_hold_becomes_a_probe(text: str, probe: tuple[str, str] | None):
    assert condition(text).bind(EVENT).probe == probe


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "s:a"),
        ("1", "s:1"),
        ("", "s:"),
        (1, "n:1"),
        (1.0, "n:1"),
        (-0.0, "n:0"),
        (1.5, "n:1.5"),
        (1e22, "n:10000000000000000000000"),
        (10**22, "n:10000000000000000000000"),
        (True, "b:true"),
        (None, None),
        ([1], None),
        ({}, None),
        (float("nan"), None),
        ("\x00", None),
        ("x" * 1_000, None),
    ],
)
def test_an_event_has_the_same_probe_text_for_equal_values(value: Any, text: str | None):
    assert probe_value({"data": {"id": value}}, "data.id") == text


@pytest.mark.parametrize("path", ["data.no", "no", "data.id.more", "data.list.0", "data.id.0"])
def test_an_event_without_the_path_has_no_probe_text(path: str):
    assert probe_value({"data": {"id": "abc", "list": ["x"]}}, path) is None


def test_a_large_value_of_the_event_fits_into_the_bound_text():
    text = "x" * 100_000
    ids = [f"order-{number}" for number in range(5_000)]

    bound = condition("async.data.text == event.data.text && async.data.id in event.data.ids").bind(
        {"data": {"text": text, "ids": ids}}
    )

    assert over_async(bound.text).matches({"async": {"data": {"text": text, "id": "order-4999"}}})


def test_a_bound_text_is_not_longer_than_an_event():
    data = {"text": "x" * (limits.EVENT_BYTES_MAX // 2 + 100)}

    with pytest.raises(EvaluationError, match="longer"):
        condition("async.data.a == event.data || async.data.b == event.data").bind({"data": data})


def test_only_a_bound_text_may_be_longer_than_an_expression():
    text = '"' + "x" * limits.EXPRESSION_BYTES_MAX + '" == async.data.a'

    over_async(text)
    with pytest.raises(InvalidExpression):
        condition(text)
    with pytest.raises(InvalidExpression):
        over_async('"' + "x" * limits.EVENT_BYTES_MAX + '"')


@pytest.mark.slow
@settings(max_examples=3 * settings.default.max_examples, suppress_health_check=[HealthCheck.too_slow])
@given(EXPRESSIONS, EVENTS, EVENTS)
@example("event.data.a == async.data.a", {"data": {}}, {"data": {"a": None}})
@example("-event.data.a", {"data": {"a": -(2**63)}}, {"data": {}})
@example("event.data.a / async.data.a", {"data": {"a": 5.0}}, {"data": {"a": 2}})
def test_a_bound_condition_is_the_condition(text: str, event: dict[str, Any], async_event: dict[str, Any]):
    try:
        expression = condition(text)
    except InvalidExpression:
        assume(False)
        return
    bound = expression.bind(event)

    whole = outcome(expression, {"event": event, "async": async_event})
    rest = outcome(over_async(bound.text), {"async": async_event})

    assert rest == whole
    assert not (bound.never and whole == "bool True")


@pytest.mark.slow
@settings(max_examples=3 * settings.default.max_examples)
@given(CONDITIONS, PLAIN_EVENTS, PLAIN_EVENTS)
def test_a_probe_never_hides_a_match(text: str, event: dict[str, Any], async_event: dict[str, Any]):
    expression = condition(text)
    bound = expression.bind(event)
    try:
        matched = expression.matches({"event": event, "async": async_event})
    except EvaluationError:
        matched = False

    if matched:
        assert not bound.never
        assert bound.probe is None or probe_value(async_event, bound.probe[0]) == bound.probe[1]


@pytest.mark.slow
@given(EXPRESSIONS, EVENTS)
def test_binding_twice_changes_nothing(text: str, event: dict[str, Any]):
    try:
        bound = condition(text).bind(event)
    except InvalidExpression:
        assume(False)
        return

    assert condition(bound.text).bind({}).text == bound.text
