"""All pages and actions as one application: finds what is at an address, and puts what it says into its frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from stepwell.dashboard import acting
from stepwell.dashboard.acting import Forbidden, FormView
from stepwell.dashboard.action import Action
from stepwell.dashboard.actions import ACTIONS
from stepwell.dashboard.addresses import Addresses
from stepwell.dashboard.compression import Text, TextResponse
from stepwell.dashboard.guest import Guest
from stepwell.dashboard.operations import Operations
from stepwell.dashboard.page import WHOLE, Data, Missing, Page, Shown, Visit, address
from stepwell.dashboard.pages import PAGES
from stepwell.dashboard.rendering import render
from stepwell.dashboard.sharing import SharedBy
from stepwell.dashboard.source import Source
from stepwell.model.user import Role

SETTINGS: Final = "/settings"
_FORM: Final = "form"  # the block of a form, which a dialog shows alone
_HTML: Final = "text/html; charset=utf-8"
_JSON: Final = "application/json"

_encode: Final = msgspec.json.Encoder().encode


class Tried(NamedTuple):
    """What came of a form: what is ``wrong`` with it, the ``name`` that was given, and whether a ``key`` was given in
    place of that. ``users`` is whether there are any."""

    wrong: str = ""
    fix: str = ""
    name: str = ""
    key: bool = False
    users: bool = True


class Site:
    """The pages of one source. ``operations`` are what actions ask to be done."""

    def __init__(self, source: Source, operations: Operations) -> None:
        self._source = source
        self._operations = operations
        self._shared: SharedBy[Text] = SharedBy()
        self._actions = Addresses(ACTIONS)
        self._pages = Addresses(PAGES)

    async def answer(self, request: Request, guest: Guest) -> Response:
        """The page at the address of the request, or one that says that there is none."""
        if request.url.path == SETTINGS:
            first = "users" if guest.may(Role.ADMIN) else "sessions"
            return RedirectResponse(f"{SETTINGS}/{first}", 303)
        action = self._actions.find(request.url.path)
        if action is not None:
            return await self._ask(*action, request, guest)
        page = self._pages.find(request.url.path)
        if page is not None:
            return await self._show(*page, request, guest)
        return self.missing(request, guest, Missing("There is no such page", "The address may be misspelt."))

    async def act(self, request: Request, texts: Mapping[str, str], guest: Guest) -> Response | None:
        """Do what the form at the address of the request is for. ``None`` if there is none."""
        there = self._actions.find(request.url.path)
        if there is None:
            return None
        action, path = there
        here = _address(request)
        try:
            found = await acting.done(action, self._operations, self._visit(request, path, guest), guest, here, texts)
        except Forbidden:
            return self.forbidden(request, guest, action.role)
        except Missing as error:
            return self.missing(request, guest, error)
        if isinstance(found, FormView):
            part = _FORM if _by_script(request) else WHOLE
            return self._form(request, guest, found, part)
        if _by_script(request):
            return Response(_encode(found), media_type=_JSON)
        return RedirectResponse(found.address, 303)

    def missing(self, request: Request, guest: Guest, error: Missing) -> Response:
        shown = Shown(title="Not found", view=error)
        return self._page("missing.html", "", request, guest, shown, status=404)

    def failed(self, request: Request, error: Missing, status: int) -> Response:
        """What cannot be shown, for no fault of whoever asked for it."""
        why = error.why or "It is not the fault of your request. The server has written why into its log."
        shown = Shown(title="Not shown", view=Missing(error.what, why))
        return self._page("missing.html", "", request, Guest(), shown, status=status)

    def login(self, request: Request, next: str, tried: Tried, status: int = 200) -> Response:
        """Where somebody says who they are."""
        view = {"next": next, "tried": tried}
        return self._page("login.html", "", request, Guest(), Shown(title="Log in", view=view), status=status)

    def setup(self, request: Request, token: str, tried: Tried, status: int = 200) -> Response:
        """Where the first admin is made."""
        view = {"token": token, "tried": tried}
        return self._page("setup.html", "", request, Guest(), Shown(title="Set up", view=view), status=status)

    async def _show(self, page: Page, path: Mapping[str, str], request: Request, guest: Guest) -> Response:
        visit = self._visit(request, path, guest, page.parts)
        try:
            if page.template and (page.personal or not visit.part):
                shown = await page.show(visit)
                assert isinstance(shown, Shown)
                return self._page(page.template, page.section, request, guest, shown, part=visit.part, now=visit.now)
            return TextResponse(await self._made_together(page, request, visit))
        except Missing as error:
            return self.missing(request, guest, error)

    async def _made_together(self, page: Page, request: Request, visit: Visit) -> Text:
        """What modules of ours ask for whenever something has changed: of all pages that look at the same at once, so
        it is made without knowing more of whoever asks than what is in the key."""
        visit = replace(visit, guest=Guest(session=visit.guest.session, role=visit.guest.role))

        async def make() -> Text:
            shown = await page.show(visit)
            if isinstance(shown, Data):
                return Text(shown.body, _JSON)
            context = self._context(page.section, request, visit.guest, shown, 200, visit.now)
            return Text(render(page.template, context, visit.part).encode(), _HTML)

        query = tuple(sorted(visit.query.items()))
        return await self._shared.get((visit.address, query, visit.part, visit.guest, _base(request)), make)

    async def _ask(self, action: Action, path: Mapping[str, str], request: Request, guest: Guest) -> Response:
        visit = self._visit(request, path, guest, (_FORM,))
        try:
            view = await acting.asked(action, visit, guest, _address(request))
        except Forbidden:
            return self.forbidden(request, guest, action.role)
        except Missing as error:
            return self.missing(request, guest, error)
        return self._form(request, guest, view, visit.part)

    def _form(self, request: Request, guest: Guest, view: FormView, part: str) -> Response:
        shown = Shown(title=view.form.title, view=view)
        now = self._source.situation().now
        return self._page("action.html", "", request, guest, shown, part=part, status=view.status, now=now)

    def forbidden(self, request: Request, guest: Guest, needed: Role) -> Response:
        why = f"You are logged in as {guest.role}. Somebody who is {needed} can do it, and an admin can make you one."
        shown = Shown(title="Not allowed", view=Missing(f"This is for {needed}s", why))
        return self._page("missing.html", "", request, guest, shown, status=403)

    def _visit(self, request: Request, path: Mapping[str, str], guest: Guest, parts: Sequence[str] = ()) -> Visit:
        given = {name: value for name, value in reversed(request.query_params.multi_items()) if value}
        part = given.pop("part", WHOLE)
        now = self._source.situation().now
        return Visit(self._source, now, request.url.path, path, given, part if part in parts else WHOLE, guest)

    def _page(
        self,
        template: str,
        section: str,
        request: Request,
        guest: Guest,
        shown: Shown,
        *,
        part: str = WHOLE,
        status: int = 200,
        now: int = 0,
    ) -> Response:
        body = render(template, self._context(section, request, guest, shown, status, now), part)
        pushes = shown.address is not None and not part and "hx-request" in request.headers
        headers = {"HX-Push-Url": shown.address or ""} if pushes else {}
        return Response(body, status, headers, _HTML)

    def _context(
        self, section: str, request: Request, guest: Guest, shown: Shown, status: int, now: int
    ) -> dict[str, Any]:
        return {
            "now": now,
            "status": status,
            "view": shown.view,
            "title": shown.title,
            "section": section,
            "topics": " ".join(shown.topics),
            "guest": guest,
            "version": self._source.version,
            "production": self._source.production,
            "base": _base(request),
        }


def _base(request: Request) -> str:
    return str(request.base_url).rstrip("/")


def _address(request: Request) -> str:
    """That of the form, with what stands in it from the beginning."""
    given = {name: value for name, value in request.query_params.items() if name != "part"}
    return address(request.url.path, given)


def _by_script(request: Request) -> bool:
    """Whether our own module sends the form, which says by itself what came of it."""
    return _JSON in request.headers.get("accept", "")
