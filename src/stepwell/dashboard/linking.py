"""Sentences with what they name made into links."""

from __future__ import annotations

import re
from typing import Final

from markupsafe import Markup, escape

_RUN: Final = re.compile(r"\b(run|Run|event|Event)( '[^']*')? ([0-7][0-9A-HJKMNP-TV-Z]{25})\b")


def with_links(sentence: str) -> Markup:
    """The sentence, with each run and event in it a link to its page. All else is text."""
    parts: list[Markup] = []
    end = 0
    for match in _RUN.finditer(sentence):
        parts.append(escape(sentence[end : match.start(3)]))
        kind = "runs" if match[1].lower() == "run" else "events"
        parts.append(Markup('<a href="/{}/{}">{}</a>').format(kind, match[3], match[3]))
        end = match.end()
    parts.append(escape(sentence[end:]))
    return Markup("").join(parts)
