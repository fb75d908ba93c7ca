"""Which answers are sent compressed, and that nobody learns from their length what they may not read (ADR 0054)."""

from __future__ import annotations

import gzip
import json

import pytest
from playwright.sync_api import Response, expect

from stepwell.dashboard.compression import BYTES_MIN, takes_gzip
from tests.dashboard.conftest import Visitor
from tests.dashboard.forms import HTML
from tests.dashboard.test_login import production
from tests.edge.conftest import Dev, Reply
from tests.edge.started import Start

__all__ = ["production"]  # a fixture of theirs, which is ours too

pytestmark = pytest.mark.slow


def ask(shop: Dev, path: str = "/runs", **headers: str) -> Reply:
    """As a page of ours does, but for what is said."""
    return shop.http(
        "GET", path, **{"accept": HTML, "accept_encoding": "gzip", "sec_fetch_site": "same-origin"} | headers
    )


def compressed(reply: Reply) -> bool:
    if reply.headers.get("content-encoding") is None:
        return False
    assert reply.headers["content-encoding"] == "gzip"
    assert int(reply.headers["content-length"]) == len(reply.text) < len(gzip.decompress(reply.text))
    return True


def test_pages_their_parts_and_their_data_are_sent_in_fewer_bytes(shop: Dev) -> None:
    run_id = shop.start("shop/many", steps=50)
    shop.ended(run_id)

    page, part, data = (ask(shop, path) for path in ("/runs", "/runs?part=results", f"/runs/{run_id}/timeline"))

    assert all(map(compressed, (page, part, data)))
    assert gzip.decompress(page.text).rstrip().endswith(b"</html>") and run_id.encode() in gzip.decompress(part.text)
    assert len(json.loads(gzip.decompress(data.text))["rows"]) == 50
    assert len(page.text) < len(gzip.decompress(page.text)) / 3


def test_what_is_long_is_sent_whole(shop: Dev) -> None:
    path = f"/events/{shop.send('shop/none', text='o' * 300_000)}/data"
    plain, small = ask(shop, path, accept_encoding="identity"), ask(shop, path)

    assert plain.status == 200 and len(plain.text) > 300_000, plain.status
    assert compressed(small) and gzip.decompress(small.text) == plain.text


@pytest.mark.parametrize("asks", ["cross-site", "same-site", "what nobody says"])
def test_what_pages_of_others_ask_for_is_not_compressed(shop: Dev, asks: str) -> None:
    assert not compressed(ask(shop, sec_fetch_site=asks))


def test_what_a_person_asks_for_is_and_where_nobody_says_who_asks_what_is_read_on_the_way_anyway(shop: Dev) -> None:
    assert compressed(ask(shop, sec_fetch_site="none"))
    assert compressed(shop.http("GET", "/runs", accept=HTML, accept_encoding="gzip"))
    assert not compressed(shop.http("GET", "/runs", accept=HTML, accept_encoding="gzip", x_forwarded_proto="https"))


def test_answers_for_programs_events_of_the_server_and_what_is_short_are_not(shop: Dev, production: Start) -> None:
    assert len(ask(shop, "/v2/functions").text) > BYTES_MIN
    for path in ("/v2/functions", "/health", "/palette?q=nothing+of+the+kind"):
        assert not compressed(ask(shop, path)), path
    redirected = production.stranger("GET", "/runs", accept=HTML, accept_encoding="gzip", sec_fetch_site="none")
    assert (redirected.status, compressed(redirected)) == (303, False)


def test_a_browser_has_its_pages_and_what_changes_compressed_and_hints_as_they_come(
    visitor: Visitor, shop: Dev
) -> None:
    got: list[Response] = []
    visitor.page.on("response", lambda response: got.append(response))
    page = visitor.open("/runs")
    visitor.live()

    run_id = shop.start("shop/failing")

    expect(page.locator(f"#r-{run_id}")).to_contain_text("Failed")
    said = {response.url.removeprefix(shop.url): response.headers.get("content-encoding") for response in got}
    assert said["/runs"] == said["/runs?part=results"] == "gzip"
    assert [encoding for path, encoding in said.items() if path.startswith("/live")] == [None]


@pytest.mark.parametrize(
    ("accepted", "takes"),
    [
        ("gzip", True),
        ("deflate, GZIP;q=0.5, br", True),
        ("gzip;q=1.0", True),
        ("", False),
        ("identity", False),
        ("gzip;q=0", False),
        ("br, gzip; q=0.00", False),
        ("x-gzip", False),
    ],
)
def test_whoever_takes_gzip_says_so(accepted: str, takes: bool) -> None:
    assert takes_gzip(accepted) is takes
