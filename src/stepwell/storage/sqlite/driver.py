"""The one way in which SQL reaches SQLite: a text, a row of values, the rows found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, cast

import apsw


class Found(Protocol):
    def __iter__(self) -> Iterator[Any]: ...
    def fetchall(self) -> list[Any]: ...


class Execute(Protocol):
    """Run one statement. What it finds must be fetched whole, or be followed by another statement:
    else it would keep its snapshot open."""

    def __call__(self, text: str, row: tuple[Any, ...] = ..., /) -> Found: ...


def executor(connection: apsw.Connection) -> Execute:
    """A kept cursor: making one for each statement costs as much as a small statement."""
    return cast("Execute", connection.cursor().execute)  # pyright: ignore[reportUnknownMemberType]
