"""``/palette``: what the command palette finds: pages, functions and events by name, a run or event by its id."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from stepwell.dashboard.page import Data, Page, Visit, address
from stepwell.dashboard.rendering import event_type, function_page
from stepwell.dashboard.sections import SECTIONS
from stepwell.engine.registry import Registry
from stepwell.ids import is_ulid
from stepwell.model.questions import GetEvent, GetRun
from stepwell.views.nouns import Reader
from stepwell.views.why.events import trigger_names

_FUNCTIONS: Final = 8
_EVENTS: Final = 5
_CHARS_MAX: Final = 200

_encode: Final = msgspec.json.Encoder().encode


class Option(msgspec.Struct, frozen=True):
    """Somewhere to go. ``icon`` is the name of one; ``detail`` is said in a lower voice."""

    group: str
    title: str
    detail: str
    href: str
    icon: str


async def show(visit: Visit) -> Data:
    q = visit.query.get("q", "").strip()[:_CHARS_MAX]
    registry = visit.source.registry()
    found = await _by_id(visit.source.reader, q.upper()) if is_ulid(q.upper()) else []
    found += [
        Option("Pages", each.word, f"g {each.key}", each.path, each.name)
        for each in SECTIONS
        if each.word.lower().startswith(q.lower())
    ]
    if q and not found:
        found += _functions(registry, q.lower())
        found += _events(registry, q.lower())
        found.append(Option("Search", f"Runs with “{q}”", "", address("/runs", {"q": q}), "search"))
    elif q:
        found += [*_functions(registry, q.lower()), *_events(registry, q.lower())]
    return Data(_encode(found))


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
