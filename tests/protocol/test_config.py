"""Function configurations as the SDKs send them (protocol §4.5, §4.6)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.errors import ConfigurationError
from stepwell.flow import (
    KEYWORDS,
    BatchEvents,
    Concurrency,
    Debounce,
    Idempotency,
    Priority,
    RateLimit,
    RunConcurrency,
    Singleton,
    Throttle,
)
from stepwell.model.function import Backoff, Control, Function
from stepwell.model.trigger import CancelOn, CronTrigger, EventTrigger
from stepwell.protocol.config import parse_function, unknown_options, warnings


def read(**options: Any) -> Function:
    return parse_function({"id": "shop-bill", **options}, "shop")


def refusal(**options: Any) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        read(**options)
    assert "'shop-bill'" in caught.value.what
    return caught.value


def python_sdk(**options: Any) -> dict[str, Any]:
    """What the official Python SDK sends for a function, with everything it always adds."""
    return {
        "batchEvents": None,
        "cancel": None,
        "concurrency": None,
        "debounce": None,
        "id": "shop-bill",
        "idempotency": None,
        "name": "Bill",
        "priority": None,
        "rateLimit": None,
        "singleton": None,
        "steps": {
            "step": {
                "id": "step",
                "name": "step",
                "retries": {"attempts": 4},
                "runtime": {"type": "http", "url": "http://localhost:8000/api/inngest?fnId=shop-bill&stepId=step"},
            }
        },
        "throttle": None,
        "timeouts": None,
        "triggers": [{"event": "shop/ordered", "expression": None}],
        **options,
    }


# What is read --------------------------------------------------------------------------------------------------------


def test_the_least_a_function_needs_is_an_id() -> None:
    function = read()

    assert function == Function(
        id="shop-bill", app_id="shop", name="shop-bill", retries=4, config=b'{"id":"shop-bill"}', version=1
    )


def test_a_configuration_of_the_python_sdk_is_read() -> None:
    config = python_sdk(
        concurrency=[{"limit": 5, "key": "event.data.user", "scope": None}],
        cancel=[{"event": "shop/cancelled", "if": "event.data.id == async.data.id", "timeout": "1h"}],
        timeouts={"start": "10s", "finish": "1h"},
    )

    function = parse_function(msgspec.json.encode(config), "shop", version=3)

    assert function == Function(
        id="shop-bill",
        app_id="shop",
        name="Bill",
        triggers=(EventTrigger("shop/ordered"),),
        retries=4,
        cancels=(CancelOn("shop/cancelled", "event.data.id == async.data.id", 3_600_000),),
        start_timeout_ms=10_000,
        finish_timeout_ms=3_600_000,
        url="http://localhost:8000/api/inngest?fnId=shop-bill&stepId=step",
        controls=(Concurrency(5, key="event.data.user"),),
        version=3,
        config=msgspec.json.encode(config),
    )
    assert unknown_options(config) == warnings(config) == []


def test_a_configuration_of_the_javascript_sdk_is_read() -> None:
    config = {
        "id": "shop-sync",
        "name": "Sync",
        "triggers": [
            {"event": "order/*", "expression": "event.data.total > 10"},
            {"cron": "TZ=Europe/Paris 0 9 * * 1", "jitter": "30s"},
        ],
        "steps": {
            "step": {
                "id": "step",
                "name": "step",
                "runtime": {"type": "http", "url": "https://app.example.com/api/inngest?fnId=shop-sync&stepId=step"},
                "retries": {"attempts": 0},
            }
        },
        "concurrency": {"limit": 3},
        "idempotency": "event.data.cart",
        "checkpoint": {"batch_steps": 1},
    }

    function = parse_function(config, "shop")

    assert function.triggers == (
        EventTrigger("order/*", "event.data.total > 10"),
        CronTrigger("TZ=Europe/Paris 0 9 * * 1", jitter_ms=30_000, missed="latest"),
    )
    assert function.retries == 0
    assert function.controls == (Idempotency("event.data.cart"), Concurrency(3))
    assert unknown_options(config) == []


def test_the_companion_of_on_failure_is_read() -> None:
    trigger = {"event": "inngest/function.failed", "expression": "event.data.function_id == 'shop-bill'"}

    function = parse_function(python_sdk(id="shop-bill-failure", triggers=[trigger], cancel=[], concurrency=[]), "shop")

    assert function.triggers == (EventTrigger(trigger["event"], trigger["expression"]),)
    assert function.cancels == function.controls == ()


def test_what_was_read_reads_the_same_again() -> None:
    function = read(triggers=[{"cron": "0 9 * * 1", "missed": "all"}], concurrency=2, backoff={"delays_ms": [1]})

    assert parse_function(function.config, "shop") == function


@pytest.mark.parametrize(("attempts", "retries"), [(None, 4), (0, 0), (4, 4), (20, 20), (50, 20), (-1, 0)])
def test_retries_are_4_by_default_and_kept_within_0_and_20(attempts: int | None, retries: int) -> None:
    config = {"id": "shop-bill", "steps": {"step": {"retries": {"attempts": attempts}}}}

    assert parse_function(config, "shop").retries == retries
    assert bool(warnings(config)) == (attempts in (50, -1))


@pytest.mark.parametrize(
    ("value", "controls"),
    [
        (None, ()),
        (0, ()),
        (3, (Concurrency(3),)),
        ({"limit": 3}, (Concurrency(3),)),
        ({"limit": 0, "key": "event.id"}, ()),
        ({"key": "event.id"}, ()),
        ([], ()),
        ([3], (Concurrency(3),)),
        ([{"limit": 3}], (Concurrency(3),)),
        (
            [{"limit": 3, "key": "event.id"}, {"limit": 9, "key": "'all'", "scope": "env"}],
            (Concurrency(3, key="event.id"), Concurrency(9, key="'all'", scope="env")),
        ),
        ({"fn": [], "step": [{"limit": 3}]}, (Concurrency(3),)),
        ({"fn": [{"limit": 2, "key": "event.data.a"}]}, (RunConcurrency(2, key="event.data.a"),)),
        ({"fn": 1, "step": {"limit": 3}}, (RunConcurrency(1), Concurrency(3))),
        ({"step": 3}, (Concurrency(3),)),
        ({"fn": None}, ()),
        ({"limit": 3, "key": "", "scope": None}, (Concurrency(3),)),
    ],
)
def test_concurrency_is_read_in_all_its_forms(value: object, controls: tuple[Concurrency, ...]) -> None:
    assert read(concurrency=value).controls == controls


@pytest.mark.parametrize(
    ("timeout", "cancel"),
    [
        (None, CancelOn("a")),
        ("", CancelOn("a", None, 0)),
        ("1d2h", CancelOn("a", None, 93_600_000)),
        ("2030-01-31T12:00:00Z", CancelOn("a", None, None, 1_896_091_200_000)),
        ("2030-01-31T13:00:00.500+01:00", CancelOn("a", None, None, 1_896_091_200_500)),
        ("2030-01-31T12:00:00", CancelOn("a", None, None, 1_896_091_200_000)),
    ],
)
def test_a_cancellation_listens_for_a_length_or_until_a_moment(timeout: str | None, cancel: CancelOn) -> None:
    assert read(cancel=[{"event": "a", "timeout": timeout}]).cancels == (cancel,)


def test_our_own_options_are_read() -> None:
    function = read(
        backoff={"delays_ms": [100, 5_000], "jitter_ms": 50}, triggers=[{"cron": "* * * * *", "missed": "skip"}]
    )

    assert function.backoff == Backoff((100, 5_000), 50)
    assert function.triggers == (CronTrigger("* * * * *", missed="skip"),)


@pytest.mark.parametrize(
    "event", ["app/user.created", "app/*", "app/user.*", "api/v1/*", "a.*", "inngest/function.failed"]
)
def test_event_triggers_are_names_or_end_in_a_star_after_a_separator(event: str) -> None:
    assert read(triggers=[{"event": event}]).triggers == (EventTrigger(event),)


# What is refused -----------------------------------------------------------------------------------------------------

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"triggers": {}}, "triggers: {} stands there"),
    ({"triggers": [7]}, "triggers[0]: 7 stands there"),
    ({"triggers": [{}]}, "triggers[0]: it names neither"),
    ({"triggers": [{"event": "a", "cron": "* * * * *"}]}, "triggers[0]: it names both"),
    ({"triggers": [{"event": ""}]}, "triggers[0].event: it is empty"),
    ({"triggers": [{"event": 7}]}, "triggers[0].event: 7 stands there"),
    ({"triggers": [{"event": "x" * 256}]}, "triggers[0].event: it has 256 characters"),
    ({"triggers": [{"event": "a\x00"}]}, "triggers[0].event: 'a\\x00' stands there"),
    ({"triggers": [{"event": "*"}]}, "triggers[0].event: '*' would never match"),
    ({"triggers": [{"event": "app/us*"}]}, "triggers[0].event: 'app/us*' would never match"),
    ({"triggers": [{"event": "*/created"}]}, "triggers[0].event: '*/created' would never match"),
    ({"triggers": [{"event": "app/*/x"}]}, "triggers[0].event: 'app/*/x' would never match"),
    ({"triggers": [{"event": "/*"}]}, "triggers[0].event: '/*' would never match"),
    ({"triggers": [{"event": "a", "expression": "event."}]}, "triggers[0].expression: "),
    ({"triggers": [{"event": "a", "expression": "async.data.x == 1"}]}, "triggers[0].expression: "),
    ({"triggers": [{"event": "a", "expression": "'text'"}]}, "triggers[0].expression: "),
    ({"triggers": [{"event": "a", "expression": 7}]}, "triggers[0].expression: 7 stands there"),
    ({"triggers": [{"event": "a"}, {"event": "a"}]}, "triggers[1]: it is there twice"),
    ({"triggers": [{"event": str(n)} for n in range(11)]}, "triggers: it has 11 entries"),
    ({"triggers": [{"cron": "* * * * * *"}]}, "triggers[0].cron: "),
    ({"triggers": [{"cron": "TZ=Mars/Phobos * * * * *"}]}, "triggers[0].cron: "),
    ({"triggers": [{"cron": "1," * 200 + "1 * * * *"}]}, "triggers[0].cron: it has 409 characters"),
    ({"triggers": [{"cron": "0 9 * * 1"}, {"cron": "0  9 * * 1", "jitter": "5s"}]}, "triggers[1]: it is there twice"),
    (
        {"triggers": [{"cron": "TZ=Europe/Paris 0 9 * * 1"}, {"cron": "CRON_TZ=Europe/Paris 0 9 * * 1"}]},
        "triggers[1]: it is there twice",
    ),
    ({"triggers": [{"cron": "* * * * *", "jitter": "0.5s"}]}, "triggers[0].jitter: '0.5s' is out of range"),
    ({"triggers": [{"cron": "* * * * *", "jitter": "6m"}]}, "triggers[0].jitter: '6m' is out of range"),
    ({"triggers": [{"cron": "* * * * *", "jitter": 5}]}, "triggers[0].jitter: 5 stands there"),
    ({"triggers": [{"cron": "* * * * *", "missed": "some"}]}, "triggers[0].missed: 'some' stands there"),
    ({"cancel": [{"event": str(n)} for n in range(6)]}, "cancel: it has 6 entries"),
    ({"cancel": [{"if": "event.id == async.id"}]}, "cancel[0].event: it is missing"),
    ({"cancel": ["a"]}, "cancel[0]: 'a' stands there"),
    ({"cancel": [{"event": "a/*"}]}, "cancel[0].event: 'a/*' has a *"),
    ({"cancel": [{"event": "a", "if": "async.data.x + 1 == 2"}]}, "cancel[0].if: "),
    ({"cancel": [{"event": "a", "timeout": "1x"}]}, "cancel[0].timeout: '1x'"),
    ({"cancel": [{"event": "a", "timeout": "2030-13-01"}]}, "cancel[0].timeout: '2030-13-01' is not a length of time"),
    ({"cancel": [{"event": "a", "timeout": 5}]}, "cancel[0].timeout: 5 stands there"),
    ({"timeouts": []}, "timeouts: [] stands there"),
    ({"timeouts": {"start": "soon"}}, "timeouts.start: 'soon'"),
    ({"timeouts": {"start": "0s"}}, "timeouts.start: it is zero"),
    ({"timeouts": {"finish": ""}}, "timeouts.finish: "),
    ({"concurrency": -1}, "concurrency: the limit"),
    ({"concurrency": True}, "concurrency: the limit"),
    ({"concurrency": "5"}, "concurrency: '5' stands there"),
    ({"concurrency": [{"limit": 1}] * 3}, "concurrency: it has 3 entries"),
    ({"concurrency": [{"limit": 1, "scope": "env"}]}, "concurrency[0]: a concurrency with scope 'env' has no key"),
    ({"concurrency": [{"limit": 1, "scope": 7}]}, "concurrency[0]: the scope"),
    ({"concurrency": [{"limit": 1, "key": "event."}]}, "concurrency[0]: "),
    ({"concurrency": {"fn": [{"limit": -1}]}}, "concurrency.fn[0]: the limit of a run_concurrency is -1"),
    ({"concurrency": {"fn": [1, 2, 3]}}, "concurrency.fn: it has 3 entries"),
    ({"idempotency": 7}, "idempotency: the key"),
    ({"idempotency": "event.data."}, "idempotency: "),
    ({"steps": {"step": {}, "other": {}}}, "steps.step.retries.attempts: it holds step, other"),
    ({"steps": {"step": {"retries": {"attempts": "4"}}}}, "steps.step.retries.attempts: '4' stands there"),
    ({"steps": {"step": {"retries": {"attempts": 1.5}}}}, "steps.step.retries.attempts: 1.5 stands there"),
    ({"backoff": {}}, "backoff: its lengths"),
    ({"backoff": {"delays_ms": [-1]}}, "backoff: its lengths"),
    ({"backoff": {"delays_ms": [86_400_001]}}, "backoff: its lengths"),
    ({"backoff": {"delays_ms": [1] * 21}}, "backoff: it has 21 entries"),
    ({"backoff": {"delays_ms": ["1s"]}}, "backoff: '1s' stands there"),
    ({"name": "a\nb"}, "name: "),
    ({"name": 7}, "name: 7 stands there"),
]


@pytest.mark.parametrize(("options", "what"), REFUSED, ids=[what for _, what in REFUSED])
def test_what_cannot_work_is_refused_at_its_place(options: dict[str, Any], what: str) -> None:
    assert refusal(**options).what.startswith(f"function 'shop-bill', {what}")


RULES: list[tuple[dict[str, Any], Control]] = [
    ({"throttle": {"limit": 2, "period": "1m"}}, Throttle(2, "1m", burst=0)),  # JavaScript
    ({"throttle": {"limit": 2, "period": "60s", "burst": 1, "key": None}}, Throttle(2, "60s", burst=1)),  # Python
    ({"throttle": {"limit": 0, "period": "1m", "key": ""}}, Throttle(1, "1m", burst=0)),
    ({"rateLimit": {"limit": 10, "period": "24h", "key": "event.data.a"}}, RateLimit(10, "24h", "event.data.a")),
    ({"debounce": {"period": "10s"}}, Debounce("10s")),
    ({"debounce": {"period": "10s", "timeout": "1m", "key": "event.data.a"}}, Debounce("10s", "1m", "event.data.a")),
    ({"batchEvents": {"maxSize": 100, "timeout": "5s"}}, BatchEvents(100, "5s")),
    (
        {"batchEvents": {"maxSize": 2, "timeout": "5s", "key": "event.data.a", "if": "event.data.b"}},
        BatchEvents(2, "5s", "event.data.a", "event.data.b"),
    ),
    ({"priority": {"run": "event.data.a ? 120 : 0"}}, Priority("event.data.a ? 120 : 0")),
    ({"singleton": {"mode": "cancel", "key": "event.data.a"}}, Singleton("cancel", "event.data.a")),
    ({"singleton": {"mode": "skip"}}, Singleton("skip")),
]


@pytest.mark.parametrize(
    ("options", "control"), RULES, ids=lambda value: "" if isinstance(value, dict) else repr(value)
)
def test_rules_are_read_as_sdks_write_them_and_written_so_again(options: dict[str, Any], control: Control) -> None:
    assert read(**options).controls == (control,)
    keyword = control.keyword
    again = read(**{keyword: control.config()}).controls
    assert [one.config() for one in again] == [control.config()]


def test_a_batch_of_one_is_none() -> None:
    assert read(batchEvents={"maxSize": 1, "timeout": "5s"}).controls == ()


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"throttle": {"period": "1m"}}, "throttle: the limit of throttle is None"),
        ({"throttle": 5}, "throttle: 5 stands there"),
        ({"rateLimit": {"limit": 1, "period": "2d"}}, "rateLimit: the period of rate_limit is 2d"),
        ({"debounce": {}}, "debounce: an empty text is not a length of time"),
        ({"debounce": {"period": "1x"}}, "debounce: '1x' is not a length"),
        ({"batchEvents": {"maxSize": 101, "timeout": "1s"}}, "batchEvents: the max_size"),
        ({"priority": {}}, "priority: the run of priority is None"),
        ({"priority": {"run": "event.data."}}, "priority: "),
        ({"singleton": {}}, "singleton: the mode of singleton is None"),
        (
            {"singleton": {"mode": "skip"}, "batchEvents": {"maxSize": 2}},
            "batchEvents: it cannot be together with sing",
        ),
    ],
)
def test_a_rule_that_cannot_be_kept_is_refused_at_its_place(options: dict[str, Any], what: str) -> None:
    assert refusal(**options).what.startswith(f"function 'shop-bill', {what}")


@pytest.mark.parametrize("id", [None, "", " ", " a", "a ", "a\x00", "a\n", "\x7f", "x" * 256, 7])
def test_ids_that_would_confuse_people_or_databases_are_refused(id: object) -> None:
    with pytest.raises(ConfigurationError, match="id: "):
        parse_function({"id": id}, "shop")


def test_a_function_whose_id_is_wrong_is_known_by_the_beginning_of_it() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_function({"id": "shop-import-" + "x" * 300}, "shop")

    assert caught.value.what.startswith("function 'shop-import-xxx")
    assert caught.value.what.endswith("…, id: it has 312 characters")


def test_places_are_named_as_they_are_called_where_the_function_was_written() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_function({"id": "shop-bill", "cancel": [{"event": "a/*"}]}, "shop", called=str.upper)

    assert "CANCEL[0].EVENT: " in caught.value.what


@pytest.mark.parametrize("app_id", ["", "a\x00", "x" * 256])
def test_so_are_those_of_apps(app_id: str) -> None:
    with pytest.raises(ConfigurationError, match="the app's id: "):
        parse_function({"id": "a-b"}, app_id)


@pytest.mark.parametrize("config", [b"", b"[]", b"{", b'{"id":"\\ud800"}', b"[" * 5_000, {"id": object()}, {1j: 2}])
def test_what_is_not_a_json_object_is_refused(config: Any) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        parse_function(config, "shop")


def test_all_problems_are_reported_together() -> None:
    error = refusal(
        triggers=[{"event": "app/us*"}, {"cron": "never"}],
        concurrency=-1,
        throttle={"limit": 1},
        steps={"step": {"retries": {"attempts": "many"}}},
    )

    assert error.what == "function 'shop-bill' has 5 problems"
    for place in [
        "throttle:",
        "triggers[0].event:",
        "triggers[1].cron:",
        "steps.step.retries.attempts:",
        "concurrency:",
    ]:
        assert place in error.why
        assert place in error.fix


@given(
    st.dictionaries(
        st.sampled_from(
            ["id", "name", "triggers", "steps", "cancel", "timeouts", "backoff", "concurrency", "idempotency"]
        ),
        st.recursive(
            st.none() | st.integers() | st.text(max_size=5) | st.booleans() | st.floats(allow_nan=False),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["event", "cron", "if", "limit", "key", "step", "fn", "start"]), inner
                )
            ),
            max_leaves=6,
        ),
    )
)
def test_any_object_is_a_function_or_the_one_error(config: dict[str, Any]) -> None:
    try:
        parse_function(config, "shop")
    except ConfigurationError as error:
        assert str(error)


# What is reported ----------------------------------------------------------------------------------------------------


def test_members_nobody_reads_are_named_with_their_place() -> None:
    config = {
        "id": "shop-bill",
        "retires": 3,
        "triggers": [{"event": "a", "if": "true"}, {"event": "b"}],
        "concurrency": {"limit": 1, "burst": 2},
        "cancel": [{"event": "a", "match": "data.id"}],
        "timeouts": {"end": "1h"},
    }

    assert unknown_options(config) == [
        "retires",
        "triggers[0].if",
        "concurrency.burst",
        "cancel[0].match",
        "timeouts.end",
    ]
    assert len(warnings(config)) == 5


def test_every_control_has_a_place_in_the_configuration() -> None:
    for keyword in KEYWORDS:
        assert unknown_options({"id": "a", keyword: None}) == []
