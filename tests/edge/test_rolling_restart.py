"""Three real replicas on a real PostgreSQL, stopped or killed one after the other under load: no run fails, and no body
begins twice but those that were in flight in one that was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from threading import Event, Thread

import pytest

from tests.edge.conftest import environment, eventually
from tests.edge.served_here import free_port
from tests.edge.test_start import EVENT_KEY, NEW, Start
from tests.postgres import ask, database

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
REPLICAS = 3
STEPS = 3
ENDED = "SELECT status, count(*) FROM stepwell.runs GROUP BY status"
LOST = "SELECT DISTINCT run_id FROM stepwell.notes WHERE kind = 'lease-lost'"


@pytest.fixture
def url() -> Iterator[str]:
    with database() as made:
        yield made


class App:
    """The app, in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.ledger = folder / "ledger"
        self.port = free_port()
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "restarted_app.py"), str(self.port), str(self.ledger), str(STEPS)],
            env={**environment(), "INNGEST_SIGNING_KEY": NEW, "INNGEST_EVENT_KEY": EVENT_KEY},
        )

    def began(self) -> Counter[tuple[str, str]]:
        """How often each body began, by run and step."""
        lines = [line.split() for line in self.ledger.read_text().splitlines()]
        return Counter((run_id, step) for what, run_id, step in lines if what == "begin")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


class Load:
    """A client that sends events, one after the other, to whichever replica takes them, until it is to stop."""

    def __init__(self, replicas: list[Start]) -> None:
        self.sent = 0
        self._replicas = replicas
        self._stop = Event()
        self._thread = Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        turn = count()
        while not self._stop.is_set():
            event = {"id": f"event-{self.sent}", "name": "shop/ordered", "data": {"n": self.sent}}
            if self._take(self._replicas[next(turn) % REPLICAS], event):
                self.sent += 1
                self._stop.wait(0.02)

    def _take(self, replica: Start, event: dict[str, object]) -> bool:
        if replica.process.poll() is not None:
            return False
        try:
            return replica.http("POST", f"/e/{EVENT_KEY}", event).status == 200
        except OSError:
            return False


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_replicas_are_restarted_one_after_the_other_under_load(url: str, tmp_path: Path, how: signal.Signals) -> None:
    app = App(tmp_path)

    def start() -> Start:
        made = Start(
            tmp_path, "-u", f"http://127.0.0.1:{app.port}/api", "--store", url, "--lease", "3s", "--allow-private"
        )
        eventually(lambda: made.http("GET", "/health").status == 200)
        return made

    replicas: list[Start] = []
    load: Load | None = None
    try:
        replicas += [start() for _ in range(REPLICAS)]
        eventually(lambda: replicas[0].get("/v2/apps"))
        load = Load(replicas)
        for place in range(REPLICAS):
            before = load.sent
            eventually(lambda before=before: load.sent > before + 20)
            os.kill(replicas[place].process.pid, how)
            replicas[place].process.wait(30)
            replicas[place].close()
            replicas[place] = start()
        load.stop()
        eventually(lambda: dict(ask(url, ENDED)) == {"COMPLETED": load.sent})
    finally:
        if load is not None:
            load.stop()
        for each in replicas:
            each.close()
        app.close()

    began = app.began()
    assert len(began) == load.sent * STEPS, "each body of each run"
    lost = {run_id for (run_id,) in ask(url, LOST)}
    assert {run_id for (run_id, _), times in began.items() if times > 1} <= lost
    if how == signal.SIGTERM:
        assert lost == set(), "what is stopped in an orderly way leaves no lease behind"
        assert set(began.values()) == {1}
