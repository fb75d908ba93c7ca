"""A run as commands for a shell: look at it, start it again, send its event again."""

from __future__ import annotations

import re
from shlex import quote
from typing import Final

import msgspec

from stepwell.model.event import INTERNAL_PREFIX, Event
from stepwell.model.run import Run

URL_DEFAULT: Final = "http://127.0.0.1:8288"  # where the command line looks by itself
_ORIGIN: Final = re.compile(r"https?://[A-Za-z0-9.\-]+(:\d+)?|https?://\[[0-9A-Fa-f:.]+\](:\d+)?")
_encode: Final = msgspec.json.Encoder().encode


def origin(asked: str) -> str:
    """The address that a browser says it is at, if it is one."""
    return asked if _ORIGIN.fullmatch(asked) else URL_DEFAULT


def cli_text(run: Run, event: Event | None, url: str) -> str:
    there = "" if url == URL_DEFAULT else f" --url {quote(url)}"
    told = [
        ("Look at it", f"stepwell run {run.id}{there}"),
        ("Ask why it is where it is", f"stepwell why {run.id}{there}"),
        ("Start it again, for the same event", f"stepwell rerun {run.id}{there}"),
    ]
    if _can_be_sent(event):
        assert event is not None, "there is one"
        user = f" --user {quote(event.user.decode())}" if event.user else ""
        sent = f"stepwell send {quote(event.name)} --data {quote(event.data.decode())}{user}{there}"
        told.append(("Send its event again", sent))
    return _text(told)


def curl_text(run: Run, event: Event | None, url: str, *, production: bool) -> str:
    key = '"$STEPWELL_EVENT_KEY"' if production else "dev"
    signed = ' \\\n  -H "Authorization: Bearer $STEPWELL_SIGNING_KEY"' if production else ""
    json = " \\\n  -H 'Content-Type: application/json'"
    told: list[tuple[str, str]] = []
    if _can_be_sent(event):
        assert event is not None, "there is one"
        told.append(("Send its event again", f"curl {quote(f'{url}/e/')}{key}{json} \\\n  -d {quote(_event(event))}"))
    told.append(
        (
            "Start it again, for the same event",
            f"curl {quote(f'{url}/v2/runs/{run.id}/rerun')}{signed}{json} \\\n  -d '{{}}'",
        )
    )
    told.append(("Look at it", f"curl {quote(f'{url}/v2/runs/{run.id}/trace')}{signed}"))
    return _text(told)


def _can_be_sent(event: Event | None) -> bool:
    return event is not None and not event.name.startswith(INTERNAL_PREFIX)


def _event(event: Event) -> str:
    fields: dict[str, object] = {"name": event.name, "data": msgspec.Raw(event.data)}
    if event.user:
        fields["user"] = msgspec.Raw(event.user)
    if event.v is not None:
        fields["v"] = event.v
    return _encode(fields).decode()


def _text(told: list[tuple[str, str]]) -> str:
    return "\n\n".join(f"# {what}\n{command}" for what, command in told) + "\n"
