"""Realtime over real sockets: publish, tokens, WebSockets, server-sent events. Numbers are those of protocol §14."""

from __future__ import annotations

import json
import re
import sys
from asyncio import timeout
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from socket import create_connection
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as open_socket

from stepwell import Context, Event, NotRunning, Stepwell
from stepwell.protocol.realtime import Topic, subscription_token
from stepwell.protocol.signing import signing_key
from stepwell.server.guard import Guard, Keys
from tests.edge.conftest import PATIENCE_S, Dev, eventually
from tests.edge.started import EVENT_KEY, NEW, OLD, Start

pytestmark = pytest.mark.slow

ORDERS = "orders:1"


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    running = Dev(tmp_path_factory.mktemp("dev"))
    try:
        eventually(lambda: running.http("GET", "/health").status == 200)
        yield running
    finally:
        running.close()


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    running = Start(tmp_path_factory.mktemp("start"))
    try:
        eventually(lambda: running.http("GET", "/health").status == 200)
        yield running
    finally:
        running.close()


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Callable[..., Dev]]:
    running: list[Dev] = []

    def begin(*options: str) -> Dev:
        running.append(Dev(tmp_path, "--no-discovery", "--db", "shared.db", *options, target=None))
        eventually(lambda: running[-1].http("GET", "/health").status == 200)
        return running[-1]

    yield begin
    for each in running:
        each.close()


def token(server: Dev, *topics: str, channel: str = ORDERS, query: str = "") -> str:
    wanted = [{"channel": channel, "name": topic, "kind": "run"} for topic in topics or ("progress",)]
    reply = server.http("POST", f"/v1/realtime/token{query}", wanted)
    assert reply.status == 201, reply
    found: str = reply.json["jwt"]
    return found


def publish(server: Dev, data: Any, topic: str = "progress", channel: str = ORDERS, more: str = "", **headers: str):
    return server.http("POST", f"/v1/realtime/publish?channel={channel}&topic={topic}{more}", data, **headers)


def socket(server: Dev, jwt: str, **options: Any) -> ClientConnection:
    url = server.url.replace("http://", "ws://")
    return open_socket(f"{url}/v1/realtime/connect?token={jwt}", proxy=None, open_timeout=PATIENCE_S, **options)


def heard(connection: ClientConnection) -> Any:
    return json.loads(connection.recv(timeout=PATIENCE_S))


@contextmanager
def events(server: Dev, jwt: str) -> Iterator[HTTPResponse]:
    """A stream of server-sent events that has begun."""
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_S)) as connection:
        connection.request("GET", f"/v1/realtime/sse?token={jwt}")
        response = connection.getresponse()
        assert response.status == 200, response.read()
        assert event(response) == b": alive\n"
        yield response


def event(response: HTTPResponse) -> bytes:
    """The next one, without the empty line that ends it."""
    lines = []
    while (line := response.readline()) not in (b"\n", b""):
        lines.append(line)
    return b"".join(lines)


def status_of(server: Dev, path: str, **headers: str) -> int:
    """That of an answer to a request for a socket."""
    url = server.url.replace("http://", "ws://")
    with pytest.raises(InvalidStatus) as refused:
        open_socket(url + path, proxy=None, additional_headers=headers or None)
    assert refused.value.response.headers["X-Inngest-Server-Kind"] == ("cloud" if isinstance(server, Start) else "dev")
    status: int = refused.value.response.status_code
    return status


# Messages -------------------------------------------------------------------------------------------------------------


def test_114_what_is_published_reaches_a_subscriber_as_data_without_null_ids(dev: Dev) -> None:
    with socket(dev, token(dev)) as connection:
        assert publish(dev, {"done": 3}).status == 200

        message = heard(connection)

    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", message.pop("created_at"))
    assert message == {"kind": "data", "channel": ORDERS, "topic": "progress", "data": {"done": 3}}


def test_a_subscriber_hears_its_channel_and_topics_and_nothing_else(dev: Dev) -> None:
    with socket(dev, token(dev, "progress", "log")) as connection:
        publish(dev, 1, channel="orders:2")
        publish(dev, 2, topic="other")
        publish(dev, 3, topic="log")
        publish(dev, 4)

        assert [(message["topic"], message["data"]) for message in (heard(connection), heard(connection))] == [
            ("log", 3),
            ("progress", 4),
        ]


def test_messages_of_a_publisher_arrive_in_order_at_all_subscribers(dev: Dev) -> None:
    jwt = token(dev)
    with socket(dev, jwt) as first, socket(dev, jwt) as second, events(dev, jwt) as third:
        for n in range(50):
            publish(dev, n)

        assert [heard(first)["data"] for _ in range(50)] == list(range(50))
        assert [heard(second)["data"] for _ in range(50)] == list(range(50))
        assert [json.loads(event(third).removeprefix(b"data: "))["data"] for _ in range(50)] == list(range(50))


def test_text_a_run_metadata_and_the_first_of_several_topics(dev: Dev) -> None:
    with socket(dev, token(dev)) as connection:
        more = "&topic=log&run_id=01HF7YAT000000000000000001&metadata=%7B%22a%22%3A1%7D"
        publish(dev, b"plain text", more=more)

        message = heard(connection)

    assert (message["data"], message["run_id"], message["metadata"]) == (
        "plain text",
        "01HF7YAT000000000000000001",
        {"a": 1},
    )


def test_a_stream_is_published_in_chunks_between_its_beginning_and_its_end(dev: Dev) -> None:
    with socket(dev, token(dev)) as connection:
        assert publish(dev, "ä".encode() * 1000, content_type="text/stream").status == 200

        kinds = [heard(connection) for _ in range(4)]

    assert [each["kind"] for each in kinds] == ["datastream-start", "chunk", "chunk", "datastream-end"]
    assert len({each["stream_id"] for each in kinds}) == 1
    assert kinds[0]["data"] == kinds[0]["stream_id"] == kinds[3]["data"]
    assert kinds[1]["data"] + kinds[2]["data"] == "ä" * 1000
    assert {(each["channel"], each["topic"]) for each in kinds} == {(ORDERS, "progress")}


def test_a_stream_that_is_too_long_ends_all_the_same(dev: Dev) -> None:
    with socket(dev, token(dev)) as connection:
        reply = publish(dev, b"x" * 1024 * 1001, content_type="text/stream")

        kinds = [heard(connection)["kind"] for _ in range(1002)]

    assert reply.status == 400
    assert (kinds[0], kinds.count("chunk"), kinds[-1]) == ("datastream-start", 1000, "datastream-end")


def test_bytes_are_passed_on_to_those_who_read_events_whole(dev: Dev) -> None:
    jwt = token(dev, "$stream", "progress")
    with events(dev, jwt) as stream, socket(dev, jwt) as connection:
        told = b'event: inngest.stream\ndata: {"data":"a"}\n\nevent: inngest.commit\ndata: {}\n\n'
        assert dev.http("POST", f"/v1/realtime/publish/tee?channel={ORDERS}", told + b"event: cut").status == 200
        publish(dev, 1)

        assert [event(stream) for _ in range(2)] == [each + b"\n" for each in told.split(b"\n\n")[:2]]
        assert event(stream).startswith(b"event: cutdata: ")  # what has no end is passed on at the end of the request
        assert heard(connection)["data"] == 1  # a WebSocket has no place for bytes


def test_a_token_for_a_topic_does_not_open_the_stream_of_its_channel(dev: Dev) -> None:
    with events(dev, token(dev, "public")) as stream:
        told = b'event: inngest.response\ndata: {"secret":1}\n\n'
        assert dev.http("POST", f"/v1/realtime/publish/tee?channel={ORDERS}", told).status == 200
        publish(dev, "for all", topic="public")

        assert b"for all" in event(stream)


def test_89_the_token_of_a_durable_endpoint_opens_the_stream_of_its_run(dev: Dev) -> None:
    run_id = "01HF7YAT0000000000000000ZZ"
    data = {"domain": "http://127.0.0.1:9", "method": "POST", "path": "/pay", "fn": "pay"}
    creation = {"run_id": run_id, "event": {"name": "inngest/http.request", "data": data}, "steps": [], "ts": 1}
    reply = dev.http("POST", "/v1/checkpoint", creation)
    assert reply.status == 200, reply

    with events(dev, reply.json["data"]["realtime_token"]) as stream:
        told = b'event: inngest.stream\ndata: {"data":"a"}\n\n'
        assert dev.http("POST", f"/v1/realtime/publish/tee?channel={run_id}", told).status == 200
        assert event(stream) + b"\n" == told
    assert status_of(dev, f"/v1/realtime/connect?token={reply.json['data']['token']}") == 401

    done = {"status": 201, "headers": {"X-Own": "yes"}, "body": "paid", "version": 1}
    ends = [{"op": "RunComplete", "id": "0", "data": done}]
    about = {"fn_id": reply.json["data"]["fn_id"], "app_id": reply.json["data"]["app_id"], "run_id": run_id}
    assert dev.http("POST", f"/v1/checkpoint/{run_id}/steps", {**about, "steps": ends, "ts": 1}).status == 200
    with events(dev, reply.json["data"]["realtime_token"]) as stream:  # who comes late hears the answer all the same
        kind, answer = event(stream).splitlines()
        assert stream.read() == b""
    assert kind == b"event: inngest.response"
    assert json.loads(answer.removeprefix(b"data: ")) == {
        "status": "succeeded",
        "response": {"body": "paid", "headers": {"x-own": "yes"}, "statusCode": 201},
    }


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/realtime/publish?topic=t", b"1", 400),
        ("/v1/realtime/publish?channel=c", b"1", 400),
        ("/v1/realtime/publish?channel=c&topic=t&run_id=x", b"1", 400),
        ("/v1/realtime/publish?channel=c&topic=t&metadata=x", b"1", 400),
        ("/v1/realtime/publish?channel=c&topic=t", b"\xff", 400),
        ("/v1/realtime/publish?channel=c&topic=t", b"1" * (512 * 1024 + 1), 413),
        ("/v1/realtime/publish/tee", b"1", 400),
        ("/v1/realtime/token", b"[]", 400),
        ("/v1/realtime/token", b"{", 400),
    ],
)
def test_what_cannot_be_published_is_refused_with_a_reason(dev: Dev, path: str, body: bytes, status: int) -> None:
    reply = dev.http("POST", path, body)

    assert reply.status == status
    assert reply.json["error"]


# Subscriptions --------------------------------------------------------------------------------------------------------


def test_a_subscriber_may_ask_for_more_and_for_less(dev: Dev) -> None:
    with socket(dev, token(dev)) as connection:
        connection.send(json.dumps({"kind": "sub", "data": token(dev, "log", channel="orders:2")}))
        assert heard(connection)["kind"] == "sub"
        publish(dev, 1, topic="log", channel="orders:2")
        assert heard(connection)["data"] == 1

        connection.send(json.dumps({"kind": "unsub", "data": ["progress"]}))
        assert heard(connection) == {"kind": "unsub", "data": ["progress"]}
        publish(dev, 2)
        publish(dev, 3, topic="log", channel="orders:2")
        assert heard(connection)["data"] == 3


def test_what_a_subscriber_says_that_nobody_understands_is_passed_over(dev: Dev) -> None:
    with socket(dev, token(dev)) as connection:
        for said in ("", "{", "[1]", '{"kind":"data","data":1}', '{"kind":"unsub","data":7}', b"\x00"):
            connection.send(said)
        assert heard(connection) == {"kind": "unsub", "data": []}
        publish(dev, 1)
        assert heard(connection)["data"] == 1


def test_a_bad_token_later_on_ends_the_connection_with_a_reason(dev: Dev) -> None:
    with socket(dev, token(dev)) as connection:
        connection.send(json.dumps({"kind": "sub", "data": "bad"}))
        with pytest.raises(ConnectionClosed) as closed:
            heard(connection)

    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "the token is wrong")


def test_one_who_does_not_read_is_closed_and_holds_up_nobody(dev: Dev) -> None:
    large = b'"' + b"x" * (512 * 1024 - 2) + b'"'
    with socket(dev, token(dev), max_queue=1) as slow, socket(dev, token(dev, "log")) as other:
        for _ in range(80):  # more than sockets and queue hold together
            assert publish(dev, large).status == 200
        publish(dev, "still here", topic="log")
        assert heard(other)["data"] == "still here"

        with pytest.raises(ConnectionClosed) as closed:
            for _ in range(81):
                heard(slow)

    assert closed.value.rcvd is None or closed.value.rcvd.code == 1013


def test_one_who_does_not_read_events_is_told_why_they_end(dev: Dev) -> None:
    large = b'"' + b"x" * (512 * 1024 - 2) + b'"'
    with events(dev, token(dev)) as slow:
        for _ in range(80):
            assert publish(dev, large).status == 200
        *found, last = [told for told in iter(lambda: event(slow), b"") if not told.startswith(b":")]

    assert len(found) < 80
    assert json.loads(last.removeprefix(b"data: "))["kind"] == "closing"
    assert b"too slow" in last


def test_one_who_never_reads_is_cut_off(dev: Dev) -> None:
    """Nothing of it may stay: neither what waits for it, nor its connection."""
    large = b'"' + b"x" * (512 * 1024 - 2) + b'"'
    with create_connection(("127.0.0.1", dev.port), timeout=PATIENCE_S) as connection:
        request = (
            f"GET /v1/realtime/connect?token={token(dev)} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n"
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        connection.sendall(request.encode())
        assert connection.recv(12) == b"HTTP/1.1 101"
        sockets = len(open_sockets(dev))
        for _ in range(80):
            publish(dev, large)

        eventually(lambda: len(open_sockets(dev)) < sockets)


def open_sockets(server: Dev) -> list[Path]:
    """The sockets that the process has open."""
    if sys.platform != "linux":
        pytest.skip("there is no /proc")
    found = []
    for each in Path(f"/proc/{server.process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            if str(each.readlink()).startswith("socket:"):
                found.append(each)
    return found


def test_a_subscriber_that_has_gone_is_forgotten(dev: Dev) -> None:
    with socket(dev, token(dev)) as connection:
        publish(dev, 1)
        heard(connection)
    with events(dev, token(dev)):
        pass

    assert publish(dev, 2).status == 200
    assert dev.http("GET", "/health").status == 200


def test_what_becomes_of_a_run_is_told_to_whoever_watches_it(dev: Dev) -> None:
    run_id = dev.start("shop/exported", user="ada", gate="go")
    eventually(lambda: dev.get(f"/v2/runs/{run_id}")["status"] == "RUNNING")
    with socket(dev, token(dev, "$run", channel=run_id)) as connection:
        first = heard(connection)
        (dev.folder / "go").touch()
        second = heard(connection)
    with socket(dev, token(dev, "$run", channel=run_id)) as connection:
        late = heard(connection)

    assert (first["kind"], first["channel"], first["run_id"], first["data"]) == (
        "run",
        run_id,
        run_id,
        {"status": "running"},
    )
    assert second["data"] == late["data"] == {"status": "completed", "output": "go"}


def test_a_server_that_stops_says_so_to_its_subscribers(processes: Callable[..., Dev]) -> None:
    server = processes()
    with socket(server, token(server)) as connection, events(server, token(server)) as stream:
        server.process.terminate()
        with pytest.raises(ConnectionClosed) as closed:
            heard(connection)
        assert b"the server is stopping" in stream.read()
        assert server.exit_code() == 0

    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code in (1001, 1012)


# Several processes ----------------------------------------------------------------------------------------------------


def test_messages_reach_the_subscribers_of_another_process(processes: Callable[..., Dev]) -> None:
    leader, follower = processes(), processes()
    for here, there in ((leader, follower), (follower, leader)):
        with socket(here, token(there)) as near, socket(there, token(here)) as far:
            for n in range(20):
                publish(here, n)
            publish(here, b"x" * 1500, content_type="text/stream")

            assert [heard(near)["data"] for _ in range(20)] == list(range(20))
            assert [heard(far)["data"] for _ in range(20)] == list(range(20))
            assert [heard(far)["kind"] for _ in range(4)] == ["datastream-start", "chunk", "chunk", "datastream-end"]


def test_a_run_is_watched_from_a_process_that_does_not_run_it(tmp_path: Path) -> None:
    leader = Dev(tmp_path, "--db", "shared.db")
    eventually(lambda: leader.http("GET", "/health").status == 200)
    follower = Dev(tmp_path, "--no-discovery", "--db", "shared.db", target=None)
    try:
        eventually(lambda: follower.http("GET", "/health").status == 200)
        run_id = leader.start("shop/exported", user="ada", gate="go")
        with socket(follower, token(follower, "$run", channel=run_id)) as connection:
            told = heard(connection)["data"]["status"]
            (tmp_path / "go").touch()
            while told != "completed":
                told = heard(connection)["data"]["status"]
    finally:
        follower.close()
        leader.close()


async def test_embedded_engines_on_one_file_hear_one_another(tmp_path: Path) -> None:
    apps = [Stepwell("shop"), Stepwell("shop")]

    @apps[0].create_function(id="work", trigger="asked")
    async def work(ctx: Context[dict[str, Any]]) -> None:
        await ctx.step.realtime.publish("tell", ORDERS, "progress", {"done": 1})

    @apps[1].create_function(id="work", trigger="asked")
    async def same(ctx: Context[dict[str, Any]]) -> None: ...

    leads, follows = (app.embedded(tmp_path / "shop.db") for app in apps)
    async with leads, follows, timeout(PATIENCE_S):
        assert (leads.leads, follows.leads) == (True, False)
        async with apps[1].realtime.subscribe(ORDERS, "progress") as messages:
            await apps[1].send(Event("asked", {}))
            message = await anext(messages)
            await apps[1].realtime.publish(ORDERS, "progress", {"done": 2})
            assert [message.data, (await anext(messages)).data] == [{"done": 1}, {"done": 2}]
            assert message.run_id is not None

        with pytest.raises(NotRunning, match="no server"):
            await apps[1].realtime.token(ORDERS, "progress")
        async with apps[0].realtime.subscribe(ORDERS, "progress") as messages:
            await leads.stop()
            with pytest.raises(NotRunning, match="subscription has ended"):
                await anext(messages)


# Who may --------------------------------------------------------------------------------------------------------------


def test_a_socket_needs_a_token_of_this_server(dev: Dev, start: Start) -> None:
    others = Guard(keys=Keys([signing_key(OLD)], [EVENT_KEY])).lasting_keys[0]
    expired = subscription_token(
        [Topic("c", "t")], Guard(keys=Keys([signing_key(NEW)], [EVENT_KEY])).lasting_keys[0], 1, ""
    )
    for server in (dev, start):
        now = subscription_token([Topic("c", "t")], others, 1_900_000_000_000, "")
        for jwt in ("", "bad", now, expired, token(server, query="?publish=true")):
            assert status_of(server, f"/v1/realtime/connect?token={jwt}") == 401
            assert server.http("GET", f"/v1/realtime/sse?token={jwt}", authorization="").status == 401
        assert status_of(server, "/v1/realtime/connect") == 401


def test_a_socket_is_opened_at_one_address_and_under_a_known_name(dev: Dev) -> None:
    """Invariants S10."""
    assert status_of(dev, "/v1/realtime/elsewhere") == 404
    assert status_of(dev, "/") == 404
    assert status_of(dev, f"/v1/realtime/connect?token={token(dev)}", Host="evil.example") == 403


def test_pages_of_any_origin_may_listen_with_a_token_and_do_nothing_else(dev: Dev) -> None:
    """Invariants S11: what opens a socket is the token in its address, which no other page can know."""
    jwt = token(dev)
    with socket(dev, jwt, origin="https://shop.example") as connection:
        publish(dev, 1)
        assert heard(connection)["data"] == 1
    for reply in (dev.http("OPTIONS", "/v1/realtime/sse"), dev.http("GET", "/v1/realtime/sse?token=bad")):
        assert reply.headers["access-control-allow-origin"] == "*"

    foreign = {"origin": "https://evil.example"}
    assert publish(dev, 1, **foreign).status == 403
    reply = dev.http("POST", "/v1/realtime/token", [{"channel": "c", "name": "t"}], **foreign)
    assert reply.status == 403
    assert "access-control-allow-origin" not in reply.headers


def test_production_publishes_and_gives_tokens_only_to_those_who_have_a_key(start: Start) -> None:
    topics = [{"channel": "c", "name": "t"}]
    for path, body in (
        ("/v1/realtime/publish?channel=c&topic=t", b"1"),
        ("/v1/realtime/publish/tee?channel=c", b"1"),
        ("/v1/realtime/token", topics),
    ):
        assert start.stranger("POST", path, body).status == 401
        assert start.stranger("POST", path, body, authorization="Bearer a.b.c").status == 401
        assert start.http("POST", path, body).status in (200, 201)


def test_who_has_a_token_to_publish_needs_no_key_where_it_says_so(start: Start) -> None:
    shown = {"authorization": f"Bearer {token(start, 'progress', query='?publish=true')}"}
    listens = {"authorization": f"Bearer {token(start, 'progress')}"}
    with socket(start, token(start)) as connection:
        path = f"/v1/realtime/publish?channel={ORDERS}&topic=progress"
        assert start.stranger("POST", path, b"1", **shown).status == 200
        assert heard(connection)["data"] == 1
        assert start.stranger("POST", path, b"1", **listens).status == 401
        assert start.stranger("POST", path.replace("progress", "log"), b"1", **shown).status == 401
        assert start.stranger("POST", path.replace(ORDERS, "orders:2"), b"1", **shown).status == 401
        assert start.stranger("POST", "/v1/realtime/token", [{"channel": "c", "name": "t"}], **shown).status == 401


def test_no_token_is_written_to_the_log(tmp_path: Path) -> None:
    """Invariants S34."""
    server = Start(tmp_path)
    try:
        eventually(lambda: server.http("GET", "/health").status == 200)
        good, bad = token(server), "bad.token.of-somebody"
        with socket(server, good), events(server, good):
            pass
        status_of(server, f"/v1/realtime/connect?token={bad}")
    finally:
        server.close()

    assert good not in server.output
    assert bad not in server.output
    assert "ASGI" not in server.output
