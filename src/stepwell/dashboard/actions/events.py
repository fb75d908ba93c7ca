"""What people do about events: send some, and send one again with other data."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from stepwell.dashboard.action import Action, Done, Field, Form, Given, Kind
from stepwell.dashboard.actions.runs import editable
from stepwell.dashboard.json_text import indented
from stepwell.dashboard.operations import Operations
from stepwell.dashboard.page import Missing, Visit
from stepwell.dashboard.pages.event import find_event
from stepwell.model.event import Event
from stepwell.model.trigger import EventTrigger
from stepwell.views.wording import count

_EVENTS: Final = "events"
_SHAPE: Final = "an event, or an array of events"

_encode: Final = msgspec.json.Encoder().encode


def _field(value: str) -> Field:
    return Field(
        name=_EVENTS,
        label="Events",
        kind=Kind.JSON,
        value=value,
        help='One, such as {"name": "shop/ordered", "data": {}}, or several in an array.',
        required=True,
        rows=12,
    )


async def _ask_send(visit: Visit) -> Form:
    name = visit.query.get("name", "") or _first_name(visit)
    return Form(
        title="Send events",
        says=["Every function with a trigger that matches starts, and every run that waits for one of them goes on."],
        verb="Send",
        back="/events",
        fields=[_field(indented(_encode({"name": name, "data": {}})))],
    )


def _first_name(visit: Visit) -> str:
    """That of an event that something listens to."""
    functions = visit.source.registry().functions.values()
    names = sorted(
        trigger.event for function in functions for trigger in function.triggers if isinstance(trigger, EventTrigger)
    )
    return next((name for name in names if not name.startswith("inngest/")), "shop/ordered")


async def _send(operations: Operations, visit: Visit, given: Given) -> Done:
    events = given.json(_EVENTS, dict[str, Any] | list[dict[str, Any]], _SHAPE)
    if events is None:
        given.text(_EVENTS, required=True)
    given.check()
    ids = await operations.send(events or b"", given.seed)
    if len(ids) == 1:
        return Done(text="The event was sent.", address=f"/events/{ids[0]}", word="What it started")
    return Done(text=f"{count(len(ids), 'event')} were sent.", address="/events", word="All events")


async def _ask_resend(visit: Visit) -> Form:
    event = await find_event(visit)
    text = _again(event)
    if event.name.startswith("inngest/"):
        raise Missing("It cannot be sent again", "This event is one of the server's own, which nobody can send.")
    if text is None:
        raise Missing("It cannot be edited here", "It is too long for a form: use stepwell send.")
    return Form(
        title=f"Send {event.name} again?",
        says=["A new event is sent, with what stands here: change what you like. The old one stays as it is."],
        verb="Send",
        back=f"/events/{event.id}",
        fields=[_field(text)],
    )


def _again(event: Event) -> str | None:
    """The event as it was sent, but for its id and its moment: with those it would be taken for the same."""
    data = editable(event.data)
    if data is None:
        return None
    found: dict[str, object] = {"name": event.name, "data": msgspec.Raw(data.encode())}
    if event.user:
        found["user"] = msgspec.Raw(event.user)
    if event.v is not None:
        found["v"] = event.v
    return indented(_encode(found))


SEND: Final = Action(name="send-events", path="/events/send", ask=_ask_send, act=_send)
RESEND: Final = Action(name="resend-event", path="/events/{event_id}/send", ask=_ask_resend, act=_send)
