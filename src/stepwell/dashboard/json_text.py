"""JSON for people to read: indented, with its parts marked, and cut where it is too long for a page."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import msgspec
from markupsafe import Markup, escape

from stepwell.limits import JSON_SHOWN_BYTES_MAX

_TOKEN: Final = re.compile(
    r'(?P<key>"(?:[^"\\]|\\.)*+")(?=\s*:)|(?P<text>"(?:[^"\\]|\\.)*+")|(?P<number>-?\d[\d.eE+-]*+)|(?P<word>true|false|null)'
)
_DASH: Final = {"key": "k", "text": "s", "number": "n", "word": "w"}


class JsonText(NamedTuple):
    """``html`` is what is shown of ``size`` bytes, ``more`` whether that is not all, and ``plain`` the same as text."""

    html: Markup
    size: int
    more: bool
    plain: str


def json_text(text: bytes, *, whole: bool = False) -> JsonText:
    """What is no JSON is shown as it is."""
    pretty = indented(text)
    more = not whole and len(pretty) > JSON_SHOWN_BYTES_MAX
    if more:
        pretty = pretty[:JSON_SHOWN_BYTES_MAX]
    return JsonText(_marked(pretty), len(text), more, pretty)


def indented(text: bytes) -> str:
    """JSON as people write it, in lines. What is no JSON is left as it is."""
    try:
        return msgspec.json.format(text, indent=2).decode(errors="replace")
    except (msgspec.MsgspecError, RecursionError):
        return text.decode(errors="replace")


def _marked(text: str) -> Markup:
    parts: list[str] = []
    end = 0
    for match in _TOKEN.finditer(text):
        parts.append(str(escape(text[end : match.start()])))
        kind = _DASH[match.lastgroup or "word"]
        parts.append(f'<span class="j-{kind}">{escape(match[0])}</span>')
        end = match.end()
    parts.append(str(escape(text[end:])))
    return Markup("".join(parts))
