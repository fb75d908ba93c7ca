"""All pages as one application: finds the page at an address, asks it what is on it, and puts that into its frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Match, Route

from stepwell.dashboard.page import WHOLE, Data, Missing, Page, Shown, Visit
from stepwell.dashboard.pages import PAGES
from stepwell.dashboard.rendering import render
from stepwell.dashboard.source import Source

HOME: Final = "/runs"


@dataclass(frozen=True, slots=True)
class Guest:
    """Who looks. ``csrf`` is what their forms have to say; ``session`` whether they have logged in, and can log out."""

    csrf: str = ""
    session: bool = False


class Site:
    """The pages of one source."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._routes = [(Route(page.path, _never), page) for page in PAGES]

    async def answer(self, request: Request, guest: Guest) -> Response:
        """The page at the address of the request, or one that says that there is none."""
        if request.url.path == "/":
            return RedirectResponse(HOME, 303)
        for route, page in self._routes:
            match, found = route.matches(request.scope)
            if match is Match.FULL:
                return await self._show(page, request, found["path_params"], guest)
        return self.missing(request, guest, Missing("There is no such page", "The address may be misspelt."))

    def missing(self, request: Request, guest: Guest, error: Missing) -> Response:
        shown = Shown(title="Not found", view=error)
        return self._page("missing.html", "", request, guest, shown, status=404)

    def login(self, request: Request, next: str, wrong: str = "", status: int = 200) -> Response:
        """Where somebody says who they are; ``wrong`` is why they could not."""
        view = {"next": next, "wrong": wrong}
        return self._page("login.html", "", request, Guest(), Shown(title="Log in", view=view), status=status)

    async def _show(self, page: Page, request: Request, path: Mapping[str, str], guest: Guest) -> Response:
        given = {name: value for name, value in reversed(request.query_params.multi_items()) if value}
        part = given.pop("part", WHOLE)
        if part not in page.parts:
            part = WHOLE
        now = self._source.situation().now
        visit = Visit(self._source, now, request.url.path, path, given, part)
        try:
            shown = await page.show(visit)
        except Missing as error:
            return self.missing(request, guest, error)
        if isinstance(shown, Data):
            return Response(shown.body, media_type="application/json")
        return self._page(page.template, page.section, request, guest, shown, part=part, now=now)

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
        context: dict[str, Any] = {
            "now": now,
            "view": shown.view,
            "title": shown.title,
            "section": section,
            "topics": " ".join(shown.topics),
            "guest": guest,
            "version": self._source.version,
            "production": self._source.production,
        }
        body = render(template, context, part)
        pushes = shown.address is not None and not part and "hx-request" in request.headers
        headers = {"HX-Push-Url": shown.address or ""} if pushes else {}
        return Response(body, status, headers, "text/html; charset=utf-8")


async def _never(request: Request) -> Response:
    raise AssertionError("pages are shown by the site")
