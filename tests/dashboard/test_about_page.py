"""What a server says of itself, over HTTP: settings with where each was said, and no secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import on_postgres
from tests.dashboard.forms import HTML
from tests.edge.conftest import Dev, eventually
from tests.edge.started import EVENT_KEY, NEW, OLD, Start

pytestmark = pytest.mark.slow

TOKEN = "a-token-of-this-test"
SENT = "application/x-www-form-urlencoded"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Dev]:
    (tmp_path / "settings.toml").write_text('retention = "7d"\n')
    options = ("--config", "settings.toml", "--max-steps", "50", "--token", TOKEN)
    running = Dev(tmp_path, *options, "--no-reload", "--no-discovery", target=None)
    try:
        eventually(lambda: running.http("GET", "/health").status == 200)
        yield running
    finally:
        running.close()


def about(page: str) -> dict[str, tuple[str, str]]:
    """The settings: value and source by name."""
    rows = re.findall(r"<tr><td><code>(.*?)</code></td><td[^>]*>(.*?)</td><td><span[^>]*>(.*?)</span>", page)
    return {name: (value, source) for name, value, source in rows}


def test_settings_say_where_each_was_said_and_secrets_are_not_shown(server: Dev) -> None:
    cookie = server.http("POST", "/login", f"token={TOKEN}".encode(), content_type=SENT).headers["set-cookie"]
    page = server.http("GET", "/settings/about", accept=HTML, cookie=cookie.partition(";")[0]).text.decode()
    said = about(page)

    assert said["retention"] == ("1w", "file")
    assert said["max-steps"] == ("50", "flag")
    assert said["concurrency"][1] == "default"
    assert said["token"] == ("1 given", "flag")
    assert TOKEN not in page
    store = "PostgreSQL" if on_postgres.chosen() else "SQLite"
    for text in (store, "htmx.org", "uplot", "A token is asked for"):
        assert text in page


def test_keys_are_told_by_their_fingerprints(tmp_path: Path) -> None:
    running = Start(tmp_path)
    try:
        eventually(lambda: running.http("GET", "/health").status == 200)
        cookie = running.stranger("POST", "/login", f"token={NEW}".encode(), content_type=SENT).headers["set-cookie"]
        reply = running.stranger("GET", "/settings/about", accept=HTML, cookie=cookie.partition(";")[0])
        page = reply.text.decode()
    finally:
        running.close()

    assert "signing key 1" in page
    assert "event key 1" in page
    for key in (NEW, OLD, EVENT_KEY):
        assert key not in page
        assert key.removeprefix("signkey-prod-")[:16] not in page
