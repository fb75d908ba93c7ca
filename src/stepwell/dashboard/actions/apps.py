"""What people do about apps: have one asked again what it has, name an address, and remove one."""

from __future__ import annotations

from typing import Final

from stepwell.dashboard.action import Action, Done, Field, Form, Given
from stepwell.dashboard.operations import Operations
from stepwell.dashboard.page import Missing, Visit
from stepwell.dashboard.pages.apps import AppRow, find_app
from stepwell.limits import URL_CHARS_MAX
from stepwell.model.user import Role
from stepwell.views.wording import count

_BACK: Final = "/apps"
_SYNC_S: Final = "It has ten seconds to answer."


async def _ask_add(visit: Visit) -> Form:
    return Form(
        title="Sync an app",
        says=["The app at this address is asked which functions it has, and is known from then on.", _SYNC_S],
        verb="Sync",
        back=_BACK,
        fields=[
            Field(
                name="url",
                label="Address",
                value=visit.query.get("url", ""),
                help="Where it serves its functions, such as http://localhost:3000/api/inngest.",
                required=True,
            )
        ],
    )


async def _add(operations: Operations, visit: Visit, given: Given) -> Done:
    url = given.text("url", required=True, chars_max=URL_CHARS_MAX)
    given.check()
    app_id = await operations.sync(url)
    return Done(text=f"The app {app_id} is synced." if app_id else "It is synced.", address=_BACK, word="All apps")


async def _served(visit: Visit) -> tuple[AppRow, str]:
    """An app that is called at an address, and that."""
    app = await find_app(visit, visit.path["app_id"])
    if app.way != "serve" or app.row is None:
        raise Missing("There is nothing to ask", "Only an app that is served at an address is asked what it has.")
    return app, app.row.url


async def _ask_sync(visit: Visit) -> Form:
    app, url = await _served(visit)
    return Form(
        title=f"Sync {app.id} again?",
        says=[f"The app at {url} is asked which functions it has.", _SYNC_S],
        verb="Sync",
        back=_BACK,
    )


async def _sync(operations: Operations, visit: Visit, given: Given) -> Done:
    app, url = await _served(visit)
    await operations.sync(url)
    return Done(text=f"The app {app.id} is synced.", address=_BACK, word="All apps")


async def _attached(visit: Visit) -> tuple[AppRow, str]:
    app = await find_app(visit, visit.path["app_id"])
    if app.row is None:
        why = "Its code is part of a process of the server: it is gone when no process has it any more."
        raise Missing("It cannot be removed", why)
    return app, app.row.url


async def _ask_remove(visit: Visit) -> Form:
    app, _ = await _attached(visit)
    functions = count(len(app.functions), "function")
    return Form(
        title=f"Remove {app.id}?",
        says=[
            f"No event and no tick starts a run of its {functions} any more.",
            "Runs that there are go on as long as the app answers, and what has happened stays.",
            "It is asked no more. When it registers again, it is back.",
        ],
        verb="Remove the app",
        back=_BACK,
        harm=True,
    )


async def _remove(operations: Operations, visit: Visit, given: Given) -> Done:
    app, url = await _attached(visit)
    await operations.remove_app(url, app.id)
    return Done(text=f"The app {app.id} is removed.", address=_BACK, word="All apps")


ADD: Final = Action(name="sync-address", path="/apps/sync", ask=_ask_add, act=_add, role=Role.ADMIN)
SYNC: Final = Action(name="sync-app", path="/apps/{app_id}/sync", ask=_ask_sync, act=_sync)
REMOVE: Final = Action(name="remove-app", path="/apps/{app_id}/remove", ask=_ask_remove, act=_remove, role=Role.ADMIN)
