"""What semantics §7 says of when runs start, or do not, in each official SDK: what the app does, and what of it the
REST API tells."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from itertools import count
from typing import Any

import pytest

from tests.edge.conftest import eventually
from tests.edge.official.conftest import Sdk, one_each, synced

pytestmark = [pytest.mark.slow, one_each]  # no framework has a part in when runs start

_keys = count()


@pytest.fixture
def key(sdk: Sdk) -> str:
    """One that no other test has: what a rule remembers of it outlives them."""
    return f"{sdk.version} key {next(_keys)}"


def send(sdk: Sdk, name: str, *told: dict[str, Any]) -> list[str]:
    """Send events together, so that what they start does not depend on how long that takes."""
    reply = sdk.dev.http("POST", "/e/test", [{"name": f"{sdk.language}/{name}", "data": data} for data in told])
    assert reply.status == 200, reply
    ids: list[str] = reply.json["ids"]
    return ids


def runs(sdk: Sdk, event_id: str) -> list[str]:
    return [run["id"] for run in sdk.dev.get(f"/v2/events/{event_id}/runs")["runs"]]


def outcome(sdk: Sdk, event_id: str) -> tuple[str, str | None]:
    """Why the event started no run, and which run stands for it."""
    why = sdk.dev.get(f"/v2/events/{event_id}/why")
    assert why["runs"] == []
    (found,) = why["outcomes"]
    return found["kind"], found["runId"]


# Batches --------------------------------------------------------------------------------------------------------------


@pytest.mark.feature("F74")
def test_100_a_batch_starts_when_it_is_full(sdk: Sdk, key: str) -> None:
    ids = send(sdk, "batched", *({"key": key, "n": n} for n in (1, 2, 3)))

    (run,) = runs(sdk, ids[0])  # it is there as soon as the last of them has been accepted
    assert [runs(sdk, event_id) for event_id in ids[1:]] == [[run]] * 2
    assert sdk.dev.ended(run)["output"] == [1, 2, 3]
    assert sdk.noted(key) == [{"what": key, "run": run, "told": [1, 2, 3], "first": 1}]


@pytest.mark.feature("F74")
def test_100_a_batch_starts_when_its_time_is_over(sdk: Sdk, key: str) -> None:
    began = time.monotonic()
    ids = send(sdk, "batched", *({"key": key, "n": n} for n in (1, 2)))
    (held,) = sdk.dev.get(f"/v2/events/{ids[0]}/why")["held"]

    (call,) = sdk.noted(key)
    assert time.monotonic() - began > 0.9
    assert call["told"] == [1, 2]
    assert (held["by"], held["count"], held["runId"]) == ("batch_events", 2, call["run"])


@pytest.mark.feature("F75")
def test_100_an_event_that_is_not_to_be_collected_starts_a_run_at_once(sdk: Sdk, key: str) -> None:
    waiting, alone = send(sdk, "batched", {"key": key, "n": 1}, {"key": key, "n": 0})

    assert len(runs(sdk, alone)) == 1
    assert sdk.dev.get(f"/v2/events/{waiting}/why")["runs"] == []
    assert [call["told"] for call in sdk.noted(key, 2)] == [[0], [1]]


@pytest.mark.feature("F74")
def test_100_each_key_has_batches_of_its_own(sdk: Sdk, key: str) -> None:
    others = f"{key} too"
    send(sdk, "batched", *({"key": each, "n": n} for n in (1, 2, 3) for each in (key, others)))

    assert [call["told"] for each in (key, others) for call in sdk.noted(each)] == [[1, 2, 3]] * 2


# Debounce -------------------------------------------------------------------------------------------------------------


@pytest.mark.feature("F71", "F79")
def test_101_of_many_events_the_last_starts_a_run(sdk: Sdk, key: str) -> None:
    others = f"{key} too"
    began = time.monotonic()
    first, second, last = send(sdk, "calm", *({"key": key, "n": n} for n in (1, 2, 3)))
    send(sdk, "calm", {"key": others, "n": 9})

    (call,) = sdk.noted(key)
    assert time.monotonic() - began > 0.9
    assert call["told"] == [3]
    assert runs(sdk, last) == [call["run"]]
    assert [outcome(sdk, each) for each in (first, second)] == [("debounced", call["run"])] * 2
    assert [each["told"] for each in sdk.noted(others)] == [[9]]


@pytest.mark.feature("F72")
def test_101_a_run_comes_in_time_however_long_events_go_on(sdk: Sdk, key: str) -> None:
    sent = count()

    def one_more() -> list[dict[str, Any]]:
        send(sdk, "calm-in-time", {"key": key, "n": next(sent)})
        return [line for line in sdk.app.ledger() if line["what"] == key]

    (call,) = eventually(one_more)[:1]

    (n,) = call["told"]
    assert 0 < n < next(sent)  # neither the first nor, since more came after it, the last


# Rates ----------------------------------------------------------------------------------------------------------------


@pytest.mark.feature("F69", "F79")
def test_102_a_rate_limit_drops(sdk: Sdk, key: str) -> None:
    first, second, other = send(sdk, "rated", *({"key": each, "n": 1} for each in (key, key, f"{key} too")))

    started = [*runs(sdk, first), *runs(sdk, other)]
    assert outcome(sdk, second) == ("rate-limited", started[0])
    assert [sdk.dev.ended(run)["output"] for run in started] == [[1], [1]]
    assert sdk.app.did(key) == 1


@pytest.mark.feature("F68")
def test_102_a_throttle_delays(sdk: Sdk, key: str) -> None:
    """The Python SDK says that one may start besides the first; JavaScript says nothing, which is none."""
    together = 2 if sdk.language == "py" else 1
    ids = send(sdk, "throttled", *({"key": key, "n": n} for n in range(together + 1)))

    started = [sdk.dev.ended(run)["startedAt"] for event_id in ids for run in runs(sdk, event_id)]

    moments = [datetime.fromisoformat(at).timestamp() for at in started]
    assert len(moments) == together + 1
    assert moments[together - 1] - moments[0] < 0.9
    assert moments[-1] - moments[0] >= 0.999
    assert [call["told"] for call in sdk.noted(key, together + 1)][-1] == [together]


@pytest.mark.feature("F68")
def test_102_a_throttle_lets_so_many_start_besides_the_first(sdk: Sdk, key: str) -> None:
    ids = send(sdk, "throttled-burst", *({"key": key, "n": n} for n in range(5)))
    started = [run for event_id in ids for run in runs(sdk, event_id)]

    assert [sdk.dev.ended(run)["output"] for run in started[:3]] == [[0], [1], [2]]
    gate = sdk.dev.why(started[3], "throttled")
    assert (gate["limit"], gate["periodMs"], gate["value"], gate["position"]) == (1, 3_600_000, key, 1)
    assert sdk.dev.why(started[4], "throttled")["position"] == 2
    assert sdk.app.did(key) == 3


# Singletons -----------------------------------------------------------------------------------------------------------


@pytest.mark.feature("F76", "F79")
def test_102_while_a_singleton_runs_no_other_starts(sdk: Sdk, key: str) -> None:
    first, second, other = send(sdk, "skips", *({"key": each, "n": key} for each in (key, key, f"{key} too")))
    (holder,) = runs(sdk, first)
    (apart,) = runs(sdk, other)

    assert outcome(sdk, second) == ("singleton", holder)
    for run in (holder, apart):
        sdk.dev.why(run, "waiting")
    sdk.send("go-on", n=key)
    assert [sdk.dev.ended(run)["output"] for run in (holder, apart)] == ["done"] * 2
    assert sdk.app.did(key) == 1
    assert len(runs(sdk, *send(sdk, "skips", {"key": key, "n": "later"}))) == 1  # it has ended, and makes room


@pytest.mark.feature("F76")
def test_102_the_next_singleton_takes_the_place_of_the_one_before(sdk: Sdk, key: str) -> None:
    (first,) = runs(sdk, *send(sdk, "replaces", {"key": key, "n": key}))
    sdk.dev.why(first, "waiting")

    (second,) = runs(sdk, *send(sdk, "replaces", {"key": key, "n": key}))

    assert sdk.dev.ended(first)["status"] == "CANCELLED"
    sdk.dev.why(second, "waiting")
    sdk.send("go-on", n=key)
    assert sdk.dev.ended(second)["output"] == "done"
    assert [call["run"] for call in sdk.noted(key, 2)] == [first, second]


# Order, sameness and limits -------------------------------------------------------------------------------------------


@pytest.mark.feature("F73")
def test_the_important_ones_go_first(sdk: Sdk, key: str) -> None:
    holder = sdk.start("ranked", gate=f"{key} holder")
    sdk.noted(f"at {key} holder")
    low, high = (sdk.start("ranked", gate=f"{key} {vip}", vip=vip) for vip in (False, True))
    for run in (low, high):
        sdk.dev.why(run, "limited")
    assert [sdk.dev.why(run, "limited")["position"] for run in (high, low)] == [1, 2]

    for gate in ("holder", "True", "False"):
        (sdk.app.folder / f"{key} {gate}").touch()

    assert [sdk.dev.ended(run)["status"] for run in (holder, low, high)] == ["COMPLETED"] * 3
    begun = [line["what"] for line in sdk.app.ledger() if line["what"].startswith(f"at {key}")]
    assert begun == [f"at {key} {gate}" for gate in ("holder", "True", "False")]


@pytest.mark.feature("F70", "F79")
def test_what_was_started_for_a_key_is_not_started_again_that_day(sdk: Sdk, key: str) -> None:
    first, second, other = send(sdk, "daily", *({"key": each, "n": 1} for each in (key, key, f"{key} too")))

    (run,) = runs(sdk, first)
    assert outcome(sdk, second) == ("idempotent", run)
    assert len(runs(sdk, other)) == 1
    assert sdk.dev.ended(run)["output"] == [1]
    assert outcome(sdk, *send(sdk, "daily", {"key": key, "n": 2})) == ("idempotent", run)  # nor when it has ended
    assert sdk.app.did(key) == 1


@pytest.mark.feature("F63")
@pytest.mark.parametrize(("rest", "kind"), [("sleep", "sleeping"), ("wait", "waiting")])
def test_103_a_run_that_rests_holds_no_slot(sdk: Sdk, rest: str, kind: str) -> None:
    resting = sdk.start("one-at-a-time", rest=rest)
    sdk.dev.why(resting, kind)

    assert sdk.run("one-at-a-time")["output"] == "free"
    assert sdk.dev.get(f"/v2/runs/{resting}")["status"] == "RUNNING"


# Pausing --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def paused(sdk: Sdk) -> Iterator[str]:
    """The address of a function that somebody has paused."""
    function = f"/v2/functions/{sdk.language}-pausable"
    assert sdk.dev.http("POST", f"{function}/pause", {"reason": "the bank is down"}).status == 200
    yield function
    assert sdk.dev.http("POST", f"{function}/resume").status == 200


@pytest.mark.feature("F92", "F79")
def test_a_paused_function_is_not_called(sdk: Sdk, key: str, paused: str) -> None:
    (skipped,) = send(sdk, "pausable", {"key": key, "n": 1})
    assert outcome(sdk, skipped) == ("paused", None)
    assert "the bank is down" in sdk.run("invokes-pausable", key=key)["output"]
    synced(sdk.app)  # as the next version of its code does

    assert sdk.dev.http("POST", f"{paused}/pause", {"events": "hold"}).status == 200
    (run,) = runs(sdk, *send(sdk, "pausable", {"key": key, "n": 2}))
    sdk.dev.why(run, "paused")
    assert sdk.app.did(key) == 0
    assert sdk.dev.http("POST", f"{paused}/resume").status == 200

    assert sdk.dev.ended(run)["output"] == [2]
    assert [call["told"] for call in sdk.noted(key)] == [[2]]
