"""The address at which an app is served: who may call it, and what it says (protocol §3, §4)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from stepwell import ConfigurationError, Context, Stepwell
from stepwell.clock import SystemClock
from stepwell.limits import BATCH_BYTES_MAX, EVENT_BYTES_CEILING, SERVED_BYTES_MAX
from stepwell.protocol.signing import HEADER, sign, signing_key, verified
from stepwell.sdk.serve import Endpoint, Request, Response

KEY, OLD = f"signkey-prod-{'ab' * 32}", f"signkey-prod-{'cd' * 32}"
URL = "https://shop.test/api/inngest"
CALL = json.dumps(
    {
        "ctx": {"run_id": "01HF7YAT00000000000000000A", "attempt": 0, "stack": {"stack": [], "current": 0}},
        "event": {"name": "shop/ordered", "data": {"n": 3}, "ts": 1},
        "events": [],
        "steps": {},
        "use_api": False,
    }
).encode()


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for prefix in ("STEPWELL", "INNGEST"):
        for name in ("DEV", "SIGNING_KEY", "SIGNING_KEY_FALLBACK", "EVENT_KEY", "SERVER", "BASE_URL"):
            monkeypatch.delenv(f"{prefix}_{name}", raising=False)


@pytest.fixture
def app() -> Stepwell:
    app = Stepwell("shop")

    @app.create_function(id="bill", trigger="shop/ordered")
    async def bill(ctx: Context[dict[str, Any]]) -> object:
        return ctx.event.data["n"]

    return app


async def ask(
    endpoint: Endpoint, method: str, body: bytes = b"", *, key: str | None = None, **headers: str
) -> Response:
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    if key is not None:
        told[HEADER.lower()] = sign(signing_key(key), body, SystemClock().now_ms() // 1000)
    query: Mapping[str, str] = {"fnId": "shop-bill", "stepId": "step"} if method == "POST" else {}
    return await endpoint.handle(Request(method, URL, query, told, body))


async def test_the_largest_batch_can_be_told_to_the_handler_of_its_failure() -> None:
    """Its events are in the data of one, which no call leaves out."""
    app = Stepwell("shop")

    @app.create_function(id="bill", trigger="inngest/function.failed")
    async def bill(ctx: Context[dict[str, Any]]) -> object:
        return len(ctx.event.data["events"])

    call = json.loads(CALL)
    call["event"]["data"] = {"events": ["x" * (BATCH_BYTES_MAX + EVENT_BYTES_CEILING)]}
    body = json.dumps(call).encode()
    parts = [body[n : n + 65_536] for n in range(0, len(body), 65_536)]
    told: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        part = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message: Any) -> None:
        told.append(message)

    scope = {"type": "http", "method": "POST", "path": "/api/inngest", "query_string": b"fnId=shop-bill&stepId=step"}
    await app.serve(dev=True)({**scope, "headers": [(b"host", b"shop.test")]}, receive, send)

    assert (told[0]["status"], told[1]["body"]) == (200, b"1")


async def test_in_development_anybody_may_call(app: Stepwell) -> None:
    response = await ask(app.serve(dev=True), "POST", CALL)

    assert (response.status, response.body) == (200, b"3")
    assert response.headers["X-Inngest-SDK"] == "stepwell-py:v0.1.0"
    assert HEADER not in response.headers


@pytest.mark.parametrize("key", [KEY, OLD])
async def test_in_production_calls_are_signed_with_either_key_and_so_are_answers(app: Stepwell, key: str) -> None:
    endpoint = app.serve(signing_key=KEY, signing_key_fallback=OLD)

    response = await ask(endpoint, "POST", CALL, key=key)

    assert response.body == b"3"
    now = SystemClock().now_ms() // 1000
    assert verified([signing_key(key)], response.body, response.headers[HEADER], now) is not None


@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
async def test_without_a_signature_nothing_is_told_or_done(app: Stepwell, method: str) -> None:
    endpoint = app.serve(signing_key=KEY)

    for wrong in (None, OLD):
        response = await ask(endpoint, method, CALL if method == "POST" else b"", key=wrong)

        assert response.status == 401
        assert "X-Inngest-SDK" not in response.headers
        assert b"shop" not in response.body


async def test_production_without_a_key_is_refused(app: Stepwell, monkeypatch: pytest.MonkeyPatch) -> None:
    """S1: what is not set never means that nothing is checked."""
    with pytest.raises(ConfigurationError, match="without a signing key"):
        app.serve()
    monkeypatch.setenv("INNGEST_DEV", "0")
    with pytest.raises(ConfigurationError, match="without a signing key"):
        app.serve()
    monkeypatch.setenv("STEPWELL_DEV", "1")
    assert app.serve().dev


def test_the_server_is_named_by_the_variables_of_other_sdks_as_well(
    app: Stepwell, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [app.serve(dev=True).server.origin]
    for name in ("INNGEST_BASE_URL", "INNGEST_API_BASE_URL", "STEPWELL_SERVER"):
        monkeypatch.setenv(name, f"http://{name.lower().replace('_', '-')}")
        found.append(app.serve(dev=True).server.origin)
    found.append(app.serve(dev=True, server="http://argument").server.origin)

    assert found == [
        "http://127.0.0.1:8288",
        "http://inngest-base-url",
        "http://inngest-api-base-url",
        "http://stepwell-server",
        "http://argument",
    ]


async def test_no_header_makes_production_a_development(app: Stepwell) -> None:
    """S7."""
    response = await ask(app.serve(signing_key=KEY), "POST", CALL, x_inngest_server_kind="dev")

    assert response.status == 401


async def test_who_asks_in_band_is_told_at_once(app: Stepwell) -> None:
    """Checklist 21."""
    endpoint = app.serve(signing_key=KEY)

    response = await ask(endpoint, "PUT", json.dumps({"url": URL}).encode(), key=KEY, x_inngest_sync_kind="in_band")

    found = json.loads(response.body)
    assert response.headers["X-Inngest-Sync-Kind"] == "in_band"
    assert (found["app_id"], found["url"]) == ("shop", URL)
    runtime = found["functions"][0]["steps"]["step"]["runtime"]
    assert runtime == {"type": "http", "url": f"{URL}?fnId=shop-bill&stepId=step"}


async def test_introspection_says_little_in_development_and_more_to_who_has_the_key(app: Stepwell) -> None:
    little = json.loads((await ask(app.serve(dev=True), "GET")).body)
    more = json.loads((await ask(app.serve(signing_key=KEY), "GET", key=KEY)).body)

    assert little == {
        "schema_version": "2024-05-24",
        "function_count": 1,
        "has_signing_key": False,
        "has_signing_key_fallback": False,
        "mode": "dev",
    }
    assert (more["mode"], more["app_id"], more["authentication_succeeded"]) == ("cloud", "shop", True)


@pytest.mark.parametrize(
    ("method", "body", "status"),
    [
        ("DELETE", b"", 405),
        ("POST", b"{", 500),
        ("POST", b"x" * (SERVED_BYTES_MAX + 1), 413),
    ],
)
async def test_what_is_no_call_is_refused(app: Stepwell, method: str, body: bytes, status: int) -> None:
    assert (await ask(app.serve(dev=True), method, body)).status == status


async def test_a_function_that_is_not_there_is_named(app: Stepwell) -> None:
    response = await app.serve(dev=True).handle(Request("POST", URL, {"fnId": "shop-gone"}, {}, CALL))

    assert response.status == 500
    assert "shop-gone" in json.loads(response.body)["message"]
