"""A ``stepwell start`` that tests can ask, and its keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from stepwell.protocol.signing import signing_key
from tests.edge.conftest import Dev, Reply, eventually
from tests.edge.served_here import App, serving

NEW = "signkey-prod-" + "0123456789abcdef" * 4
OLD = "signkey-prod-" + "fedcba9876543210" * 4
EVENT_KEY = "evtkey-prod-for-the-tests-of-start"
NEW_KEY, OLD_KEY = signing_key(NEW), signing_key(OLD)


class Start(Dev):
    """A ``stepwell start`` that runs, and is asked by somebody who has its keys."""

    command = "start"
    event_key = EVENT_KEY

    def __init__(self, folder: Path, *options: str, variables: Mapping[str, str] | None = None) -> None:
        keys = {"INNGEST_SIGNING_KEY": NEW, "INNGEST_EVENT_KEY": EVENT_KEY}
        super().__init__(folder, *options, target=None, variables=keys if variables is None else variables)

    def http(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        headers.setdefault("authorization", f"Bearer {NEW_KEY.bearer}")
        return super().http(method, path, body, **headers)

    def stranger(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """As somebody who has none."""
        return super().http(method, path, body, **headers)

    def wait_for(self, app: App) -> None:
        """Until the app that was named with -u is known."""
        eventually(lambda: any(each["id"] == app.app_id for each in self.get("/v2/apps")))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """For tests that do not disturb one another."""
    running = Start(tmp_path_factory.mktemp("start"), "--allow-host", "stepwell.example")
    try:
        eventually(lambda: running.http("GET", "/health").status == 200)
        yield running
    finally:
        running.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Start]]:
    running: list[Start] = []

    def begin(*options: str, variables: Mapping[str, str] | None = None) -> Start:
        running.append(Start(tmp_path, *options, variables=variables))
        return running[-1]

    yield begin
    for each in running:
        each.close()


@pytest.fixture
def app() -> Iterator[App]:
    with serving(App(NEW_KEY)) as app:
        yield app


def attached(start: Callable[..., Start], app: App, *options: str, **more: Any) -> Start:
    """A server that has synced the app."""
    server = start("--allow-private", "--retry-interval", "100ms", "-u", app.url, *options, **more)
    server.wait_for(app)
    return server
