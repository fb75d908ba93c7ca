"""``/settings/audit``: what people did, newest first, and who they were."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from stepwell.dashboard.page import Page, Shown, Visit, address
from stepwell.dashboard.pages.runs import AGES
from stepwell.ids import is_ulid
from stepwell.limits import SEARCH_ROWS_MAX
from stepwell.model.audit import AuditEntry
from stepwell.views.access import Sought, find_audit

_ROWS: Final = 50
WAYS: Final = {"dashboard": "Dashboard", "api": "API", "cli": "Command line"}


class Row(NamedTuple):
    """An entry; ``link`` is the page of what it was about, if there is one."""

    entry: AuditEntry
    link: str | None


class AuditPage(NamedTuple):
    """The list and what it was asked for; ``more`` is where it goes on, ``cut`` whether it was not looked through."""

    rows: Sequence[Row]
    ages: dict[str, tuple[str, int]]
    ways: dict[str, str]
    sought: Sought
    age: str
    first: bool
    filtered: bool
    more: str | None
    cut: int


async def show(visit: Visit) -> Shown:
    query = visit.query
    age = query.get("age", "") if query.get("age", "") in AGES else ""
    sought = Sought(
        who=query.get("who", "").strip(),
        via=query.get("via", "") if query.get("via", "") in WAYS else "",
        action=query.get("action", "").strip(),
        target=query.get("target", "").strip(),
        since=visit.now - AGES[age][1] if age else None,
    )
    before = query.get("before", "")
    found = await find_audit(visit.source.reader, sought, _ROWS, before if is_ulid(before) else None)
    said = {"who": sought.who, "via": sought.via, "action": sought.action, "target": sought.target, "age": age}
    view = AuditPage(
        rows=[Row(entry, link_of(entry)) for entry in found.entries],
        ages=AGES,
        ways=WAYS,
        sought=sought,
        age=age,
        first="before" not in query,
        filtered=any(said.values()),
        more=address(visit.address, {**said, "before": found.before}) if found.before else None,
        cut=SEARCH_ROWS_MAX if found.cut else 0,
    )
    return Shown(title="Audit log", view=view, topics=("audit",), address=address(visit.address, said))


def link_of(entry: AuditEntry) -> str | None:
    """The page of what an entry is about."""
    if is_ulid(entry.target):
        if entry.action in _OF_RUNS:
            return f"/runs/{entry.target}"
        return f"/events/{entry.target}" if entry.action in _OF_EVENTS else None
    return None


_OF_RUNS: Final = frozenset({"cancel-run", "rerun", "rerun-from-step", "retry-now", "skip-sleep", "answer-wait"})
_OF_EVENTS: Final = frozenset({"resend-event"})

PAGE: Final = Page(path="/settings/audit", show=show, section="settings", template="audit.html", parts=("results",))
