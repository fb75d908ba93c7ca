"""An app in a thread of the test, which answers as it is told: rightly, late, wrongly signed, or as somebody else."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
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


class App:
    """What an app has and says. ``keys`` are those it knows; with none it checks and signs nothing."""

    def __init__(self, *keys: SigningKey, app_id: str = "here") -> None:
        self.app_id = app_id
        self.keys = keys
        self.asked: list[Asked] = []
        self.port = 0
        self.age_s = 0  # of its signatures
        self.in_band = True
        self.signs: Callable[[], bool] = lambda: True
        self.register_at: int | None = None
        self.registered: tuple[int, bytes] | None = None
        self.answer: Callable[[Asked], tuple[int, dict[str, str], bytes]] = lambda asked: (200, {}, b'"done"')

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/inngest"

    def registration(self) -> dict[str, Any]:
        step = {"id": "step", "name": "step", "runtime": {"type": "http", "url": f"{self.url}?fnId={self.app_id}-f"}}
        function = {"id": f"{self.app_id}-f", "triggers": [{"event": "here/go"}], "steps": {"step": step}}
        return {"app_id": self.app_id, "appName": self.app_id, "url": self.url, "functions": [function]}

    def handle(self, asked: Asked) -> tuple[int, dict[str, str], bytes]:
        self.asked.append(asked)
        key = asked.signed_with(*self.keys)
        if self.keys and key is None:
            return 401, {"X-Inngest-SDK-Handled": "true"}, b'{"message":"Unauthorized"}'
        status, headers, body = self._sync(asked) if asked.method == "PUT" else self.answer(asked)
        headers = {"X-Inngest-SDK": "inngest-py:v0.5.19", "X-Inngest-Req-Version": "2", **headers}
        if key is not None and self.signs() and HEADER not in headers:
            headers[HEADER] = sign(key, body, int(time.time()) - self.age_s)
        return status, headers, body

    def posts(self) -> list[Asked]:
        return [asked for asked in self.asked if asked.method == "POST"]

    def puts(self) -> list[Asked]:
        return [asked for asked in self.asked if asked.method == "PUT"]

    def _sync(self, asked: Asked) -> tuple[int, dict[str, str], bytes]:
        if self.in_band and asked.headers.get("x-inngest-sync-kind") == "in_band":
            return 200, {"X-Inngest-Sync-Kind": "in_band"}, json.dumps(self.registration()).encode()
        if self.register_at is None:
            return 500, {}, b'{"message":"it knows no server"}'
        connection = HTTPConnection("127.0.0.1", self.register_at, timeout=20)
        bearer = {"Authorization": f"Bearer {self.keys[0].bearer}"} if self.keys else {}
        connection.request("POST", "/fn/register", json.dumps(self.registration()), bearer)
        answer = connection.getresponse()
        self.registered = answer.status, answer.read()
        connection.close()
        return 200, {}, self.registered[1]


@contextmanager
def serving(app: App) -> Iterator[App]:
    """The app, while it answers."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            named = {name.lower(): value for name, value in self.headers.items()}
            status, headers, text = app.handle(Asked(self.command, self.path, named, body))
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(text))}.items():
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

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    app.port = server.server_address[1]
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield app
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
