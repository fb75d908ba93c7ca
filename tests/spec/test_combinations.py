"""Which rules can be together in one function, pair by pair, and whoever declares them (semantics §7.2)."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest

from stepwell import (
    BatchEvents,
    Cancel,
    Concurrency,
    ConfigurationError,
    Debounce,
    Priority,
    RateLimit,
    RunConcurrency,
    Singleton,
    Stepwell,
    Throttle,
)
from stepwell.protocol.config import parse_function

# By the keyword of our SDK: the option, and the members of a configuration that say the same.
RULES: dict[str, tuple[Any, dict[str, Any]]] = {
    "batch_events": (BatchEvents(10, timeout="5s"), {"batchEvents": {"maxSize": 10, "timeout": "5s"}}),
    "debounce": (Debounce("10s"), {"debounce": {"period": "10s"}}),
    "rate_limit": (RateLimit(10, "1m"), {"rateLimit": {"limit": 10, "period": "1m"}}),
    "idempotency": ("event.data.id", {"idempotency": "event.data.id"}),
    "singleton": (Singleton("skip"), {"singleton": {"mode": "skip"}}),
    "cancel": ([Cancel("stop")], {"cancel": [{"event": "stop"}]}),
    "priority": (Priority(run="1"), {"priority": {"run": "1"}}),
    "throttle": (Throttle(1, "1m"), {"throttle": {"limit": 1, "period": "1m"}}),
    "concurrency": (Concurrency(1), {"concurrency": [{"limit": 1}]}),
    "run_concurrency": (RunConcurrency(1), {"concurrency": {"fn": [{"limit": 1}]}}),
}
ERRORS = {
    ("batch_events", other) for other in ("debounce", "rate_limit", "idempotency", "singleton", "cancel", "priority")
}
BY_OTHERS = [pair for pair in combinations(RULES, 2) if pair != ("concurrency", "run_concurrency")]


def ours(*rules: str) -> Any:
    app = Stepwell("shop")
    options = {rule: RULES[rule][0] for rule in rules}

    @app.create_function(id="work", trigger="go", **options)
    async def work(ctx: Any) -> None: ...

    return parse_function(app.functions["shop-work"].config, "shop")


def theirs(*rules: str) -> Any:
    config: dict[str, Any] = {"id": "shop-work", "triggers": [{"event": "go"}]}
    for rule in rules:
        config |= RULES[rule][1]
    return parse_function(config, "shop")


def declared(function: Any) -> set[str]:
    """The rules that it has, by the names that they have above."""
    names = {"batchEvents": "batch_events", "rateLimit": "rate_limit"}
    found = {names.get(control.keyword, control.keyword) for control in function.controls}
    return found | ({"cancel"} if function.cancels else set())


@pytest.mark.parametrize("rules", list(combinations(RULES, 2)), ids="+".join)
def test_a_pair_is_kept_or_refused_where_the_function_is_defined(rules: tuple[str, str]) -> None:
    if rules not in ERRORS:
        assert declared(ours(*rules)) == set(rules)
        return
    with pytest.raises(ConfigurationError) as caught:
        ours(*rules)
    assert f"it cannot be together with {rules[1]}" in str(caught.value)
    assert rules[0] in str(caught.value)
    assert caught.value.why
    assert "remove one of the two" in str(caught.value)


@pytest.mark.parametrize("rules", BY_OTHERS, ids="+".join)
def test_a_pair_is_kept_or_refused_when_an_app_syncs(rules: tuple[str, str]) -> None:
    if rules not in ERRORS:
        assert declared(theirs(*rules)) == set(rules)
        return
    with pytest.raises(ConfigurationError) as caught:
        theirs(*rules)
    first, second = (next(iter(RULES[rule][1])) for rule in rules)
    assert f"it cannot be together with {second}" in str(caught.value)
    assert first in str(caught.value)


@pytest.mark.parametrize("define", [ours, theirs])
def test_all_conflicts_of_a_function_are_told_at_once(define: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        define(*(rule for rule in RULES if rule not in ("concurrency", "run_concurrency", "throttle")))

    assert str(caught.value).count("it cannot be together with") == len(ERRORS)


def test_all_that_is_wrong_is_told_at_once_when_an_app_syncs() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_function(
            {
                "id": "shop-work",
                "throttle": {"limit": -1, "period": "1m"},
                "singleton": {"mode": "both"},
                "priority": {"run": "event.data."},
                "batchEvents": {"maxSize": 10, "timeout": "0s"},
                "concurrency": [{"limit": 1, "scope": "env"}, {"limit": -1}],
            },
            "shop",
        )
    told = str(caught.value)
    for place in ("throttle: ", "singleton: ", "priority: ", "batchEvents: ", "concurrency[0]: ", "concurrency[1]: "):
        assert told.count(place) >= 2, f"what and why, and a fix: {place}"
    assert "batchEvents: it cannot be together with singleton" in told, "also where one of the two is wrong in itself"
