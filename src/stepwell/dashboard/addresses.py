"""Which page or action an address is of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Generic, Protocol, TypeVar

from starlette.routing import compile_path


class Placed(Protocol):
    @property
    def path(self) -> str: ...


P = TypeVar("P", bound=Placed)


class Addresses(Generic[P]):
    """Things by their paths, in which names in braces stand for anything. Only those that begin alike are tried: pages
    that are open ask again and again."""

    def __init__(self, things: Iterable[P]) -> None:
        self._by_first: dict[str, list[tuple[re.Pattern[str], P]]] = {}
        for each in things:
            first = _first(each.path)
            assert "{" not in first, f"{each.path}: what it begins with tells what it is"
            self._by_first.setdefault(first, []).append((compile_path(each.path)[0], each))

    def find(self, path: str) -> tuple[P, Mapping[str, str]] | None:
        """The first that fits, and what stands in the places of its names."""
        for pattern, each in self._by_first.get(_first(path), ()):
            match = pattern.match(path)
            if match is not None:
                return each, match.groupdict()
        return None


def _first(path: str) -> str:
    return path[1:].partition("/")[0]
