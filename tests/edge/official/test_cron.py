"""Semantics §2.2 in each official SDK: the clock starts functions, of a server whose clock a test sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.edge.conftest import eventually
from tests.edge.official.conftest import SDKS
from tests.edge.official.deployments import Deployment, deployed

pytestmark = [
    pytest.mark.slow,
    pytest.mark.sqlite("sets the clock of a server, and on PostgreSQL that is the database's"),
]

SEVEN = datetime(2026, 3, 8, 7, tzinfo=UTC)  # New York goes from 01:59:59 to 03:00:00
AT_SEVEN = {"new-york", "paris", "utc"}


@pytest.fixture(scope="module", params=SDKS)
def cron(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    before = SEVEN - timedelta(hours=8)
    with deployed(tmp_path_factory.mktemp(f"cron-{request.param}"), request.param, "cron", before) as found:
        yield found


def runs(cron: Deployment, name: str) -> list[Any]:
    return [run for run in cron.dev.get("/v2/runs") if run["functionId"] == f"{cron.language}-{name}"]


def next_tick(cron: Deployment, name: str) -> str:
    found: str = cron.dev.get(f"/v2/functions/{cron.language}-{name}")["nextTick"]
    return found


@pytest.mark.feature("F16")
def test_99_the_clock_of_each_zone_starts_functions(cron: Deployment) -> None:
    """A local time that the change to summer time leaves out starts nothing that day."""
    cron.kill_server()
    cron.start_server(at=SEVEN - timedelta(seconds=2))
    ticks = cron.noted("tick", 4)

    moment = "2026-03-08T07:00:00.000Z"
    for tick in ticks:
        assert tick["name"] == "inngest/scheduled.timer"
        assert tick["data"]["scheduledAt"] == moment
        assert datetime.fromisoformat(tick["id"]) == SEVEN
        assert tick["at"] + cron.ahead_s >= datetime.fromisoformat(tick["data"]["fireAt"]).timestamp() - 0.001
    for name in (*AT_SEVEN, "jittered"):
        (run,) = runs(cron, name)
        assert cron.dev.ended(run["id"])["output"] == moment
    assert runs(cron, "skipped") == runs(cron, "tokyo") == []
    assert next_tick(cron, "skipped") == "2026-03-09T06:30:00.000Z"
    assert next_tick(cron, "new-york") == "2026-03-09T07:00:00.000Z"
    assert next_tick(cron, "tokyo") == "2026-03-08T22:00:00.000Z"


@pytest.mark.feature("F17")
@pytest.mark.parametrize("cron", SDKS[:-1], indirect=True)
def test_a_tick_may_come_a_little_later_than_its_moment(cron: Deployment) -> None:
    """By a length of the function's own, so that not all of an hour start at once; v3 has no such option. How long it
    may be at most is for ``tests/core``: what is late here may be so by the machine."""
    eventually(lambda: runs(cron, "jittered"))
    made = runs(cron, "jittered")[-1]["id"]

    (tick,) = (tick for tick in cron.noted("tick", 4) if tick["run"] == made)
    assert tick["data"]["scheduledAt"] == "2026-03-08T07:00:00.000Z"
    assert "2026-03-08T07:00:01" <= tick["data"]["fireAt"] < "2026-03-08T07:00:23"  # as long as tests are patient


@pytest.mark.feature("F18")
def test_after_downtime_the_latest_moment_that_was_missed_is_made_up_for_once(cron: Deployment) -> None:
    cron.noted("tick", 4)
    cron.kill_server()
    cron.app.forget()
    cron.start_server(at=SEVEN + timedelta(days=3, hours=1))  # nobody syncs: what is to be done is in the file

    cron.noted("tick", 6)
    latest = dict.fromkeys((*AT_SEVEN, "jittered"), "2026-03-11T07:00:00.000Z")
    latest |= {"skipped": "2026-03-11T06:30:00.000Z", "tokyo": "2026-03-10T22:00:00.000Z"}
    for name, moment in latest.items():
        eventually(lambda name=name: next_tick(cron, name) > "2026-03-11T08")
        made_up, *before = runs(cron, name)
        assert cron.dev.ended(made_up["id"])["output"] == moment
        assert len(before) == (0 if name in ("skipped", "tokyo") else 1)

    cron.kill_server()
    cron.start_server()
    assert {next_tick(cron, name) > "2026-03-11T08" for name in latest} == {True}
    assert {*Counter(line["run"] for line in cron.app.ledger()).values()} == {1}
    assert cron.app.did("tick") == 6
