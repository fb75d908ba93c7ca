"""Which configurations a function has had, over HTTP and in a terminal."""

from __future__ import annotations

import re
from io import StringIO

import pytest
from rich.console import Console

from stepwell.cli.show import versions_table
from stepwell.views.versions import VersionView
from tests.edge.conftest import Dev, command, known
from tests.edge.served_here import App

NOW = 1_767_225_600_000


@pytest.mark.slow
def test_an_app_that_changes_leaves_each_configuration_behind(attached: Dev, here: App) -> None:
    here.about = {"sdk": "py:v1.2.3", "appVersion": "7f3a"}
    known(attached, here, here.function("pay", attempts=3))
    here.about = {"sdk": "py:v1.2.3", "appVersion": "8c01"}
    known(attached, here, here.function("pay", attempts=5, concurrency=[{"limit": 2}]))

    newest, first = attached.get("/v2/functions/here-pay/versions")
    function = attached.get("/v2/functions/pay")
    table, listed = (attached.cli("functions", "versions", "pay", *more) for more in ([], ["--json"]))

    assert (newest["version"], newest["sdk"], newest["appVersion"]) == (2, "py:v1.2.3", "8c01")
    assert newest["changes"] == ["retries 3 → 5", "concurrency added (limit 2)"]
    assert (newest["configuration"], newest["registeredAt"]) == (function["configuration"], function["updatedAt"])
    assert (first["version"], first["appVersion"], first["changes"]) == (1, "7f3a", None)
    assert first["configuration"]["steps"]["step"]["retries"] == {"attempts": 3}
    assert first["registeredAt"] < newest["registeredAt"]
    assert listed.json == [newest, first]
    assert re.search(r"^ *2 .* retries 3 → 5 +8c01 py:v1\.2\.3 *\n +concurrency added \(limit 2\)", table.out, re.M)
    assert re.search(r"^ *1 .* registered +7f3a ", table.out, re.M)


@pytest.mark.slow
@pytest.mark.sqlite("a file is read")
def test_versions_are_read_from_a_file(attached: Dev, here: App) -> None:
    known(attached, here, here.function("pay", attempts=3))
    file = next(attached.folder.rglob("*.db"))

    (found,) = command("functions", "versions", "here-pay", "--db", str(file), "--json", cwd=attached.folder).json

    assert (found["version"], found["sdk"], found["changes"]) == (1, None, None)


def test_a_function_that_does_not_exist_has_no_versions(dev: Dev) -> None:
    reply = dev.http("GET", "/v2/functions/shop-none/versions")
    done = dev.cli("functions", "versions", "none")

    assert (reply.status, "there is no function" in reply.json["errors"][0]["message"]) == (404, True)
    assert (done.code, "there is no function 'none'" in done.err) == (1, True)


@pytest.mark.parametrize("width", [40, 90, 140])
def test_a_table_of_versions_fits_a_terminal(width: int) -> None:
    made = {"sdk": "js:v4.1.0", "app_version": "7f3a", "configuration": b"{}"}
    versions = [
        VersionView(version=3, registered_at="2026-01-01T00:00:00.000Z", changes=[], **made),
        VersionView(version=2, registered_at="2025-12-31T23:00:00.000Z", changes=None, **made),
    ]
    out = Console(file=StringIO(), width=width)

    out.print(versions_table(versions, NOW, width))

    text = out.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, text.splitlines())) <= width
    assert re.search(r"3 .* nothing but how", text) and re.search(r"2 .* version 1 is not", text)
    assert ("7f3a js:v4.1.0" in text) == (width > 84)
