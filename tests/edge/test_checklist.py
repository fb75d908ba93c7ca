"""Statements of the protocol's checklist (§14) about calls, state and events, over the wire, by their numbers."""

from __future__ import annotations

import json
import time
from datetime import datetime
from typing import Any

import pytest

from tests.edge.conftest import Dev, Reply, eventually, known
from tests.edge.served_here import App, Asked

pytestmark = pytest.mark.slow

STEP = "a" * 40


def sleep(length: str) -> bytes:
    return json.dumps([{"op": "Sleep", "id": STEP, "name": length, "displayName": "nap"}]).encode()


def resting(length: str) -> Any:
    """A function that sleeps once."""
    return lambda asked: (200, {}, b'"rested"') if asked.call["steps"] else (206, {}, sleep(length))


# Calls and state ----------------------------------------------------------------------------------------------------


@pytest.mark.sdk("python")
def test_32_the_strict_reader_of_python_takes_our_calls(attached: Dev, here: App) -> None:
    """With the models of the official SDK itself, of a first call and of one with memos."""
    from inngest._internal.server_lib import ServerRequest

    here.answer = resting("10ms")
    attached.ended(attached.start("here/go", n=1))

    for asked in here.posts():
        read = ServerRequest.from_raw(json.loads(asked.body))
        assert isinstance(read, ServerRequest), read
        assert (read.ctx.attempt, read.use_api, read.ctx.disable_immediate_execution) == (0, False, False)
        assert read.ctx.stack.stack == list(read.steps)
        assert dict(read.event.data) == {"n": 1}
    assert len(here.posts()) == 2


@pytest.mark.parametrize("path", ["actions", "batch"])
def test_46_state_is_there_while_the_run_is(attached: Dev, here: App, path: str) -> None:
    here.answer = resting("1h")
    run_id = attached.start("here/go", n=1)
    attached.why(run_id, "sleeping")

    def state(run_id: str) -> Reply:
        return attached.http("GET", f"/v0/runs/{run_id}/{path}")

    live = state(run_id)
    attached.http("POST", f"/v2/runs/{run_id}/cancel")
    ended, bad, unknown = state(run_id), state("nonsense"), state("01HF7YAT000000000000000001")

    assert live.status == 200
    if path == "batch":
        assert [event["data"] for event in live.json] == [{"n": 1}]
    assert [(reply.status, reply.json["status"]) for reply in (ended, bad, unknown)] == [
        (410, 410),
        (400, 400),
        (410, 410),
    ]
    assert all(reply.json["error"] for reply in (ended, bad, unknown))


# Events -------------------------------------------------------------------------------------------------------------


def test_95_an_event_in_the_future_starts_its_run_then(attached: Dev, here: App) -> None:
    now = time.time()
    sent = attached.http("POST", "/e/test", {"name": "here/go", "ts": round(now * 1000) + 1500})
    (run,) = attached.get(f"/v2/events/{sent.json['ids'][0]}/runs")["runs"]
    eventually(here.posts)

    assert 1.4 < time.time() - now < 4
    assert attached.ended(run["id"])["output"] == "done"


def test_98_a_cancelled_run_tells_that_and_not_that_it_failed(attached: Dev, here: App) -> None:
    ends = [here.function(end, trigger=f"inngest/function.{end}") for end in ("cancelled", "failed", "finished")]
    known(attached, here, here.function("f", trigger="here/go"), *ends)
    rests = resting("1h")
    here.answer = lambda asked: rests(asked) if "fnId=here-f&" in asked.path else (200, {}, b"null")
    run_id = attached.start("here/go")
    attached.why(run_id, "sleeping")

    attached.http("POST", f"/v2/runs/{run_id}/cancel")

    def told() -> list[str]:
        events = [asked.call["event"] for asked in here.posts()[1:]]
        return sorted(event["name"] for event in events if event["data"]["run_id"] == run_id)

    eventually(lambda: len(told()) > 1)
    eventually(lambda: attached.get("/v2/health?counts=true")["liveRuns"] == 0)
    assert told() == ["inngest/function.cancelled", "inngest/function.finished"]


def numbers(here: App) -> list[list[int]]:
    """What the events of each call said, in the order of the calls."""
    return [[event["data"]["n"] for event in asked.call["events"]] for asked in here.posts()]


def test_100_events_are_collected_until_they_are_enough_or_it_is_time(attached: Dev, here: App) -> None:
    batch = {"maxSize": 2, "timeout": "1s", "if": "event.data.n > 0"}
    known(attached, here, here.function("f", trigger="here/go", batchEvents=batch))

    for n in (1, 2):
        attached.send("here/go", n=n)
    eventually(lambda: numbers(here) == [[1, 2]])
    attached.send("here/go", n=0)
    eventually(lambda: numbers(here) == [[1, 2], [0]])
    began = time.monotonic()
    attached.send("here/go", n=3)

    eventually(lambda: numbers(here) == [[1, 2], [0], [3]])
    assert time.monotonic() - began > 0.9


def test_a_run_of_a_batch_says_so_and_how_many_events_it_has(attached: Dev, here: App) -> None:
    batch = {"maxSize": 2, "timeout": "1m", "if": "event.data.n > 0"}
    known(attached, here, here.function("f", trigger="here/go", batchEvents=batch))

    first = attached.send("here/go", n=1)
    attached.send("here/go", n=2)
    (of_two,) = eventually(lambda: attached.get(f"/v1/events/{first}/runs"))
    other = attached.send("here/go", n=0)
    (alone,) = eventually(lambda: attached.get(f"/v1/events/{other}/runs"))

    assert of_two["batch_id"] == of_two["run_id"]
    assert "batch_id" not in alone
    counts = [attached.get(f"/v2/runs/{run['run_id']}")["eventCount"] for run in (of_two, alone)]
    assert counts == [2, 1]


def test_101_of_many_events_the_last_starts_a_run(attached: Dev, here: App) -> None:
    debounce = {"period": "1s", "timeout": "1m"}
    known(attached, here, here.function("f", trigger="here/go", debounce=debounce))

    for n in (1, 2, 3):
        attached.send("here/go", n=n)

    eventually(here.posts)
    assert numbers(here) == [[3]]


def started(attached: Dev, n: int) -> list[Any]:
    """The runs that an event started."""
    runs: list[Any] = attached.get(f"/v2/events/{attached.send('here/go', n=n)}/runs")["runs"]
    return runs


def test_102_a_rate_limit_drops(attached: Dev, here: App) -> None:
    known(attached, here, here.function("f", trigger="here/go", rateLimit={"limit": 1, "period": "1h"}))

    assert [len(started(attached, n)) for n in (1, 2)] == [1, 0]


def test_102_a_throttle_delays(attached: Dev, here: App) -> None:
    known(attached, here, here.function("f", trigger="here/go", throttle={"limit": 1, "period": "1s"}))

    runs = [run for n in (1, 2) for run in started(attached, n)]
    moments = [datetime.fromisoformat(attached.ended(run["id"])["startedAt"]) for run in runs]

    assert 0.9 < (moments[1] - moments[0]).total_seconds() < 5


@pytest.mark.parametrize("mode", ["skip", "cancel"])
def test_102_of_a_singleton_there_is_one(attached: Dev, here: App, mode: str) -> None:
    known(attached, here, here.function("f", trigger="here/go", singleton={"mode": mode}))
    here.answer = resting("1h")
    (first,) = started(attached, 1)
    attached.why(first["id"], "sleeping")

    second = started(attached, 2)

    assert len(second) == (0 if mode == "skip" else 1)
    assert attached.get(f"/v2/runs/{first['id']}")["status"] == ("RUNNING" if mode == "skip" else "CANCELLED")


@pytest.mark.parametrize("op", ["Sleep", "WaitForEvent"])
def test_103_a_run_that_rests_holds_no_slot(attached: Dev, here: App, op: str) -> None:
    known(attached, here, here.function("f", trigger="here/go", concurrency=1))
    wait = {"op": "WaitForEvent", "id": STEP, "name": "here/never", "displayName": "w", "opts": {"timeout": "1h"}}
    rest = sleep("1h") if op == "Sleep" else json.dumps([wait]).encode()

    def answer(asked: Asked) -> tuple[int, dict[str, str], bytes]:
        return (206, {}, rest) if asked.call["event"]["data"].get("rests") else (200, {}, b'"free"')

    here.answer = answer
    resting_run = attached.start("here/go", rests=True)
    attached.why(resting_run, "sleeping" if op == "Sleep" else "waiting")

    assert attached.ended(attached.start("here/go"))["output"] == "free"
    assert attached.get(f"/v2/runs/{resting_run}")["status"] == "RUNNING"


@pytest.mark.parametrize("timeout", ["start", "finish"])
def test_104_a_run_that_takes_too_long_is_cancelled(attached: Dev, here: App, timeout: str) -> None:
    limited = {"concurrency": 1, "timeouts": {timeout: "1s"}}
    known(attached, here, here.function("f", trigger="here/go", **limited))
    if timeout == "finish":
        here.answer = resting("1h")
        late = attached.start("here/go")
    else:
        here.hold()
        attached.start("here/go")
        eventually(here.posts)
        late = attached.start("here/go")  # there is no room for it

    run = attached.ended(late)
    here.let_go()

    assert run["status"] == "CANCELLED"
    assert timeout in run["reason"]


@pytest.mark.parametrize(
    ("pattern", "name", "starts"),
    [("a/*", "a/b.c", True), ("a/b.*", "a/b.c", True), ("a/b.*", "a/b", False), ("a/*", "b/c", False)],
)
def test_105_a_star_stands_for_the_rest_of_a_name(
    attached: Dev, here: App, pattern: str, name: str, starts: bool
) -> None:
    known(attached, here, here.function("star", trigger=pattern))

    runs = attached.get(f"/v2/events/{attached.send(name)}/runs")["runs"]

    assert [run["functionId"] for run in runs] == ["here-star"] * starts
