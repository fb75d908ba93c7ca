"""An app in a thread of the test, which answers as it is told: rightly, late, wrongly signed, or as somebody else."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import create_server
from threading import Event, Lock, Thread
from typing import Any, NamedTuple

from stepwell.protocol.signing import HEADER, SigningKey, sign, verified


class Asked(NamedTuple):
    """A request that came. Header names are lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def signed_with(self, *keys: SigningKey) -> SigningKey | None:
        return verified(keys, self.body, self.headers.get(HEADER.lower(), ""), int(time.time()))

    @property
    def call(self) -> Any:
        """The body of a call."""
        return json.loads(self.body)


class App:
    """What an app has and says. ``keys`` are those it knows; with none it checks and signs nothing."""

    def __init__(self, *keys: SigningKey, app_id: str = "here") -> None:
        self.app_id = app_id
        self.keys = keys
        self.asked: list[Asked] = []
        self.port = 0
        self.path = "/api/inngest"
        self.nowhere_else = False  # else it answers at every path
        self.age_s = 0  # of its signatures
        self.in_band = True
        self.signs: Callable[[], bool] = lambda: True
        self.register_at: int | None = None
        self.registered: tuple[int, bytes] | None = None
        self.answer: Callable[[Asked], tuple[int, dict[str, str], bytes]] = lambda asked: (200, {}, b'"done"')
        self.refuses: tuple[int, dict[str, str], bytes] | None = None  # to say what it has
        self.functions: list[dict[str, Any]] | None = None  # instead of the one it begins with
        self.about: dict[str, Any] = {}  # what else it says of itself where it registers
        self.known: list[dict[str, Any]] | None = None  # by the server where it registers
        self.most_at_once = 0  # calls in flight
        self._at_once = 0
        self._lock = Lock()
        self._free = Event()
        self._free.set()

    def hold(self) -> None:
        """Answer no call any more, until ``let_go``."""
        self._free.clear()

    def let_go(self) -> None:
        self._free.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.path}"

    def function(self, id: str, *, trigger: str | None = None, **options: Any) -> dict[str, Any]:
        """The declaration of a function that is served here; ``attempts`` are its retries."""
        id = f"{self.app_id}-{id}"
        step: dict[str, Any] = {
            "id": "step",
            "name": "step",
            "runtime": {"type": "http", "url": f"{self.url}?fnId={id}"},
        }
        if "attempts" in options:
            step["retries"] = {"attempts": options.pop("attempts")}
        event = trigger or f"{id.removeprefix(self.app_id + '-')}/go"
        return {"id": id, "triggers": [{"event": event}], "steps": {"step": step}, **options}

    def registration(self) -> dict[str, Any]:
        functions = self.functions if self.functions is not None else [self.function("f", trigger="here/go")]
        return {"app_id": self.app_id, "appName": self.app_id, "url": self.url, "functions": functions, **self.about}

    def handle(self, asked: Asked) -> tuple[int, dict[str, str], bytes]:
        self.asked.append(asked)
        if self.nowhere_else and asked.path.partition("?")[0] != self.path:
            return 404, {}, b"nothing here"
        if asked.method == "PUT" and self.refuses is not None:
            return self.refuses
        key = asked.signed_with(*self.keys)
        if self.keys and key is None:
            return 401, {"X-Inngest-SDK-Handled": "true"}, b'{"message":"Unauthorized"}'
        status, headers, body = self._sync(asked) if asked.method == "PUT" else self._call(asked)
        headers = {"X-Inngest-SDK": "inngest-py:v0.5.19", "X-Inngest-Req-Version": "2", **headers}
        if key is not None and self.signs() and HEADER not in headers:
            headers[HEADER] = sign(key, body, int(time.time()) - self.age_s)
        return status, headers, body

    def _call(self, asked: Asked) -> tuple[int, dict[str, str], bytes]:
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            self._free.wait(20)
            return self.answer(asked)
        finally:
            with self._lock:
                self._at_once -= 1

    def posts(self) -> list[Asked]:
        return [asked for asked in self.asked if asked.method == "POST"]

    def puts(self) -> list[Asked]:
        return [asked for asked in self.asked if asked.method == "PUT"]

    def _sync(self, asked: Asked) -> tuple[int, dict[str, str], bytes]:
        if self.in_band and asked.headers.get("x-inngest-sync-kind") == "in_band":
            return 200, {"X-Inngest-Sync-Kind": "in_band"}, json.dumps(self.registration()).encode()
        if self.register_at is None:
            return 500, {}, b'{"message":"it knows no server"}'
        with closing(HTTPConnection("127.0.0.1", self.register_at, timeout=20)) as connection:
            bearer = {"Authorization": f"Bearer {self.keys[0].bearer}"} if self.keys else {}
            functions = self.functions
            connection.request("POST", "/fn/register", json.dumps(self.registration()), bearer)
            answer = connection.getresponse()
            self.registered = answer.status, answer.read()
            self.known = functions if answer.status == 200 else None
        return 200, {}, self.registered[1]


def free_port() -> int:
    with closing(create_server(("127.0.0.1", 0))) as sock:
        port: int = sock.getsockname()[1]
        return port


@contextmanager
def serving(app: App, port: int = 0) -> Iterator[App]:
    """The app, while it answers."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            named = {name.lower(): value for name, value in self.headers.items()}
            status, headers, text = app.handle(Asked(self.command, self.path, named, body))
            self.send_response(status)
            for name, value in {"Content-Length": str(len(text)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text)

        def do_GET(self) -> None:
            self.answer()

        def do_POST(self) -> None:
            self.answer()

        def do_PUT(self) -> None:
            self.answer()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Servers that are stopped hang up, and that is no news."""
            if not isinstance(sys.exc_info()[1], ConnectionError):
                super().handle_error(request, client_address)

    server = Server(("127.0.0.1", port), Handler)
    app.port = server.server_address[1]
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield app
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
