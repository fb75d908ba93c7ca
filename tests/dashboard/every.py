"""An address of every page there is, taken from the table of pages: whoever adds one has it looked at by all these
tests, and is told to say here what its address needs that no other had."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from stepwell.dashboard.actions import ACTIONS
from stepwell.dashboard.pages import PAGES
from tests.edge.conftest import eventually

_NAME: Final = re.compile(r"\{(\w+)(?::path)?\}")


def addresses(samples: Mapping[str, str]) -> dict[str, str]:
    """By the names of their templates. ``samples`` are what stands in addresses; of several that a page has, it is the
    one that says most."""
    found: dict[str, str] = {}
    for page in sorted(PAGES, key=lambda page: page.path.count("{")):
        if page.template:
            found[page.template.removesuffix(".html")] = _filled(page.path, samples)
    return found


def parts(samples: Mapping[str, str]) -> list[str]:
    """The parts of all pages that are asked for alone, when something has changed."""
    return [f"{_filled(page.path, samples)}?part={part}" for page in PAGES for part in page.parts]


def forms(samples: Mapping[str, str]) -> list[str]:
    """The forms of all actions."""
    return [_filled(action.path, samples) for action in ACTIONS]


def _filled(path: str, samples: Mapping[str, str]) -> str:
    missing = set(_NAME.findall(path)) - set(samples)
    assert not missing, f"say in tests/dashboard/every.py what {path} may have for {missing}"
    return _NAME.sub(lambda match: quote(samples[match[1]], safe=""), path)


def samples(shop: Any) -> dict[str, str]:
    """What a server has that has done a little of everything, for ``addresses``."""
    failed, done = shop.start("shop/failing"), shop.start("shop/ordered", order=1, amount=50)
    again = shop.start("shop/failing")
    for run_id in (failed, done, again):
        shop.ended(run_id)
    for user in ("ada", "ada", "bob"):
        shop.send("shop/exported", user=user, gate="never")
    shop.send("shop/changed", id=1)
    shop.why(shop.start("shop/requested", id=7), "waiting")
    trace = shop.http("GET", f"/runs/{failed}/timeline").json
    order = shop.http("POST", "/v2/cancellations", {"functionId": "large"}).json["data"]["id"]
    eventually(lambda: shop.get(f"/v2/cancellations/{order}")["endedAt"])
    # Nothing goes on any more by itself: what is looked at stays as it is.
    eventually(lambda: len(shop.get("/v2/runs?status=RUNNING&function=shop-export")) == 2)
    return {
        "order_id": order,
        "run_id": failed,
        "other_id": again,
        "step_id": trace["rows"][0][0],
        "event_id": shop.get(f"/v2/runs/{done}")["eventId"],
        "event_name": "shop/ordered",
        "function_id": "shop-export",
        "app_id": "shop",
        "user": "ada",
        "session": "none",
    }
