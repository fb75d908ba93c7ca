"""Requests to apps: where they go, and what of an answer is read (invariants S12, S15-S17)."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from inspect import signature
from types import MappingProxyType
from typing import Any

import pytest

from stepwell.limits import ANSWER_BYTES_MAX, CALL_TIME_MAX
from stepwell.runtime import http_client
from stepwell.runtime.outbound import ADDRESS_NOT_ALLOWED, HttpOutbound, Reply, Unreachable
from stepwell.runtime.reach import Reach, parse_network
from tests.edge.served_here import App, serving


@pytest.fixture
def app() -> Iterator[App]:
    with serving(App()) as app:
        yield app


NEAR, FAR = Reach(private=True), Reach()


async def ask(
    reach: Reach, method: str, url: str, headers: Mapping[str, str] = MappingProxyType({}), body: bytes = b"{}"
) -> Reply:
    """One request."""
    async with closing(HttpOutbound(reach)) as outbound:
        return await outbound.request(method, url, headers, body, seconds=20)


@asynccontextmanager
async def closing(outbound: HttpOutbound) -> AsyncIterator[HttpOutbound]:
    try:
        yield outbound
    finally:
        await outbound.close()


def resolving(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Let every name have these addresses. Returns the names that were asked for."""
    asked: list[str] = []

    async def resolve(self: Any, host: str, port: int = 0, family: int = 0) -> list[dict[str, Any]]:
        asked.append(host)
        return [
            {
                "hostname": host,
                "host": address,
                "port": port,
                "family": socket.AF_INET6 if ":" in address else socket.AF_INET,
                "proto": 0,
                "flags": socket.AI_NUMERICHOST,
            }
            for address in addresses
        ]

    monkeypatch.setattr(http_client.aiohttp.ThreadedResolver, "resolve", resolve)
    return asked


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "localhost",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "127.0.0.1.",
    ],
)
async def test_no_spelling_of_this_machine_is_called_without_permission(app: App, host: str) -> None:
    url = f"http://{host}:{app.port}/api/inngest"

    with pytest.raises(Unreachable):
        await ask(FAR, "POST", url)
    async with closing(HttpOutbound(FAR)) as outbound:
        with pytest.raises(Unreachable):
            await outbound.check(url)

    assert app.asked == []


@pytest.mark.parametrize("host", ["169.254.169.254", "[fd00:ec2::254]", "[64:ff9b::a9fe:a9fe]", "100.100.100.200"])
async def test_what_holds_secrets_of_a_cloud_is_not_called_with_permission_either(host: str) -> None:
    with pytest.raises(Unreachable) as refused:
        await ask(NEAR, "GET", f"http://{host}/latest/meta-data/")

    assert refused.value.code == ADDRESS_NOT_ALLOWED
    assert "a cloud tells its machines secrets" in str(refused.value)


async def test_a_name_is_refused_by_each_of_its_addresses(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, "8.8.8.8", "127.0.0.1")

    with pytest.raises(Unreachable, match=r"shop\.example leads to 127\.0\.0\.1 is this machine itself"):
        await ask(FAR, "POST", f"http://shop.example:{app.port}/")

    assert app.asked == []


async def test_what_was_checked_is_what_is_called(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    names = resolving(monkeypatch, "127.0.0.1")
    here = Reach(networks=(parse_network("127.0.0.1"),))

    reply = await ask(here, "POST", f"http://shop.example:{app.port}{app.path}")

    assert reply.status == 200
    assert names == ["shop.example"]
    assert app.asked[0].headers["host"] == f"shop.example:{app.port}"


@pytest.mark.parametrize(
    "url", ["http://a b/", "http://a\\b/", "http://%31%32%37.0.0.1/", "http://ⓐ.example/", "file:///x"]
)
async def test_what_two_readers_could_read_differently_is_not_called(url: str) -> None:
    with pytest.raises(Unreachable, match="no address that can be called"):
        await ask(FAR, "GET", url)


async def test_a_redirect_is_an_answer_and_leads_nowhere(app: App) -> None:
    app.answer = lambda asked: (302, {"Location": "http://169.254.169.254/"}, b"")

    reply = await ask(NEAR, "POST", app.url, {"Authorization": "Bearer x"})

    assert (reply.status, len(app.asked)) == (302, 1)


async def test_no_proxy_of_the_environment_is_used(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")

    assert (await ask(NEAR, "POST", app.url)).status == 200


async def test_a_packed_answer_is_unpacked(app: App) -> None:
    """Checklist 12."""
    app.answer = lambda asked: (200, {"Content-Encoding": "gzip"}, gzip.compress(b'{"n": 1}'))

    assert (await ask(NEAR, "POST", app.url)).body == b'{"n": 1}'


async def test_an_answer_that_unpacks_to_too_much_is_given_up(app: App) -> None:
    packed = gzip.compress(b"0" * (ANSWER_BYTES_MAX + 1))
    app.answer = lambda asked: (200, {"Content-Encoding": "gzip"}, packed)

    with pytest.raises(Unreachable) as refused:
        await ask(NEAR, "POST", app.url)

    assert refused.value.code == "output_too_large"


async def test_who_speaks_no_tls_is_not_an_app_behind_tls(app: App) -> None:
    with pytest.raises(Unreachable):
        await ask(NEAR, "POST", app.url.replace("http:", "https:"))

    assert app.asked == []


async def test_an_answer_that_stops_in_the_middle_is_not_waited_for_until_the_call_may_last_no_longer(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_client, "_PAUSE_S_MAX", 0.05)
    app.answer = lambda asked: (200, {"Content-Length": "600"}, b"half")

    with pytest.raises(Unreachable, match="the answer stopped in the middle"):
        await ask(NEAR, "POST", app.url)


async def test_48_a_call_may_take_so_long_and_no_longer(app: App) -> None:
    app.hold()

    async with closing(HttpOutbound(NEAR)) as outbound:
        with pytest.raises(Unreachable, match=r"no answer within 0\.05 s"):
            await outbound.request("POST", app.url, {}, b"{}", seconds=0.05)

    app.let_go()
    usual = signature(HttpOutbound.request).parameters["seconds"].default
    assert usual == CALL_TIME_MAX.total_seconds() == 2 * 60 * 60


@pytest.mark.slow
async def test_an_answer_that_goes_on_may_take_longer_than_it_may_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "_PAUSE_S_MAX", 1.0)

    over = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n")
        for _ in range(15):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.1)
        writer.close()
        await writer.wait_closed()
        over.set()

    async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]

        assert (await ask(NEAR, "POST", f"http://127.0.0.1:{port}/")).body == b"x" * 15
        await over.wait()
