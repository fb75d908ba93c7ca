"""JSON for people to read: indented, with its parts marked, and cut where it is too long for a page."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec
from markupsafe import Markup, escape

from stepwell.limits import JSON_SHOWN_BYTES_MAX
from stepwell.views.wording import size

_TOKEN: Final = re.compile(
    r'(?P<key>"(?:[^"\\]|\\.)*+")(?=\s*:)|(?P<text>"(?:[^"\\]|\\.)*+")|(?P<number>-?\d[\d.eE+-]*+)|(?P<word>true|false|null)'
)
_DASH: Final = {"key": "k", "text": "s", "number": "n", "word": "w"}
_ENCRYPTED: Final = "__ENCRYPTED__"  # so middleware of SDKs marks what it has encrypted (semantics §10)
_LOCKED: Final = re.compile(r'\{(?=[^{}]*"__ENCRYPTED__":\s*true\b)[^{}]*\}')
_LOCK: Final = Markup(
    '<svg class="icon" viewBox="0 0 16 16" aria-hidden="true" fill="none" stroke="currentColor" stroke-width="1.6">'
    '<rect x="3.5" y="7" width="9" height="6.5" rx="1.5"/><path d="M5.5 7V5a2.5 2.5 0 0 1 5 0v2"/></svg>'
)


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


def is_locked(value: Mapping[str, Any]) -> bool:
    """Whether an object stands for a value that an SDK has encrypted: the server cannot read it."""
    return value.get(_ENCRYPTED) is True


def _marked(text: str) -> Markup:
    parts: list[Markup] = []
    end = 0
    for match in _LOCKED.finditer(text):
        parts.append(_coloured(text[end : match.start()]))
        told = size(len(match[0].encode(errors="replace")))
        parts.append(
            Markup('<span class="j-l" title="An SDK has encrypted it: the server cannot read it">{}{}</span>').format(
                _LOCK, f"encrypted, {told}"
            )
        )
        end = match.end()
    parts.append(_coloured(text[end:]))
    return Markup("").join(parts)


def _coloured(text: str) -> Markup:
    parts: list[str] = []
    end = 0
    for match in _TOKEN.finditer(text):
        parts.append(str(escape(text[end : match.start()])))
        kind = _DASH[match.lastgroup or "word"]
        parts.append(f'<span class="j-{kind}">{escape(match[0])}</span>')
        end = match.end()
    parts.append(str(escape(text[end:])))
    return Markup("".join(parts))
