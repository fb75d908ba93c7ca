"""Halves of surrogate pairs in JSON, as JavaScript leaves them when it cuts a text inside an emoji."""

from __future__ import annotations

import re
from typing import Final

_ESCAPE: Final = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)


def without_lone_surrogates(text: bytes) -> bytes:
    """The same JSON with U+FFFD in their place, because no strict reader accepts them (failures K54)."""
    return _ESCAPE.sub(lambda match: b"\\ufffd" if match[1] else match[0], text)
