"""A server that models and APIs stand behind: real HTTP, in threads of the test's process."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Any, NamedTuple


class Asked(NamedTuple):
    """A request, as it came. Names of headers are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Provider:
    """What it has been asked, and how it answers by the path.

    ``/<name>/fails/<n>/…`` breaks the first n with a 500, ``/<name>/status/<n>`` answers with that status,
    ``/<name>/breaks/<n>`` closes the first n connections without a word, ``/<name>/held`` waits until ``release``,
    ``/<name>/moved`` redirects to ``/<name>/``, ``/<name>/packed`` answers in gzip, ``/<name>/large/<n>`` with n bytes,
    ``/<name>/latin-1`` with a header and a body that are not UTF-8.
    Everything else, and what comes after failures, gets JSON that says what was asked.
    """

    def __init__(self) -> None:
        self.url = ""
        self._asked: list[Asked] = []
        self._lock = Lock()
        self._released = Event()

    def asked(self, name: str) -> list[Asked]:
        """The requests whose path begins with this name."""
        with self._lock:
            return [each for each in self._asked if each.path.startswith(f"/{name}/")]

    def release(self) -> None:
        self._released.set()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        size = int(handler.headers.get("Content-Length") or 0)
        headers = {name.lower(): value for name, value in handler.headers.items()}
        request = Asked(handler.command, handler.path, headers, handler.rfile.read(size).decode())
        with self._lock:
            self._asked.append(request)
        _, name, what, number, *_ = [*handler.path.partition("?")[0].split("/"), "", "", ""]
        times = len([each for each in self.asked(name) if each.path == handler.path])
        status, sent = 200, {"Content-Type": "application/json"}
        said: Any = {"model": "m-1", "usage": {"prompt_tokens": 3, "completion_tokens": 4}, "asked": request.path}
        body = json.dumps(said).encode()
        if what == "fails" and times <= int(number):
            status, body = 500, json.dumps({"error": {"message": f"no: {headers.get('authorization')}"}}).encode()
        elif what == "status":
            status, sent, body = int(number), {"Content-Type": "text/plain", "X-More": "1"}, b"as you like"
        elif what == "breaks" and times <= int(number):
            handler.close_connection = True
            return
        elif what == "held":
            self._released.wait(60)
        elif what == "moved":
            status, sent = 302, {"Location": f"{self.url}/{name}/"}
        elif what == "latin-1":
            sent, body = {"Content-Type": "text/plain; charset=undefined", "X-Name": "café"}, b"caf\xe9"
        elif what == "packed":
            sent["Content-Encoding"], body = "gzip", gzip.compress(body)
        elif what == "large":
            body = json.dumps("x" * int(number)).encode()
        with suppress(OSError):  # whoever asked may be gone
            handler.send_response(status)
            for header, value in {**sent, "Content-Length": str(len(body))}.items():
                handler.send_header(header, value)
            handler.end_headers()
            handler.wfile.write(body)


@contextmanager
def providing(host: str = "127.0.0.1") -> Iterator[Provider]:
    """A provider on a port of its own."""
    provider = Provider()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            provider.answer(self)

        def do_POST(self) -> None:
            provider.answer(self)

        def do_PUT(self) -> None:
            provider.answer(self)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer((host, 0), Handler)
    server.daemon_threads = True
    provider.url = f"http://{host}:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        provider.release()
        server.shutdown()
        server.server_close()
        thread.join()
