"""The table of all requests in the reference is what the router and the guard obey.

``python -m tests.meta.test_routes_page`` writes it anew.
"""

from __future__ import annotations

import asyncio
import re

from stepwell.model.history import OutcomeKind
from stepwell.server.access import Access, access
from stepwell.server.noted import OF_APPS, noted
from stepwell.server.openapi import document, matrix, table
from stepwell.server.wiring import all_routes
from tests.meta.sources import ROOT

PAGE = ROOT / "docs" / "reference" / "http.md"
OPEN = {
    "/e/{key}": Access.EVENT_KEY,
    "/health": Access.PUBLIC,
    "/dev": Access.DEVELOPMENT,
    "/v1/realtime/connect": Access.TOKEN,
    "/v1/realtime/sse": Access.TOKEN,
    "/v1/realtime/publish": Access.TOKEN_OR_KEY,
    "/v1/realtime/publish/tee": Access.TOKEN_OR_KEY,
    "/v1/checkpoint/{run_id}/output": Access.TOKEN,
    "/v1/http/runs/{run_id}/output": Access.TOKEN,
}
WRITTEN = re.compile(r"(?<=^<!-- routes -->\n)(.*?)(?=^<!-- /routes -->$)", flags=re.M | re.S)


def current() -> str:
    return table(asyncio.run(all_routes())) + "\n"


def test_the_page_has_the_routes_that_there_are():
    assert WRITTEN.findall(PAGE.read_text()) == [current()]


def test_the_page_says_why_events_start_nothing():
    page = PAGE.read_text()
    table = page[page.index("| `kind` | why | `runId` |") :].partition("\n\n")[0]

    assert sorted(re.findall(r"^\| `([a-z-]+)` \| (?!why)", table, flags=re.M)) == sorted(OutcomeKind)


def test_what_is_open_is_few_and_known():
    paths = {row.path: row.access for row in matrix(asyncio.run(all_routes()))}

    assert {path: who for path, who in paths.items() if who is not Access.SIGNING_KEY} == {
        path: who for path, who in OPEN.items() if path in paths
    }
    assert access("/whatever/comes/next") is Access.SIGNING_KEY


def test_every_request_says_what_it_does():
    assert [row for row in matrix(asyncio.run(all_routes())) if not row.says] == []


def test_every_request_that_changes_something_is_noted_or_made_by_apps():
    changing = [row for row in matrix(asyncio.run(all_routes())) if row.method not in ("GET", "HEAD")]

    assert len(changing) > 40
    assert [row for row in changing if (noted(row.method, row.path) is None) is not (row.path in OF_APPS)] == []


def test_operations_of_the_document_have_names_of_their_own():
    paths = document(asyncio.run(all_routes()))["paths"]
    ids = [each["operationId"] for methods in paths.values() for each in methods.values()]

    assert len(set(ids)) == len(ids) > 40


if __name__ == "__main__":
    PAGE.write_text(WRITTEN.sub(lambda _: current(), PAGE.read_text()))
