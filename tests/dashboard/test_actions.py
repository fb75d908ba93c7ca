"""What people do on pages, by forms over HTTP: what is asked, what it does, and who may not (ADR 0047)."""

from __future__ import annotations

import json
import re
from urllib.parse import urlencode

import pytest

from stepwell.dashboard.action import Action
from stepwell.dashboard.actions import ACTIONS
from tests.dashboard.forms import HTML, SENT, Form, act, form, post
from tests.edge.conftest import Dev

pytestmark = pytest.mark.slow

each_action = pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.name)


def at(action: Action) -> str:
    return re.sub(r"\{\w+\}", "x", action.path)


# Who may not ----------------------------------------------------------------------------------------------------------


@each_action
def test_a_form_that_is_not_ours_does_nothing(shop: Dev, action: Action) -> None:
    ours = form(shop, "/events/send").given["csrf"]
    strange: list[tuple[dict[str, str], dict[str, str]]] = [
        ({}, {}),
        ({"csrf": "0" * len(ours)}, {}),
        ({"csrf": ours}, {"origin": "https://evil.example"}),
        ({"csrf": ours}, {"sec_fetch_site": "cross-site"}),
        ({"csrf": ours}, {"sec_fetch_site": "same-site"}),
    ]

    for fields, headers in strange:
        reply = shop.http("POST", at(action), urlencode(fields).encode(), content_type=SENT, **headers)
        assert (reply.status, reply.json["status"]) == (403, 403), (fields, headers)


def test_an_address_of_a_page_takes_no_form(shop: Dev) -> None:
    ours = form(shop, "/events/send").given["csrf"]

    assert shop.http("POST", "/runs", urlencode({"csrf": ours}).encode(), content_type=SENT).status == 405


# What all of them have in common --------------------------------------------------------------------------------------


def test_a_form_is_a_page_of_its_own_where_there_are_no_scripts(shop: Dev) -> None:
    run_id = shop.start("shop/requested", id="plain")
    found = form(shop, f"/runs/{run_id}/cancel")
    assert "Cancel this run of shop-approve?" in found.text

    reply = post(shop, found, accept=HTML)

    assert (reply.status, reply.headers["location"]) == (303, f"/runs/{run_id}")
    assert shop.get(f"/v2/runs/{run_id}")["status"] == "CANCELLED"


def test_what_is_wrong_is_said_in_the_form_and_nothing_that_was_typed_is_lost(shop: Dev) -> None:
    found = form(shop, "/events/send")
    typed = '{"name": "shop/ordered",\n "data": {"order": }}'

    reply = post(shop, found, events=typed)

    assert reply.status == 422
    again = Form(reply.text.decode())
    assert "It is no JSON" in again.text and "line 2" in again.text
    assert again.given["events"] == typed
    assert again.given["seed"] == found.given["seed"]
    fixed = post(shop, again, events='{"name": "shop/nobody.listens"}')
    assert fixed.status == 200


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("", "Something has to be given here."),
        ("7", "It has to be an event, or an array of events"),
        ('{"name": ""}', "name"),
        ('{"name": "inngest/mine"}', "inngest/"),
    ],
)
def test_what_the_engine_refuses_is_said_as_it_is(shop: Dev, typed: str, said: str) -> None:
    reply = post(shop, form(shop, "/events/send"), events=typed)

    assert reply.status == 422
    assert said in Form(reply.text.decode()).text


def test_a_form_that_is_sent_twice_does_it_once(shop: Dev) -> None:
    sending = form(shop, "/events/send")
    events = json.dumps([{"name": "shop/requested", "data": {"id": "twice"}}])
    first, second = (post(shop, sending, events=events).json for _ in range(2))
    assert first == second
    (run,) = shop.get(f"/v2{first['address']}/runs")["runs"]

    again = form(shop, f"/runs/{run['id']}/rerun")
    first, second = (post(shop, again).json for _ in range(2))

    assert first == second != {}
    assert first["address"] != f"/runs/{run['id']}"


# One by one -----------------------------------------------------------------------------------------------------------


def test_a_run_is_cancelled_once_and_then_there_is_nothing_to_cancel(shop: Dev) -> None:
    run_id = shop.start("shop/requested", id="cancelled")

    said = act(shop, f"/runs/{run_id}/cancel")

    assert said["address"] == f"/runs/{run_id}"
    assert shop.get(f"/v2/runs/{run_id}")["status"] == "CANCELLED"
    assert shop.http("GET", f"/runs/{run_id}/cancel", accept=HTML).status == 404


def test_a_run_goes_again_as_it_was_or_with_other_data(shop: Dev) -> None:
    run_id = shop.start("shop/requested", id="again", note="keep")
    event_id = shop.get(f"/v2/runs/{run_id}")["eventId"]
    found = form(shop, f"/runs/{run_id}/rerun")
    assert json.loads(found.given["data"]) == {"id": "again", "note": "keep"}

    same = post(shop, found).json["address"]
    other = act(shop, f"/runs/{run_id}/rerun", data='{"id": "edited"}')["address"]

    assert shop.get(f"/v2{same}")["eventId"] == event_id
    edited = shop.get(f"/v2{other}")
    assert (edited["originalRunId"], edited["eventEdited"]) == (run_id, True)
    assert shop.get(f"/v2/events/{edited['eventId']}")["data"] == {"id": "edited"}


def test_several_events_are_sent_at_once(shop: Dev) -> None:
    said = act(shop, "/events/send", events='[{"name": "shop/a"}, {"name": "shop/b"}]')

    assert said["text"] == "2 events were sent."
    assert [event["name"] for event in shop.get("/v2/events?limit=2")] == ["shop/b", "shop/a"]


def test_an_event_is_sent_again_with_other_data(shop: Dev) -> None:
    reply = shop.http(
        "POST", "/e/test", {"name": "shop/requested", "data": {"id": 1}, "id": "mine", "user": {"u": 1}, "v": "3"}
    )
    found = form(shop, f"/events/{reply.json['ids'][0]}/send")
    sent = json.loads(found.given["events"])
    assert sent == {"name": "shop/requested", "data": {"id": 1}, "user": {"u": 1}, "v": "3"}

    said = post(shop, found, events=json.dumps({**sent, "data": {"id": 2}})).json

    assert shop.get(f"/v2{said['address']}")["data"] == {"id": 2}
    assert len(shop.get(f"/v2{said['address']}/runs")["runs"]) == 1
