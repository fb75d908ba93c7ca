"""Templates: everything that comes from outside is escaped, and a name that is misspelt is an error."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, cast
from urllib.parse import quote

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from stepwell.dashboard.assets import asset_url
from stepwell.dashboard.commands import curl
from stepwell.dashboard.json_text import json_text
from stepwell.dashboard.sections import DEEDS, SECTIONS, SHORTCUTS, TABS
from stepwell.dashboard.states import state_of
from stepwell.model.event import rfc3339
from stepwell.views.wording import count, parse_moment, relative, size, span


def render(template: str, context: Mapping[str, Any], block: str = "") -> str:
    """The page, or one block of it."""
    found = _environment().get_template(template)
    if not block:
        return found.render(context)
    return "".join(found.blocks[block](found.new_context(dict(context))))


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("stepwell.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    filters: Any = made.filters
    names: Any = made.globals
    filters.update(
        span=span, size=size, count=count, json_text=json_text, state=state_of, members=_members, rfc3339=rfc3339
    )
    names.update(asset=asset_url, moment=_moment, lasting=_lasting, parse_moment=parse_moment)
    names.update(sections=SECTIONS, shortcuts=SHORTCUTS, tabs_of_settings=TABS, deeds=DEEDS)
    names.update(event_type=event_type, curl=curl)
    names["ui"] = made.get_template("parts/ui.html").module
    return made


def function_page(id: str) -> str:
    """The address of the page of a function."""
    return f"/functions/{quote(id, safe='')}"


def event_type(name: str) -> str:
    """The address of what is known of events of a name, whatever is in that."""
    return f"/event-types/{quote(name, safe='')}"


def _members(text: msgspec.Raw) -> list[tuple[str, str]]:
    """The members of a JSON object, or one without a name if it is none."""
    value: object = msgspec.json.decode(text)
    found = cast("dict[str, object]", value) if isinstance(value, dict) else {"": value}
    return [(name, str(each)) for name, each in found.items() if each is not None]


def _moment(ms: int | None, now: int) -> Markup:
    """A moment as people count, which goes on counting in the browser, and says the date when asked."""
    if ms is None:
        return Markup('<span class="none">—</span>')
    # Nothing of this comes from outside, and a list has many: to escape it would be a fifth of what a list costs.
    return Markup(f'<time datetime="{rfc3339(ms)}" data-ms="{ms}">{relative(ms, now)}</time>')


def _lasting(start: int | None, end: int | None, now: int) -> Markup:
    """A length of time; one that has not ended goes on counting in the browser."""
    if start is None:
        return Markup('<span class="none">—</span>')
    if end is None:
        return Markup('<span class="lasting" data-since="{}">{}</span>').format(start, span(now - start))
    return escape(span(end - start))
