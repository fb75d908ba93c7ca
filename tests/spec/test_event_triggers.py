"""Functions are started by events: by name, by wildcard, by condition, by one of several triggers, many at once.

Semantics §2, §2.1, §2.4, §3.2–§3.3; F12, F13, F14, F15, F20, F21, F22.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from stepwell import ConfigurationError, Event, Stepwell, TriggerCron, TriggerEvent, event
from stepwell.testing import harness
from tests.spec.looking import events, outcomes


@event("user/created")
class UserCreated(msgspec.Struct):
    name: str
    age: int = 0


def on(app: Stepwell, trigger: Any, id: str = "greet", **options: Any) -> Any:
    @app.create_function(id=id, trigger=trigger, **options)
    async def function(ctx):
        return ctx.event.name

    return function


# By name ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "starts"),
    [
        ("user/created", True),
        ("User/created", False),
        ("user/created ", False),
        ("user/create", False),
        ("user/created.twice", False),
        ("app/user/created", False),
    ],
)
def test_a_name_is_matched_exactly(app, sent: str, starts: bool) -> None:
    function = on(app, "user/created")

    with harness(app) as t:
        t.send(sent)

        assert len(t.runs(function)) == starts


@pytest.mark.parametrize("name", ["a", "user/created", "🎉/über.raschung", "x" * 255, "with space", "a*b", "100%"])
def test_any_readable_name_will_do(app, name: str) -> None:
    if "*" in name:
        with pytest.raises(ConfigurationError, match="would never match"):
            on(app, name)
        return
    function = on(app, name)

    with harness(app) as t:
        t.send(name)

        t.assert_completed(t.run(function), name)


def test_an_event_class_gives_the_function_its_type(app) -> None:
    @app.create_function(id="greet", trigger=UserCreated)
    async def greet(ctx):
        return f"{ctx.event.data.name} is {ctx.event.data.age + 1}"

    with harness(app) as t:
        t.send("user/created", {"name": "Ada", "age": 36, "extra": True})

        t.assert_completed(t.run(greet), "Ada is 37")


def test_an_event_that_is_not_what_its_class_says_fails_the_run_and_names_the_field(app) -> None:
    @app.create_function(id="greet", trigger=UserCreated, retries=0)
    async def greet(ctx):
        return ctx.event.data.name

    with harness(app) as t:
        t.send("user/created", {"name": 7})
        t.advance("1h")

        t.assert_failed(t.run(greet), "name")


def test_without_a_trigger_only_an_invoke_starts_a_function(app) -> None:
    @app.create_function(id="child")
    async def child(ctx):
        return ctx.event.data["n"] + 1

    @app.create_function(id="parent", trigger="go")
    async def parent(ctx):
        return await ctx.step.invoke("call", child, data={"n": 1})

    with harness(app) as t:
        t.send("child")
        assert t.runs(child) == []
        t.send("go")

        t.assert_completed(t.run(parent), 2)


# By wildcard -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "sent", "starts"),
    [
        ("app/*", "app/user.created", True),
        ("app/user.*", "app/user.created", True),
        ("app/user.*", "app/user.created.twice", True),
        ("app/user.*", "app/user/created", False),
        ("app/*", "app/", False),
        ("app/*", "app", False),
        ("app/*", "App/x", False),
        ("app/*", "application/x", False),
        ("api/*", "api/v1/users", True),
        ("api/v1/*", "api/v1/users", True),
        ("api/v1/*", "api/v2/users", False),
        ("user.*", "user.created", True),
    ],
)
def test_a_star_stands_for_the_rest_of_a_name(app, pattern: str, sent: str, starts: bool) -> None:
    function = on(app, pattern)

    with harness(app) as t:
        t.send(sent)

        assert len(t.runs(function)) == starts


@pytest.mark.parametrize("pattern", ["*", "app/us*", "*/created", "app/*/created", "app/**", "/*", ".*", "app*"])
def test_a_star_elsewhere_would_never_match_and_is_refused(app, pattern: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        on(app, pattern)

    assert "would never match" in refused.value.what
    assert all((refused.value.why, refused.value.fix))
    assert app.functions == {}


def test_a_wildcard_does_not_change_what_others_are_started_by(app) -> None:
    exact, wide = on(app, "app/user.created", "exact"), on(app, "app/*", "wide")

    with harness(app) as t:
        t.send([Event("app/user.created"), Event("app/other")])

        assert (len(t.runs(exact)), len(t.runs(wide))) == (1, 2)


def test_a_wildcard_may_have_a_condition(app) -> None:
    function = on(app, TriggerEvent("app/*", if_="event.name != 'app/noise'"))

    with harness(app) as t:
        t.send([Event("app/noise"), Event("app/news")])

        assert [run.output for run in t.runs(function)] == ["app/news"]


# By condition ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "data", "starts"),
    [
        ("event.data.amount > 100", {"amount": 101}, True),
        ("event.data.amount > 100", {"amount": 100}, False),
        ("event.data.amount > 100.5", {"amount": 101}, True),
        ("event.data.amount > 100", {}, False),
        ("event.data.amount < 100", {}, True),
        ("event.data.coupon == null", {}, True),
        ("event.data.coupon != 'X'", {}, True),
        ("event.data.kind in ['a', 'b']", {"kind": "b"}, True),
        ("event.data.items.exists(i, i.price > 10)", {"items": [{"price": 1}, {"price": 11}]}, True),
        ("size(event.data.items) > 1", {"items": [1]}, False),
        ("event.data.name.startsWith('A') && !event.data.test", {"name": "Ada"}, True),
        ("event.data['first name'] == 'Ada'", {"first name": "Ada"}, True),
        ("lowercase(event.data.name) == 'ada'", {"name": "ADA"}, True),
        ("event.data.a.b.c == 1", {"a": {"b": {"c": 1}}}, True),
        ("event.data.a.b.c == 1", {"a": 5}, False),
        ("event.user.id == null && event.v == null", {}, True),
        ("event.ts > 0.0 && event.name == 'paid'", {}, True),
        ("true", {}, True),
        ("1 + 1 == 2", {}, True),
    ],
)
def test_a_condition_decides_whether_an_event_starts_a_run(
    app, condition: str, data: dict[str, Any], starts: bool
) -> None:
    function = on(app, TriggerEvent("paid", if_=condition))

    with harness(app) as t:
        (id,) = t.send("paid", data)

        assert len(t.runs(function)) == starts
        assert outcomes(t, id) == {}, "a condition that is false is no outcome: the event did not match"


@pytest.mark.parametrize("condition", ["event.data.kind < 1", "event.data.kind", "event.data.kind.missing()"])
def test_a_condition_that_fails_starts_nothing_and_is_recorded(app, condition: str) -> None:
    """I2, I27: other functions, and later events, are unaffected."""
    if "missing()" in condition:
        with pytest.raises(ConfigurationError):
            on(app, TriggerEvent("paid", if_=condition))
        return
    broken = on(app, TriggerEvent("paid", if_=condition), "broken")
    sound = on(app, "paid", "sound")

    with harness(app) as t:
        (id,) = t.send("paid", {"kind": "text"})
        (fine,) = t.send("paid", {"kind": False})

        assert outcomes(t, id)["shop-broken"].kind == "expression-failed"
        assert outcomes(t, id)["shop-broken"].reason
        assert len(t.runs(sound)) == 2
        assert len(t.runs(broken)) == 0
        assert ("shop-broken" in outcomes(t, fine)) == (condition != "event.data.kind")


@pytest.mark.parametrize(
    "condition",
    [
        "event.data.",
        "event.data.a ==",
        "async.data.a == 1",
        "steps.a == 1",
        "frobnicate(event)",
        "1 + 1",
        "'text'",
        "(",
    ],
)
def test_a_condition_that_can_never_decide_is_refused(app, condition: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        on(app, TriggerEvent("paid", if_=condition))

    assert all((refused.value.what, refused.value.why, refused.value.fix))
    assert app.functions == {}


# By one of several -----------------------------------------------------------------------------------------------


def test_any_of_ten_triggers_starts_a_function(app) -> None:
    function = on(app, [f"e{n}" for n in range(10)])

    with harness(app) as t:
        t.send([Event(f"e{n}") for n in range(11)])

        assert [run.output for run in t.runs(function)] == [f"e{n}" for n in range(10)]


def test_an_event_starts_a_function_once_however_many_of_its_triggers_match(app) -> None:
    function = on(app, ["app/user.created", "app/*", "app/user.*", TriggerEvent("app/user.*", if_="true")])

    with harness(app) as t:
        t.send("app/user.created")

        assert len(t.runs(function)) == 1


def test_a_trigger_that_fails_does_not_stop_the_one_after_it(app) -> None:
    """I2: the pair has one outcome, which is the run."""
    function = on(app, [TriggerEvent("paid", if_="event.data.kind < 1"), TriggerEvent("paid", if_="true")])

    with harness(app) as t:
        (id,) = t.send("paid", {"kind": "text"})

        assert len(t.runs(function)) == 1
        assert outcomes(t, id) == {}


def test_each_event_class_of_several_keeps_its_type(app) -> None:
    @event("user/left")
    class UserLeft(msgspec.Struct):
        why: str

    @app.create_function(id="audit", trigger=[UserCreated, UserLeft, "user/other"])
    async def audit(ctx):
        return type(ctx.event.data).__name__

    with harness(app) as t:
        t.send([UserCreated("Ada"), UserLeft("bored"), Event("user/other", {"a": 1})])

        assert [run.output for run in t.runs(audit)] == ["UserCreated", "UserLeft", "dict"]


def test_a_function_may_be_started_by_events_and_by_the_clock(app) -> None:
    function = on(app, ["paid", TriggerCron("0 * * * *")])

    with harness(app) as t:
        t.send("paid")
        t.advance("1h")

        assert [run.output for run in t.runs(function)] == ["paid", "inngest/scheduled.timer"]


@pytest.mark.parametrize(
    ("triggers", "says"),
    [
        ([f"e{n}" for n in range(11)], "at most 10"),
        (["paid", "paid"], "twice"),
        (["paid", TriggerEvent("paid")], "twice"),
        ([TriggerEvent("paid", if_="true"), TriggerEvent("paid", if_="true")], "twice"),
        ([TriggerCron("0 * * * *"), TriggerCron("0 * * * *")], "twice"),
        ([TriggerCron("0 * * * *"), TriggerCron("0  *  * * *")], "twice"),
        ([TriggerCron("0 * * * *"), TriggerCron("0 * * * *", jitter="30s")], "twice"),
        ([TriggerCron("0 9 * * *", tz="Asia/Tokyo"), TriggerCron("CRON_TZ=Asia/Tokyo 0 9 * * *")], "twice"),
        ([TriggerCron("0 9 * * *"), TriggerCron("TZ=UTC 0 9 * * *")], "twice"),
        ("", "no name"),
        ("   ", "no name"),
        ("x" * 256, "256 characters"),
        ("with\x00nul", "control characters"),
        (7, "not a trigger"),
        ([["paid"]], "not a trigger"),
        ({"event": "paid"}, "not a trigger"),
        (int, "not an event class"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_triggers_that_cannot_be_are_refused_with_what_why_and_fix(app, triggers: Any, says: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        on(app, triggers)

    assert says in str(refused.value)
    assert all((refused.value.what, refused.value.why, refused.value.fix))
    assert app.functions == {}


def test_the_same_name_with_another_condition_is_another_trigger(app) -> None:
    function = on(app, [TriggerEvent("paid", if_="event.data.n == 1"), TriggerEvent("paid", if_="event.data.n == 2")])

    with harness(app) as t:
        t.send([Event("paid", {"n": n}) for n in (1, 2, 3)])

        assert len(t.runs(function)) == 2


# Many at once ----------------------------------------------------------------------------------------------------


def test_one_event_starts_all_functions_that_match_each_with_its_own_run(app) -> None:
    functions = [on(app, "paid", f"f{n}") for n in range(50)]

    with harness(app) as t:
        t.send("paid")

        assert all(t.run(function).status == "COMPLETED" for function in functions)
        assert len({run.id for run in t.runs()}) == 50


def test_the_failure_of_one_affects_no_other(app) -> None:
    @app.create_function(id="fails", trigger="paid", retries=1)
    async def fails(ctx):
        raise RuntimeError("no")

    @app.create_function(id="hangs", trigger="paid")
    async def hangs(ctx):
        await ctx.step.run("hang", lambda: asyncio.sleep(3_600))

    sound = on(app, "paid", "sound")

    with harness(app) as t:
        t.send("paid")
        t.assert_completed(t.run(sound))
        t.advance("2h")

        t.assert_failed(t.run(fails))
        t.assert_completed(t.run(hangs))


def test_fan_out_is_all_or_nothing_across_a_crash(app) -> None:
    """I2: the event and all runs it starts are one decision."""
    functions = [on(app, "paid", f"f{n}") for n in range(10)]

    with harness(app) as t:
        t.send("paid")
        t.crash()
        t.run_until_idle()

        assert [len(t.runs(function)) for function in functions] == [1] * 10


def test_functions_of_several_apps_share_the_events(app) -> None:
    other = Stepwell("warehouse")
    bill, ship = on(app, "paid", "bill"), on(other, "paid", "ship")

    with harness([app, other]) as t:
        t.send("paid")

        assert (t.run(bill).function_id, t.run(ship).function_id) == ("shop-bill", "warehouse-ship")
        assert len(events(t)) == 1


def test_a_function_that_sends_what_starts_it_goes_round_once_for_each_event(app) -> None:
    @app.create_function(id="count", trigger="count")
    async def count(ctx):
        if ctx.event.data["n"] > 0:
            await ctx.step.send_event("again", Event("count", {"n": ctx.event.data["n"] - 1}))

    with harness(app) as t:
        t.send("count", {"n": 5})

        assert len(t.runs(count)) == 6
