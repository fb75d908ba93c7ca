"""The official SDKs against ``stepwell start``. Numbers are those of protocol §14."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.edge.conftest import Dev, eventually
from tests.edge.official.conftest import HERE, NODE, Served
from tests.edge.served_here import free_port
from tests.edge.started import EVENT_KEY, NEW, OLD, Start, app, server, start

__all__ = ["app", "server", "start"]

pytestmark = pytest.mark.slow


PREFIX = {"python": "py", "javascript-3": "js", "javascript-4": "js"}  # of their events
sdks = pytest.mark.parametrize(
    "sdk", [pytest.param(sdk, marks=pytest.mark.sdk(sdk)) for sdk in ("python", "javascript-3", "javascript-4")]
)


class Site(Dev):
    """An app of an official SDK in production, as something that can be asked."""

    def __init__(self, server: Start, folder: Path, keys: Mapping[str, str], sdk: str) -> None:
        at = free_port()
        variables = {
            "INNGEST_DEV": "0",
            "INNGEST_API_BASE_URL": server.url,
            "INNGEST_EVENT_API_BASE_URL": server.url,
            "INNGEST_EVENT_KEY": EVENT_KEY,
            **keys,
        }
        command = [sys.executable, "-m", "tests.edge.official.python_app", "fastapi", str(at)]
        if sdk != "python":
            command = [str(NODE), str(HERE / "javascript_app.mjs"), sdk.replace("javascript-", "v"), str(at)]
        self.served = Served(folder, command, server.url, at, variables)

    @property
    def port(self) -> int:
        return self.served.port

    def close(self) -> None:
        self.served.close()


@pytest.fixture
def official(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    sites: list[Site] = []

    def begin(server: Start, sdk: str, **keys: str) -> Site:
        sites.append(Site(server, tmp_path, keys, sdk))
        return sites[-1]

    yield begin
    for site in sites:
        site.close()


@pytest.mark.parametrize(
    "keys",
    [
        {"INNGEST_SIGNING_KEY": NEW},
        {"INNGEST_SIGNING_KEY": OLD},
        {"INNGEST_SIGNING_KEY": OLD, "INNGEST_SIGNING_KEY_FALLBACK": NEW},
    ],
    ids=["new", "old", "both"],
)
@sdks
def test_04_the_official_sdk_runs_in_production(
    start: Callable[..., Start], official: Callable[..., Site], keys: dict[str, str], sdk: str
) -> None:
    """Calls and answers are verified, whichever key it has; it registers, fetches state and sends with its keys."""
    server = start("--allow-private", "--retry-interval", "100ms", "--signing-key-fallback", OLD)
    app = official(server, sdk, **keys)

    assert app.http("PUT", "/api/inngest").status == 200
    steps, large, sends = (server.ended(server.start(f"{PREFIX[sdk]}/{name}")) for name in ("steps", "large", "sends"))

    assert steps["output"] == {"one": {"n": 1}, "two": None, "again": [{"n": 1}, {"n": 1}]}
    assert (large["output"], sends["output"]) == (6_000_000, 2)


@pytest.mark.feature("F95")
@sdks
def test_21_the_official_sdk_is_synced_in_band(
    start: Callable[..., Start], official: Callable[..., Site], sdk: str
) -> None:
    nobody = start("--db", "nobody.db")
    app = official(nobody, sdk, INNGEST_SIGNING_KEY=NEW)

    server = start("--allow-private", "--retry-interval", "100ms", "-u", app.served.url)

    eventually(lambda: server.get("/v2/apps"))
    run = server.ended(server.start(f"{PREFIX[sdk]}/never", n=1))  # without steps: v4 would report them to nobody
    assert run["output"] == {"got": {"n": 1}}
    assert nobody.get("/v2/apps") == []


@sdks
def test_07_the_official_sdk_with_a_wrong_key_is_not_registered(
    start: Callable[..., Start], official: Callable[..., Site], sdk: str
) -> None:
    server = start("--allow-private")

    reply = official(server, sdk, INNGEST_SIGNING_KEY=OLD).http("PUT", "/api/inngest")

    assert b"the signing key is missing or wrong" in reply.text
    assert server.get("/v2/apps") == []
