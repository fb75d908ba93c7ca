"""How apps come to be known, and what of what they say of themselves is taken. Numbers are those of protocol §14."""

from __future__ import annotations

import gzip
import json
import socket
import zlib
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any
from uuid import uuid4

import pytest

from tests.edge.conftest import Dev, Reply, eventually, known
from tests.edge.served_here import App, Asked, free_port, serving

pytestmark = pytest.mark.slow


def function(id: str, *, url: str = "http://127.0.0.1:9/api/inngest", **options: Any) -> dict[str, Any]:
    """A function as an SDK declares it; ``attempts`` are its retries."""
    step: dict[str, Any] = {"id": "step", "name": "step", "runtime": {"type": "http", "url": f"{url}?fnId={id}"}}
    if "attempts" in options:
        step["retries"] = {"attempts": options.pop("attempts")}
    return {"id": id, "name": id, "triggers": [{"event": f"{id}/go"}], "steps": {"step": step}, **options}


def registration(app_id: str, *functions: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "url": f"http://127.0.0.1:9/{app_id}",
        "deployType": "ping",
        "framework": "express",
        "appName": app_id,
        "sdk": "js:v4.18.1",
        "v": "0.1",
        "functions": list(functions),
        **more,
    }


def register(dev: Dev, app_id: str, *functions: dict[str, Any], **more: Any) -> Reply:
    return dev.http("POST", "/fn/register", registration(app_id, *functions, **more))


# Answers ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_12_an_answer_may_be_packed(attached: Dev, here: App, encoding: str, pack: Callable[[bytes], bytes]) -> None:
    text = pack(b'{"n": 1}')
    here.answer = lambda asked: (200, {"Content-Encoding": encoding}, text)

    assert attached.ended(attached.start("here/go"))["output"] == {"n": 1}


# What apps say ------------------------------------------------------------------------------------------------------


def test_15_an_app_registers_while_it_is_asked(attached: Dev, here: App) -> None:
    """The PUT is answered when the registration that it caused has been."""
    known(attached, here, here.function("added"))

    assert attached.ended(attached.start("added/go"))["output"] == "done"


def test_16_python_spells_its_members_in_its_own_way(dev: Dev) -> None:
    said = registration("py16", function("py16-f", cancel=[], concurrency=[]))
    said = {
        **{name: value for name, value in said.items() if name not in ("appName", "deployType")},
        "appname": "py16",
        "deploy_type": "ping",
        "sdk": "py:v0.5.18",
        "capabilities": {"connect": "v1", "in_band_sync": "v1", "trust_probe": "v1"},
    }

    reply = dev.http("POST", "/fn/register", said)

    assert (reply.status, reply.json["ok"], reply.json["modified"]) == (200, True, True)
    assert [each["id"] for each in dev.get("/v2/apps/py16/functions")] == ["py16-f"]


def test_17_what_javascript_adds_to_a_registration_is_taken_along(dev: Dev) -> None:
    reply = register(
        *(dev, "js17", function("js17-f")),
        deployId="d-1",
        capabilities={"trust_probe": "v1", "connect": "v1"},
        featureObservations={"extendedTraces": {"config": {}}},
        appVersion="1.4.0",
        somethingNew={"a": [1]},
    )

    assert (reply.status, reply.json["modified"]) == (200, True)
    assert {*reply.json} >= {"ok", "modified", "app_id", "sync_id"}


def test_18_the_same_again_is_no_change(dev: Dev) -> None:
    first = register(dev, "same", function("same-f"), featureObservations={"a": 1}, deployId="1")

    again = register(dev, "same", function("same-f"), featureObservations={"a": 1}, deployId="1")
    observed = register(dev, "same", function("same-f"), featureObservations={"b": 2}, deployId="2")
    more = register(dev, "same", function("same-f"), function("same-g"))
    otherwise = register(dev, "same", function("same-f", attempts=1), function("same-g"))
    fewer = register(dev, "same", function("same-f", attempts=1))

    answers = [reply.json["modified"] for reply in (first, again, observed, more, otherwise, fewer)]
    assert answers == [True, False, False, True, True, True]
    assert first.json["sync_id"] == again.json["sync_id"] == observed.json["sync_id"] != more.json["sync_id"]
    assert len({reply.json["app_id"] for reply in (first, again, more, fewer)}) == 1


def test_19_a_function_that_is_gone_starts_nothing_and_what_it_has_started_finishes(attached: Dev, here: App) -> None:
    sleep = [{"op": "Sleep", "id": "a" * 40, "name": "500ms", "displayName": "nap"}]
    here.answer = lambda asked: (
        (206, {}, json.dumps(sleep).encode()) if not asked.call["steps"] else (200, {}, b'"finished"')
    )
    run_id = attached.start("here/go")
    attached.why(run_id, "sleeping")

    here.functions = [here.function("other")]
    eventually(lambda: attached.get("/v2/functions/here-f")["archivedAt"])

    assert attached.get(f"/v2/events/{attached.send('here/go')}/runs")["runs"] == []
    assert attached.ended(run_id)["output"] == "finished"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, {"code": "function_not_found", "message": "function here-f not found", "name": "FunctionNotFoundError"}),
        (500, {"type": "internal", "name": "Error", "message": 'Could not find function with ID "here-f"'}),
    ],
    ids=["python", "javascript"],
)
def test_19_a_run_whose_code_is_gone_waits_until_it_is_back(
    attached: Dev, here: App, status: int, body: dict[str, str]
) -> None:
    sleep = [{"op": "Sleep", "id": "a" * 40, "name": "1s", "displayName": "nap"}]
    has_code = True

    def answer(asked: Asked) -> tuple[int, dict[str, str], bytes]:
        if not has_code:
            return status, {}, json.dumps(body).encode()
        return (200, {}, b'"back"') if asked.call["steps"] else (206, {}, json.dumps(sleep).encode())

    here.answer = answer
    here.functions = [here.function("f", trigger="here/go", attempts=0)]
    eventually(lambda: attached.get("/v2/functions/here-f")["version"] == 2)
    run_id = attached.start("here/go")
    attached.why(run_id, "sleeping")
    has_code, here.functions = False, [here.function("other")]

    attached.why(run_id, "unserved")
    has_code, here.functions = True, [here.function("f", trigger="here/go", attempts=0)]

    assert attached.ended(run_id)["output"] == "back"


def test_19_a_run_that_is_tried_again_says_so_although_its_function_is_gone(attached: Dev, here: App) -> None:
    refused = {"Retry-After": "3600"}, b'{"name":"Error","message":"not yet"}'
    here.answer = lambda asked: (500, *refused)
    run_id = attached.start("here/go")
    attached.why(run_id, "retrying")

    known(attached, here, here.function("other"))

    gate = attached.why(run_id, "retrying")
    assert (gate["retry"], gate["retries"], gate["error"]["message"]) == (1, 4, "not yet")


def test_19_a_changed_function_goes_on_with_the_runs_it_has(attached: Dev, here: App) -> None:
    sleep = [{"op": "Sleep", "id": "a" * 40, "name": "1s", "displayName": "nap"}]

    def answer(asked: Asked) -> tuple[int, dict[str, str], bytes]:
        if asked.call["steps"]:
            return 200, {}, json.dumps([asked.call["ctx"]["max_attempts"], asked.path]).encode()
        return 206, {}, json.dumps(sleep).encode()

    here.answer = answer
    run_id = attached.start("here/go")
    attached.why(run_id, "sleeping")

    here.functions = [here.function("f", trigger="here/went", attempts=7)]
    here.functions[0]["steps"]["step"]["runtime"]["url"] = f"{here.url}?fnId=here-f&v=2"
    eventually(lambda: attached.get("/v2/functions/here-f")["version"] == 2)

    attempts, path = attached.ended(run_id)["output"]
    assert (attempts, path) == (8, "/api/inngest?v=2&fnId=here-f&stepId=step")


# Functions ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("given", "attempts"), [(0, 1), (None, 5), (4, 5), (50, 21)])
def test_22_attempts_are_one_more_than_the_retries(attached: Dev, here: App, given: int | None, attempts: int) -> None:
    known(attached, here, here.function("tries", **({} if given is None else {"attempts": given})))
    here.answer = lambda asked: (500, {}, b'{"name":"Error","message":"never"}')

    run = attached.ended(attached.start("tries/go"))

    assert run["status"] == "FAILED"
    assert [call.call["ctx"]["attempt"] for call in here.posts()] == list(range(attempts))
    assert {call.call["ctx"]["max_attempts"] for call in here.posts()} == {attempts}


@pytest.mark.parametrize("limit", [3, {"limit": 3}, [{"limit": 3}], {"step": [{"limit": 3}]}])
def test_23_a_limit_may_be_written_in_several_ways(attached: Dev, here: App, limit: Any) -> None:
    known(attached, here, here.function("limited", concurrency=limit))
    here.hold()
    runs = [attached.start("limited/go") for _ in range(5)]
    eventually(lambda: len(here.posts()) == 3)

    for run_id in runs[3:]:
        attached.why(run_id, "limited")
    here.let_go()

    assert {attached.ended(run_id)["status"] for run_id in runs} == {"COMPLETED"}
    assert here.most_at_once == 3


@pytest.mark.parametrize("length", ["90s", "1m30s", "1d2h", "1w", "1.5h", "500ms"])
def test_24_lengths_of_time_have_units(dev: Dev, length: str) -> None:
    options = {"timeouts": {"start": length}, "cancel": [{"event": "a/b", "timeout": length}]}

    assert register(dev, "lengths", function("lengths-f", **options)).status == 200


@pytest.mark.parametrize("length", ["1x", "x", "1", "-1s", "1s 2", 90])
def test_24_what_is_no_length_of_time_is_refused(dev: Dev, length: Any) -> None:
    reply = register(dev, "unlengths", function("unlengths-f", timeouts={"start": length}))

    assert (reply.status, reply.json["status"]) == (400, 400)
    assert "unlengths-f" in reply.json["error"] and "timeouts.start" in reply.json["error"]


BATCH = {"maxSize": 5, "timeout": "10s"}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"batchEvents": BATCH, "cancel": [{"event": "a/b"}]}, "batchEvents"),
        ({"batchEvents": BATCH, "debounce": {"period": "1s"}}, "batchEvents"),
        ({"batchEvents": BATCH, "singleton": {"mode": "skip"}}, "batchEvents"),
        ({"batchEvents": BATCH, "priority": {"run": "1"}}, "batchEvents"),
        ({"triggers": [{"event": f"a/{n}"} for n in range(11)]}, "triggers: it has 11 entries"),
        ({"cancel": [{"event": f"a/{n}"} for n in range(6)]}, "cancel: it has 6 entries"),
        ({"concurrency": [{"limit": n + 1} for n in range(3)]}, "concurrency: it has 3 entries"),
    ],
)
def test_25_too_much_or_too_many_at_once_is_refused(dev: Dev, options: dict[str, Any], told: str) -> None:
    reply = register(dev, "toomuch", function("toomuch-f", **options))

    assert (reply.status, reply.json["status"]) == (400, 400)
    assert "toomuch-f" in reply.json["error"] and told in reply.json["error"]
    assert "toomuch" not in [each["id"] for each in dev.get("/v2/apps")]


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"triggers": [{"event": "a/b", "expression": "event.data.x =="}]}, "triggers[0].expression"),
        ({"triggers": [{"event": "a/b", "expression": "nobody.knows == 1"}]}, "triggers[0].expression"),
        ({"cancel": [{"event": "a/b", "if": "event.data.id == async.data."}]}, "cancel[0].if"),
        ({"idempotency": "event.data."}, "idempotency"),
        ({"concurrency": {"limit": 1, "key": "event.data["}}, "concurrency"),
        ({"triggers": [{"cron": "61 * * * *"}]}, "triggers[0].cron"),
        ({"triggers": [{"cron": "TZ=Nowhere/Town 0 9 * * *"}]}, "triggers[0].cron"),
        ({"triggers": [{"cron": "daily"}]}, "triggers[0].cron"),
        ({"triggers": [{"cron": "* * * * *", "event": "a/b"}]}, "triggers[0]"),
    ],
)
def test_26_what_cannot_be_read_is_refused_with_the_name_of_its_function(
    dev: Dev, options: dict[str, Any], place: str
) -> None:
    reply = register(dev, "unread", function("unread-good"), function("unread-f", **options))

    assert (reply.status, reply.json["status"]) == (400, 400)
    assert "unread-f" in reply.json["error"] and place in reply.json["error"]
    assert "unread" not in [each["id"] for each in dev.get("/v2/apps")]


def test_an_option_that_nobody_knows_is_told_in_the_log(start_dev: Callable[..., Dev]) -> None:
    """Protocol §4.5: it may be of a newer SDK, so the app is taken; but nothing is ignored silently."""
    dev = start_dev("--no-discovery", "--no-poll", target=None)
    eventually(lambda: dev.http("GET", "/health").status == 200)

    assert register(dev, "newer", function("newer-f", tomorrow={"a": 1})).status == 200

    dev.said("the option 'tomorrow' is unknown and has no effect")


# What is wrong with an app ------------------------------------------------------------------------------------------

SDK = {"X-Inngest-SDK": "inngest-py:v0.5.19"}


@pytest.mark.parametrize(
    ("answer", "code", "told"),
    [
        ((401, SDK, b'{"message":"Unauthorized"}'), "unauthorized", "Unauthorized"),
        ((403, {}, b"forbidden"), "forbidden", "the app answered with status 403"),
        ((404, {}, b"404 page not found"), "url_not_found", "the app answered with status 404"),
        ((500, SDK, b'{"message":"it knows no server"}'), "internal_server_error", "it knows no server"),
        ((400, SDK, b'{"code":"server_kind_mismatch","message":"wrong kind"}'), "sync_failed", "wrong kind"),
        ((200, SDK, b'{"error":"the functions are wrong","status":400}'), "sync_failed", "the functions are wrong"),
        ((200, {}, b"<html>a page</html>"), "url_not_found", "what answers there is not an app"),
        ((302, {"Location": "/elsewhere"}, b""), "url_not_found", "it redirects to /elsewhere"),
        ((302, {"Location": "/café"}, b""), "url_not_found", "it redirects to /caf?"),
    ],
)
def test_why_an_app_could_not_be_synced_is_shown_until_it_can(
    start_dev: Callable[..., Dev], here: App, answer: tuple[int, dict[str, str], bytes], code: str, told: str
) -> None:
    """Protocol §4.2. Without polling, those that failed are asked again."""
    here.refuses = answer
    dev = start_dev("--port", str(here.register_at), "--no-discovery", "--no-poll", "-u", here.url, target=None)

    def found() -> Any:
        return dev.http("GET", "/dev").json["apps"][0]

    failed = eventually(lambda: found() if found()["error"] else None)
    here.refuses = None

    assert failed["code"] == code
    assert told in failed["error"]
    assert told in dev.said("app cannot be synced")
    assert dev.get("/v2/apps") == []
    eventually(lambda: found()["error"] is None)
    assert dev.ended(dev.start("here/go"))["output"] == "done"


@pytest.mark.parametrize(("scheme", "code"), [("http", "unreachable"), ("https", "unsupported_protocol")])
def test_an_app_that_nobody_answers_for_is_shown_as_that(
    start_dev: Callable[..., Dev], here: App, scheme: str, code: str
) -> None:
    port = free_port() if scheme == "http" else here.port
    dev = start_dev("--no-discovery", "--no-poll", "-u", f"{scheme}://127.0.0.1:{port}/api/inngest", target=None)

    (found,) = eventually(lambda: [each for each in dev.http("GET", "/dev").json["apps"] if each["error"]])

    assert found["code"] == code
    assert f"127.0.0.1:{port}" in found["error"]


# Discovery ----------------------------------------------------------------------------------------------------------

USUAL_PORTS = (8000, 8080, 8081, 8787, 8888, 5000, 5173, 4321, *range(8910, 8916), *range(3000, 3011))
"""The test takes the first that is free on this machine: which they are is not for the system to choose."""


def usual_port() -> int:
    for port in USUAL_PORTS:
        with suppress(OSError), closing(socket.create_server(("127.0.0.1", port))):
            return port
    raise AssertionError("all ports at which apps are looked for are taken")


@pytest.mark.parametrize(
    "path", ["/api/inngest", "/x/inngest", "/.netlify/functions/inngest", "/.redwood/functions/inngest"]
)
def test_30_an_app_is_found_on_the_usual_ports_and_paths(start_dev: Callable[..., Dev], path: str) -> None:
    app = App(app_id=f"found-{uuid4().hex[:8]}")
    app.nowhere_else, app.path, app.in_band, app.register_at = True, path, False, free_port()
    with serving(app, usual_port()):
        dev = start_dev("--port", str(app.register_at), target=None)

        eventually(lambda: app.app_id in [each["id"] for each in dev.get("/v2/apps")])

        (found,) = [each for each in dev.http("GET", "/dev").json["apps"] if each["app_id"] == app.app_id]
        assert (found["url"], found["error"]) == (f"http://localhost:{app.port}{path}", None)


# Addresses ----------------------------------------------------------------------------------------------------------

SPELLINGS = ["http://127.0.0.1:3000/x", "http://localhost:3000/x", "http://0.0.0.0:3000/x", "http://LOCALHOST:3000/x"]


def addresses(dev: Dev, path: str) -> list[Any]:
    return [each for each in dev.http("GET", "/dev").json["apps"] if each["url"].endswith(path)]


def test_28_an_app_has_one_address_however_it_is_spelled(dev: Dev) -> None:
    for url in [*SPELLINGS, f"{SPELLINGS[0]}?fnId=a&stepId=step", f"{SPELLINGS[0]}?deployId=7"]:
        assert register(dev, "spelled", function("spelled-f"), url=url).status == 200

    assert len(addresses(dev, ":3000/x")) == 1


def test_28_the_port_that_is_usual_need_not_be_written(dev: Dev) -> None:
    for url in ("http://shop.example/usual", "http://shop.example:80/usual"):
        assert register(dev, "usual", function("usual-f"), url=url).status == 200

    assert len(addresses(dev, "/usual")) == 1


def test_a_run_goes_on_at_the_address_that_its_app_has_then(attached: Dev, here: App) -> None:
    """Semantics §9.7: also one that began at another."""
    wait = [{"id": "a" * 40, "op": "WaitForEvent", "name": "wake", "opts": {"event": "wake", "timeout": "1h"}}]
    here.answer = lambda asked: (200, {}, b'"done"') if asked.call["steps"] else (206, {}, json.dumps(wait).encode())
    run_id = attached.start("here/go")
    attached.why(run_id, "waiting")

    here.path = "/moved/here"
    here.functions = None
    known(attached, here, here.function("f", trigger="here/go"))
    attached.send("wake")

    assert attached.ended(run_id)["output"] == "done"
    assert [asked.path.partition("?")[0] for asked in here.posts()] == ["/api/inngest", "/moved/here"]


def test_an_app_is_removed_by_any_spelling_of_its_address(dev: Dev) -> None:
    register(dev, "removed", function("removed-f"), url="http://127.0.0.1:3001/removed")

    assert dev.http("DELETE", "/fn/remove?url=http://localhost:3001/removed").status == 200

    assert addresses(dev, "/removed") == []
    assert "removed" not in [each["id"] for each in dev.get("/v2/apps")]
    assert dev.get(f"/v2/events/{dev.send('removed-f/go')}/runs")["runs"] == []
    assert dev.http("DELETE", "/fn/remove?url=http://localhost:3001/removed").status == 404
    assert register(dev, "removed", function("removed-f")).json["modified"] is True
