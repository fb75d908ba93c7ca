"""A server and an app that are stopped and started again, each a process of its own."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.edge.conftest import PATIENCE_S, Dev, eventually
from tests.edge.official.conftest import HERE, Served, node, synced
from tests.edge.served_here import free_port


class Deployment:
    """A development server on a file, and an app of an official SDK beside it, which reads its settings from the
    environment when it starts. ``now`` is the moment at which the server's clock begins, if it is not the machine's."""

    def __init__(self, folder: Path, kind: str, app: str, now: datetime | None = None, **settings: Any) -> None:
        self.kind = kind
        self.language = "js" if kind.startswith("v") else "py"
        self.settings = settings
        self._folder = folder
        self._port, port = free_port(), free_port()
        self.ahead_s = 0
        self._set(now)
        self.dev = self._serve()
        python = [sys.executable, "-m", f"tests.edge.official.{app}_app", str(port)]
        command = [*node(f"{app}_app.mjs", kind), str(port)] if self.language == "js" else python
        try:
            self.app = Served(folder, command, self.dev.url, port, self._variables())
        except BaseException:
            self.dev.close()
            raise
        synced(self.app)

    def _set(self, now: datetime | None) -> None:
        if now is not None:
            self.ahead_s = round(now.timestamp() - time.time())

    def _serve(self) -> Dev:
        options = (
            "--port",
            str(self._port),
            "--db",
            "kept.db",
            "--no-discovery",
            "--no-poll",
            "--retry-interval",
            "1s",
        )
        launcher: Sequence[str] = (sys.executable, str(HERE / "shifted.py"), str(self.ahead_s)) if self.ahead_s else ()
        dev = Dev(self._folder, *options, target=None, launcher=launcher)
        eventually(lambda: dev.http("GET", "/health").status == 200)
        return dev

    def _variables(self) -> dict[str, str]:
        return {"INNGEST_DEV": f"http://127.0.0.1:{self._port}", "SETTINGS": json.dumps(self.settings)}

    def deploy(self, **settings: Any) -> None:
        """Kill the app, start it with these settings besides, and have it say what it has. If it has them, it stays."""
        if self.settings | settings == self.settings:
            return
        self.settings |= settings
        self.app.redeploy(self._variables())
        synced(self.app)

    def kill_server(self) -> None:
        self.dev.process.kill()
        self.dev.process.wait(PATIENCE_S)
        self.dev.close()

    def start_server(self, at: datetime | None = None) -> None:
        """Begin with what is in its file, at this moment by its clock. The app says nothing of its own accord."""
        self._set(at)
        self.dev = self._serve()

    def send(self, name: str, **data: Any) -> str:
        return self.dev.send(f"{self.language}/{name}", **data)

    def start(self, name: str, **data: Any) -> str:
        return self.dev.start(f"{self.language}/{name}", **data)

    def runs(self, event_id: str) -> list[str]:
        return [run["id"] for run in self.dev.get(f"/v2/events/{event_id}/runs")["runs"]]

    def noted(self, what: str, count: int = 1) -> list[dict[str, Any]]:
        """All that was noted under this name, once there is so much of it."""
        eventually(lambda: self.app.did(what) >= count)
        return [line for line in self.app.ledger() if line["what"] == what]

    def open(self, *gates: str) -> None:
        for gate in gates:
            (self.app.folder / gate).touch()

    def close(self) -> None:
        self.app.close()
        self.dev.close()


@contextmanager
def deployed(folder: Path, kind: str, app: str, now: datetime | None = None, **settings: Any) -> Iterator[Deployment]:
    found = Deployment(folder, kind, app, now, **settings)
    try:
        yield found
    finally:
        found.close()
