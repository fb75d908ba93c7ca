"""``rate_limit=``: so many starts in a length of time; the others are dropped, and that is recorded (semantics §7.5;
F66, I14)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwell import ConfigurationError, Event, RateLimit, Singleton, StepError, Stepwell
from stepwell.model.history import Outcome
from stepwell.protocol.events import parse_events
from stepwell.testing import harness
from tests.spec.looking import outcomes

START = datetime(2026, 1, 1, tzinfo=UTC)


def work(app: Stepwell, limit: Any, **more: Any) -> Any:
    @app.create_function(id="work", trigger="go", rate_limit=limit, **more)
    async def work(ctx):
        return ctx.event.data.get("n")

    return work


@pytest.mark.parametrize(("limit", "at_once"), [(1, 1), (9, 1), (10, 2), (25, 3)])
def test_a_tenth_of_the_limit_may_come_at_once(app, limit: int, at_once: int) -> None:
    function = work(app, RateLimit(limit, "1m"))

    with harness(app) as t:
        t.send([Event("go", {"n": n}) for n in range(30)])

        assert [run.output for run in t.runs(function)] == list(range(at_once))


def test_the_next_may_start_when_its_share_of_the_period_is_over(app) -> None:
    function = work(app, RateLimit(6, "1m"))

    with harness(app) as t:
        for n in range(21):
            t.send("go", {"n": n})
            t.advance("1s")

        assert [run.output for run in t.runs(function)] == [0, 10, 20]


def test_what_was_dropped_says_why_and_when_and_names_the_last_that_was_not(app) -> None:
    """I2, F79."""
    function = work(app, RateLimit(1, "1m"))

    with harness(app) as t:
        t.send("go")
        (dropped,) = t.send("go")

        found = outcomes(t, dropped)["shop-work"]
        assert (found.kind, found.run_id) == ("rate-limited", t.run(function).id)
        assert "1 per 1m" in found.reason
        assert "2026-01-01T00:01:00" in found.reason


def test_each_key_has_its_own_rate_and_false_has_none(app) -> None:
    function = work(app, RateLimit(1, "1m", key="event.data.vip ? false : event.data.who"))

    with harness(app) as t:
        t.send([Event("go", {"vip": False, "who": who}) for who in "abab"])
        t.send([Event("go", {"vip": True}) for _ in range(3)])

        assert len(t.runs(function)) == 5


def test_the_same_event_sent_again_takes_nothing_of_it(app) -> None:
    function = work(app, RateLimit(10, "1m"))

    with harness(app) as t:
        for _ in range(5):
            t.send(Event("go", {"n": 1}, id="one"))
        t.send(Event("go", {"n": 2}, id="two"))

        assert [run.output for run in t.runs(function)] == [1, 2]


def test_a_start_that_another_rule_drops_has_taken_its_share(app) -> None:
    function = work(app, RateLimit(10, "1m"), singleton=Singleton("skip"))
    other = Stepwell("shop")
    work(other, RateLimit(10, "1m"))

    @app.create_function(id="hold", trigger="go")
    async def hold(ctx):
        await ctx.step.sleep("x", "1h")

    with harness(app) as t:
        found = [outcomes(t, t.send(Event("go", {"n": n}, ts=START + timedelta(hours=1)))[0]) for n in range(3)]

        assert len(t.runs(function)) == 1
        assert [one["shop-work"].kind for one in found[1:]] == ["singleton", "rate-limited"]


def test_an_invoke_that_is_dropped_fails_with_an_error_that_can_be_caught(app) -> None:
    """Protocol §6.4, 5."""
    function = work(app, RateLimit(1, "1m"))

    @app.create_function(id="parent", trigger="parent")
    async def parent(ctx):
        await ctx.step.invoke("first", function)
        try:
            await ctx.step.invoke("second", function)
        except StepError as error:
            return str(error)

    with harness(app) as t:
        t.send("parent")

        assert "rate limit" in t.run(parent).output


def test_an_invoke_that_is_asked_for_again_is_answered_as_the_first_time(app) -> None:
    """Whoever listens to invokes besides is not what was asked for (protocol §9.3)."""
    work(app, RateLimit(1, "1h"))

    @app.create_function(id="listens", trigger="inngest/function.invoked")
    async def listens(ctx): ...

    seed = "1700000000000,AAAAAAAAAAAAAA=="
    (event,) = parse_events(b'{"name":"invoke","data":{}}', bytes_max=10_000)
    with harness(app) as t:
        t.send("go")
        answers = [t._do(lambda: t.engine.invoke("shop-work", event, seed=seed))[1] for _ in range(2)]

        assert [type(answer) for answer in answers] == [Outcome, Outcome]
        assert answers[0] == answers[1]
        assert len(t.runs(listens)) == 1


def test_a_new_rate_holds_at_once(app) -> None:
    work(app, RateLimit(1, "24h"))
    faster = Stepwell("shop")
    function = work(faster, RateLimit(1, "1m"))

    with harness(app) as t:
        t.send("go", {"n": 1})
        t.advance("2m")
        t.crash(app=faster)
        t.send("go", {"n": 2})

        assert [run.output for run in t.runs(function)] == [1, 2]


def test_a_slower_rate_holds_from_the_last_start_on(app) -> None:
    work(app, RateLimit(1, "1m"))
    slower = Stepwell("shop")
    function = work(slower, RateLimit(1, "1h"))

    with harness(app) as t:
        t.send("go", {"n": 1})
        t.advance("30s")
        t.crash(app=slower)
        (dropped,) = t.send([Event("go", {"n": 2})])
        assert outcomes(t, dropped)["shop-work"].reason.endswith("free again at 2026-01-01T01:00:00.000Z")
        t.advance("59m")
        t.send("go", {"n": 3})
        t.advance("1m")
        t.send("go", {"n": 4})

        assert [run.output for run in t.runs(function)] == [1, 4]


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: RateLimit(0, "1m"), "limit of rate_limit is 0"),
        (lambda: RateLimit(1, "500ms"), "period of rate_limit is 500ms"),
        (lambda: RateLimit(1, "25h"), "period of rate_limit is 1d1h"),
        (lambda: RateLimit(1, "1x"), "1x"),
        (lambda: RateLimit(1, "1m", key=1), "key of rate_limit is 1"),  # type: ignore[arg-type]
    ],
)
def test_a_rate_that_cannot_be_kept_is_refused(make: Any, what: str) -> None:
    with pytest.raises(ConfigurationError, match=what):
        make()


@settings(max_examples=60, deadline=None)
@given(
    limit=st.integers(1, 40), period=st.integers(1, 60), gaps=st.lists(st.integers(0, 9_000), min_size=1, max_size=40)
)
def test_as_many_start_as_the_model_lets_through(limit: int, period: int, gaps: list[int]) -> None:
    """I14."""
    app = Stepwell("shop")
    function = work(app, RateLimit(limit, timedelta(seconds=period)))
    expected, arrival, now = [], 0.0, 0.0
    with harness(app) as t:
        for n, gap in enumerate(gaps):
            t.advance(gap)
            t.send("go", {"n": n})
            now += gap / 1000
            if now >= arrival - limit // 10 * period / limit - 1e-9:
                arrival = max(now, arrival) + period / limit
                expected.append(n)

        assert [run.output for run in t.runs(function)] == expected
