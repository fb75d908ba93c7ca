"""What semantics §7 and §9.5-§9.8 say of apps and servers that come and go while there is work, in each official SDK:
another configuration, an app that is killed while it holds slots, a server that is killed with all kinds of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from urllib.parse import quote

import pytest

from tests.edge.conftest import eventually
from tests.edge.official.conftest import SDKS, synced
from tests.edge.official.deployments import Deployment, deployed
from tests.edge.official.intervals import at_once, begun

pytestmark = pytest.mark.slow

_keys = count()


@pytest.fixture(scope="module", params=SDKS)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp(f"settings-{request.param}")
    with deployed(folder, request.param, "settings", limit=1, throttle=1, version=1, without=[]) as found:
        yield found


@pytest.fixture
def key(both: Deployment) -> str:
    """One that no other test has."""
    both.app.forget()
    return f"{both.kind} deployment {next(_keys)}"


def bodies(both: Deployment, number: int) -> list[int]:
    """Which bodies have begun since the app did, once so many have."""

    def look() -> list[int] | None:
        lines = both.app.ledger()
        died = max((n for n, line in enumerate(lines) if line["what"] == "died"), default=-1)
        found: list[int] = begun(lines[died + 1 :])
        return found if len(found) >= number else None

    return eventually(look)


def outcomes(both: Deployment, event_id: str) -> list[str]:
    return [each["kind"] for each in both.dev.get(f"/v2/events/{event_id}/why")["outcomes"]]


# Another configuration ------------------------------------------------------------------------------------------------


@pytest.mark.feature("F63", "F94")
def test_an_app_that_dies_gives_up_its_slots_and_a_new_limit_holds_for_what_waits(both: Deployment, key: str) -> None:
    both.deploy(limit=1)
    runs = [both.start("limited", key=key, n=n) for n in range(6)]
    bodies(both, 1)
    both.dev.why(runs[5], "limited")

    both.deploy(limit=3)  # which kills it in the middle of a body

    going = bodies(both, 3)
    assert len(going) == 3
    # While the app was away each may have been called in vain, and be the next whose turn it is.
    for n in {*range(6)} - {*going}:
        both.dev.why(runs[n], "limited")
    both.open(*(f"{key} {n}" for n in range(6)))
    assert [both.dev.ended(run)["output"] for run in runs] == [*range(6)]
    lines = both.app.ledger()
    assert at_once(lines) == {None: 3}
    assert sorted(line["n"] for line in lines if line["what"] == "end") == [*range(6)]  # each once
    assert sorted(begun(lines)) == [0, *range(6)]  # only that which was cut off twice

    both.deploy(limit=1)
    later = [both.start("limited", key=f"{key} later", n=n) for n in range(3)]
    assert bodies(both, 1) == [0]
    both.dev.why(later[2], "limited")
    both.open(*(f"{key} later {n}" for n in range(3)))
    for run in later:
        both.dev.ended(run)
    assert at_once(line for line in both.app.ledger() if str(line.get("key")).endswith("later")) == {None: 1}


@pytest.mark.feature("F68", "F94")
def test_a_new_rate_holds_for_runs_that_wait_already(both: Deployment, key: str) -> None:
    both.deploy(throttle=1)
    first, *others = [both.start("throttled", key=key, n=n) for n in range(3)]
    both.dev.ended(first)
    for run in others:
        assert both.dev.why(run, "throttled")["limit"] == 1

    both.deploy(throttle=36_000)  # one in 100 ms

    assert [both.dev.ended(run)["output"] for run in others] == [[1], [2]]
    assert [line["told"] for line in both.noted(key, 3)] == [[0], [1], [2]]


@pytest.mark.feature("F94")
def test_a_run_may_cross_from_one_version_to_the_next(both: Deployment, key: str) -> None:
    both.deploy(version=1)
    run = both.start("versioned", key=key, n=key)
    both.dev.why(run, "waiting")

    both.deploy(version=2)
    both.send("go-on", n=key)

    assert both.dev.ended(run)["output"] == [1, 2, 2]


@pytest.mark.feature("F93")
def test_a_function_that_is_gone_starts_nothing_and_is_back_with_the_next_sync(both: Deployment, key: str) -> None:
    run = both.start("versioned", key=key, n=key)
    both.dev.why(run, "waiting")
    both.deploy(without=["versioned"])

    function = f"{both.language}-versioned"
    assert both.dev.get(f"/v2/functions/{function}")["archivedAt"]
    assert both.runs(both.send("versioned", key=key, n="never")) == []
    both.send("go-on", n=key)  # the run would go on, and nobody has its code
    both.deploy(without=[])

    assert both.dev.ended(run)["output"] == [both.settings["version"]] * 3
    assert both.dev.get(f"/v2/functions/{function}")["archivedAt"] is None
    (again,) = both.runs(both.send("versioned", key=key, n="again"))
    assert both.dev.http("DELETE", f"/v1/runs/{again}").status == 200


@pytest.mark.feature("F93")
def test_an_app_that_is_removed_starts_nothing_until_it_is_synced_again(both: Deployment, key: str) -> None:
    function, removed = f"{both.language}-daily", f"/v2/syncs?url={quote(both.app.url, safe='')}"
    assert both.dev.http("DELETE", removed).status == 200

    assert both.dev.get(f"/v2/functions/{function}")["archivedAt"]
    assert both.runs(both.send("daily", key=key, n=1)) == []
    synced(both.app)
    (run,) = both.runs(both.send("daily", key=key, n=2))
    assert both.dev.ended(run)["output"] == [2]
    assert [line["told"] for line in both.noted(key)] == [[2]]


# A server that is killed ----------------------------------------------------------------------------------------------


@pytest.mark.sqlite("sets the clock of a server, and on PostgreSQL that is the database's")
@pytest.mark.feature("F63", "F68", "F69", "F70", "F71", "F74", "F76", "F82")
def test_a_server_that_is_killed_goes_on_with_all_that_it_held(both: Deployment, key: str) -> None:
    """An hour later by its clock: what was to wait an hour is due, and what was to be kept a day is kept."""
    both.deploy(limit=2, throttle=1)
    limited = [both.start("limited", key=key, n=n) for n in range(5)]
    assert sorted(bodies(both, 2)) == [0, 1]
    throttled = [both.start("throttled", key=f"{key} throttled", n=n) for n in range(3)]
    both.dev.ended(throttled[0])
    calm = [both.send("calm", key=f"{key} calm", n=n) for n in range(3)]
    batched = [both.send("batched", key=f"{key} batched", n=n) for n in range(3)]
    once = {name: both.start(name, key=f"{key} {name}", n=0) for name in ("rated", "daily")}
    for run in once.values():
        both.dev.ended(run)
    single, late = both.start("single", key=f"{key} single", n=key), both.start("late", key=f"{key} late", n="never")
    for run in (single, late):
        both.dev.why(run, "waiting")

    both.kill_server()
    both.open(f"{key} 0", f"{key} 1")  # what the app is at goes on, and nobody hears of it
    eventually(lambda: both.app.did("end") == 2)
    both.start_server(at=datetime.fromtimestamp(time.time() + both.ahead_s, UTC) + timedelta(minutes=61))

    dropped = {name: both.send(name, key=f"{key} {name}", n=1) for name in (*once, "single")}
    reasons = {name: outcomes(both, event_id) for name, event_id in dropped.items()}
    assert reasons == {"rated": ["rate-limited"], "daily": ["idempotent"], "single": ["singleton"]}
    assert [line["told"] for line in both.noted(f"{key} calm")] == [[2]]
    assert [line["told"] for line in both.noted(f"{key} batched")] == [[0, 1, 2]]
    assert both.dev.ended(throttled[1])["output"] == [1]
    assert both.dev.why(throttled[2], "throttled")["limit"] == 1
    assert both.dev.ended(late)["status"] == "CANCELLED"
    both.open(*(f"{key} {n}" for n in range(5)))
    assert [both.dev.ended(run)["output"] for run in limited] == [*range(5)]
    both.send("go-on", n=key)
    assert both.dev.ended(single)["output"] == [key]

    lines = both.app.ledger()
    assert max(at_once(line for line in lines if line.get("key") == key).values()) == 2
    assert both.runs(calm[0]) == both.runs(calm[1]) == []
    assert len({*(run for event_id in batched for run in both.runs(event_id))}) == 1
    told = [(line["what"], line["told"]) for line in lines if "told" in line]
    assert len(told) == len({repr(each) for each in told}) == 7  # nothing twice
    assert both.dev.http("DELETE", f"/v1/runs/{throttled[2]}").status == 200
    synced(both.app)
