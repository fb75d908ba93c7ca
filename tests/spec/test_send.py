"""``app.send``: one event or many, all or none, their ids in order (semantics §1.1–§1.3; F1, F2, F5, F6)."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from stepwell import ConfigurationError, Event, EventTooLarge, InvalidEvent, NotRunning, Stepwell, event
from stepwell.model.questions import GetEvent
from stepwell.protocol.events import Incoming, validate_incoming
from stepwell.testing import Harness, harness
from tests.spec.looking import events, totals

START = datetime(2026, 1, 1, tzinfo=UTC)


@event("order/placed")
@dataclass
class Placed:
    order: str
    amount: int = 1


def echo(app: Stepwell) -> Any:
    @app.create_function(id="echo", trigger="order/placed")
    async def echo(ctx):
        found = ctx.event
        return {"id": found.id, "data": found.data, "ts": found.ts, "v": found.v, "user": found.user}

    return echo


# One and many ----------------------------------------------------------------------------------------------------


def test_an_event_starts_a_run_that_is_given_its_data(app) -> None:
    function = echo(app)

    with harness(app) as t:
        t.send("order/placed", {"order": "7", "lines": [1, 2.5, None, True, {"ü": "☃"}]})

        assert t.run(function).output["data"] == {"order": "7", "lines": [1, 2.5, None, True, {"ü": "☃"}]}


def test_ids_come_back_in_the_order_of_the_events_and_are_those_they_are_stored_under(app) -> None:
    echo(app)

    with harness(app) as t:
        ids = t.send([Event("order/placed", {"order": str(n)}) for n in range(50)])

        assert len(set(ids)) == 50
        assert ids == sorted(ids), "they sort by time"
        stored = [t.ask(GetEvent(id)) for id in ids]
        assert [json.loads(found.data)["order"] for found in stored if found] == [str(n) for n in range(50)]


def test_one_event_gives_one_id(app) -> None:
    with harness(app) as t:
        assert len(t.send("order/placed")) == 1


def test_an_empty_list_is_accepted_and_gives_no_ids(app) -> None:
    with harness(app) as t:
        assert t.send([]) == []
        assert events(t) == []


def test_events_of_several_kinds_may_be_sent_together(app) -> None:
    function = echo(app)

    with harness(app) as t:
        t.send([Placed("1"), Event("order/placed", {"order": "2"}), Event(Placed, Placed("3")), Event("other")])

        assert [run.output["data"]["order"] for run in t.runs(function)] == ["1", "2", "3"]
        assert [found.name for found in events(t)] == ["order/placed"] * 3 + ["other"]


def test_an_event_nobody_is_interested_in_is_stored_all_the_same(app) -> None:
    with harness(app) as t:
        t.send("nobody/cares", {"a": 1})

        assert [found.name for found in events(t)] == ["nobody/cares"]
        assert t.runs() == []


def test_what_was_acknowledged_survives_a_crash_in_the_same_moment(app) -> None:
    """I1."""
    function = echo(app)

    with harness(app) as t:
        ids = t.send([Placed(str(n)) for n in range(20)])
        t.crash()
        t.run_until_idle()

        assert all(t.ask(GetEvent(id)) is not None for id in ids)
        assert [run.status for run in t.runs(function)] == ["COMPLETED"] * 20


async def test_without_an_engine_sending_says_so_and_what_to_do(app) -> None:
    with pytest.raises(NotRunning) as refused:
        await app.send(Event("order/placed"))

    assert "not connected to an engine" in refused.value.what
    assert "embedded" in refused.value.fix


def test_a_function_that_sends_outside_of_a_step_sends_again_on_each_replay(app) -> None:
    """Allowed, not an error; §1.2."""

    @app.create_function(id="careless", trigger="go")
    async def careless(ctx):
        await app.send(Event("noise"))
        await ctx.step.sleep("rest", "1h")

    with harness(app) as t:
        t.send("go")
        t.advance("1h")

        t.assert_completed(t.run(careless))
        assert len(events(t, "noise")) == 2


# Fields ----------------------------------------------------------------------------------------------------------


def test_all_fields_arrive_as_they_were_sent(app) -> None:
    function = echo(app)

    with harness(app) as t:
        t.send(Event("order/placed", {"a": 1}, id="o-1", ts=START, v="2026-01", user={"name": "Ada"}))

        assert t.run(function).output == {
            "id": "o-1",
            "data": {"a": 1},
            "ts": 1_767_225_600_000,
            "v": "2026-01",
            "user": {"name": "Ada"},
        }


def test_fields_that_are_left_out_have_defaults(app) -> None:
    function = echo(app)

    with harness(app) as t:
        (id,) = t.send(Event("order/placed"))

        assert t.run(function).output == {"id": id, "data": {}, "ts": 1_767_225_600_000, "v": None, "user": {}}


def test_a_ts_of_zero_means_now(app) -> None:
    function = echo(app)

    with harness(app) as t:
        t.send(Event("order/placed", ts=0))

        assert t.run(function).output["ts"] == 1_767_225_600_000


def test_what_the_server_keeps_for_itself_is_taken_out_of_the_data(app) -> None:
    function = echo(app)

    with harness(app) as t:
        t.send("order/placed", {"_inngest": {"fn_id": "other"}, "a": 1})

        assert t.run(function).output["data"] == {"a": 1}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"name": "a" * 600}, "600 characters"),
        ({"name": "with\x00nul"}, "\\x00"),
        ({"id": "with\x00nul"}, "has the id"),
        ({"id": "   "}, "blank"),
        ({"id": "é" * 300}, "an id of 600 bytes"),
        ({"v": "v" * 513}, "a v of 513 bytes"),
        ({"ts": 1_767_225_600}, "looks like seconds"),
        ({"ts": -5}, "between the years 1980 and 2100"),
        ({"ts": datetime(2100, 1, 2, tzinfo=UTC)}, "between the years 1980 and 2100"),
        ({"ts": datetime(1979, 12, 31, tzinfo=UTC)}, "between the years 1980 and 2100"),
        ({"data": {"what": object()}}, "cannot be written as JSON"),
        ({"data": [1, 2]}, "data of event"),
        ({"data": "text"}, "data of event"),
        ({"user": ["Ada"]}, "user of event"),
    ],
    ids=lambda value: "an object" if "object" in repr(value) else repr(value)[:50],
)
def test_a_wrong_field_is_named_and_nothing_of_the_request_is_stored(app, wrong: dict[str, Any], says: str) -> None:
    """K42: empty, blank, huge and NUL ids; §1.2: all or nothing."""
    echo(app)
    good = Event("order/placed", {"order": "1"})

    with harness(app) as t:
        with pytest.raises(Exception) as refused:
            t.send([good, Event(**({"name": "order/placed"} | wrong)), good])

        assert says in str(refused.value)
        assert {"why:", "fix:"} <= set(str(refused.value).split()), "it says why, and what to do"
        assert events(t) == []
        assert t.runs() == []


@pytest.mark.parametrize(("field", "value"), [("ts", "tomorrow"), ("ts", True), ("id", 3), ("v", 1.5)])
def test_a_field_of_another_type_is_named_before_anything_is_sent(app, field: str, value: Any) -> None:
    with harness(app) as t:
        with pytest.raises(InvalidEvent, match=f"the {field} of event 'x' is {value!r}"):
            t.send([Event("fine"), Event("x", **{field: value})])

        assert events(t) == []


def test_an_event_class_needs_the_name_of_its_events() -> None:
    with pytest.raises(ConfigurationError, match="@event stands before Placed without the name") as refused:
        event(Placed)  # type: ignore[arg-type]

    assert refused.value.fix


@pytest.mark.parametrize("ts", [datetime(1980, 1, 1, tzinfo=UTC), datetime(2099, 12, 31, tzinfo=UTC)], ids=str)
def test_the_years_1980_to_2100_are_accepted(app, ts: datetime) -> None:
    with harness(app) as t:
        assert len(t.send("order/placed", ts=ts)) == 1


def test_a_naive_moment_is_in_utc(app) -> None:
    function = echo(app)

    with harness(app) as t:
        t.send("order/placed", ts=datetime(2025, 6, 1, 12))  # noqa: DTZ001

        assert t.run(function).output["ts"] == int(datetime(2025, 6, 1, 12, tzinfo=UTC).timestamp() * 1000)


def test_an_instance_that_is_not_what_its_class_says_is_not_sent(app) -> None:
    with harness(app) as t:
        with pytest.raises(InvalidEvent, match="amount"):
            t.send(Placed("7", amount="much"))  # type: ignore[arg-type]

        assert events(t) == []


@pytest.mark.parametrize("thing", [{"name": "order/placed"}, 7, None, Placed, object()], ids=lambda x: repr(x)[:18])
def test_what_is_no_event_is_refused_with_a_way_to_write_one(app, thing: Any) -> None:
    with harness(app) as t:
        with pytest.raises(InvalidEvent) as refused:
            t.send(thing)

        assert 'Event("app/thing.happened"' in refused.value.fix


# Limits ----------------------------------------------------------------------------------------------------------


def test_an_event_of_512_kib_is_accepted_and_a_byte_more_is_not(app) -> None:
    room = 512 * 1024 - len("order/placed") - len('{"text":""}')

    with harness(app) as t:
        t.send("order/placed", {"text": "x" * room})
        with pytest.raises(EventTooLarge) as refused:
            t.send("order/placed", {"text": "x" * (room + 1)})

        assert "524,289 bytes" in refused.value.what
        assert "524,288" in refused.value.why
        assert len(events(t)) == 1


def test_5000_events_are_one_request_and_5001_are_too_many(app) -> None:
    with harness(app) as t:
        assert len(t.send([Event("tick")] * 5_000)) == 5_000
        with pytest.raises(InvalidEvent, match="5001 events are sent at once"):
            t.send([Event("tick")] * 5_001)

        assert len(events(t, "tick")) == 5_000


# Sending again after an answer was lost --------------------------------------------------------------------------


SEED = f"1767225600000,{b64encode(bytes(range(10))).decode()}"


def send_seeded(t: Harness, *names: str, seed: str = SEED) -> list[str]:
    """As the sender of another process does: the header of protocol §9.3 goes with each attempt."""
    parts = [validate_incoming(Incoming(name=name)) for name in names]
    return t._finish(t.engine.send(parts, seed=seed))


def test_a_request_sent_again_with_its_seed_starts_nothing_twice(app) -> None:
    function = echo(app)

    with harness(app) as t:
        first = send_seeded(t, "order/placed", "order/placed")
        again = send_seeded(t, "order/placed", "order/placed")

        assert first == again
        assert len(set(first)) == 2, "two events of one request stay two"
        assert len(t.runs(function)) == 2
        assert len(events(t)) == 2


def test_a_request_sent_again_days_later_or_after_a_crash_starts_nothing_twice(app) -> None:
    function = echo(app)

    with harness(app) as t:
        first = send_seeded(t, "order/placed")
        t.crash()
        t.advance("3d")
        assert send_seeded(t, "order/placed") == first

        assert len(t.runs(function)) == 1


def test_without_an_id_of_its_own_the_seeded_id_is_the_id_of_the_event(app) -> None:
    function = echo(app)

    with harness(app) as t:
        (id,) = send_seeded(t, "order/placed")

        assert t.run(function).output["id"] == id


def test_another_seed_is_another_request(app) -> None:
    function = echo(app)

    with harness(app) as t:
        send_seeded(t, "order/placed")
        send_seeded(t, "order/placed", seed=f"1767225600000,{b64encode(bytes(10)).decode()}")

        assert len(t.runs(function)) == 2


@pytest.mark.parametrize("seed", ["", "x", "1767225600000", "1767225600000,!!", "-1,AAAAAAAAAAAAAA=="])
def test_a_seed_that_cannot_be_read_is_as_good_as_none(app, seed: str) -> None:
    function = echo(app)

    with harness(app) as t:
        send_seeded(t, "order/placed", seed=seed)
        send_seeded(t, "order/placed", seed=seed)

        assert len(t.runs(function)) == 2


def test_a_repeated_request_resumes_no_second_wait(app) -> None:
    """K04: redelivered after an error, it must not match a wait that was created later."""

    @app.create_function(id="asker", trigger="ask")
    async def asker(ctx):
        found = await ctx.step.wait_for_event("answer", "order/placed", timeout="1d")
        return found is not None

    with harness(app) as t:
        send_seeded(t, "order/placed")
        t.send("ask")
        send_seeded(t, "order/placed")
        t.advance("2d")

        t.assert_completed(t.run(asker), False)


def test_two_who_send_at_once_do_not_disturb_each_other(app) -> None:
    function = echo(app)

    with harness(app) as t:

        async def both() -> None:
            await asyncio.gather(*(app.send(Placed(str(n))) for n in range(20)))

        t._finish(both())

        assert sorted(int(run.output["data"]["order"]) for run in t.runs(function)) == list(range(20))
        assert totals(t).live_runs == 0
