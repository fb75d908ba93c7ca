"""Who may use what: each method of each address of the router, asked for with each credential there is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect as open_socket

from stepwell.server.access import Access
from stepwell.server.openapi import Row, matrix
from stepwell.server.realtime import CONNECT
from stepwell.server.wiring import all_routes
from tests.edge.conftest import Dev, Reply, eventually
from tests.edge.started import EVENT_KEY, NEW, NEW_KEY, OLD, OLD_KEY, Start

pytestmark = pytest.mark.slow

ROWS = matrix(asyncio.run(all_routes()))
TOKEN = "a-token-of-16-or-more"
SOME = {
    **dict.fromkeys(("run_id", "event_id", "cancellation_id"), "01HF7YAT00000000000000000A"),
    **dict.fromkeys(("app_id", "function_id", "slug", "user", "session"), "none"),
}
STRANGERS = {
    "nothing": None,
    "an event key": EVENT_KEY,
    "a key that is not one": "x",
    "an old key": OLD_KEY.bearer,
    "an old key as text": OLD,
    "an empty one": "",
    "undefined": "undefined",
}
# What a route looks at by itself may be found wrong before it is found missing.
BY_ROUTE = {Access.TOKEN: {400, 401}, Access.TOKEN_OR_KEY: {400, 401}}
HOLDERS = {"the hash": NEW_KEY.bearer, "the key": NEW, "the key without its prefix": NEW_KEY.text}


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    running = Start(tmp_path_factory.mktemp("start"))
    try:
        eventually(lambda: running.http("GET", "/health").status == 200)
        yield running
    finally:
        running.close()


def asked(server: Dev, row: Row, bearer: str | None, event_key: str = "any") -> Reply:
    """The body is one that no route takes, so that nothing happens; what is looked at is who is turned away."""
    path = row.path
    for name, value in {**SOME, "key": event_key}.items():
        path = path.replace(f"{{{name}}}", value)
    headers = {} if bearer is None else {"authorization": f"Bearer {bearer}"}
    return Dev.http(server, row.method, path, None if row.method == "GET" else b"[]]", **headers)


def let_in(row: Row) -> set[int]:
    """The request itself means nothing; a key of the server is no token in the address."""
    return {200, 400, 404, 410, 422} | ({401} if row.access is Access.TOKEN else set())


def ids(row: Row) -> str:
    return f"{row.method} {row.path}"


def test_the_matrix_has_all_there_is() -> None:
    assert len(ROWS) > 60
    assert {row.path for row in ROWS} >= {"/e/{key}", "/health", "/dev", "/v1/runs/{run_id}", "/v2/runs", CONNECT}


@pytest.mark.parametrize("row", ROWS, ids=ids)
def test_production_turns_strangers_away(production: Start, row: Row) -> None:
    for who, bearer in STRANGERS.items():
        reply = asked(production, row, bearer)
        wanted = {Access.PUBLIC: {200}, Access.DEVELOPMENT: {404}}.get(row.access, BY_ROUTE.get(row.access, {401}))
        assert reply.status in wanted, (who, reply)
        if reply.status == 401:
            assert reply.json.get("error") or reply.json["errors"][0]["code"] == "unauthorized"


@pytest.mark.parametrize("row", ROWS, ids=ids)
def test_production_lets_in_who_has_its_key(production: Start, row: Row) -> None:
    for who, bearer in HOLDERS.items():
        reply = asked(production, row, bearer, EVENT_KEY)
        wanted = {Access.PUBLIC: {200}, Access.DEVELOPMENT: {404}}.get(row.access, let_in(row))
        assert reply.status in wanted, (who, reply)


@pytest.mark.parametrize("bearer", [*STRANGERS.values(), *HOLDERS.values()], ids=[*STRANGERS, *HOLDERS])
def test_a_socket_opens_for_nobody_without_its_token(production: Start, bearer: str | None) -> None:
    url = f"{production.url.replace('http://', 'ws://')}{CONNECT}"
    headers = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}

    for query in ("", "?token=", f"?token={bearer}"):
        with pytest.raises(InvalidStatus) as refused:
            open_socket(url + query, proxy=None, additional_headers=headers)
        assert refused.value.response.status_code == 401


def test_the_address_of_a_socket_is_no_page(production: Start) -> None:
    topics = [{"channel": "a", "name": "b"}]
    token = production.http("POST", "/v1/realtime/token", topics).json["jwt"]

    reply = Dev.http(production, "GET", f"{CONNECT}?token={token}", None)

    assert (reply.status, "WebSocket" in reply.json["error"]) == (426, True)


def test_the_signing_key_is_no_event_key(production: Start) -> None:
    (row,) = (row for row in ROWS if row.access is Access.EVENT_KEY)

    for secret in (NEW, NEW_KEY.bearer, NEW_KEY.text):
        assert asked(production, row, NEW_KEY.bearer, secret).status == 401
    assert asked(production, row, None, EVENT_KEY).status == 400


@pytest.mark.parametrize("row", ROWS, ids=ids)
def test_development_without_a_token_lets_everybody_in(dev: Dev, row: Row) -> None:
    for bearer in STRANGERS.values():
        assert asked(dev, row, bearer).status in let_in(row)


def test_development_with_a_token_wants_it_everywhere_but_for_its_health(start_dev: Callable[..., Dev]) -> None:
    server = start_dev("--no-reload", "--token", TOKEN)
    eventually(lambda: server.http("GET", "/health").status == 200)

    for row in ROWS:
        without, with_it = asked(server, row, "x").status, asked(server, row, TOKEN).status
        assert without in ({200} if row.access is Access.PUBLIC else BY_ROUTE.get(row.access, {401})), row
        assert with_it in let_in(row), row
