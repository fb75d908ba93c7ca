"""What cannot work is refused where it is written: what is wrong, why, what to write instead; nothing is registered.

Design §2 no. 8, semantics §16. What is particular to one option stands in the file of that option.
"""

from __future__ import annotations

from typing import Any

import pytest

import stepwell
from stepwell import (
    Cancel,
    Concurrency,
    ConfigurationError,
    Event,
    Stepwell,
    StepwellError,
    Timeouts,
    TriggerCron,
    TriggerEvent,
)
from stepwell.testing import harness


async def mourn(ctx: Any) -> None: ...


def declare(app: Stepwell, **options: Any) -> None:
    given: dict[str, Any] = {"id": "work", "trigger": "go"} | options

    @app.create_function(**given)
    async def work(ctx): ...


def refused(app: Stepwell, **options: Any) -> StepwellError:
    before = dict(app.functions)
    with pytest.raises(ConfigurationError) as raised:
        declare(app, **options)
    error = raised.value
    assert all((error.what, error.why, error.fix)), str(error)
    assert str(error).splitlines()[0] == error.what
    assert dict(app.functions) == before, "nothing changes"
    return error


@pytest.mark.parametrize("id", ["", "  ", None, 7, "x" * 300, " work", "with\x00nul", "\ud800"], ids=repr)
def test_an_id_must_be_a_readable_text(app, id: Any) -> None:
    refused(app, id=id)


@pytest.mark.parametrize("app_id", ["", "  ", None, 7, " shop", "x" * 256, "with\x00nul"], ids=lambda id: repr(id)[:20])
def test_so_must_that_of_an_app(app_id: Any) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Stepwell(app_id)

    assert all((raised.value.what, raised.value.why, raised.value.fix))


def test_two_functions_of_one_id_are_refused_and_the_first_stays(app) -> None:
    declare(app)

    error = refused(app, trigger="other")

    assert "two functions with the id 'shop-work'" in error.what
    with harness(app) as t:
        t.send([Event("go"), Event("other")])
        assert len(t.runs("work")) == 1


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("event", "trigger"),
        ("triggers", "trigger"),
        ("cron", "TriggerCron"),
        ("schedule", "TriggerCron"),
        ("cancel_on", "cancel"),
        ("cancelOn", "cancel"),
        ("timeout", "timeouts=Timeouts(finish=…)"),
        ("retry", "retries"),
        ("max_retries", "retries"),
        ("fn_id", "id"),
        ("onFailure", "on_failure"),
        ("concurency", "concurrency"),
        ("idempotency_key", "idempotency"),
        ("frobnicate", "leave frobnicate out"),
    ],
)
def test_a_wrong_keyword_is_named_with_the_right_one(app, wrong: str, right: str) -> None:
    error = refused(app, **{wrong: "x"})

    assert f"{wrong}=" in error.what
    assert right in error.fix


@pytest.mark.parametrize(
    "option",
    ["middleware"],
)
def test_an_option_of_a_later_version_is_refused_and_never_ignored(app, option: str) -> None:
    assert f"{option} is not in this version" in refused(app, **{option: {}}).fix


@pytest.mark.parametrize(
    ("option", "example"),
    [
        ("throttle", "Throttle("),
        ("rate_limit", "RateLimit("),
        ("debounce", "Debounce("),
        ("batch_events", "BatchEvents("),
        ("priority", "Priority("),
        ("singleton", "Singleton("),
    ],
)
def test_a_rule_of_the_wrong_type_is_refused_with_the_right_one(app, option: str, example: str) -> None:
    assert f"{option}={example}" in refused(app, **{option: {"limit": 1}}).fix


@pytest.mark.parametrize("retries", [-1, 21, 1.5, "3", True, None], ids=repr)
def test_retries_are_a_number_from_0_to_20(app, retries: Any) -> None:
    refused(app, retries=retries)


@pytest.mark.parametrize("name", ["x" * 300, 7, "with\x00nul"], ids=repr)
def test_a_name_must_be_a_readable_text(app, name: Any) -> None:
    refused(app, name=name)


@pytest.mark.parametrize(
    "options",
    [
        {"concurrency": {"limit": 1}},
        {"concurrency": ["1"]},
        {"cancel": "stop"},
        {"cancel": [{"event": "stop"}]},
        {"timeouts": "1h"},
        {"timeouts": {"finish": "1h"}},
        {"backoff": "1s"},
        {"backoff": ["1s", "2s"]},
        {"idempotency": ["event.data.a"]},
        {"on_failure": "notify"},
        {"trigger": [None]},
        {"trigger": b"go"},
    ],
    ids=repr,
)
def test_an_option_of_the_wrong_type_is_refused_as_such(app, options: dict[str, Any]) -> None:
    refused(app, **options)


@pytest.mark.parametrize(
    "handler", [None, 7, "work", lambda: None, lambda a, b: None, type("C", (), {})], ids=lambda value: repr(value)[:20]
)
def test_what_cannot_be_called_with_a_context_is_no_function(app, handler: Any) -> None:
    with pytest.raises((ConfigurationError, TypeError)):
        app.create_function(id="work", trigger="go")(handler)

    assert app.functions == {}


def test_all_that_is_wrong_is_said_at_once(app) -> None:
    error = refused(
        app,
        trigger=[TriggerCron("60 * * * *"), TriggerCron("0 9 * * *", tz="Mars/Base"), "app/us*"],
        concurrency=Concurrency(1),
        cancel=Cancel("order/*"),
        idempotency="event.data.",
    )

    assert "5 problems" in error.what
    for place in ("trigger[0]:", "trigger[1]:", "trigger[2]:", "cancel:", "idempotency:"):
        assert place in error.why and place in error.fix


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"trigger": "app/us*"}, "trigger: 'app/us*'"),
        ({"trigger": TriggerEvent("a", if_="b =")}, "if_ of trigger: "),
        ({"trigger": ["a", TriggerEvent("b", if_="c =")]}, "if_ of trigger[1]: "),
        ({"trigger": ["a"] * 11}, "trigger: it has 11 entries"),
        ({"trigger": TriggerCron("0 9 * * *", jitter="1h")}, "jitter of trigger: "),
        ({"trigger": TriggerCron("60 * * * *")}, "trigger: "),
        ({"cancel": Cancel("order/*")}, "cancel: 'order/*'"),
        ({"cancel": Cancel("stop", if_="a =")}, "if_ of cancel: "),
        ({"cancel": [Cancel("a"), Cancel("b", if_="a =")]}, "if_ of cancel[1]: "),
        ({"concurrency": [1, 2, 3]}, "concurrency: it has 3 entries"),
        ({"timeouts": Timeouts(start=0)}, "timeouts.start: "),
        ({"idempotency": 7}, "idempotency: "),
        ({"name": 7}, "name: "),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mistake_is_named_as_it_is_written_in_python(app, options: dict[str, Any], place: str) -> None:
    error = refused(app, **options)

    assert error.what.startswith(f"function 'shop-work', {place}")
    for wire in ("triggers", "expression of", "steps.", "[0]", ".if", "delays_ms", "{…}", "[…]"):
        assert wire not in str(error)


@pytest.mark.parametrize("options", [{}, {"on_failure": mourn}], ids=["alone", "with on_failure"])
def test_an_id_that_is_too_long_is_one_problem_that_names_its_beginning(app, options: dict[str, Any]) -> None:
    error = refused(app, id="import-" + "x" * 260, **options)

    assert error.what.startswith("the id of a function is too long: 'import-xxx")
    assert error.what.endswith("… has 267 characters")
    assert len(error.what) < 120
    assert error.fix == f"make it {17 + len('-failure') * bool(options)} shorter"


def test_so_is_one_with_characters_that_nobody_sees(app) -> None:
    assert refused(app, id="with\x00nul").what == r"the id of a function is 'with\x00nul'"


def test_a_decorator_without_its_parentheses_is_told_to_have_them(app) -> None:
    async def sync_order(ctx: Any) -> None: ...

    with pytest.raises(ConfigurationError) as raised:
        app.create_function(sync_order)

    assert raised.value.what == "@app.create_function stands before sync_order without its parentheses"
    assert 'id="sync-order"' in raised.value.fix
    assert app.functions == {}


@pytest.mark.parametrize("given", ["bill", 7], ids=repr)
def test_an_id_without_its_keyword_is_told_to_have_it(app, given: Any) -> None:
    with pytest.raises(ConfigurationError, match="given by name"):
        app.create_function(given, trigger="go")


@pytest.mark.parametrize("trigger", [[], (), "", [""], {}, 0], ids=repr)
def test_a_trigger_that_starts_nothing_is_refused(app, trigger: Any) -> None:
    refused(app, trigger=trigger)


def test_an_empty_list_of_triggers_is_told_how_to_say_that_there_is_none(app) -> None:
    assert "leave trigger out" in refused(app, trigger=[]).fix


@pytest.mark.parametrize("make", [TriggerEvent, Cancel])
@pytest.mark.parametrize("if_", ["", "  ", 7, True], ids=repr)
def test_a_condition_is_an_expression_or_left_out(make: Any, if_: Any) -> None:
    with pytest.raises(ConfigurationError) as raised:
        make("order/placed", if_=if_)

    assert raised.value.what == f"if_ is {if_!r}"
    assert "leave it out" in raised.value.fix


@pytest.mark.parametrize("match", ["", 7], ids=repr)
def test_a_match_is_a_path(match: Any) -> None:
    with pytest.raises(ConfigurationError, match="is not a path into an event"):
        Cancel("order/placed", match=match)


def test_an_on_failure_of_another_colour_is_refused_and_nothing_is_registered(app) -> None:
    def plain(ctx: Any) -> None: ...

    assert "on_failure" in refused(app, on_failure=plain).what


@pytest.mark.parametrize("name", ["Inngest", "RetryError", "Cron", "CancelOn", "Workflow", "frobnicate"])
def test_a_name_that_stepwell_does_not_have_is_answered_with_the_one_it_has(name: str) -> None:
    with pytest.raises(AttributeError) as raised:
        getattr(stepwell, name)

    assert f"stepwell.{name} does not exist" in str(raised.value)
    assert "fix:" in str(raised.value)


@pytest.mark.parametrize(
    ("name", "meant"),
    [("create_workflow", "create_function"), ("send_event", "send"), ("createFunction", "create_function")],
)
def test_so_is_one_that_an_app_does_not_have(app, name: str, meant: str) -> None:
    with pytest.raises(AttributeError, match=f"write {meant}"):
        getattr(app, name)


@pytest.mark.parametrize("make", [lambda: Timeouts("1h"), lambda: Cancel("a", when="b"), lambda: TriggerCron()])  # type: ignore[call-arg]
def test_python_itself_refuses_arguments_that_options_do_not_have(make: Any) -> None:
    with pytest.raises(TypeError):
        make()


def test_a_function_that_was_refused_does_not_start(app) -> None:
    declare(app, id="good")
    refused(app, id="bad", idempotency="event.data.")

    with harness(app) as t:
        t.send("go")

        assert [run.function_id for run in t.runs()] == ["shop-good"]


def test_the_limits_themselves_are_accepted(app) -> None:
    declare(
        app,
        id="x" * 250,
        name="n" * 255,
        trigger=[f"e{n}" for n in range(9)] + ["y" * 255],
        retries=20,
        cancel=[Cancel(f"c{n}") for n in range(5)],
        concurrency=[Concurrency(1), Concurrency(10**9, key="event.data.a")],
        timeouts=Timeouts(start="1ms", finish="5200w"),
        idempotency="event.data.a",
    )

    assert len(app.functions) == 1


def test_two_apps_may_not_come_to_the_same_id() -> None:
    first, second = Stepwell("a"), Stepwell("a-b")

    @first.create_function(id="b-c", trigger="x")
    async def one(ctx): ...

    @second.create_function(id="c", trigger="y")
    async def two(ctx): ...

    with pytest.raises(ConfigurationError) as refused, harness([first, second]):
        pass

    assert refused.value.what == "there is a function 'a-b-c' already, of app 'a'"
    assert refused.value.fix
