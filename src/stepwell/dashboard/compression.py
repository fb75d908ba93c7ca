"""What is sent in fewer bytes: pages and their parts (ADR 0054)."""

from __future__ import annotations

import asyncio
import re
import zlib
from typing import Final

from starlette.responses import Response

BYTES_MIN: Final = 1_024  # less than that is one packet anyway
_LEVEL: Final = 1  # the highest would save a tenth more, for four times the work
_GZIP: Final = 31  # a window of 32 KiB, with the header and the sum of a file
_NOT_AT_ALL: Final = re.compile(r"q=0(\.0*)?")
_APART_BYTES: Final = 256 * 1_024  # more than that would hold up the loop for milliseconds


class Text:
    """What somebody is sent, or many are. It is compressed for all of them at once."""

    __slots__ = ("_small", "body", "type")

    def __init__(self, body: bytes, type: str) -> None:
        self.body, self.type = body, type
        self._small: bytes | None = None

    async def small(self) -> bytes:
        """The same by gzip."""
        if self._small is None:
            large = len(self.body) > _APART_BYTES
            self._small = await asyncio.to_thread(_compressed, self.body) if large else _compressed(self.body)
        return self._small


class TextResponse(Response):
    """An answer with a ``text`` that others get as well."""

    def __init__(self, text: Text) -> None:
        super().__init__(text.body, media_type=text.type)
        self.text = text


async def compress(answer: Response) -> None:
    """Send this answer by gzip, if it is worth it."""
    if len(answer.body) < BYTES_MIN:
        return
    text = answer.text if isinstance(answer, TextResponse) else Text(bytes(answer.body), answer.media_type or "")
    answer.body = await text.small()
    answer.headers["content-length"] = str(len(answer.body))
    answer.headers["content-encoding"] = "gzip"


def takes_gzip(accepted: str) -> bool:
    """Whether whoever says this in ``Accept-Encoding`` can read it."""
    for each in accepted.split(","):
        coding, *parameters = (part.strip().lower() for part in each.split(";"))
        if coding == "gzip":
            return not any(_NOT_AT_ALL.fullmatch(parameter) for parameter in parameters)
    return False


def _compressed(body: bytes) -> bytes:
    return zlib.compress(body, _LEVEL, _GZIP)
