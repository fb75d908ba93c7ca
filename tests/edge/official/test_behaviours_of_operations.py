"""What semantics §8.3-§9.5 and §5.5 say of what operators do, and of invokes of functions with rules for their starts,
in each official SDK. The Python SDK is tried in one framework: which one makes no difference here.
"""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest

from tests.edge.conftest import eventually
from tests.edge.official.conftest import Sdk, one_each

pytestmark = pytest.mark.slow

_keys = count()


@pytest.fixture
def key(sdk: Sdk) -> str:
    """One that no other test has."""
    return f"{sdk.version} operation {next(_keys)}"


def parked(sdk: Sdk, key: str, *names: str) -> list[str]:
    """Runs that wait until ``go-on`` comes with their name."""
    found = [sdk.start("parked", key=key, n=f"{key} {name}") for name in names]
    for run in found:
        sdk.dev.why(run, "waiting")
    return found


def told(sdk: Sdk, key: str) -> list[Any]:
    return [line["told"] for line in sdk.app.ledger() if line["what"] == key]


# Cancelling -----------------------------------------------------------------------------------------------------------


@one_each
@pytest.mark.feature("F84", "F86")
def test_many_runs_are_cancelled_by_one_order(sdk: Sdk, key: str) -> None:
    language, condition = sdk.language, f"event.data.key == '{key}'"
    ones, (other,) = parked(sdk, key, "a", "b", "c"), parked(sdk, f"{key} too", "d")
    before = datetime.now(UTC).isoformat()
    counted = sdk.dev.cli("cancel", "--function", f"{language}-parked", "--if", condition, "--dry-run", "--json")
    order = {"app_id": language, "function_id": "parked", "started_before": before, "if": condition}
    assert sdk.dev.http("POST", "/v1/cancellations", order).status in (200, 201)

    assert [sdk.dev.ended(run)["status"] for run in ones] == ["CANCELLED"] * 3
    assert counted.json["cancelled"] == 3
    newest = lambda: sdk.dev.get("/v2/cancellations")[0]  # noqa: E731
    assert eventually(lambda: newest() if newest()["endedAt"] else None)["cancelled"] == 3
    cleaned = sdk.noted("cleaned", 3)  # by a function of the app, started by each end
    assert sorted(line["run"] for line in cleaned) == sorted(ones)
    assert sdk.dev.get(f"/v2/runs/{other}")["status"] == "RUNNING"
    (later,) = parked(sdk, key, "e")  # the order is for those that there were
    for name, run in (("d", other), ("e", later)):
        sdk.send("go-on", n=f"{key} too {name}" if name == "d" else f"{key} {name}")
        assert sdk.dev.ended(run)["output"] == "done"
    assert sdk.app.did("cleaned") == 3


@pytest.mark.feature("F80")
@pytest.mark.parametrize("sdk", ["v3", "v4"], indirect=True)
def test_an_event_cancels_runs_whose_event_says_the_same(sdk: Sdk, key: str) -> None:
    """``match``, which the SDK turns into an expression."""
    run, other = (sdk.start("matched", key=each, n=each) for each in (key, f"{key} too"))
    for each in (run, other):
        sdk.dev.why(each, "waiting")

    sdk.send("stop-matched", key=key)

    assert sdk.dev.ended(run)["status"] == "CANCELLED"
    sdk.send("go-on", n=f"{key} too")
    assert sdk.dev.ended(other)["output"] == "done"


# Once more ------------------------------------------------------------------------------------------------------------


def rerun(sdk: Sdk, run_id: str) -> Any:
    reply = sdk.dev.http("POST", f"/v2/runs/{run_id}/rerun", {})
    assert reply.status in (200, 201), reply
    return sdk.dev.ended(reply.json["data"]["id"])


@one_each
@pytest.mark.feature("F88")
@pytest.mark.parametrize("function", ["daily", "rated"])
def test_a_run_that_is_started_again_passes_the_rules_that_dropped_others(sdk: Sdk, key: str, function: str) -> None:
    first = sdk.run(function, key=key, n=1)

    again = rerun(sdk, first["id"])

    assert (again["output"], again["originalRunId"]) == ([1], first["id"])
    assert sdk.dev.get(f"/v2/runs/{first['id']}")["rerunIds"] == [again["id"]]
    assert [line["run"] for line in sdk.noted(key, 2)] == [first["id"], again["id"]]


@one_each
@pytest.mark.feature("F88", "F74")
def test_a_batch_that_is_started_again_has_all_its_events(sdk: Sdk, key: str) -> None:
    ids = [sdk.send("batched", key=key, n=n) for n in (1, 2, 3)]
    (run,) = sdk.dev.get(f"/v2/events/{ids[0]}/runs")["runs"]
    sdk.dev.ended(run["id"])

    assert rerun(sdk, run["id"])["output"] == [1, 2, 3]
    assert told(sdk, key) == [[1, 2, 3]] * 2


# Invoking functions with rules for their starts ----------------------------------------------------------------------


@one_each
@pytest.mark.feature("F69", "F70", "F76")
@pytest.mark.parametrize(("of", "why"), [("rated", "rate"), ("daily", "idempoten"), ("skips", "singleton")])
def test_an_invoke_that_a_rule_drops_fails_at_once(sdk: Sdk, key: str, of: str, why: str) -> None:
    first = sdk.start(of, key=key, n=0)
    sdk.noted(key)

    assert why in sdk.run("asks", of=of, key=key)["output"]
    assert sdk.app.did(key) == 1
    assert sdk.dev.http("DELETE", f"/v1/runs/{first}").status == 200


@one_each
@pytest.mark.feature("F71", "F74")
def test_an_invoke_is_not_held_back_to_wait_for_others(sdk: Sdk, key: str) -> None:
    """Somebody waits for that very run (docs/decisions/0023)."""
    keys = {of: f"{key} {of}" for of in ("calm", "batched")}
    for of, each in keys.items():
        sdk.send(of, key=each, n=1)

    assert [sdk.run("asks", of=of, key=each)["output"] for of, each in keys.items()] == [[0]] * 2
    for each in keys.values():
        assert sorted(line["told"] for line in sdk.noted(each, 2)) == [[0], [1]]


@one_each
@pytest.mark.feature("F68")
def test_an_invoke_takes_its_turn_of_a_throttle(sdk: Sdk, key: str) -> None:
    first = [sdk.start("throttled-burst", key=key, n=n) for n in (1, 2, 3)]
    for run in first:
        sdk.dev.ended(run)

    asking = sdk.start("asks", of="throttled-burst", key=key)

    child = eventually(lambda: [step for step in sdk.trace(asking)["steps"] if step["details"].get("run_id")])
    assert sdk.dev.why(child[0]["details"]["run_id"], "throttled")["value"] == key
    assert sdk.app.did(key) == 3
    assert sdk.dev.http("DELETE", f"/v1/runs/{child[0]['details']['run_id']}").status == 200
    assert "cancelled" in sdk.dev.ended(asking)["output"]


# Pausing --------------------------------------------------------------------------------------------------------------


@one_each
@pytest.mark.feature("F92")
def test_runs_that_there_are_wait_while_their_function_is_paused(sdk: Sdk, key: str) -> None:
    (run,) = parked(sdk, key, "a")
    function = f"/v2/functions/{sdk.language}-parked"
    assert sdk.dev.http("POST", f"{function}/pause", {"runs": "hold", "events": "skip"}).status == 200

    sdk.send("go-on", n=f"{key} a")
    sdk.dev.why(run, "paused")
    skipped = sdk.dev.get(f"/v2/events/{sdk.send('parked', key=key, n='b')}/why")
    assert sdk.dev.http("POST", f"{function}/resume").status == 200

    assert sdk.dev.ended(run)["output"] == "done"
    assert [outcome["kind"] for outcome in skipped["outcomes"]] == ["paused"]
    assert sdk.app.did(key) == 1


@one_each
@pytest.mark.feature("F92", "F86")
def test_pausing_may_cancel_the_runs_that_there_are(sdk: Sdk, key: str) -> None:
    (run,) = parked(sdk, key, "a")
    function = f"/v2/functions/{sdk.language}-parked"

    assert sdk.dev.http("POST", f"{function}/pause", {"runs": "cancel"}).status == 200
    assert sdk.dev.ended(run)["status"] == "CANCELLED"
    assert sdk.dev.http("POST", f"{function}/resume").status == 200
    assert [line["run"] for line in sdk.noted("cleaned")] == [run]
