"""The gateway, asked by a worker that does as it likes. Numbers are those of protocol §14."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from socket import socket
from typing import Any, TypeVar

import msgspec
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as open_socket
from websockets.typing import Subprotocol

from stepwell.limits import ANSWER_BYTES_MAX, CONNECT_APPS_MAX
from stepwell.protocol.connect import (
    SUBPROTOCOL,
    AppConfiguration,
    AuthData,
    ConnectionReady,
    ExecutorRequest,
    ExtendLease,
    ExtendLeaseAck,
    Frame,
    Kind,
    ReplyAck,
    RequestAck,
    StartRequest,
    StartResponse,
    Status,
    SystemError,
    WorkerConnect,
    WorkerReply,
    decode,
    encode,
    frame,
)
from stepwell.server.run import PortInUse, bind, bind_beside
from tests.edge.conftest import PATIENCE_S, Dev, command, eventually
from tests.edge.served_here import free_port

pytestmark = pytest.mark.slow

M = TypeVar("M", bound=msgspec.Struct)


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    folder = tmp_path_factory.mktemp("gateway")
    options = ("--no-discovery", "--no-poll", "--retry-interval", "50ms", "--worker-lease", "4s", "--db", ":memory:")
    running = Dev(folder, *options, target=None)
    try:
        eventually(lambda: running.http("GET", "/health").status == 200)
        yield running
    finally:
        running.close()


def function(app: str, name: str, **options: Any) -> dict[str, Any]:
    id = f"{app}-{name}"
    runtime = {"type": "ws", "url": f"wss://connect?fnId={id}&stepId=step"}
    step = {"id": "step", "name": "step", "runtime": runtime, "retries": {"attempts": 0}}
    return {"id": id, "name": name, "triggers": [{"event": f"{app}/{name}"}], "steps": {"step": step}, **options}


class Worker:
    """A connection, and what is said on it."""

    def __init__(self, dev: Dev, app: str = "raw", **members: Any) -> None:
        self.dev = dev
        self.app = app
        self.told = start(dev)
        self._opening = open_socket(
            self.told.gateway_endpoint, subprotocols=[Subprotocol(SUBPROTOCOL)], compression=None
        )
        self.socket: ClientConnection
        self.members: dict[str, Any] = {
            "connection_id": self.told.connection_id,
            "instance_id": f"{app}-worker",
            "auth_data": AuthData(self.told.session_token, self.told.sync_token),
            "apps": [AppConfiguration(app, None, json.dumps([function(app, "f")]).encode())],
            "sdk_language": "py",
            "sdk_version": "0.5.0",
            **members,
        }

    def say(self, kind: Kind, message: msgspec.Struct | None = None) -> None:
        self.socket.send(frame(kind, message))

    def hear(self, kind: Kind, message: type[M], *, within: float = PATIENCE_S) -> M:
        """The next frame, which is of this kind."""
        data = self.socket.recv(within)
        assert isinstance(data, bytes)
        found = decode(Frame, data)
        assert Kind(found.kind) == kind
        return decode(message, found.payload)

    def connect(self) -> ConnectionReady:
        self.hear(Kind.GATEWAY_HELLO, StartRequest)
        self.say(Kind.WORKER_CONNECT, WorkerConnect(**self.members))
        return self.hear(Kind.GATEWAY_CONNECTION_READY, ConnectionReady)

    def call(self) -> ExecutorRequest:
        return self.hear(Kind.GATEWAY_EXECUTOR_REQUEST, ExecutorRequest)

    def taken(self) -> ExecutorRequest:
        found = self.call()
        self.say(Kind.WORKER_REQUEST_ACK, RequestAck(found.request_id))
        return found

    def answer(self, call: ExecutorRequest, **members: Any) -> None:
        self.say(Kind.WORKER_REPLY, reply(call, **members))

    def is_silent(self) -> bool:
        """Nothing that was said before the answer to this."""
        self.say(Kind.WORKER_HEARTBEAT)
        self.hear(Kind.GATEWAY_HEARTBEAT, StartRequest)
        return True

    def closed(self) -> tuple[int, str]:
        """Code and reason of its end."""
        with pytest.raises(ConnectionClosed) as ended:
            while True:
                self.socket.recv(PATIENCE_S)
        assert ended.value.rcvd is not None
        return ended.value.rcvd.code, ended.value.rcvd.reason

    def __enter__(self) -> Worker:
        self.socket = self._opening.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._opening.__exit__(None, None, None)
        here = self.told.connection_id
        if self.dev.process.poll() is None:
            eventually(lambda: all(each["connection_id"] != here for each in listed(self.dev, self.app)))


def start(dev: Dev, body: bytes = b"") -> StartResponse:
    answer = dev.http("POST", "/v0/connect/start", body, content_type="application/protobuf")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/protobuf")
    return decode(StartResponse, answer.text)


def reply(call: ExecutorRequest, **members: Any) -> WorkerReply:
    found = {"status": Status.DONE, "body": b'"done"', "sdk_version": "inngest-py:v0.5.0", "request_version": 2}
    return WorkerReply(request_id=call.request_id, **{**found, **members})


def flush(dev: Dev, answer: WorkerReply) -> str:
    found = dev.http("POST", "/v0/connect/flush", encode(answer), content_type="application/protobuf")
    assert found.status == 200, found
    return decode(ReplyAck, found.text).request_id


def listed(dev: Dev, app: str) -> list[dict[str, Any]]:
    apps = dev.http("GET", "/dev").json["apps"]
    return [each for found in apps if found["app_id"] == app for each in found["workers"]]


def test_106_the_gateway_is_at_the_next_port_unless_that_is_taken() -> None:
    with ExitStack() as stack:

        def closed_later(sockets: list[socket]) -> int:
            for sock in sockets:
                stack.callback(sock.close)
            port: int = sockets[0].getsockname()[1]
            return port

        for _ in range(20):  # others on this machine take ports, too
            sockets = bind("127.0.0.1", 0)
            port, beside = closed_later(sockets), closed_later(bind_beside(sockets, None))
            if beside == port + 1:
                break

        assert beside == port + 1
        assert closed_later(bind_beside(sockets, None)) not in (port, port + 1)
        with pytest.raises(PortInUse):
            bind_beside(sockets, port + 1)


def test_106_a_worker_is_told_where_to_connect_and_gets_a_name(dev: Dev) -> None:
    told = start(dev)

    assert re.fullmatch(r"ws://127\.0\.0\.1:\d+/v0/connect", told.gateway_endpoint)
    assert len(told.connection_id) == 26
    assert start(dev, encode(StartRequest(["stepwell"]))).connection_id != told.connection_id


def test_106_a_request_to_connect_that_cannot_be_read_is_refused(dev: Dev) -> None:
    assert dev.http("POST", "/v0/connect/start", b"\x0a\x7f").status == 400
    assert dev.http("POST", "/v0/connect/flush", b"\x0a\x7f").status == 400
    assert dev.http("POST", "/v0/connect/flush", b"").status == 400


def test_107_lengths_of_time_are_whole_seconds(dev: Dev) -> None:
    with Worker(dev) as worker:
        assert worker.connect() == ConnectionReady("10s", "1s", "0s")
        assert worker.socket.subprotocol == SUBPROTOCOL
        assert worker.is_silent()


def test_107_a_call_says_what_it_is_for(dev: Dev) -> None:
    with Worker(dev) as worker:
        worker.connect()
        run_id = dev.start("raw/f", n=1)
        call = worker.taken()

        assert (call.app_name, call.function_slug, call.step_id, call.run_id) == ("raw", "raw-f", "step", run_id)
        body = json.loads(call.request_payload)
        assert (body["event"]["data"], body["ctx"]["attempt"], body["use_api"]) == ({"n": 1}, 0, False)
        worker.answer(call)
        assert worker.hear(Kind.WORKER_REPLY_ACK, ReplyAck) == ReplyAck(call.request_id)
        assert dev.ended(run_id)["output"] == "done"


def test_108_a_worker_that_says_itself_when_it_is_ready_gets_no_call_before(dev: Dev) -> None:
    with Worker(dev, worker_manual_readiness_ack=True) as worker:
        worker.connect()
        run_id = dev.start("raw/f")
        dev.why(run_id, "unserved")
        assert worker.is_silent()

        worker.say(Kind.WORKER_READY)
        worker.answer(worker.taken())

        assert dev.ended(run_id)["output"] == "done"


def test_109_each_extension_has_a_new_lease_and_a_stranger_gets_none(dev: Dev) -> None:
    def extend(lease: str, request_id: str) -> str | None:
        worker.say(Kind.WORKER_REQUEST_EXTEND_LEASE, ExtendLease(request_id=request_id, lease_id=lease))
        told = worker.hear(Kind.WORKER_REQUEST_EXTEND_LEASE_ACK, ExtendLeaseAck)
        assert told.request_id == request_id
        return told.new_lease_id

    with Worker(dev) as worker:
        worker.connect()
        run_id = dev.start("raw/f")
        call = worker.taken()

        first = extend(call.lease_id, call.request_id)
        again = extend(call.lease_id, call.request_id)  # the answer to the first was lost on its way
        assert first is not None and again is not None
        assert len({call.lease_id, first, again}) == 3
        assert extend(again, call.request_id) is not None
        assert extend(call.lease_id, call.request_id) is None
        assert extend(call.lease_id, "01HF7YAT00000000000000000A") is None
        worker.answer(call)
        assert dev.ended(run_id)["status"] == "COMPLETED"


def test_110_an_answer_whose_connection_was_cut_comes_over_http(dev: Dev) -> None:
    with Worker(dev) as worker:
        worker.connect()
        run_id = dev.start("raw/f")
        call = worker.taken()
    assert dev.get(f"/v2/runs/{run_id}")["status"] == "RUNNING"

    assert flush(dev, reply(call)) == call.request_id
    assert dev.get(f"/v2/runs/{run_id}")["output"] == "done", "it is written down before it is acknowledged"
    assert flush(dev, reply(call, body=b'"again"')) == call.request_id
    assert dev.get(f"/v2/runs/{run_id}")["output"] == "done"


def test_an_answer_that_is_too_large_has_failed_and_ends_the_connection_that_it_came_by(dev: Dev) -> None:
    body = b'"' + b"x" * ANSWER_BYTES_MAX + b'"'
    with Worker(dev) as worker:
        worker.connect()
        run_id = dev.start("raw/f")
        call = worker.taken()
        with suppress(ConnectionClosed):
            worker.answer(call, body=body)
        with pytest.raises(ConnectionClosed):  # without a reason, if what we still send is in its way
            worker.socket.recv(PATIENCE_S)

    flush(dev, reply(call, body=body))
    assert "the answer is larger than 8,388,608 bytes" in dev.ended(run_id)["error"]["message"]


def test_110_or_by_another_connection(dev: Dev) -> None:
    with Worker(dev) as worker:
        worker.connect()
        run_id = dev.start("raw/f")
        call = worker.taken()
    with Worker(dev) as worker:
        worker.connect()
        worker.answer(call)
        assert worker.hear(Kind.WORKER_REPLY_ACK, ReplyAck) == ReplyAck(call.request_id)
        assert dev.ended(run_id)["output"] == "done"
        worker.answer(call)
        assert worker.hear(Kind.WORKER_REPLY_ACK, ReplyAck) == ReplyAck(call.request_id)


def test_112_a_worker_that_pauses_gets_no_other_call(dev: Dev) -> None:
    with Worker(dev) as worker:
        worker.connect()
        first = dev.start("raw/f")
        call = worker.taken()
        worker.say(Kind.WORKER_PAUSE)
        assert worker.is_silent()
        second = dev.start("raw/f")
        dev.why(second, "unserved")

        worker.answer(call)
        worker.hear(Kind.WORKER_REPLY_ACK, ReplyAck)
        assert dev.ended(first)["output"] == "done"
        worker.say(Kind.WORKER_READY)
        assert worker.is_silent()
    with Worker(dev) as worker:
        worker.connect()
        worker.answer(worker.taken())
        assert dev.ended(second)["output"] == "done"


@pytest.mark.parametrize(
    ("members", "status", "kind"),
    [
        ({"status": Status.ERROR, "body": b'{"name":"E","message":"m"}'}, "FAILED", "E"),
        ({"no_retry": True, "body": b'{"name":"E","message":"m"}'}, "FAILED", "E"),
        ({"no_retry": True, "body": b'{"name":"E"}'}, "COMPLETED", None),
        ({"body": b'{"name":"E","message":"m"}'}, "COMPLETED", None),
        ({"status": 77, "body": b"?"}, "FAILED", "Error"),
    ],
)
def test_an_answer_means_what_its_status_says(dev: Dev, members: dict[str, Any], status: str, kind: str | None) -> None:
    with Worker(dev) as worker:
        worker.connect()
        run_id = dev.start("raw/f")
        worker.answer(worker.taken(), **members)

        run = dev.ended(run_id)
        assert run["status"] == status
        assert kind is None or run["error"]["name"] == kind


def _spoilt(**members: Any) -> dict[str, Any]:
    return members


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        (_spoilt(connection_id="x"), "connect_worker_hello_invalid_payload"),
        (_spoilt(instance_id=""), "connect_worker_hello_invalid_payload"),
        (_spoilt(connection_id="01HF7YAT00000000000000000A"), "connect_authentication_failed"),
        (_spoilt(auth_data=AuthData("a.b.c", "")), "connect_authentication_failed"),
        (_spoilt(apps=[]), "connect_worker_hello_invalid_payload"),
        (
            _spoilt(apps=[AppConfiguration(f"app{n}", None, b"[]") for n in range(CONNECT_APPS_MAX + 1)]),
            "connect_too_many_apps_per_connection",
        ),
    ],
)
def test_who_does_not_introduce_itself_is_turned_away(dev: Dev, members: dict[str, Any], reason: str) -> None:
    with Worker(dev, **members) as worker:
        worker.say(Kind.WORKER_CONNECT, WorkerConnect(**worker.members))

        assert worker.closed() == (1008, reason)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (frame(Kind.WORKER_HEARTBEAT), "connect_worker_hello_invalid_msg"),
        (b"\xff", "connect_worker_hello_invalid_msg"),
        ("a text", "connect_worker_hello_invalid_msg"),
        (encode(Frame(Kind.WORKER_CONNECT, b"\xff")), "connect_worker_hello_invalid_payload"),
    ],
)
def test_what_is_said_first_has_to_be_who_one_is(dev: Dev, said: bytes | str, reason: str) -> None:
    with Worker(dev) as worker:
        worker.socket.send(said)

        assert worker.closed() == (1008, reason)


def test_who_says_nothing_is_turned_away(dev: Dev) -> None:
    with Worker(dev) as worker:
        began = time.monotonic()

        assert worker.closed() == (1008, "connect_worker_hello_timeout")
        assert time.monotonic() - began > 4


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Kind.WORKER_REQUEST_ACK, "connect_worker_request_ack_invalid_payload"),
        (Kind.WORKER_REQUEST_EXTEND_LEASE, "connect_worker_request_extend_lease_invalid_payload"),
        (Kind.WORKER_REPLY, "connect_run_invalid_message"),
    ],
)
def test_who_says_what_cannot_be_read_is_turned_away(dev: Dev, kind: Kind, reason: str) -> None:
    with Worker(dev) as worker:
        worker.connect()
        worker.socket.send(encode(Frame(kind, b"\xff")))

        assert worker.closed() == (1008, reason)


def test_what_is_not_known_is_passed_over(dev: Dev) -> None:
    with Worker(dev) as worker:
        worker.connect()
        worker.socket.send(encode(Frame(99, b"news")))

        assert worker.is_silent()


def test_an_app_that_cannot_be_synced_is_told_why(dev: Dev) -> None:
    bad = [function("bad", "f", triggers=[{"event": "bad/f", "expression": "event.("}])]
    with Worker(dev, "bad", apps=[AppConfiguration("bad", None, json.dumps(bad).encode())]) as worker:
        worker.hear(Kind.GATEWAY_HELLO, StartRequest)
        worker.say(Kind.WORKER_CONNECT, WorkerConnect(**worker.members))

        told = worker.hear(Kind.SYNC_FAILED, SystemError)
        assert told.code == "connect_invalid_function_config"
        assert "bad-f" in told.message
        assert worker.closed() == (1008, "connect_invalid_function_config")


def test_a_token_lets_one_connection_in(dev: Dev) -> None:
    with Worker(dev) as worker, Worker(dev) as second:
        worker.connect()
        second.say(Kind.WORKER_CONNECT, WorkerConnect(**worker.members))

        assert second.closed() == (1008, "connect_authentication_failed")
        assert worker.is_silent()


def test_a_page_in_a_browser_cannot_connect(dev: Dev) -> None:
    url = start(dev).gateway_endpoint
    for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
        with pytest.raises(InvalidStatus) as refused:
            open_socket(url, additional_headers=headers)
        assert refused.value.response.status_code == 403


def test_a_call_that_nobody_takes_goes_to_another_worker(dev: Dev) -> None:
    with Worker(dev, instance_id="deaf") as deaf:
        deaf.connect()
        run_id = dev.start("raw/f")
        call = deaf.call()
        with Worker(dev, instance_id="other") as other:
            other.connect()
            deaf.socket.close()
            again = other.taken()

            assert again.request_id == call.request_id
            assert again.lease_id != call.lease_id
            other.answer(again)
            assert dev.ended(run_id)["output"] == "done"


@pytest.mark.sqlite("one process leads on a file, and another takes over; on PostgreSQL all are peers")
def test_only_the_process_that_runs_the_functions_lets_workers_in(tmp_path: Path) -> None:
    options = ("--no-discovery", "--no-poll", "--retry-interval", "50ms")
    leads, follows = Dev(tmp_path, *options, target=None), None
    try:
        eventually(lambda: leads.http("GET", "/health").status == 200)
        with Worker(leads) as worker:
            worker.connect()
            follows = Dev(tmp_path, *options, target=None)
            follows.said("takes over when it ends")
            refused = follows.http("POST", "/v0/connect/start")
            assert (refused.status, refused.headers["retry-after"]) == (503, "1")
            assert "another process runs the functions" in refused.json["error"]

            run_id = follows.start("raw/f")
            call = worker.taken()
            body = encode(reply(call))
            found = follows.http("POST", "/v0/connect/flush", body, content_type="application/protobuf")
            assert found.status == 503, "it must not say that it has what the other one waits for"
            worker.answer(call)
            worker.hear(Kind.WORKER_REPLY_ACK, ReplyAck)
            assert follows.ended(run_id)["output"] == "done"
            run_id = follows.start("raw/f")
            worker.taken()
            leads.close()
        eventually(lambda: follows.http("POST", "/v0/connect/start").status == 200)
        with Worker(follows) as worker:
            worker.connect()
            worker.answer(worker.taken())
            assert follows.ended(run_id)["output"] == "done"
    finally:
        leads.close()
        if follows is not None:
            follows.close()


def test_the_port_of_the_gateway_and_what_workers_see_of_it_can_be_named(tmp_path: Path) -> None:
    port = free_port()
    dev = Dev(tmp_path, "--db", ":memory:", "--connect-gateway-port", str(port), "--no-discovery", target=None)
    try:
        eventually(lambda: dev.http("GET", "/health").status == 200)
        assert start(dev).gateway_endpoint == f"ws://127.0.0.1:{port}/v0/connect"
    finally:
        dev.close()
    url = "wss://connect.example.com/v0/connect"
    there = ("--connect-gateway-port", str(port), "--connect-url", url)
    dev = Dev(tmp_path, "--db", ":memory:", *there, "--no-discovery", target=None)
    try:
        eventually(lambda: dev.http("GET", "/health").status == 200)
        assert start(dev).gateway_endpoint == url
        gate = f"ws://127.0.0.1:{port}/v0/connect"  # the proxy passes on what the worker has asked for
        with open_socket(gate, additional_headers={"Host": "connect.example.com"}) as behind:
            assert decode(Frame, bytes(behind.recv(PATIENCE_S))) == Frame(Kind.GATEWAY_HELLO)  # type: ignore[arg-type]
    finally:
        dev.close()


@pytest.mark.parametrize(
    ("option", "value", "why"),
    [
        ("--connect-url", "http://example.com", "no ws or wss URL"),
        ("--worker-lease", "3s", "give at least 4s"),
    ],
)
def test_options_that_make_no_sense_say_so(tmp_path: Path, option: str, value: str, why: str) -> None:
    done = command("dev", option, value, cwd=tmp_path)

    assert (done.code, why in done.err) == (2, True)
