"""Records what the official SDKs say: ``python -m tests.edge.official.recording`` writes ``tests/protocol/recorded``.

A server stands in for ours that answers whatever an SDK asks of it and remembers that. What differs from one recording
to the next (times, stacks, ports, random ids) is replaced by what is always the same.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Final

from stepwell.protocol.codec import encode_call
from tests.edge.conftest import PATIENCE_S
from tests.edge.official.conftest import Served, free_port, node
from tests.protocol.exchanges import EXCHANGES, JS3, NOW, PYTHON, RECORDED, SDKS, Asked

HEADERS: Final = ("content-type", "x-inngest-", "retry-after")
VARIES: Final[dict[str, Any]] = {
    "stack": "STACK",
    "timing": {"a": NOW * 1_000_000, "b": 5_000_000},
    "x-inngest-event-id-seed": "SEED",
}
AN_HOUR_FROM_NOW: Final = "2023-11-14T23:13:20.000Z"
# Ids that are random, and moments: those that are written in the code have no fraction, or are of another century.
RANDOM: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
MOMENT: Final = re.compile(r"20[23]\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z")
ORIGIN: Final = re.compile(r"http://(127\.0\.0\.1|localhost):\d+")


class Scripted(ThreadingHTTPServer):
    """A server that takes all that an SDK tells it. ``heard`` is what that was."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.heard: list[dict[str, Any]] = []


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Scripted

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"] or 0)) or b"null")
        self.server.heard.append({"path": self.path, "headers": headers(dict(self.headers)), "body": plain(body)})
        many = len(body) if isinstance(body, list) else 1
        found: dict[str, Any] = {"status": 200, "data": {"run_id": "01HF7YAT00000000000000000B"}}
        if self.path.startswith("/e/"):
            found["ids"] = [f"01HF7YAT0000000000000000{n:02}" for n in range(many)]
        answer = json.dumps(found).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def headers(found: dict[str, str]) -> dict[str, Any]:
    """Those that the protocol speaks of, with what varies replaced."""
    named = {name.lower(): value for name, value in found.items()}
    return plain({name: named[name] for name in sorted(named) if name.startswith(HEADERS)})


def plain(value: Any) -> Any:
    """The same without what differs from one recording to the next."""
    if isinstance(value, dict):
        return {name: VARIES[name] if _varies(name, one) else plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, str):
        return ORIGIN.sub("ORIGIN", RANDOM.sub("UUID", MOMENT.sub(AN_HOUR_FROM_NOW, value)))
    return NOW if isinstance(value, int) and 1_750_000_000_000 < value < 2_000_000_000_000 else value


def _varies(name: str, value: Any) -> bool:
    return name in VARIES and bool(value) and not isinstance(value, list)


def exchange(app: Served, server: Scripted, asked: Asked, sdk: str) -> dict[str, Any]:
    """One call, what is asked of the server meanwhile, and the answer."""
    call = asked.call(sdk)
    body = encode_call(call)
    server.heard.clear()
    connection = HTTPConnection("127.0.0.1", app.port, timeout=PATIENCE_S)
    try:
        sent = {
            "Content-Type": "application/json",
            "X-Inngest-Req-Version": str(call.version),
            "X-Run-ID": call.run_id,
            "X-Inngest-Server-Kind": "dev",
            "X-Inngest-Generation-ID": str(call.generation),
        }
        connection.request("POST", f"/api/inngest?fnId={call.function_id}&stepId={call.step_id}", body, sent)
        response = connection.getresponse()
        text = response.read()
    finally:
        connection.close()
    found: dict[str, Any] = {"call": {"step": call.step_id, "body": json.loads(body)}}
    if server.heard:
        found["meanwhile"] = server.heard.copy()
    answer = {"status": response.status, "headers": headers(dict(response.getheaders())), "body": _body(text)}
    return found | {"answer": answer}


def _body(text: bytes) -> Any:
    try:
        return plain(json.loads(text))
    except ValueError:
        return {"text": text.decode()}


def record(sdk: str, folder: Path) -> dict[str, Any]:
    """All exchanges with this SDK, by their names."""
    with _app(sdk, folder) as (app, server):
        return {name: exchange(app, server, asked, sdk) for name, asked in EXCHANGES.items() if sdk in asked.sdks}


@contextmanager
def _app(sdk: str, folder: Path) -> Iterator[tuple[Served, Scripted]]:
    server, port = Scripted(), free_port()
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        python = [sys.executable, "-m", "tests.edge.official.recorded_app"]
        command = python if sdk == PYTHON else node("recorded_app.mjs", "v3" if sdk == JS3 else "v4")
        app = Served(folder, [*command, str(port)], f"http://127.0.0.1:{server.server_address[1]}", port)
        try:
            yield app, server
        finally:
            app.close()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def main() -> None:
    for sdk in SDKS:
        with tempfile.TemporaryDirectory() as folder:
            found = record(sdk, Path(folder))
        RECORDED[sdk].write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
        print(f"{sdk}: {len(found)} exchanges")


if __name__ == "__main__":
    main()
