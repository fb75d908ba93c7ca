"""Who acts: what a person does is noted in the very decision that does it, whoever makes that decision (ADR 0048).

Whoever answers a person opens an action; every decision that is made within it, however deep, finds it in the context
of its task. The first one that writes anything writes the entry as well. What changes nothing is not noted.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, cast

import msgspec

from stepwell.ids import is_ulid
from stepwell.limits import AUDIT_DETAIL_CHARS_MAX
from stepwell.model.audit import AuditEntry
from stepwell.model.changes import Decision, Plan, SaveAudit
from stepwell.model.place import place_of

if TYPE_CHECKING:
    from stepwell.engine.draft import Draft
    from stepwell.runtime.engine import Engine

_TARGET_CHARS_MAX: Final = 255
_FIRST: Final = 0  # the place of what is about no run


class Act:
    """An action under way. ``noted`` once its entry is durable, or the action is over: what goes on by itself
    afterwards, in tasks that were begun within it, is nobody's."""

    __slots__ = ("entry", "noted")

    def __init__(self, entry: AuditEntry) -> None:
        self.entry = entry
        self.noted = False

    def noting(self, plan: Callable[[Draft], Plan]) -> Callable[[Draft], Plan]:
        """The same plan, which writes the entry with whatever else it writes."""

        def planned(draft: Draft) -> Plan:
            decision: Decision = yield from plan(draft)
            if not decision.changes:
                return decision
            note = SaveAudit(self.entry)
            draft.changes.append(note)  # for those who are shown what was written
            return msgspec.structs.replace(decision, changes=(*decision.changes, note))

        return planned


_ACT: Final[ContextVar[Act | None]] = ContextVar("stepwell_act", default=None)


def current() -> Act | None:
    """The action within which this is done, if it is not noted yet."""
    act = _ACT.get()
    return None if act is None or act.noted else act


class Actor:
    """A person, as far as is known, with what they use: ``who`` and ``via`` as in ``AuditEntry``."""

    def __init__(self, engine: Engine, who: str, via: str, request: str = "") -> None:
        self._engine = engine
        self.who, self.via, self._request = who, via, request

    @contextmanager
    def act(self, action: str, target: str = "", detail: str = "") -> Generator[Act]:
        """What is done inside is this action of theirs."""
        now = self._engine.clock.now_ms()
        place = place_of(target) if is_ulid(target) else _FIRST
        act = Act(
            AuditEntry(
                id=self._engine.new_id(place),
                at=now,
                who=self.who,
                via=self.via,
                action=action,
                target=_line(target, _TARGET_CHARS_MAX),
                detail=_line(detail, AUDIT_DETAIL_CHARS_MAX),
                request=self._request,
            )
        )
        token = _ACT.set(act)
        try:
            yield act
        finally:
            _ACT.reset(token)
            act.noted = True


def described(given: Mapping[str, object]) -> str:
    """What was asked for, in one line: numbers, choices and short texts by their names. Of data only that there are
    some, and of a password not even that."""
    said = ((name, "…" if name in _DATA else _value(value)) for name, value in given.items() if _says(name, value))
    return " ".join(f"{name}={value}" for name, value in said)


def _says(name: str, value: object) -> bool:
    return name not in _SECRET and value not in (None, "", False, [], {}, msgspec.UNSET)


def _value(value: object) -> str:
    if isinstance(value, bool | int | float):
        return str(value).lower()
    if isinstance(value, str) and len(value) <= _SHOWN_CHARS_MAX:
        return value
    if isinstance(value, list):
        texts = [each for each in cast("list[object]", value) if isinstance(each, str)]
        return _value(",".join(texts)) if len(texts) == len(cast("list[object]", value)) else "…"
    return "…"


_SHOWN_CHARS_MAX: Final = 200
_SECRET: Final = frozenset({"password", "again", "present", "csrf", "seed", "token"})
_DATA: Final = frozenset({"data", "events", "body", "input", "output", "value", "merge"})
"""What users' code is given: that there is some may be said, and not what."""


def _line(text: str, most: int) -> str:
    """As one line that may be shown, and is no longer than is kept."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= most else line[: most - 1] + "…"
