"""Requests that the engine makes for steps: real sockets, real kills (ADR 0016)."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from stepwell import Concurrency, Context, Event, StepError, Stepwell, ai
from tests.edge.conftest import PATIENCE_S, Dev, eventually
from tests.edge.official.conftest import free_port
from tests.edge.provider import Provider, providing
from tests.edge.served_here import App, Asked, serving
from tests.edge.started import NEW_KEY, Start

pytestmark = pytest.mark.slow

ASKS = """
from stepwell import Cancel, Context, Stepwell, ai

app = Stepwell("shop")


@app.create_function(id="ask", trigger="shop/asked", cancel=Cancel("shop/withdrawn", match="data.id"))
async def ask(ctx: Context[dict]):
    model = ai.openai("m", api_key="sk-planted-in-dev", base_url=ctx.event.data["url"])
    found = await ctx.step.ai.infer("ask", model=model, body={"messages": []})
    return [found["model"], await ctx.step.run("after", lambda: 1)]
"""


@pytest.fixture
def provider() -> Iterator[Provider]:
    with providing() as found:
        yield found


def fetching(**options: Any) -> Stepwell:
    app = Stepwell("shop")

    @app.create_function(id="fetch", trigger="shop/fetch", **options)
    async def fetch(ctx: Context[dict[str, Any]]) -> object:
        try:
            found = await ctx.step.fetch("get", **ctx.event.data)
        except StepError as error:
            return [error.name, error.message]
        return [found.status, found.headers, found.body]

    return app


async def output(app: Stepwell, **data: Any) -> Any:
    async with app.embedded(":memory:", retry_interval=50) as engine:
        (run,) = await engine.runs((await app.send(Event("shop/fetch", data)))[0])
        return await engine.wait(run.id)


async def test_what_is_packed_is_unpacked(provider: Provider) -> None:
    url = f"{provider.url}/a/packed"

    status, headers, body = await output(fetching(), url=url, headers={"Accept-Encoding": "br"})

    assert (status, headers["content-type"], json.loads(body)["asked"]) == (200, "application/json", "/a/packed")
    (asked,) = provider.asked("a")
    assert (asked.method, asked.headers["user-agent"]) == ("GET", "stepwell")
    assert "gzip" in asked.headers["accept-encoding"]


async def test_a_redirect_is_a_result_and_not_followed(provider: Provider) -> None:
    status, headers, _ = await output(fetching(), url=f"{provider.url}/a/moved")

    assert (status, headers["location"]) == (302, f"{provider.url}/a/")
    assert len(provider.asked("a")) == 1


async def test_an_answer_that_is_not_utf_8_is_a_result_and_not_asked_for_again(provider: Provider) -> None:
    status, headers, body = await output(fetching(), url=f"{provider.url}/a/latin-1")

    assert (status, headers["x-name"], body) == (200, "caf?", "caf\N{REPLACEMENT CHARACTER}")
    assert len(provider.asked("a")) == 1


async def test_an_answer_that_cannot_be_understood_costs_an_attempt(
    provider: Provider, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("stepwell.runtime.requests.answered", fails)

    name, message = await output(fetching(retries=1), url=f"{provider.url}/a/status/200?key=planted")

    assert (name, message) == ("GatewayError", "ZeroDivisionError while the answer was read")
    assert len(provider.asked("a")) == 2
    assert "the answer to a request cannot be read" in caplog.text
    assert "planted" not in caplog.text


async def test_a_connection_that_breaks_is_tried_again_as_often_as_the_function_says(provider: Provider) -> None:
    name, message = await output(fetching(retries=2), url=f"{provider.url}/a/breaks/9", body="x")

    assert (name, message) == ("GatewayError", "the connection broke before the answer was there")
    assert len(provider.asked("a")) == 3


async def test_nobody_there_is_an_error_too(provider: Provider) -> None:
    name, message = await output(fetching(retries=0), url=f"http://127.0.0.1:{free_port()}/")

    assert name == "GatewayError"
    assert "Connect" in message


@pytest.mark.parametrize(("size", "name"), [(5_000_000, "OutputTooLarge"), (9_000_000, "GatewayError")])
async def test_an_answer_that_is_too_large_is_an_error(provider: Provider, size: int, name: str) -> None:
    found = await output(fetching(retries=0), url=f"{provider.url}/a/large/{size}")

    assert found[0] == name


async def test_a_limit_bounds_what_is_asked_at_once(provider: Provider) -> None:
    app = Stepwell("shop")

    @app.create_function(id="fetch", trigger="shop/fetch", concurrency=Concurrency(3))
    async def fetch(ctx: Context[dict[str, Any]]) -> int:
        steps = [ctx.step.fetch(f"get-{n}", f"{provider.url}/a/held/{n}") for n in range(9)]
        return len(await ctx.group.parallel(steps))

    async with app.embedded(":memory:") as engine:
        (run,) = await engine.runs((await app.send(Event("shop/fetch")))[0])
        while len(provider.asked("a")) < 3:
            await engine.health()
        for _ in range(200):  # time enough for another one
            await engine.health()
        assert len(provider.asked("a")) == 3
        provider.release()
        assert await engine.wait(run.id) == 9


async def test_what_a_run_asks_is_dropped_when_another_process_cancels_it(provider: Provider, tmp_path: Path) -> None:
    here, there = fetching(concurrency=Concurrency(1)), fetching(concurrency=Concurrency(1))
    async with here.embedded(tmp_path / "shop.db") as leader, there.embedded(tmp_path / "shop.db") as follower:
        ids = [(await there.send(Event("shop/fetch", {"url": f"{provider.url}/a/held/{n}"})))[0] for n in range(2)]
        first, second = [(await follower.runs(id))[0] for id in ids]
        async with asyncio.timeout(PATIENCE_S):
            while not provider.asked("a"):
                await leader.health()
            await follower.cancel(second.id)
            await follower.cancel(first.id)
            while leader.engine.caller.live:
                await leader.health()

        assert [asked.path for asked in provider.asked("a")] == ["/a/held/0"]
        assert (await follower.run(first.id)).status == "CANCELLED"


async def test_when_a_run_has_ended_its_key_is_nowhere_in_the_file(provider: Provider, tmp_path: Path) -> None:
    app = Stepwell("shop")

    @app.create_function(id="ask", trigger="shop/asked", retries=0)
    async def ask(ctx: Context[Any]) -> object:
        model = ai.openai("m", api_key="sk-planted-in-file", base_url=f"{provider.url}/a/fails/9")
        return await ctx.step.ai.infer("ask", model=model, body={})

    async with app.embedded(tmp_path / "shop.db") as engine:
        (run,) = await engine.runs((await app.send(Event("shop/asked")))[0])
        with pytest.raises(StepError, match=r"Bearer \[key\]"):
            await engine.wait(run.id)

    with closing(sqlite3.connect(tmp_path / "shop.db")) as file:
        assert "sk-planted" not in "".join(file.iterdump())


def test_a_request_under_way_when_the_server_is_killed_is_made_again(
    start_dev: Callable[..., Dev], provider: Provider
) -> None:
    first = start_dev("--no-reload", app=ASKS)
    run_id = first.start("shop/asked", url=f"{provider.url}/a/held")
    eventually(lambda: len(provider.asked("a")) == 1)
    first.signal(signal.SIGKILL)
    first.exit_code()

    second = start_dev("--no-reload", app=ASKS)
    eventually(lambda: len(provider.asked("a")) == 2)
    provider.release()

    assert second.ended(run_id)["output"] == ["m-1", 1]
    assert "sk-planted" not in first.output + second.output + second.cli("run", run_id).out


def test_a_server_that_stops_while_a_request_is_under_way_leaves_it_to_the_next(
    start_dev: Callable[..., Dev], provider: Provider
) -> None:
    first = start_dev("--no-reload", "--grace", "100ms", app=ASKS)
    run_id = first.start("shop/asked", url=f"{provider.url}/a/held")
    eventually(lambda: len(provider.asked("a")) == 1)
    first.signal(signal.SIGTERM)
    assert first.exit_code() == 0

    second = start_dev("--no-reload", app=ASKS)
    eventually(lambda: len(provider.asked("a")) == 2)
    provider.release()

    assert second.ended(run_id)["output"] == ["m-1", 1]
    notes = second.get(f"/v2/runs/{run_id}/trace")["notes"]
    assert notes == []  # nobody was lost


def test_people_see_what_a_run_asks_and_for_how_long(start_dev: Callable[..., Dev], provider: Provider) -> None:
    dev = start_dev("--no-reload", app=ASKS)
    url = f"{provider.url}/a/held"
    run_id = dev.start("shop/asked", url=url, id=1)
    eventually(lambda: len(provider.asked("a")) == 1)

    (step,) = dev.get(f"/v2/runs/{run_id}/trace")["steps"]
    assert (step["status"], step["kind"], step["details"]["url"]) == ("RUNNING", "aiInfer", f"{url}/chat/completions")
    assert dev.why(run_id, "executing")["step"] == "ask"
    assert f"POST {url}/chat/completions" in dev.cli("run", run_id).out

    dev.send("shop/withdrawn", id=1)
    assert dev.ended(run_id)["status"] == "CANCELLED"
    provider.release()
    assert "sk-planted" not in dev.output


def test_in_production_what_is_near_is_asked_only_if_it_is_allowed(tmp_path: Path) -> None:
    def answer(asked: Asked) -> tuple[int, dict[str, str], bytes]:
        found = list(json.loads(asked.body)["steps"].values())
        if found:
            return 200, {}, json.dumps(found[0]).encode()
        op = {"id": "a", "op": "Gateway", "displayName": "get", "opts": {"url": provider.url + "/a/", "method": "GET"}}
        return 206, {}, json.dumps([op]).encode()

    with providing("127.0.0.2") as provider, serving(App(NEW_KEY)) as app:
        app.answer = answer
        server = Start(tmp_path, "--retry-interval", "50ms", "--allow-network", "127.0.0.1/32", "-u", app.url)
        try:
            server.wait_for(app)
            found = server.ended(server.start("here/go"))["output"]
            assert found["error"]["name"] == "GatewayError"
            assert found["error"]["message"] == "127.0.0.2 is this machine itself, which this server may not call"
            assert provider.asked("a") == []
        finally:
            server.close()

        server = Start(tmp_path, "--allow-private", "-u", app.url)
        try:
            server.wait_for(app)
            assert server.ended(server.start("here/go"))["output"]["data"]["status_code"] == 200
        finally:
            server.close()
