"""Forms of actions as a browser without scripts has them: got, filled in, and sent."""

from __future__ import annotations

from html.parser import HTMLParser
from urllib.parse import urlencode

from tests.edge.conftest import Dev, Reply

HTML = "text/html"
SENT = "application/x-www-form-urlencoded"


class Form(HTMLParser):
    """The form of an action on a page. ``given`` are its fields as they stand, ``text`` is all that it says."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.given: dict[str, str] = {}
        self.address = ""
        self.text = ""
        self._inside = False
        self._area: str | None = None
        self._menu: str | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._inside = found.get("class") == "action"
            self.address = found["action"] if self._inside else self.address
        if not self._inside:
            return
        name = found.get("name")
        if tag == "input" and name and (found.get("type") not in ("radio", "checkbox") or "checked" in found):
            self.given[name] = found.get("value", "")
        elif tag == "textarea" and name:
            self._area = name
            self.given[name] = ""
        elif tag == "select" and name:
            self._menu = name
        elif tag == "option" and self._menu and ("selected" in found or self._menu not in self.given):
            self.given[self._menu] = found.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea" and self._area:
            self.given[self._area] = self.given[self._area].removeprefix("\n")
            self._area = None
        elif tag == "select":
            self._menu = None
        elif tag == "form":
            self._inside = False

    def handle_data(self, data: str) -> None:
        if self._area:
            self.given[self._area] += data
        elif self._inside:
            self.text += data


def form(server: Dev, path: str, status: int = 200) -> Form:
    reply = server.http("GET", path, accept=HTML)
    assert reply.status == status, reply
    return Form(reply.text.decode())


def post(server: Dev, found: Form, accept: str = "application/json", **changed: str) -> Reply:
    """Send it, with these fields changed, as our module does or as a browser without it."""
    body = urlencode({**found.given, **changed}).encode()
    return server.http("POST", found.address, body, content_type=SENT, accept=accept)


def act(server: Dev, path: str, **changed: str) -> dict[str, str]:
    """What was done, said by the action at this address."""
    reply = post(server, form(server, path), **changed)
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json"), reply
    said: dict[str, str] = reply.json
    return said
