"""Runs over REST: run them again, cancel many, and what is seen of one that ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from threading import Event, Thread
from typing import Any

import pytest

from tests.edge.conftest import PATIENCE_S, Dev, command, eventually

NOTHING = "01HF7YAT00000000000000000A"
SOON = "2100-01-01T00:00:00Z"


def runs_of(dev: Dev, event_id: str) -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = dev.get(f"/v2/events/{event_id}/runs")["runs"]
    return runs


# Again --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["/v2", "/api/v2"])
def test_a_run_is_started_again_and_both_name_each_other(dev: Dev, prefix: str) -> None:
    run_id = dev.start("shop/ordered")
    first = dev.ended(run_id)

    reply = dev.http("POST", f"{prefix}/runs/{run_id}/rerun")

    again = reply.json["data"]
    assert (reply.status, again["originalRunId"], again["eventId"]) == (200, run_id, first["eventId"])
    assert dev.ended(again["id"])["output"] == "billed"
    assert dev.get(f"/v2/runs/{run_id}")["rerunIds"] == [again["id"]]
    assert dev.get(f"/v2/runs/{run_id}/trace")["run"]["rerunIds"] == [again["id"]]
    assert dev.get(f"/v1/runs/{again['id']}")["original_run_id"] == run_id
    assert "original_run_id" not in dev.get(f"/v1/runs/{run_id}")
    assert [run["rerunIds"] for run in runs_of(dev, first["eventId"])] == [[again["id"]], []]


def test_a_request_to_run_again_that_is_repeated_starts_one_run(dev: Dev) -> None:
    run_id = dev.start("shop/ordered")

    asked = [dev.http("POST", f"/v2/runs/{run_id}/rerun", {"idempotencyKey": "k"}).json["data"]["id"] for _ in "ab"]

    assert asked[0] == asked[1]
    assert dev.get(f"/v2/runs/{run_id}")["rerunIds"] == [asked[0]]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (f"/v2/runs/{NOTHING}/rerun", {}, 404),
        ("/v2/runs/nonsense/rerun", {}, 400),
        ("/v2/runs/{run}/rerun", {"idempotencyKey": 1}, 400),
        ("/v2/runs/{run}/rerun", {"idempotencyKey": "k" * 600}, 400),
        ("/v2/runs/{run}/rerun", [], 400),
        ("/v2/runs/{run}/rerun", b"{", 400),
    ],
)
def test_what_cannot_be_run_again_is_refused(dev: Dev, path: str, body: object, status: int) -> None:
    run_id = dev.start("shop/ordered")

    reply = dev.http("POST", path.replace("{run}", run_id), body)

    assert (reply.status, set(reply.json)) == (status, {"errors"})
    assert dev.get(f"/v2/runs/{run_id}")["rerunIds"] == []


def test_the_command_runs_a_run_again(dev: Dev) -> None:
    run_id = dev.start("shop/ordered")

    done = dev.cli("rerun", run_id, "--json")

    assert done.json["originalRunId"] == run_id
    told = dev.cli("rerun", run_id)
    assert run_id in told.out and dev.get(f"/v2/runs/{run_id}")["rerunIds"][1] in told.out
    shown = dev.cli("run", run_id)
    assert done.json["id"] in shown.out
    assert run_id in dev.cli("run", done.json["id"]).out


# Many ---------------------------------------------------------------------------------------------------------------


def sold(dev: Dev, *amounts: int) -> list[str]:
    """Runs that sleep for two hours."""
    return [dev.start("shop/sold", amount=amount) for amount in amounts]


def statuses(dev: Dev, run_ids: list[str]) -> list[str]:
    return [dev.get(f"/v2/runs/{run_id}")["status"] for run_id in run_ids]


def moment(dev: Dev) -> str:
    """What the server's clock says."""
    found: str = dev.http("GET", "/v1/events?limit=1").json["metadata"]["fetched_at"]
    return found


def done(dev: Dev, order_id: str, *, within: float = PATIENCE_S) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = dev.get(f"/v2/cancellations/{order_id}")
        return found if found["endedAt"] else None

    return eventually(look, within=within)


def test_v1_cancels_many_and_tells_how_far_it_is(dev: Dev) -> None:
    runs = sold(dev, 501, 502, 503)
    now = moment(dev)
    eventually(lambda: moment(dev) > now)
    later = sold(dev, 504)

    body = {"app_id": "shop", "function_id": "large", "started_before": now, "if": "event.data.amount > 501"}
    made = dev.http("POST", "/v1/cancellations", body).json["data"]

    assert set(made) == {
        *("id", "created_at", "name", "account_id", "environment_id", "app_id", "function_internal_id", "function_id"),
        *("started_after", "started_before", "if", "kind", "cause", "examined", "cancelled", "ended_at"),
    }
    assert (made["function_id"], made["started_before"], made["started_after"]) == ("shop-large", now, None)
    assert done(dev, made["id"])["cancelled"] == 2
    assert statuses(dev, runs + later) == ["RUNNING", "CANCELLED", "CANCELLED", "RUNNING"]
    assert made["id"] in [each["id"] for each in dev.get("/v1/cancellations")]
    assert dev.get(f"/v2/runs/{runs[1]}")["reason"] == f"cancellation {made['id']}"
    assert dev.get(f"/v2/runs/{runs[1]}/why")["cause"]["by"] == "operator"


def test_v1_forgets_an_order_that_is_deleted(dev: Dev) -> None:
    body = {"app_id": "shop", "function_id": "shop-large", "started_before": "2020-01-01T00:00:00Z"}
    made = dev.http("POST", "/v1/cancellations", body).json["data"]

    first, second = (dev.http("DELETE", f"/v1/cancellations/{made['id']}") for _ in range(2))

    assert (first.status, first.json["data"]) == (200, {"ok": True})
    assert (second.status, second.json["data"]) == (404, None)
    assert made["id"] not in [each["id"] for each in dev.get("/v1/cancellations")]


def test_v2_lists_orders_in_pages(dev: Dev) -> None:
    body = {"functionId": "large", "startedBefore": "2020-01-01T00:00:00Z"}
    made = [dev.http("POST", "/v2/cancellations", body).json["data"]["id"] for _ in range(3)]

    first = dev.http("GET", "/v2/cancellations?limit=2").json
    rest = dev.http("GET", f"/v2/cancellations?limit=2&cursor={first['page']['cursor']}").json

    assert [each["id"] for each in [*first["data"], *rest["data"]]][:3] == made[::-1]
    assert dev.http("DELETE", f"/v2/cancellations/{made[0]}").json["data"] == {"ok": True}


@pytest.mark.slow
def test_the_command_lists_what_is_cancelled_in_bulk_and_ends_it(dev: Dev) -> None:
    body = {"functionId": "large", "startedBefore": "2020-01-01T00:00:00Z"}
    order_id = dev.http("POST", "/v2/cancellations", body).json["data"]["id"]
    done(dev, order_id)
    said = f"Cancellation {order_id} is done: 0 runs of shop-large cancelled.\n"

    assert dev.cli("cancellations").out.startswith(said)
    assert dev.cli("cancellations", "--limit", "1").out == dev.cli("cancellations", "last").out == said
    (listed,) = dev.cli("cancellations", "--limit", "1", "--json").json
    assert listed == dev.get(f"/v2/cancellations/{order_id}") == dev.cli("cancellations", order_id, "--json").json
    assert (listed["status"], listed["who"]) == ("COMPLETED", "")
    assert dev.cli("cancellations", "last", "--end").out == "No more runs are cancelled for it.\n"
    assert f"there is no cancellation {order_id}" in dev.cli("cancellations", order_id).err
    assert dev.cli("cancellations", "--end").code == 2


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"function_id": "large", "started_before": "2026-01-01T00:00:00Z"}, 400),
        ({"app_id": "shop", "function_id": "large"}, 400),
        ({"app_id": "shop", "function_id": "large", "started_before": "yesterday"}, 400),
        ({"app_id": "shop", "function_id": "large", "started_before": SOON}, 400),
        ({"app_id": "shop", "function_id": "large", "started_before": "2026-01-01T00:00:00Z", "if": "event."}, 400),
        (
            {
                "app_id": "shop",
                "function_id": "large",
                "started_before": "2026-01-01T00:00:00Z",
                "started_after": "2026-01-02T00:00:00Z",
            },
            400,
        ),
        ({"app_id": "shop", "function_id": "none", "started_before": "2026-01-01T00:00:00Z"}, 404),
        ({"app_id": "other", "function_id": "large", "started_before": "2026-01-01T00:00:00Z"}, 404),
        (b"", 400),
        (b"[", 400),
    ],
)
def test_an_order_that_means_nothing_is_refused(dev: Dev, body: object, status: int) -> None:
    before = [order["id"] for order in dev.get("/v1/cancellations")]

    reply = dev.http("POST", "/v1/cancellations", body)

    assert (reply.status, reply.json["status"], reply.json["data"]) == (status, status, None)
    assert [order["id"] for order in dev.get("/v1/cancellations")] == before


def test_the_command_counts_and_cancels_many(dev: Dev) -> None:
    runs = sold(dev, 601, 602)
    options = ("--function", "large", "--if", "event.data.amount == 602")

    counted = dev.cli("cancel", *options, "--dry-run")
    assert "1 run" in counted.out
    assert statuses(dev, runs) == ["RUNNING"] * 2

    assert "1 run" in dev.cli("cancel", *options).out
    assert statuses(dev, runs) == ["RUNNING", "CANCELLED"]
    assert dev.cli("cancel", *options, "--json").json["cancelled"] == 0


@pytest.mark.parametrize(
    "options", [(), ("last", "--function", "large"), ("last", "--if", "true"), ("last", "--dry-run"), ("--if", "true")]
)
def test_the_command_wants_one_run_or_a_function(dev: Dev, options: tuple[str, ...]) -> None:
    assert dev.cli("cancel", *options).code == 2


@pytest.mark.slow
def test_an_order_goes_on_after_the_server_was_killed(start_dev: Callable[..., Dev]) -> None:
    server = start_dev("--no-reload")
    events = [{"name": "shop/sold", "data": {"amount": 200}} for _ in range(2_000)]
    server.http("POST", "/e/test", events)
    server.http("POST", "/v2/cancellations", {"functionId": "large"})
    server.close()  # with SIGKILL

    server = start_dev("--no-reload")
    (order,) = server.get("/v2/cancellations")

    # On a PostgreSQL whoever is dead keeps what it had claimed until its lease has run out.
    assert done(server, order["id"], within=60)["cancelled"] == 2_000
    assert server.get("/v2/runs?status=RUNNING") == server.get("/v2/runs?status=QUEUED") == []


# Ends ---------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_final_status_of_a_run_and_its_output_become_visible_together(dev: Dev) -> None:
    """Under load: many runs end while others look at them, in both versions of the API."""
    stop, wrong, seen = Event(), list[Any](), set[str]()
    reply = dev.http("POST", "/e/test", [{"name": "shop/ordered"} for _ in range(400)])
    runs = [runs_of(dev, event_id)[0]["id"] for event_id in reply.json["ids"][::40]]

    def look(part: int) -> None:
        while not stop.is_set():
            for run_id in runs[part::2]:
                old, new = dev.get(f"/v1/runs/{run_id}"), dev.get(f"/v2/runs/{run_id}")
                seen.update((old["status"], new["status"]))
                if old["status"] == "Completed" and (old.get("output"), bool(old["ended_at"])) != ("billed", True):
                    wrong.append(old)
                if new["status"] == "COMPLETED" and (new["output"], bool(new["endedAt"])) != ("billed", True):
                    wrong.append(new)
                if new["status"] == "RUNNING" and (new["output"], new["endedAt"]) != (None, None):
                    wrong.append(new)

    watching = [Thread(target=look, args=(part,)) for part in range(2)]
    for each in watching:
        each.start()
    more = dev.http("POST", "/e/test", [{"name": "shop/ordered"} for _ in range(400)]).json["ids"][::40]
    runs += [runs_of(dev, event_id)[0]["id"] for event_id in more]
    for run_id in runs:
        dev.ended(run_id)
    stop.set()
    for each in watching:
        each.join()

    assert wrong == []
    assert "COMPLETED" in seen


@pytest.mark.parametrize("run", ["ended", "live", "unknown", "nonsense"])
def test_v0_cancels_a_run_that_has_not_ended(dev: Dev, run: str) -> None:
    run_id = {"unknown": NOTHING, "nonsense": "nonsense"}.get(run) or dev.start(
        "shop/sold" if run == "live" else "shop/ordered", amount=200
    )
    if run == "ended":
        dev.ended(run_id)

    reply = dev.http("DELETE", f"/v0/runs/{run_id}")

    assert reply.status == {"ended": 409, "live": 204, "unknown": 404, "nonsense": 400}[run]
    assert reply.text == b"" if run == "live" else reply.json["error"]
    if run == "live":
        assert dev.get(f"/v2/runs/{run_id}")["status"] == "CANCELLED"


def test_v1_shows_what_is_owed_to_a_run(dev: Dev) -> None:
    run_id = dev.start("shop/sold", amount=200)
    dev.why(run_id, "sleeping")

    (job,) = dev.get(f"/v1/runs/{run_id}/jobs")

    assert job == {"JobID": run_id, "at": job["at"], "position": 0, "kind": "run", "attempt": 0}
    assert job["at"].endswith("Z")


def test_v1_counts_how_many_go_before_a_run_under_the_same_limit(dev: Dev) -> None:
    first, second, third = (dev.start("shop/exported", user="jobs", gate="never") for _ in range(3))
    dev.why(third, "limited")

    assert [dev.get(f"/v1/runs/{run_id}/jobs")[0]["position"] for run_id in (first, second, third)] == [0, 0, 1]
    for run_id in (third, second, first):
        dev.http("DELETE", f"/v1/runs/{run_id}")
    assert dev.get(f"/v1/runs/{first}/jobs") == []


def test_lists_of_runs_have_the_name_of_their_event(dev: Dev) -> None:
    dev.ended(dev.start("shop/ordered"))

    listed = dev.get("/v2/runs?functionId=bill&limit=5")

    assert {run["eventName"] for run in listed} == {"shop/ordered"}


def test_the_document_is_printed_by_a_command(dev: Dev) -> None:
    printed = command("openapi", cwd=dev.folder)

    assert printed.json == json.loads(dev.http("GET", "/openapi.json").text)


@pytest.mark.parametrize(
    "moment",
    ["0001-01-01T00:00:00+14:00", "1969-12-31T23:59:59Z", "9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59.9999Z"],
)
def test_a_moment_that_no_text_can_tell_is_refused_before_anything_is_written(dev: Dev, moment: str) -> None:
    before = [dev.get(f"/{version}/cancellations") for version in ("v1", "v2")]
    asked = moment.replace("+", "%2B")

    replies = [
        dev.http("POST", "/v1/cancellations", {"app_id": "shop", "function_id": "large", "started_before": moment}),
        dev.http("POST", "/v2/cancellations", {"functionId": "shop-large", "startedAfter": moment}),
        *(dev.http("GET", f"/v1/events?{name}={asked}") for name in ("received_after", "received_before")),
    ]

    assert [reply.status for reply in replies] == [400] * 4
    assert [dev.get(f"/{version}/cancellations") for version in ("v1", "v2")] == before
