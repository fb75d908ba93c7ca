"""Starting many runs again over REST and by the command line (semantics §9.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.edge.conftest import Dev, command, eventually

NOTHING = "01HF7YAT00000000000000000A"
APP = """
from pathlib import Path

from stepwell import Context, Stepwell

app = Stepwell("shop")


@app.create_function(id="bill", trigger="shop/ordered", retries=0)
async def bill(ctx: Context[dict]) -> str:
    if not Path("repaired").exists():
        raise ValueError("declined")
    return "billed"
"""


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    found = Dev(tmp_path_factory.mktemp("dev"), "--no-reload", app=APP)
    yield found
    found.close()


def failed(dev: Dev, *orders: int) -> list[str]:
    """Runs that have failed."""
    found = [dev.start("shop/ordered", order=order) for order in orders]
    for run_id in found:
        assert dev.ended(run_id)["status"] == "FAILED"
    return found


def over(dev: Dev, replay_id: str) -> Any:
    def look() -> Any:
        found = dev.get(f"/v2/replays/{replay_id}")
        return found if found["endedAt"] else None

    return eventually(look)


@pytest.mark.parametrize("prefix", ["/v2", "/api/v2"])
def test_runs_are_started_again_and_how_far_that_is_can_be_read(dev: Dev, prefix: str) -> None:
    runs = failed(dev, 1, 2, 3)
    asked = {"functionId": "bill", "if": "event.data.order != 2", "name": "after the outage", "rate": "100/s"}

    counted = dev.http("POST", f"{prefix}/replays", {**asked, "dryRun": True}).json["data"]
    made = dev.http("POST", f"{prefix}/replays", {**asked, "statuses": ["failed", "CANCELLED"]}).json["data"]
    done = over(dev, made["id"])

    assert (counted["id"], counted["status"], counted["matched"]) == (None, None, made["matched"])
    assert {**done, "createdBefore": "", "createdAt": "", "endedAt": ""} == {
        "id": made["id"],
        "name": "after the outage",
        "appId": "shop",
        "functionIds": ["shop-bill"],
        "statuses": ["FAILED", "CANCELLED"],
        "createdAfter": None,
        "createdBefore": "",
        "if": "event.data.order != 2",
        "rate": "100/s",
        "status": "COMPLETED",
        "createdAt": "",
        "endedAt": "",
        "matched": made["matched"],
        "started": made["matched"],
        "skipped": 0,
        "left": 0,
        "who": "",
        "held": [],
    }
    again = [dev.get(f"/v2/runs/{run_id}")["rerunIds"] for run_id in runs]
    assert [len(ids) for ids in again] == [1, 0, 1]
    assert dev.get(f"/v2/runs/{again[0][0]}")["replayId"] == made["id"]
    assert dev.get("/v2/replays?limit=1")[0]["id"] == made["id"]
    why = dev.get(f"/v2/runs/{again[0][0]}/why")
    assert (why["originalRunId"], why["replayId"]) == (runs[0], made["id"])
    assert f"Replay {made['id']} started run {runs[0]} again: that is this run." in why["text"]


def test_a_request_that_is_repeated_makes_one_replay(dev: Dev) -> None:
    (run_id,) = failed(dev, 10)
    asked = {"appId": "shop", "if": "event.data.order == 10", "idempotencyKey": "k"}

    made = [dev.http("POST", "/v2/replays", asked).json["data"]["id"] for _ in "ab"]
    over(dev, made[0])

    assert made[0] == made[1]
    assert len(dev.get(f"/v2/runs/{run_id}")["rerunIds"]) == 1


def test_a_replay_that_is_aborted_goes_no_further(dev: Dev) -> None:
    failed(dev, 20, 20)
    asked = {"functionId": "bill", "if": "event.data.order == 20", "rate": "1/90m"}
    made = dev.http("POST", "/v2/replays", asked).json["data"]
    eventually(lambda: dev.get(f"/v2/replays/{made['id']}")["started"] == 1)

    aborted = [dev.http("POST", f"/v2/replays/{made['id']}/abort").json["data"] for _ in "ab"]

    assert (aborted[0]["status"], aborted[0]["left"], aborted[0]["rate"]) == ("ABORTED", 1, "1/1h30m")
    assert aborted[0] == aborted[1]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v2/replays", {}, 400),
        ("POST", "/v2/replays", {"functionId": "bill", "appId": "shop"}, 400),
        ("POST", "/v2/replays", {"functionId": "nobody"}, 404),
        ("POST", "/v2/replays", {"appId": "nobody"}, 404),
        ("POST", "/v2/replays", {"functionId": "bill", "statuses": ["RUNNING"]}, 400),
        ("POST", "/v2/replays", {"functionId": "bill", "rate": "fast"}, 400),
        ("POST", "/v2/replays", {"functionId": "bill", "if": "event.data."}, 400),
        ("POST", "/v2/replays", {"functionId": "bill", "createdAfter": "yesterday"}, 400),
        ("POST", "/v2/replays", {"functionId": "bill", "createdBefore": "2100-01-01T00:00:00Z"}, 400),
        ("POST", "/v2/replays", {"functionId": "bill", "idempotencyKey": "k" * 600}, 400),
        ("GET", f"/v2/replays/{NOTHING}", None, 404),
        ("POST", f"/v2/replays/{NOTHING}/abort", None, 404),
        ("GET", "/v2/replays/nonsense", None, 400),
    ],
)
def test_what_cannot_be_replayed_is_refused(dev: Dev, method: str, path: str, body: object, status: int) -> None:
    before = dev.get("/v2/replays")

    reply = dev.http(method, path, body)

    assert (reply.status, set(reply.json)) == (status, {"errors"})
    assert dev.get("/v2/replays") == before


def test_the_command_counts_replays_and_follows(dev: Dev) -> None:
    failed(dev, 30, 30)
    asked = ("replay", "bill", "--since", "1h", "--status", "failed", "--if", "event.data.order == 30")

    counted = dev.cli(*asked, "--dry-run")
    assert counted.out == "2 runs of shop-bill would be started again.\n"
    assert dev.cli(*asked, "--dry-run", "--json").json["matched"] == 2

    done = dev.cli(*asked, "--rate", "50/s", "--name", "tidy up", "--follow")
    assert "'tidy up' is done: 2 runs of shop-bill started." in done.out

    replay = dev.cli("replays", "last", "--json").json
    assert (replay["name"], replay["status"], replay["rate"]) == ("tidy up", "COMPLETED", "50/s")
    assert dev.cli("replays", replay["id"], "--follow", "--json").json == replay
    assert replay["id"] in dev.cli("replays").out
    (again,) = dev.get("/v2/runs?limit=1")
    assert f"replay  {replay['id']}" in dev.cli("run", again["id"]).out


@pytest.mark.parametrize(
    ("order", "by", "end"),
    [
        ("drain bill", "drain", "undrain shop-bill"),
        ("drain --app shop", "drain", "undrain --app shop"),
        ("pause bill", "pause", "resume shop-bill"),
        ("pause --app shop", "pause", "resume --app shop"),
    ],
)
def test_a_replay_that_waits_says_for_whom_and_how_that_ends(dev: Dev, order: str, by: str, end: str) -> None:
    failed(dev, 35)
    assert dev.cli(*order.split()).code == 0
    made = dev.cli("replay", "bill", "--if", "event.data.order == 35")

    assert made.out.endswith(f"  It waits while shop-bill is {by.removesuffix('e')}ed: stepwell {end}\n")
    replay = dev.cli("replays", "last", "--json").json
    assert [(each["functionId"], each["by"]) for each in replay["held"]] == [("shop-bill", by)]
    assert dev.cli(*end.split()).code == 0
    assert over(dev, replay["id"])["held"] == []


def test_the_command_aborts(dev: Dev) -> None:
    failed(dev, 40, 40)
    made = dev.cli("replay", "--app", "shop", "--if", "event.data.order == 40", "--rate", "1/h", "--json").json

    told = dev.cli("replays", made["id"], "--abort")

    assert f"Replay {made['id']} was aborted: " in told.out
    assert dev.get(f"/v2/replays/{made['id']}")["status"] == "ABORTED"


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["replay"], "--app"),
        (["replay", "bill", "--app", "shop"], "--app"),
        (["replay", "bill", "--since", "yesterday"], "2h"),
        (["replay", "bill", "--status", "running"], "failed"),
        (["replays", "--abort"], "last"),
        (["replays", NOTHING, "--abort", "--follow"], "one of them"),
    ],
)
def test_the_commands_say_how_they_are_used(dev: Dev, args: list[str], told: str) -> None:
    done = dev.cli(*args)

    assert (done.code, told in done.err) == (2, True), done.err


def test_a_replay_goes_on_after_the_server_was_killed(start_dev: Callable[..., Dev]) -> None:
    server = start_dev("--db", "shop.db", "--no-reload", app=APP)
    runs = failed(server, *range(12))
    made = server.http("POST", "/v2/replays", {"functionId": "bill", "rate": "20/s"}).json["data"]
    eventually(lambda: server.get(f"/v2/replays/{made['id']}")["started"] >= 2)
    server.process.kill()
    server.exit_code()

    shown = command("replays", "--db", "shop.db", cwd=server.folder)
    assert made["id"] in shown.out

    following = start_dev("--db", "shop.db", "--no-reload")
    done = over(following, made["id"])

    assert (done["started"], done["skipped"], done["matched"]) == (12, 0, 12)
    assert [len(following.get(f"/v2/runs/{run_id}")["rerunIds"]) for run_id in runs] == [1] * 12
