"""``/apps``: where functions come from: which way each app is attached, when it was synced, and why it was not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from stepwell.dashboard.page import Missing, Page, Shown, Visit
from stepwell.dashboard.source import AddressHere, Here
from stepwell.model.app import App
from stepwell.model.function import Function
from stepwell.model.questions import ListApps, ListStandingOrders
from stepwell.model.standing import of_app
from stepwell.protocol.registration import is_connected

_FUNCTIONS: Final = 50  # of an app; the rest is one click away
_WORKERS: Final = 100


class AppRow(NamedTuple):
    """One app. ``way`` is how its functions are called. ``address`` is what this process knows of it, and ``row`` what
    it said when it was synced last, which an app of this process never is. ``orders`` are what people have decided
    about it as a whole."""

    id: str
    way: str
    row: App | None
    address: AddressHere | None
    functions: Sequence[Function]
    departed: int
    orders: frozenset[str]
    functions_max: int = _FUNCTIONS
    workers_max: int = _WORKERS


class AppsView(NamedTuple):
    """``strangers`` are addresses at which no app was found so far."""

    rows: Sequence[AppRow]
    strangers: Sequence[AddressHere]


async def show(visit: Visit) -> Shown:
    rows, strangers = await _all(visit)
    view = AppsView(rows=rows, strangers=strangers)
    return Shown(title="Apps", view=view, topics=("functions",))


async def find_app(visit: Visit, app_id: str) -> AppRow:
    """Raises ``Missing``."""
    rows, _ = await _all(visit)
    found = next((row for row in rows if row.id == app_id), None)
    if found is None:
        raise Missing("There is no such app", "It was never attached, or is removed.")
    return found


async def _all(visit: Visit) -> tuple[list[AppRow], list[AddressHere]]:
    source = visit.source
    registry, addresses = source.registry(), source.here.addresses()
    served = {app.id: app for app in await source.reader.read(ListApps())}
    standing = await source.reader.read(ListStandingOrders())
    at = {each.app_id: each for each in addresses if each.app_id is not None}
    functions, departed = _by_app(registry.functions.values()), _by_app(registry.departed.values())
    # What was removed is in the registry until that is read again: of what has left only what is here counts.
    left = {id for id, found in departed.items() if any(source.here.serves(each.id) for each in found)}
    ids = sorted({*functions, *left, *served, *at})
    rows = [
        AppRow(
            id=id,
            way=_way(served.get(id), functions[id], source.here),
            row=served.get(id),
            address=at.get(id),
            functions=functions[id],
            departed=len(departed[id]),
            orders=frozenset(each.kind for each in standing if each.target == of_app(id)),
        )
        for id in ids
    ]
    return rows, [each for each in addresses if each.app_id is None]


def _by_app(functions: Iterable[Function]) -> defaultdict[str, list[Function]]:
    found: defaultdict[str, list[Function]] = defaultdict(list)
    for function in sorted(functions, key=lambda each: each.id):
        found[function.app_id].append(function)
    return found


def _way(app: App | None, functions: Sequence[Function], here: Here) -> str:
    if app is not None:
        return "connect" if is_connected(app.url) else "serve"
    return "here" if any(here.serves(each.id) for each in functions) else "elsewhere"


PAGE: Final = Page(path="/apps", show=show, section="apps", template="apps.html", parts=("results",))
