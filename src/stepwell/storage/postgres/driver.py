"""The one way in which SQL reaches PostgreSQL: a text, a row of values, the rows found."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol, cast

# PostgreSQL keeps no NUL in a text, and users' texts may have one. So a NUL is written as this character of private
# use and a 0; the character itself as two of it. Each character by itself, so prefixes stay prefixes.
_ESCAPE: Final = "\ue000"
_NUL: Final = "\x00"


class Raw(Protocol):
    """What is used of asyncpg's connection."""

    async def fetch(self, query: str, *args: Any) -> Sequence[Any]: ...
    async def execute(self, query: str, *args: Any) -> str: ...
    async def executemany(self, command: str, args: Iterable[Sequence[Any]]) -> None: ...
    async def copy_records_to_table(
        self, table_name: str, *, records: Iterable[Sequence[Any]], columns: Sequence[str], schema_name: str
    ) -> str: ...
    async def close(self, *, timeout: float | None = None) -> None: ...  # noqa: ASYNC109 - asyncpg's own
    def terminate(self) -> None: ...
    def is_closed(self) -> bool: ...


Connect = Callable[[], Awaitable[Raw]]


class Connection:
    """A connection with the name under which its transactions are marked, and how many there have been."""

    def __init__(self, raw: Raw, writer: str) -> None:
        self._raw = raw
        self.writer = writer
        self.number = 0
        self.clean = True  # in no transaction, as far as is known
        self.before: Callable[[], None] | None = None
        """Called before each statement. What it raises keeps that from being sent."""

    @property
    def usable(self) -> bool:
        return not self._raw.is_closed()

    async def fetch(self, text: str, row: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        self._ask_before()
        return [_read(tuple(found)) for found in await self._raw.fetch(text, *_written(row))]

    async def execute(self, text: str, row: Sequence[Any] = ()) -> str:
        """Run one statement; what PostgreSQL says it was, such as ``COMMIT``."""
        self._ask_before()
        return await self._raw.execute(text, *_written(row))

    async def many(self, text: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run one statement for each of these rows, in their order and without waiting in between."""
        self._ask_before()
        if len(rows) == 1:
            await self._raw.execute(text, *_written(rows[0]))
        else:
            await self._raw.executemany(text, [_written(row) for row in rows])

    def _ask_before(self) -> None:
        if self.before is not None:
            self.before()

    async def copy(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Add rows to a table of ours by COPY: several times as many a second as by statements."""
        records = [_written(row) for row in rows]
        await self._raw.copy_records_to_table(table, records=records, columns=columns, schema_name="stepwell")

    async def close(self) -> None:
        with suppress(Exception):  # asyncpg has let go of it then; the server may be gone, or slow to say goodbye
            await self._raw.close(timeout=2)

    def terminate(self) -> None:
        """Let go of it without a word: whatever was under way on it is left to the server."""
        with suppress(Exception):  # of a socket that is closed already
            self._raw.terminate()


def _written(row: Sequence[Any]) -> Sequence[Any]:
    for value in row:
        if isinstance(value, list):
            if any(_NUL in one or _ESCAPE in one for one in cast("list[str]", value)):
                break
        elif isinstance(value, str) and (_NUL in value or _ESCAPE in value):
            break
    else:
        return row
    return [_escaped(value) for value in row]


def _escaped(value: Any) -> Any:
    if isinstance(value, list):
        return [_escaped(one) for one in cast("list[str]", value)]
    if isinstance(value, str):
        return value.replace(_ESCAPE, _ESCAPE * 2).replace(_NUL, f"{_ESCAPE}0")
    return value


def _read(row: tuple[Any, ...]) -> tuple[Any, ...]:
    for value in row:
        if type(value) is str and _ESCAPE in value:
            return tuple(_unescaped(one) if isinstance(one, str) else one for one in row)
    return row


def _unescaped(text: str) -> str:
    parts = text.split(_ESCAPE * 2)
    return _ESCAPE.join(part.replace(f"{_ESCAPE}0", _NUL) for part in parts)
