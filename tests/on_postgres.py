"""``pytest --store postgres``: what harnesses and servers of tests use is on a real PostgreSQL, in 16 shards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from stepwell.testing.driver import Driver
from tests import postgres

LEFT_OUT: dict[str, int] = {}
"""How many tests are about files, by the reason that they give."""

_NAMES: Final = ("--db", "--store")
_FILES: Final = {"dev": ".stepwell/dev.db", "start": "stepwell.db"}
"""What a server uses that is told nothing."""

_free: list[str] = []
_free_for_servers: list[str] = []
_instead: dict[Path, str] = {}
_running: Counter[str] = Counter()
_on = False


def on_postgres() -> None:
    """From now on, in this process."""
    global _on
    _on = True
    Driver._lend = staticmethod(lent)


def about_files(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """Those that say so by the marker ``sqlite``, and why. They are counted."""
    found = [(item, mark) for item in items if (mark := item.get_closest_marker("sqlite")) is not None]
    LEFT_OUT.update(Counter(str(mark.args[0]) for _, mark in found))
    return [item for item, _ in found]


def told() -> Iterator[str]:
    """What was left out, in a few lines."""
    if LEFT_OUT:
        yield f"left out on PostgreSQL: {sum(LEFT_OUT.values())} tests"
    for reason, count in sorted(LEFT_OUT.items(), key=lambda each: -each[1]):
        yield f"  {count:4}  {reason}"


@contextmanager
def lent() -> Iterator[str]:
    """The URL of a database that nobody else uses meanwhile. What is in it others have left."""
    url = _free.pop() if _free else postgres.kept_database()
    try:
        yield url
    finally:
        _free.append(url)


def serving(command: str, folder: Path, options: Sequence[str]) -> tuple[list[str], str | None]:
    """The options of a server with a database in place of its file: the same for the same file. And which that is."""
    if not _on or command not in _FILES:
        return [*options], None
    given = asking(folder, options)
    if not any(name in given for name in _NAMES):
        given += ["--store", instead_of(folder / _FILES[command])]
    url = next(given[at + 1] for at, name in enumerate(given) if name in _NAMES)
    _running[url] += 1
    return given, url


def asking(folder: Path, options: Sequence[str]) -> list[str]:
    """The options of any command, with the databases that are in place of files."""
    given = [*options]
    for at, name in enumerate(given[:-1]):
        if _on and name in _NAMES and not given[at + 1].startswith("postgres"):
            given[at + 1] = instead_of(folder / given[at + 1])
    return given


def stopped(url: str | None) -> None:
    """A server that used it has ended."""
    if url is not None:
        _running[url] -= 1


def instead_of(file: Path) -> str:
    """The URL of the database that is in place of a file."""
    file = file.resolve()
    if file not in _instead:
        url = _free_for_servers.pop() if _free_for_servers else postgres.kept_database()
        postgres.empty(url)
        _instead[file] = url
    return _instead[file]


def give_back() -> None:
    """What no server uses any more may be used again, for other files."""
    for file, url in list(_instead.items()):
        if _running[url] <= 0:
            del _instead[file], _running[url]
            _free_for_servers.append(url)
