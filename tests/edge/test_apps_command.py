"""``stepwell apps``: which apps there are and where, attached and removed from a terminal."""

from __future__ import annotations

import re
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from stepwell.cli.show import apps_table
from stepwell.model.event import rfc3339
from stepwell.views.functions import AppView, SyncError, SyncView
from tests.edge.conftest import Dev, Done, command, eventually
from tests.edge.served_here import App, free_port, serving
from tests.edge.started import NEW, NEW_KEY, Start, start

__all__ = ["start"]

NOW = 1_767_225_600_000


def apps(server: Dev, *args: str) -> Done:
    return server.cli("apps", *args)


def test_an_app_in_process_is_listed_without_an_address(dev: Dev) -> None:
    table, listed = apps(dev), apps(dev, "--json").json

    assert re.search(r"^shop +\d+ +in process", table.out, re.MULTILINE)
    assert ([each["id"] for each in listed["apps"]], listed["syncs"]) == (["shop"], [])


@pytest.mark.slow
def test_an_app_is_attached_shown_and_removed(start_dev: Callable[..., Dev]) -> None:
    dev = start_dev("--no-discovery", "--no-poll", target=None)
    eventually(lambda: dev.http("GET", "/health").status == 200)
    assert apps(dev).out == "No apps.\n"
    with serving(App()) as app:
        app.register_at = dev.port

        synced = apps(dev, "sync", app.url)

        assert (synced.code, app.app_id in synced.out) == (0, True), synced
        assert re.search(rf"^{app.app_id} +1 +synced \d+ m?s ago +{app.url}", apps(dev).out, re.MULTILINE)
        assert apps(dev, "--json").json["syncs"][0]["url"] == app.url
        removed = apps(dev, "remove", app.app_id)
        assert (removed.code, removed.out) == (0, f"{app.app_id} at {app.url} is removed.\n")
        assert apps(dev).out == "No apps.\n"
        assert dev.get(f"/v2/events/{dev.send('here/go')}/runs")["runs"] == []
        gone = apps(dev, "remove", app.url)
        assert (gone.code, "no app is known at" in gone.err) == (1, True)


@pytest.mark.slow
def test_why_an_address_cannot_be_synced_is_said_at_once_and_it_is_not_kept(start: Callable[..., Start]) -> None:
    server = start("--allow-private")
    eventually(lambda: server.http("GET", "/health").status == 200)
    address = f"http://127.0.0.1:{free_port()}/api/inngest"

    done = apps(server, "sync", address, "--token", NEW)

    assert (done.code, f"the app at {address} cannot be synced" in done.err) == (1, True)
    assert address not in apps(server, "--token", NEW).out
    with serving(App(NEW_KEY)) as app:
        # What stands before the name of the command means the same as behind it.
        listed = apps(server, "--token", NEW, "--json", "sync", app.url)
        assert listed.json["appId"] == app.app_id
        assert app.app_id in apps(server, "--token", NEW).out
        assert apps(server, "--token", NEW, "remove", app.app_id).code == 0
        assert app.app_id not in apps(server, "--token", NEW).out


@pytest.mark.slow
def test_a_database_file_has_apps_that_cannot_be_changed(start_dev: Callable[..., Dev], tmp_path: Path) -> None:
    dev = start_dev("--no-discovery", "--db", "shop.db")
    eventually(lambda: dev.http("GET", "/health").status == 200)

    listed = command("apps", "--db", "shop.db", "--json", cwd=tmp_path)

    assert [each["id"] for each in listed.json["apps"]] == ["shop"]
    assert command("apps", "--db", "shop.db", "remove", "shop", cwd=tmp_path).code == 2


@pytest.mark.parametrize("text", ["http://[", "http://a:port", "http://a:70000/x", "", "shop"])
def test_what_is_no_address_of_an_app_is_not_there(dev: Dev, text: str) -> None:
    replies = [dev.http("DELETE", f"{path}?url={text}") for path in ("/v2/syncs", "/fn/remove")]

    assert [reply.status for reply in replies] == [404, 404]


@pytest.mark.parametrize("columns", [60, 90, 130])
def test_a_list_of_apps_fits_the_terminal_and_never_cuts_an_address(columns: int) -> None:
    shop = AppView(id="shop", functions=3, updated_at=rfc3339(NOW))
    error = SyncError(code="unreachable", message="nobody answers \x1b[31mat that address")
    served = AppView(
        id="billing",
        functions=12,
        updated_at=rfc3339(NOW),
        url="http://127.0.0.1:3000/api/inngest",
        sdk="inngest-js:v4.24.0",
        framework="express",
        synced_at=rfc3339(NOW - 90_000),
        error=error,
    )
    never = SyncView(url="http://127.0.0.1:3001/api/inngest", app_id=None, synced_at=None, error=None)
    also = SyncView(url="http://127.0.0.1:3000/api/inngest", app_id="billing", synced_at=None, error=error)
    screen = StringIO()

    Console(file=screen, width=columns, markup=False).print(apps_table([shop, served], [never, also], NOW, columns))

    lines = screen.getvalue().splitlines()
    assert max(len(line) for line in lines) <= columns
    assert "\x1b" not in screen.getvalue()
    assert screen.getvalue().count("billing") == 1
    for text in ("in process", "unreachable", "not asked yet"):
        assert text.replace(" ", "") in screen.getvalue().replace("\n", "").replace(" ", "")
