"""REST v1 and v2, health, and what SDKs ask a dev server about itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from stepwell.limits import REQUEST_BYTES_MAX
from tests.edge.conftest import Dev, eventually

SEVERAL = """
from stepwell import Context, Stepwell


async def bill(ctx: Context[dict]) -> None: ...


def made(name):
    app = Stepwell(name)
    app.create_function(id="bill", trigger="shop/ordered")(bill)
    return app
"""
NO_RUN = "01HF7YAT00000000000000000A"


def test_health_says_that_due_work_moves(dev: Dev) -> None:
    reply = dev.http("GET", "/health")

    assert (reply.status, reply.json) == (200, {"status": 200, "message": "OK"})


def test_health_in_numbers(dev: Dev) -> None:
    health = dev.get("/v2/health")

    assert health["healthy"] and health["leads"]
    assert health["callsMax"] == 1000
    counts = ("liveRuns", "items", "blocked", "waits")
    assert [health[name] for name in counts] == [None] * 4  # to count costs a look at all that waits
    counted = dev.get("/v2/health?counts=true")
    assert [type(counted[name]) for name in counts] == [int] * 4


def test_sdks_find_a_dev_server(dev: Dev) -> None:
    found = dev.http("GET", "/dev").json

    assert "shop-bill" in {function["id"] for function in found["functions"]}
    assert found["isSingleNodeService"] is True
    assert set(found) >= {"version", "startOpts", "handlers", "isMissingSigningKey", "isMissingEventKeys", "features"}


@pytest.mark.parametrize("path", ["/health", "/dev", "/v1/events", "/v2/runs", "/nothing", "/v2/runs/x"])
def test_every_answer_says_what_kind_of_server_this_is(dev: Dev, path: str) -> None:
    assert dev.http("GET", path).headers["x-inngest-server-kind"] == "dev"


def test_v1_tells_of_a_run_in_the_words_of_the_protocol(dev: Dev) -> None:
    event_id = dev.send("shop/ordered")
    (run,) = eventually(lambda: dev.get(f"/v1/events/{event_id}/runs"))
    dev.ended(run["run_id"])

    run = dev.get(f"/v1/runs/{run['run_id']}")

    assert (run["status"], run["output"], run["event_id"]) == ("Completed", "billed", event_id)
    assert run["function_id"] == "shop-bill"
    assert run["ended_at"].endswith("Z")


def test_v1_has_an_envelope(dev: Dev) -> None:
    reply = dev.http("GET", "/v1/events").json

    assert reply["metadata"]["cached_until"] is None
    assert reply["metadata"]["fetched_at"].endswith("Z")


def test_v1_lists_events_newest_first_in_pages(dev: Dev) -> None:
    sent = [dev.send("rest/paged", n=n) for n in range(3)]

    first = dev.get("/v1/events?name=rest/paged&limit=2")
    rest = dev.get(f"/v1/events?name=rest/paged&limit=2&cursor={first[-1]['internal_id']}")

    assert [event["internal_id"] for event in [*first, *rest]] == sent[::-1]


def test_v1_lists_events_received_in_a_time(dev: Dev) -> None:
    first, _ = dev.send("rest/timed"), dev.ended(dev.start("shop/ordered"))
    last = dev.send("rest/timed")
    moment = dev.get(f"/v1/events/{last}")["received_at"]

    after = dev.get(f"/v1/events?name=rest/timed&received_after={moment}")
    before = dev.get(f"/v1/events?name=rest/timed&received_before={moment}")

    assert [event["internal_id"] for event in after] == [last]
    assert [event["internal_id"] for event in before] == [first]


@pytest.mark.parametrize(("version", "name"), [("v1", "internal_id"), ("v2", "internalId")])
def test_our_own_events_are_listed_if_they_are_asked_for(dev: Dev, version: str, name: str) -> None:
    run_id = dev.start("shop/requested", id=9)
    dev.http("DELETE", f"/v1/runs/{run_id}")

    usual, all_there_are = (dev.get(f"/{version}/events?limit=50&internal={asked}") for asked in ("false", "true"))

    assert "inngest/function.cancelled" not in {event["name"] for event in usual}
    assert "inngest/function.cancelled" in {event["name"] for event in all_there_are}
    assert {event[name] for event in usual} & {event[name] for event in all_there_are}


def test_v1_cancels_a_run_once_and_takes_a_second_time_for_done(dev: Dev) -> None:
    run_id = dev.start("shop/requested", id=1)

    first, second = dev.http("DELETE", f"/v1/runs/{run_id}"), dev.http("DELETE", f"/v1/runs/{run_id}")

    assert (first.status, first.text, second.status) == (200, b"", 200)
    assert dev.get(f"/v1/runs/{run_id}")["status"] == "Cancelled"


def test_v1_errors_have_their_envelope(dev: Dev) -> None:
    reply = dev.http("GET", f"/v1/runs/{NO_RUN}")

    assert (reply.status, reply.json["status"], reply.json["data"]) == (404, 404, None)
    assert NO_RUN in reply.json["error"]


def test_a_function_can_be_invoked_by_its_id(dev: Dev) -> None:
    reply = dev.http("POST", "/invoke/shop-bill", {"data": {"n": 1}})

    assert (reply.status, reply.json["status"]) == (200, 200)
    (run,) = dev.get(f"/v2/events/{reply.json['id']}/runs")["runs"]
    assert dev.ended(run["id"])["status"] == "COMPLETED"


def test_an_invocation_sent_again_with_its_seed_starts_nothing_twice(dev: Dev) -> None:
    seed = "1700000000001,AAAAAAAAAAAAAA=="

    answers = [dev.http("POST", "/invoke/shop-bill", {}, x_inngest_event_id_seed=seed).json["id"] for _ in range(2)]

    assert answers[0] == answers[1]
    assert len(dev.get(f"/v2/events/{answers[0]}/runs")["runs"]) == 1


@pytest.mark.parametrize("body", [b"[", b"[]", {"data": []}])
def test_a_wrong_invocation_is_refused(dev: Dev, body: object) -> None:
    assert dev.http("POST", "/invoke/shop-bill", body).status == 400


def test_an_unknown_function_cannot_be_invoked(dev: Dev) -> None:
    reply = dev.http("POST", "/invoke/shop-nothing", {})

    assert (reply.status, reply.json["status"]) == (400, 400)
    assert "shop-nothing" in reply.json["error"]


def test_v2_invokes_and_tells_the_run(dev: Dev) -> None:
    path = "/v2/apps/shop/functions/bill/invoke"

    first = dev.http("POST", path, {"data": {}, "idempotencyKey": "once"}).json["data"]
    again = dev.http("POST", path, {"data": {}, "idempotencyKey": "once"}).json["data"]

    assert first == again
    assert dev.ended(first["runId"])["output"] == "billed"


def test_v2_sends_events(dev: Dev) -> None:
    reply = dev.http("POST", "/v2/events", [{"name": "rest/sent"}])

    (event_id,) = reply.json["data"]["ids"]
    assert dev.get(f"/v2/events/{event_id}")["name"] == "rest/sent"


@pytest.mark.parametrize("prefix", ["/v2", "/api/v2"])
def test_v2_lists_runs_in_pages(dev: Dev, prefix: str) -> None:
    started = [dev.start("shop/sold", amount=200) for _ in range(3)]

    first = dev.http("GET", f"{prefix}/runs?functionId=shop-large&limit=2").json
    rest = dev.http("GET", f"{prefix}/runs?functionId=shop-large&limit=2&cursor={first['page']['cursor']}").json

    assert first["page"] == {"limit": 2, "hasMore": True, "cursor": first["data"][-1]["id"]}
    assert [run["id"] for run in [*first["data"], *rest["data"]]][:3] == started[::-1]


@pytest.mark.slow
def test_v2_leaves_a_function_to_be_named_in_full_if_several_apps_have_it(start_dev: Callable[..., Dev]) -> None:
    for app in ("shop", "store"):
        running = start_dev("--no-reload", app=f"{SEVERAL}\napp = made({app!r})", target="app.py:app")
        reply = running.http("GET", "/v2/runs?functionId=bill")
        running.close()
        (running.folder / "app.py").unlink()

    (error,) = reply.json["errors"]
    assert (reply.status, error["why"]) == (404, "they are shop-bill, store-bill")


def test_v2_filters_runs_by_status_in_any_spelling(dev: Dev) -> None:
    run_id = dev.start("shop/failing")
    dev.ended(run_id)

    assert run_id in {run["id"] for run in dev.get("/v2/runs?status=Failed&limit=100")}
    assert run_id not in {run["id"] for run in dev.get("/v2/runs?status=completed&limit=100")}


def test_runs_that_completed_are_found_by_that_wherever_one_may_ask(dev: Dev) -> None:
    completed, failed = dev.start("shop/ordered"), dev.start("shop/failing")
    assert [dev.ended(each)["status"] for each in (completed, failed)] == ["COMPLETED", "FAILED"]

    found = dev.get("/v2/runs?status=COMPLETED&limit=100")
    listed = dev.cli("runs", "--status", "completed", "--json").json
    page = dev.http("GET", "/runs?status=completed", accept="text/html").text.decode()

    assert completed in {run["id"] for run in found} & {run["id"] for run in listed}
    assert {run["status"] for run in [*found, *listed]} == {"COMPLETED"}
    assert f'id="r-{completed}"' in page and f'id="r-{failed}"' not in page


def test_v2_leaves_out_of_a_list_what_only_the_run_itself_tells(dev: Dev) -> None:
    run_id = dev.start("shop/failing")
    dev.ended(run_id)

    (listed,) = (run for run in dev.get("/v2/runs?functionId=shop-fail") if run["id"] == run_id)
    run = dev.get(f"/v2/runs/{run_id}")

    again = {"copiedSteps", "inputReplaced", "overriddenSteps"}
    left_out = {"rerunIds", "deferredBy", "output", "error", "metadata", *again}
    assert {name for name in run if name not in listed} == left_out
    assert (listed["eventName"], run["error"]["message"]) == ("shop/failing", "card declined")


def test_v2_shows_a_run_as_a_tree(dev: Dev) -> None:
    run_id = dev.start("shop/failing")
    dev.ended(run_id)

    trace = dev.get(f"/v2/runs/{run_id}/trace")

    assert trace["run"]["error"]["message"] == "card declined"
    (step,) = trace["steps"]
    assert (step["name"], step["status"]) == ("decline", "FAILED")
    assert [(each["attempt"], each["status"], each["error"]["message"]) for each in step["attempts"]] == [
        (0, "ERRORED", "card declined"),
        (1, "FAILED", "card declined"),
    ]
    assert step["attempts"][0]["retryAt"] and not step["attempts"][1]["retryAt"]
    assert step["maxAttempts"] == trace["maxAttempts"] == 2


def test_v2_shows_the_run_that_a_step_invoked_below_it(dev: Dev) -> None:
    run_id = dev.start("shop/delegated")
    dev.why(dev.why(run_id, "invoking")["runId"], "waiting")

    child = dev.get(f"/v2/runs/{run_id}/trace")["steps"][0]["child"]

    assert child["run"]["functionId"] == "shop-approve"
    assert child["run"]["parentRunId"] == run_id
    assert child["waits"][0]["event"] == "shop/approved"


def test_v2_cancels_and_shows_what_became_of_the_run(dev: Dev) -> None:
    run_id = dev.start("shop/requested", id=2)

    first = dev.http("POST", f"/v2/runs/{run_id}/cancel").json["data"]
    second = dev.http("POST", f"/v2/runs/{run_id}/cancel").json["data"]

    assert (first["cancelled"], first["run"]["status"]) == (True, "CANCELLED")
    assert (second["cancelled"], second["run"]["status"]) == (False, "CANCELLED")


def test_v2_shows_a_step_that_was_open_when_its_run_ended_as_cancelled(dev: Dev) -> None:
    run_id = dev.start("shop/requested", id=3)
    dev.why(run_id, "waiting")
    dev.http("POST", f"/v2/runs/{run_id}/cancel")

    trace = dev.get(f"/v2/runs/{run_id}/trace")

    (step,) = trace["steps"]
    assert (step["status"], step["due"], step["endedAt"]) == ("CANCELLED", None, trace["run"]["endedAt"])


def test_v2_lists_apps_and_functions(dev: Dev) -> None:
    functions = {function["id"]: function for function in dev.get("/v2/apps/shop/functions")}

    assert dev.get("/v2/apps")[0]["id"] == "shop"
    assert functions["shop-large"]["triggers"] == [{"event": "shop/sold", "expression": "event.data.amount > 100"}]
    assert dev.get("/v2/functions/shop-large") == dev.get("/v2/functions/large") == functions["shop-large"]
    assert set(functions) == {function["id"] for function in dev.get("/v2/functions")}


@pytest.mark.parametrize(
    "path",
    [
        f"/v2/runs/{NO_RUN}",
        f"/v2/runs/{NO_RUN}/trace",
        f"/v2/runs/{NO_RUN}/why",
        f"/v2/events/{NO_RUN}",
        f"/v2/events/{NO_RUN}/why",
        "/v2/apps/none/functions",
        "/v2/functions/none",
        "/v2/runs?functionId=none",
        "/v2/nothing",
    ],
)
def test_v2_says_what_is_not_there(dev: Dev, path: str) -> None:
    reply = dev.http("GET", path)

    assert reply.status == 404
    assert reply.json["errors"][0]["code"] == "not-found"


@pytest.mark.parametrize(
    "path",
    [
        "/v2/runs/nonsense",
        "/v2/runs/01hf7yat00000000000000000a",
        "/v2/runs/01HF7YAT00000000000000000A%00",
        "/v2/events/x/why",
        "/v2/runs?limit=0",
        "/v2/runs?limit=1001",
        "/v2/runs?limit=many",
        "/v2/functions/%00",
        "/v2/runs?cursor=x",
        "/v2/runs?status=sleepy",
        "/v2/events?receivedAfter=yesterday",
        "/v1/runs/nonsense",
        "/v1/events?limit=-1",
        "/v1/events?internal=perhaps",
        "/v1/events?cursor=x",
        "/v1/events/nonsense",
        "/v1/events/nonsense/runs",
        "/v1/runs/nonsense/jobs",
        "/v1/cancellations?limit=0",
        "/v2/cancellations/nonsense",
        f"/v2/runs/{NO_RUN}/trace?outputs=some",
    ],
)
def test_ids_and_parameters_have_a_strict_form(dev: Dev, path: str) -> None:
    reply = dev.http("GET", path)

    assert reply.status == 400
    assert reply.json["fix"] if path.startswith("/v1") else reply.json["errors"][0]["fix"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/health"),
        ("DELETE", "/v2/runs"),
        ("PUT", f"/v2/runs/{NO_RUN}/cancel"),
        ("GET", f"/v2/runs/{NO_RUN}/cancel"),
        ("PATCH", f"/v1/runs/{NO_RUN}"),
        ("OPTIONS", "/v2/runs"),
        ("GET", "/invoke/shop-bill"),
    ],
)
def test_methods_that_are_not_listed_are_refused_in_the_same_words(dev: Dev, method: str, path: str) -> None:
    reply = dev.http(method, path)

    assert reply.status == 405
    assert b"method not allowed" in reply.text
    assert "access-control-allow-origin" not in reply.headers


def test_of_a_parameter_that_is_repeated_the_first_that_is_not_empty_counts(dev: Dev) -> None:
    assert dev.http("GET", "/v2/runs?limit=&limit=7&limit=9").json["page"]["limit"] == 7


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/checkpoint", 413),
        (f"/v1/checkpoint/{NO_RUN}/async", 413),
        (f"/v1/runs/{NO_RUN}/metadata", 413),
        ("/v1/signals", 400),
        ("/e/key", 400),
    ],
)
def test_a_request_that_is_too_large_is_refused_by_the_status_that_its_sender_knows(
    dev: Dev, path: str, status: int
) -> None:
    reply = dev.http("POST", path, b"", content_length=str(REQUEST_BYTES_MAX + 1))

    assert (reply.status, "too large" in reply.json["error"]) == (status, True)


def test_p14_62_a_signal_that_nobody_waits_for_is_not_found(dev: Dev) -> None:
    reply = dev.http("POST", "/v1/signals", {"signal": "nobody", "data": 1})

    assert (reply.status, reply.json["status"], reply.json["data"]) == (404, 404, None)


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"signal": ""}', b'{"signal": 1}', b"[]", b'{"signal": "a", "data": x}']
)
def test_a_signal_that_cannot_be_read_is_refused(dev: Dev, body: bytes) -> None:
    assert dev.http("POST", "/v1/signals", body).status == 400
