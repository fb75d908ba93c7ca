"""``/palette``: what the command palette finds: pages, what can be done anywhere, functions and events by name, a run
or event by its id."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from stepwell.dashboard.page import Data, Page, Visit, address
from stepwell.dashboard.rendering import event_type, function_page
from stepwell.dashboard.sections import DEEDS, DRAIN, SECTIONS, TABS, UNDRAIN, Deed
from stepwell.engine.registry import Registry
from stepwell.ids import is_ulid
from stepwell.model.questions import GetEvent, GetRun, ListStandingOrders
from stepwell.model.standing import EVERYTHING, StandingKind
from stepwell.views.nouns import Reader
from stepwell.views.why.events import trigger_names

_FUNCTIONS: Final = 8
_EVENTS: Final = 5
_CHARS_MAX: Final = 200
_PAGES: Final = "Pages"

_encode: Final = msgspec.json.Encoder().encode


class Option(msgspec.Struct, frozen=True):
    """Somewhere to go, or with ``act`` the form of something to do. ``icon`` is the name of one; ``detail`` is said in
    a lower voice."""

    group: str
    title: str
    detail: str
    href: str
    icon: str
    act: bool = False


_BULK: Final = Option(_PAGES, "Bulk actions", "Runs", "/bulk", "runs")


async def show(visit: Visit) -> Data:
    q = visit.query.get("q", "").strip()[:_CHARS_MAX]
    registry = visit.source.registry()
    found = await _by_id(visit.source.reader, q.upper()) if is_ulid(q.upper()) else []
    found += _pages(visit, q.lower())
    known = bool(found)
    found += await _deeds(visit, q.lower())
    if q:
        found += [*_functions(registry, q.lower()), *_events(registry, q.lower())]
    if q and not known:
        found.append(Option("Search", f"Runs with “{q}”", "", address("/runs", {"q": q}), "search"))
    return Data(_encode(found))


def _pages(visit: Visit, q: str) -> list[Option]:
    """Those of the navigation, and with something to look for those of the settings, too."""
    found = [
        Option(_PAGES, each.word, f"g {each.key}", each.path, each.name)
        for each in SECTIONS
        if each.word.lower().startswith(q)
    ]
    if _BULK.title.lower().startswith(q):
        found.append(_BULK)
    if q:
        found += [
            Option(_PAGES, each.word, "Settings", each.path, "settings")
            for each in TABS
            if visit.guest.may(each.role) and each.word.lower().startswith(q)
        ]
    return found


async def _deeds(visit: Visit, q: str) -> list[Option]:
    """What whoever asks may do, wherever they are."""
    found = [each for each in DEEDS if visit.guest.may(each.role) and q in each.word.lower()]
    if DRAIN in found or UNDRAIN in found:
        needless = DRAIN if await _drained(visit.source.reader) else UNDRAIN
        found = [each for each in found if each is not needless]
    return [_option(each) for each in found]


async def _drained(reader: Reader) -> bool:
    """Whether nothing new begins at all."""
    orders = await reader.read(ListStandingOrders())
    return any(each.kind == StandingKind.DRAIN and each.target == EVERYTHING for each in orders)


def _option(deed: Deed) -> Option:
    return Option("Actions", deed.word, "", deed.path, deed.icon, act=True)


async def _by_id(reader: Reader, id: str) -> list[Option]:
    found: list[Option] = []
    run = await reader.read(GetRun(id))
    if run is not None:
        found.append(Option("Runs", run.function_id, run.id, f"/runs/{run.id}", "runs"))
    event = await reader.read(GetEvent(id))
    if event is not None:
        found.append(Option("Events", event.name, event.id, f"/events/{event.id}", "events"))
    return found


def _functions(registry: Registry, q: str) -> list[Option]:
    known = {**registry.departed, **registry.functions}
    near = _nearest(q, ((f"{each.id.removeprefix(f'{each.app_id}-')} {each.name}", each.id) for each in known.values()))
    return [
        Option("Functions", id.removeprefix(f"{known[id].app_id}-"), known[id].app_id, function_page(id), "functions")
        for id in near[:_FUNCTIONS]
    ]


def _events(registry: Registry, q: str) -> list[Option]:
    near = _nearest(q, ((name, name) for name in trigger_names(registry) if "*" not in name))
    return [Option("Events", name, "by name", event_type(name), "events") for name in near[:_EVENTS]]


def _nearest(q: str, known: Iterable[tuple[str, str]]) -> list[str]:
    """Those that have it in their text or id: first those that begin with it, then those of which a word does."""
    found: list[tuple[int, str]] = []
    for text, id in known:
        text = text.lower()
        if q in text or q in id.lower():
            rank = 0 if text.startswith(q) else 1 if any(word.startswith(q) for word in _words(text)) else 2
            found.append((rank, id))
    return [id for _, id in sorted(found)]


def _words(text: str) -> list[str]:
    return "".join(each if each.isalnum() else " " for each in text).split()


PAGE: Final = Page(path="/palette", show=show, section="")
