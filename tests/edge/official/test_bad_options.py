"""Options that no server can accept, as official SDKs send them: what the app is told, what is shown of it, and that
what was there before goes on (semantics §7.2, §9.8; protocol §4.2, §4.4)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.edge.conftest import Dev, Reply, eventually
from tests.edge.official.conftest import SDKS, Served, node
from tests.edge.official.test_sync import ask
from tests.edge.served_here import free_port

pytestmark = pytest.mark.slow

JAVASCRIPT = SDKS[1:]
NOT_READ = {"v3": {"jitter"}}  # which it does not send


class Bad(NamedTuple):
    """A server, and apps that are good until they are to be bad."""

    kind: str
    dev: Dev
    app: Served

    def put(self, name: str, *, bad: bool) -> Reply:
        """Make the app register."""
        flag = self.app.folder / "bad"
        flag.touch() if bad else flag.unlink(missing_ok=True)
        try:
            return ask(self.app.port, "PUT", self.path(name))
        finally:
            flag.unlink(missing_ok=True)

    def path(self, name: str) -> str:
        return "/api/inngest" if name == "limit" else f"/api/{name}"

    def told(self, reply: Reply) -> str:
        """What the app says was wrong, in the way of its SDK (protocol §4.2)."""
        if self.kind == "fastapi":
            assert (reply.status, reply.json["status"]) == (200, 400)
            found: str = reply.json["error"]
        else:
            assert (reply.status, reply.json["modified"]) == (400, False)
            found = reply.json["message"]
        return found


@pytest.fixture(scope="module", params=SDKS)
def bad(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bad]:
    folder, port = tmp_path_factory.mktemp(request.param), free_port()
    python = [sys.executable, "-m", "tests.edge.official.bad_app", str(port)]
    command = python if request.param == "fastapi" else [*node("bad_app.mjs", request.param), str(port)]
    dev = Dev(folder, "--no-discovery", "--no-poll", target=None)
    try:
        eventually(lambda: dev.http("GET", "/health").status == 200)
        app = Served(folder, command, dev.url, port)
        try:
            yield Bad(request.param, dev, app)
        finally:
            app.close()
    finally:
        dev.close()


WRONG = {
    "limit": ["concurrency", "the limit of a concurrency is -1"],
    "limits": ["concurrency: it has 3 entries: at most 2"],
    "scope": ["concurrency", "scope 'env' has no key"],
    "condition": ["triggers[0].expression: invalid expression", "line 1, column 15"],
    "pattern": ["triggers[0].event: 'bad/*/go' would never match"],
    "key": ["throttle: invalid expression"],
    "cron": ["triggers[0].cron: '61 * * * *' is not a cron schedule: its field minute is wrong"],
    "seconds": ["triggers[0].cron", "it has 6 fields, not 5"],
    "zone": ["triggers[0].cron", "there is no time zone 'Mars/Olympus'"],
    "jitter": ["triggers[0].jitter: '10m' is out of range"],
    "twice": ["triggers[1]: it is there twice"],
    "triggers": ["triggers: it has 11 entries: at most 10"],
    "cancels": ["cancel: it has 6 entries: at most 5"],
    "cancel-if": ["cancel[0].if: invalid expression: exists() cannot be used here"],
    "throttle": ["throttle: the period of throttle is 1w1d: it may be 1s to 1w"],
    "rate": ["rateLimit: the period of rate_limit is 2d: it may be 1s to 1d"],
    "rate-limit": ["rateLimit: the limit of rate_limit is 0"],
    "debounce": ["debounce: the period of debounce is 1w1d"],
    "batch": ["batchEvents: the max_size of batch_events is 1000"],
    "priority": ["priority: invalid expression"],
    "batch-and-some": [
        "has 5 problems",
        *(f"with {other}:" for other in ("debounce", "rateLimit", "singleton", "cancel", "priority")),
    ],
    "batch-and-idempotency": ["batchEvents: it cannot be together with idempotency"],
    "many": [
        "2 functions of app 'bad-many'",
        "'bad-many-f' has 2 problems",
        "the limit of a concurrency is -1",
        "the period of debounce is 1w1d",
        "'bad-many-new', triggers[0].cron: 'never' is not a cron schedule",
    ],
}
"""What is said of each, in parts."""

UNTYPED = {
    "length": "throttle: '1x' is not a length of time",
    "moment": "timeouts.start: 'soon' is not a length of time",
    "no-time": "timeouts.finish: it is zero",
    "batch-time": "batchEvents: the timeout of batch_events is 100ms: it may be 1s",
    "mode": "singleton: the mode of singleton is 'wait'",
    "where": "concurrency: the scope of a concurrency is 'galaxy'",
    "half": "rateLimit: the limit of rate_limit is 1.5",
}
"""The same, of what the Python SDK refuses by itself."""


def refused(bad: Bad, name: str, parts: list[str]) -> None:
    assert bad.put(name, bad=False).status == 200
    before = bad.dev.get(f"/v2/functions/bad-{name}-f")

    told = bad.told(bad.put(name, bad=True))

    assert [part for part in parts if part not in told] == []
    assert f"bad-{name}-f" in told
    assert bad.dev.get(f"/v2/functions/bad-{name}-f") == before
    assert [each["id"] for each in bad.dev.get(f"/v2/apps/bad-{name}/functions")] == [f"bad-{name}-f"]


@pytest.mark.feature("F78", "F95")
@pytest.mark.parametrize("name", WRONG)
def test_25_26_a_sync_with_a_bad_option_is_refused_and_changes_nothing(bad: Bad, name: str) -> None:
    if name in NOT_READ.get(bad.kind, ()):
        assert bad.put(name, bad=True).status == 200
    else:
        refused(bad, name, WRONG[name])


@pytest.mark.feature("F78")
@pytest.mark.parametrize("bad", JAVASCRIPT, indirect=True)
@pytest.mark.parametrize("name", UNTYPED)
def test_what_an_sdk_does_not_look_at_is_refused_by_us(bad: Bad, name: str) -> None:
    refused(bad, name, [UNTYPED[name]])


@pytest.mark.feature("F95")
@pytest.mark.parametrize("asks", ["app", "server"])
def test_a_refused_sync_is_shown_on_the_app_until_there_is_a_good_one(bad: Bad, asks: str) -> None:
    assert bad.put("many", bad=False).status == 200
    url = f"http://127.0.0.1:{bad.app.port}{bad.path('many')}"
    flag = bad.app.folder / "bad"
    flag.touch()  # until the end: an app that fails is asked again and again

    def shown() -> list[Any]:
        """What there is to be seen after one refusal. The server may have asked the app just before, and hear now."""
        if asks == "app":  # as a deploy hook would have it do
            ask(bad.app.port, "PUT", bad.path("many"))
        else:
            reply = bad.dev.http("POST", "/v2/syncs", {"url": url})
            assert (reply.status, reply.json["errors"][0]["code"]) == (422, "invalid_function")
        found = [each["error"] for each in bad.dev.get("/v2/apps") if each["id"] == "bad-many"]
        found += [each["error"] for each in bad.dev.get("/v2/syncs") if each["appId"] == "bad-many"]
        return found if all(found) else []

    errors = eventually(shown)
    assert [error["code"] for error in errors] == ["invalid_function"] * 2
    for error in errors:
        assert [part for part in WRONG["many"] if part not in error["message"]] == []
    listed = bad.dev.cli("apps")
    assert "the period of debounce is 1w1d" in " ".join(listed.out.split()), listed
    assert bad.dev.ended(_one_run(bad))["output"] == "done"  # what was there before goes on

    flag.unlink()
    assert bad.dev.http("POST", "/v2/syncs", {"url": url}).status in (200, 201)
    assert [each["error"] for each in bad.dev.get("/v2/syncs") if each["appId"] == "bad-many"] == [None]


def _one_run(bad: Bad) -> str:
    """The run of the function that is there in spite of all, which other apps have as well."""
    found: list[Any] = bad.dev.get(f"/v2/events/{bad.dev.send('bad/go')}/runs")["runs"]
    (run,) = (run["id"] for run in found if run["functionId"] == "bad-many-f")
    return str(run)
