"""What a page is, and who visits it: each page is one file of ``pages/`` and one template of the same name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

from stepwell.dashboard.guest import Guest
from stepwell.dashboard.source import Source

WHOLE: Final = ""


class Missing(Exception):
    """What the address names is not there. ``what`` and ``why`` are told to whoever came."""

    def __init__(self, what: str, why: str = "It was never there, or retention has removed it.") -> None:
        super().__init__(what)
        self.what, self.why = what, why


@dataclass(frozen=True, slots=True)
class Visit:
    """A request for a page. ``path`` is what the address has in place of its names, ``query`` the first value of each
    parameter that is not empty, ``now`` the moment at which everything on the page is looked at."""

    source: Source
    now: int
    address: str
    path: Mapping[str, str] = field(default_factory=dict[str, str])
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    part: str = WHOLE
    guest: Guest = field(default_factory=Guest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What is on a page: ``title``, the ``topics`` at whose change it is to be looked at again (``runtime/hints.py``),
    and the ``view`` for its template. ``address`` is the one under which the same can be found again, if it is not that
    of the request."""

    title: str
    view: Any
    topics: Sequence[str] = ()
    address: str | None = None


@dataclass(frozen=True, slots=True)
class Data:
    """An answer for a module of ours rather than for people: JSON."""

    body: bytes


Show = Callable[[Visit], Awaitable[Shown | Data]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page at an address. ``show`` makes what is on it, and raises ``Missing``. ``parts`` are the blocks of the
    ``template`` that may be asked for alone, with ``?part=``. ``section`` is where it is in the navigation. Unless it
    is ``personal``, a part is the same for all who have the same role, and is made without knowing who they are."""

    path: str
    show: Show
    section: str
    template: str = ""
    parts: Sequence[str] = ()
    personal: bool = False


def address(path: str, query: Mapping[str, str | None]) -> str:
    """An address with those parameters that say something."""
    said = {name: value for name, value in query.items() if value}
    return f"{path}?{urlencode(said)}" if said else path
