"""Where the runs of a function are, so that all that counts together is together (ADR 0045).

What a limit counts, who waits for it and what it remembers of them is one transaction in one shard. So all runs that
may share a slot, a turn, a lock or a window of events are at one place: that of the narrowest scope which contains all
the rules of their function.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Final

import msgspec

from stepwell.flow import HOLD, KEYED
from stepwell.flow.concurrency import Concurrency
from stepwell.flow.keys import key_text, owner
from stepwell.flow.run_concurrency import RunConcurrency
from stepwell.model.function import Control, Function
from stepwell.model.place import place_for

_SHARED: Final = "/shared"  # no function is called so: in what ``owner`` makes of an id there is no slash
_TIME: Final = re.compile(r"\bnow\s*\(")


class Placement(msgspec.Struct, frozen=True):
    """``scope`` has all runs of these rules; with a ``key``, an expression over ``event``, each of its values has a
    place of its own."""

    scope: str
    key: str | None = None

    def of(self, env: Mapping[str, object], now: int) -> int:
        """The place of a run that is started by this event, and of the window that would hold it."""
        return self.of_value(key_text(self.key, env, now).text if self.key is not None else "")

    def of_value(self, text: str) -> int:
        """The place of what has this value of the key in its own key.

        Some rules treat ``false`` as if there were no value, and others as a value like any other, which the text
        "false" is for all: so these three are at one place.
        """
        return place_for(f"{self.scope}/{text if self.key is not None and text != 'false' else ''}")

    def of_key(self, key: str) -> int:
        """The place of what runs share under this key of a control: ``<control>/<function>/<value>``."""
        return self.of_value(key.split("/", 2)[-1])


def placements(functions: Iterable[Function]) -> dict[str, Placement]:
    """The placement of each function that has rules, by its id. Runs of the others are wherever their event is.

    Functions that share limits are looked at together. If each of them has but one key, equal values of these share a
    place, whoever has them. If one has others besides, the runs of one value are bound to those of another through it,
    and so are those of all functions that share.
    """
    ruled = {function.id: counting for function in functions if (counting := _counting(function.controls))}
    sharing = {function_id for function_id, controls in ruled.items() if any(map(_is_shared, controls))}
    together = any(_one_key(ruled[function_id]) is None for function_id in sharing)
    found: dict[str, Placement] = {}
    for function_id, controls in ruled.items():
        if function_id in sharing:
            found[function_id] = Placement(_SHARED, None if together else _one_key(controls))
        else:
            found[function_id] = Placement(owner(function_id), _one_key(controls))
    return found


def function_place(function_id: str) -> int:
    """The place of what a function has without any run: its ticks, and what is remembered of it as a whole."""
    return place_for(f"{owner(function_id)}/")


def cell_place(key: str) -> int:
    """The place of what a control remembers beyond the life of its runs, under a key of its own.

    It depends on nothing else, so that it is found again when the rules of the function have changed. If the control is
    the only one, its runs are there too.
    """
    return place_for(key.partition("/")[2])


def _counting(controls: Iterable[Control]) -> list[Control]:
    """Those that count something: a limit of 0 is none."""
    return [
        control
        for control in controls
        if isinstance(control, KEYED) and not (isinstance(control, Concurrency | RunConcurrency) and control.limit == 0)
    ]


def _is_shared(control: Control) -> bool:
    return isinstance(control, Concurrency | RunConcurrency) and control.scope != "fn"


def _one_key(controls: Collection[Control]) -> str | None:
    """The key that all of them have; ``None`` if one has none, or another."""
    keys = {control.key for control in controls if isinstance(control, KEYED)}
    if len(keys) > 1:
        return None
    (key,) = keys
    # An event that is held has its place when it comes, and its slots when the run starts: by then it is later.
    if key is not None and _TIME.search(key) and any(isinstance(control, HOLD) for control in controls):
        return None
    return key
