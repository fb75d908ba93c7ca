"""An app that answers as networks, proxies and dying processes do: on plain sockets, so that every byte is its own."""

from __future__ import annotations

import gzip
import json
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from email.utils import formatdate
from threading import Event, Thread
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

SDK = "X-Inngest-SDK: inngest-py:v0.5.19\r\nX-Inngest-Req-Version: 2\r\n"
STEPS = ("a", "b", "c")


class Call(NamedTuple):
    """A call that came, and the right answer to it. ``step`` is what it ran."""

    body: dict[str, Any]
    step: str | None
    answer: bytes

    @property
    def run_id(self) -> str:
        run_id: str = self.body["ctx"]["run_id"]
        return run_id


def response(
    body: bytes, status: int = 200, *, headers: str = SDK, length: int | None = None, close: bool = False
) -> bytes:
    """The bytes of an answer. ``length`` is what it says of its length, if that is wrong."""
    said = len(body) if length is None else length
    end = "Connection: close\r\n" if close else ""
    return f"HTTP/1.1 {status} X\r\nContent-Length: {said}\r\n{headers}{end}\r\n".encode() + body


Fault = Callable[["Wild", socket.socket, Call], bool]
"""Does to a connection what it does. Returns whether it stays open."""


class Wild:
    """Its function runs the steps a, b and c, one for each call; with ``data.group`` of the event, a and b at once.

    ``data.fault`` names what happens to the answer with step b, the first time. ``ran`` counts the
    bodies of steps by run.
    """

    def __init__(self, port: int = 0) -> None:
        self.listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self.listener.getsockname()[1]
        self.ran: Counter[tuple[str, str]] = Counter()
        self.times: list[float] = []
        self.release = Event()
        self._hit: set[str] = set()
        self._open: set[socket.socket] = set()
        self._thread = Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/inngest"

    def registration(self, *, url: str | None = None, retries: int = 4) -> dict[str, Any]:
        url = url or self.url
        step = {"id": "step", "name": "step", "runtime": {"type": "http", "url": url}, "retries": {"attempts": retries}}
        function = {"id": "wild-f", "triggers": [{"event": "wild/go"}], "steps": {"step": step}}
        return {"appName": "wild", "url": url, "sdk": "py:v0.5.19", "functions": [function]}

    def hang_up(self) -> None:
        """As when the process dies: nobody listens any more, and all connections break."""
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(20)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self._open.add(connection)
            Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with closing(connection), suppress(OSError):
            while call := self._read(connection):
                fault = call.body["event"]["data"].get("fault")
                first = call.step == "b" and call.body["ctx"]["attempt"] == 0 and call.run_id not in self._hit
                if first and fault in FAULTS:
                    self._hit.add(call.run_id)
                    if not FAULTS[fault](self, connection, call):
                        break
                else:
                    connection.sendall(call.answer)
        self._open.discard(connection)

    def _read(self, connection: socket.socket) -> Call | None:
        text = b""
        while b"\r\n\r\n" not in text:
            more = connection.recv(65536)
            if not more:
                return None
            text += more
            if text.startswith(b"\x16"):  # the beginning of TLS, to which servers without it say this
                connection.sendall(response(b"Bad Request", 400, headers="", close=True))
                return None
        head, _, body = text.partition(b"\r\n\r\n")
        method, path, _ = head.decode().split(" ", 2)
        length = next(
            (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0
        )
        while len(body) < length:
            body += connection.recv(65536)
        asked = json.loads(body)
        if method == "PUT":  # it has registered before
            connection.sendall(response(b'{"message":"Successfully registered"}'))
            return self._read(connection)
        self.times.append(time.monotonic())
        return self._call(path, asked)

    def _call(self, path: str, asked: dict[str, Any]) -> Call:
        known: dict[str, Any] = asked["steps"]
        (target,) = parse_qs(urlsplit(path).query)["stepId"]
        if target == "step" and asked["event"]["data"].get("group") and not known:
            plans = [{"op": "StepPlanned", "id": name * 40, "name": name, "displayName": name} for name in "ab"]
            return Call(asked, None, response(json.dumps(plans).encode(), 206))
        unknown = [name for name in STEPS if name * 40 not in known and target in ("step", name * 40)]
        step = next(iter(unknown), None)
        if step is None:
            return Call(asked, None, response(json.dumps([known[name * 40]["data"] for name in STEPS]).encode()))
        self.ran[asked["ctx"]["run_id"], step] += 1
        op = {"op": "StepRun", "id": step * 40, "name": step, "displayName": step, "data": step.upper()}
        return Call(asked, step, response(json.dumps([op]).encode(), 206))


# What goes wrong ----------------------------------------------------------------------------------------------------


def _says(answer: bytes) -> Fault:
    """Another answer than the right one."""

    def fault(app: Wild, connection: socket.socket, call: Call) -> bool:
        connection.sendall(answer)
        return True

    return fault


def _breaks(cut: Callable[[bytes], bytes]) -> Fault:
    """A part of the right answer, and then the connection is closed."""

    def fault(app: Wild, connection: socket.socket, call: Call) -> bool:
        connection.sendall(cut(call.answer))
        return False

    return fault


def _late(app: Wild, connection: socket.socket, call: Call) -> bool:
    app.release.wait(20)
    connection.sendall(call.answer)
    return True


def _never(app: Wild, connection: socket.socket, call: Call) -> bool:
    app.release.wait(60)
    return False


def _resets(app: Wild, connection: socket.socket, call: Call) -> bool:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def _twice(app: Wild, connection: socket.socket, call: Call) -> bool:
    connection.sendall(call.answer + call.answer)
    return True


def _drips(app: Wild, connection: socket.socket, call: Call) -> bool:
    for byte in call.answer:
        connection.sendall(bytes([byte]))
        app.release.wait(0.002)
    return True


def _half_in_pieces(app: Wild, connection: socket.socket, call: Call) -> bool:
    connection.sendall(b"HTTP/1.1 206 X\r\nTransfer-Encoding: chunked\r\n" + SDK.encode() + b'\r\n5\r\n[{"op\r\n')
    return False


def _retry_after_date(app: Wild, connection: socket.socket, call: Call) -> bool:
    # The date has whole seconds: two from now are between one and two.
    connection.sendall(
        response(b"slow down", 429, headers=f"Retry-After: {formatdate(time.time() + 2, usegmt=True)}\r\n")
    )
    return True


_HTML = b"<html><head><title>502 Bad Gateway</title></head><body><center>nginx</center></body></html>"
_BOMB = gzip.compress(b"0" * 20_000_000)
_ERROR = b'{"name":"ValueError","message":"the database is away","stack":"here"}'

FAULTS: dict[str, Fault] = {
    "late": _late,
    "twice": _twice,
    "never": _never,
    "drips": _drips,
    "half": _breaks(lambda answer: answer[:-10]),
    "half-head": _breaks(lambda answer: answer[:30]),
    "half-in-pieces": _half_in_pieces,
    "nothing": _breaks(lambda answer: b""),
    "reset": _resets,
    "no-http": _breaks(lambda answer: b"SSH-2.0-OpenSSH_9.6\r\n"),
    "error": _says(response(_ERROR, 500)),
    "error-of-nobody": _says(response(b"Internal Server Error", 500, headers="")),
    "429-seconds": _says(response(b"slow down", 429, headers="Retry-After: 1\r\n")),
    "429-date": _retry_after_date,
    "429-sdk": _says(response(b'{"message":"slow down"}', 429, headers=f"{SDK}Retry-After: 1\r\n")),
    "html": _says(response(_HTML, 502, headers="Content-Type: text/html\r\n")),
    "html-200": _says(response(_HTML, 200, headers="Content-Type: text/html\r\n")),
    "no-json": _says(response(b'{"n": ', 200)),
    "no-ops": _says(response(b'"StepRun"', 206)),
    "no-utf-8": _says(response(b'"\xff\xfe"', 200)),
    "empty": _says(response(b"", 206)),
    "bomb": _says(response(_BOMB, 200, headers=f"{SDK}Content-Encoding: gzip\r\n")),
    "no-gzip": _says(response(b"nothing packed", 200, headers=f"{SDK}Content-Encoding: gzip\r\n")),
    "oversized": _says(response(b'"' + b"x" * 17_000_000 + b'"', 200, close=True)),
    "redirect": _says(response(b"", 307, headers="Location: http://127.0.0.1:1/elsewhere\r\n")),
    "loop": _says(response(b"", 302, headers="Location: /api/inngest\r\n")),
    "no-utf-8-redirect": _says(response(b"", 302, headers="").replace(b"\r\n\r\n", b"\r\nLocation: /caf\xe9\r\n\r\n")),
    "too-short": _says(response(b'[{"op":"StepRun","id":"x"}]', 206, length=9)),
    "too-long": _breaks(lambda answer: response(b'"done"', 200, length=600)),
    "no-sdk": _says(response(b'"done"', 200, headers="")),
    "not-found": _says(response(b"404 page not found", 404, headers="")),
}


@contextmanager
def running(port: int = 0) -> Iterator[Wild]:
    """The app, while it answers."""
    app = Wild(port)
    try:
        yield app
    finally:
        app.release.set()
        app.hang_up()
