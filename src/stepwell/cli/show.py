"""How runs, events and functions look in a terminal, wide or narrow, in colour or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from stepwell.views.access import AuditView, SessionView, UserView
from stepwell.views.functions import AppView, FunctionView, SyncError, SyncView
from stepwell.views.nouns import EventView, ListedRun
from stepwell.views.versions import VersionView, said
from stepwell.views.wording import clock_time, parse_moment, printable, relative, span

STYLES: Final = {
    "QUEUED": "cyan",
    "RUNNING": "blue",
    "COMPLETED": "green",
    "FAILED": "bold red",
    "CANCELLED": "yellow",
    "SKIPPED": "dim",
}
MARKS: Final = {"QUEUED": "·", "RUNNING": "▶", "COMPLETED": "✓", "FAILED": "✗", "CANCELLED": "■", "SKIPPED": "○"}
_WIDE: Final = 112  # from here on, moments are shown absolute as well
_MIDDLE: Final = 84
_NARROW: Final = 64
_TINY: Final = 48
_SESSION_CHARS: Final = 16
_PIPE: Final = 10_000  # nobody looks at a pipe's width: one line stays one line


def console() -> Console:
    """Standard output. Widths are the terminal's; a pipe gets no colour and is never cut."""
    # No markup: [x] in a name or in data is what it is.
    out = Console(highlight=False, markup=False, emoji=False)
    return out if out.is_terminal else Console(highlight=False, markup=False, emoji=False, width=_PIPE)


def runs_table(runs: Sequence[ListedRun], now: int, width: int) -> Table:
    """One line for each run. Ids are never cut, because they are there to be copied."""
    table = bare_table()
    wide, middle, narrow = width >= _WIDE, width >= _MIDDLE, width < _NARROW
    if not narrow:
        table.add_column("queued" if middle else "age", no_wrap=True)
    table.add_column("status" if middle else "", no_wrap=True, min_width=1)
    # What is left of a narrow line after the id, the length of time and the mark.
    table.add_column("function", no_wrap=True, overflow="ellipsis", max_width=max(width - 40, 8) if narrow else None)
    if middle:
        table.add_column("event", no_wrap=True, overflow="ellipsis", style="dim")
    if width >= _TINY:
        table.add_column("took", justify="right", no_wrap=True)
    table.add_column("run", no_wrap=True, min_width=26)
    for run in runs:
        row: list[str | Text] = [] if narrow else [when(run.queued_at, now, wide=wide, short=not middle)]
        style = STYLES.get(run.status, "")
        row += [
            Text(run.status if middle else MARKS.get(run.status, "·"), style=style),
            run.function_id,
        ]
        if middle:
            row.append(printable(run.event_name or ""))
        if width >= _TINY:
            row.append(Text(took(run, now), style="dim" if run.ended_at is None else ""))
        table.add_row(*row, run.id)
    return table


def events_table(events: Sequence[EventView], now: int, width: int) -> Table:
    table = bare_table()
    wide, middle = width >= _WIDE, width >= _MIDDLE
    table.add_column("received" if middle else "age", no_wrap=True)
    table.add_column("event", no_wrap=True, min_width=26)
    table.add_column("name", no_wrap=True, overflow="ellipsis", min_width=8)
    if middle:
        table.add_column("data", no_wrap=True, overflow="ellipsis", style="dim")
    for event in events:
        row: list[str | Text] = [
            when(event.received_at, now, wide=wide, short=not middle),
            event.internal_id,
            event.name,
        ]
        if middle:
            row.append(printable(bytes(event.data)[:200].decode(errors="replace")))
        table.add_row(*row)
    return table


def functions_table(functions: Sequence[FunctionView], now: int, width: int) -> Table:
    table = bare_table()
    table.add_column("function", no_wrap=True)
    table.add_column("started by", overflow="fold")
    if width >= _MIDDLE:
        table.add_column("next tick", no_wrap=True)
        table.add_column("version", justify="right", no_wrap=True)
    for function in functions:
        name = Text(function.id)
        gap = "  " if width >= _MIDDLE else "\n"
        archived = function.archived.since if function.archived is not None else function.archived_at
        if archived is not None:
            name.append(f"{gap}archived {when(archived, now)}", style="dim")
        for word, order in (("paused", function.pause), ("drained", function.drained)):
            if order is not None:
                name.append(f"{gap}{word} {when(order.since, now)}", style="yellow")
        row: list[str | Text] = [name, triggers_text(function)]
        if width >= _MIDDLE:
            tick = function.next_tick
            row += [when(tick, now, wide=width >= _WIDE) if tick else "", str(function.version)]
        table.add_row(*row)
    return table


def versions_table(versions: Sequence[VersionView], now: int, width: int) -> Table:
    """One line for each change that a version has made."""
    table = bare_table()
    table.add_column("version", justify="right", no_wrap=True)
    table.add_column("registered", no_wrap=True)
    table.add_column("what changed", overflow="fold")
    if width >= _MIDDLE:
        table.add_column("app", no_wrap=True)
    for each in versions:
        row: list[str | Text] = [str(each.version), when(each.registered_at, now, wide=width >= _WIDE)]
        row.append(printable("\n".join(said(each.version, each.changes))))
        if width >= _MIDDLE:
            row.append(printable(" ".join(filter(None, (each.app_version, each.sdk)))))
        table.add_row(*row)
    return table


def apps_table(apps: Sequence[AppView], syncs: Sequence[SyncView], now: int, width: int) -> Table:
    """One line for each app, and one for each address where none is known yet. What is wrong has a line of its own."""
    table = bare_table()
    table.add_column("app", no_wrap=True)
    table.add_column("functions", justify="right", no_wrap=True)
    table.add_column("state", overflow="fold")
    table.add_column("address", overflow="fold")
    if width >= _WIDE:
        table.add_column("sdk", no_wrap=True)
    for app in apps:
        row: list[str | Text] = [app.id, str(app.functions), _state(app.url, app.synced_at, app.error, now)]
        row.append(app.url or "")
        if width >= _WIDE:
            row.append(printable(" ".join(filter(None, (app.sdk, app.framework)))))
        table.add_row(*row)
    known = {app.id for app in apps}
    for sync in syncs:
        if sync.app_id not in known:
            table.add_row(sync.app_id or "?", "", _state(sync.url, sync.synced_at, sync.error, now), sync.url)
    return table


def users_table(users: Sequence[UserView], now: int) -> Table:
    table = bare_table()
    for heading in ("user", "role", "since", "changed"):
        table.add_column(heading, no_wrap=True)
    for user in users:
        table.add_row(user.name, user.role, when(user.created_at, now), when(user.changed_at, now))
    return table


def sessions_table(sessions: Sequence[SessionView], now: int) -> Table:
    table = bare_table()
    for heading in ("who", "session", "begun", "seen"):
        table.add_column(heading, no_wrap=True)
    table.add_column("browser", no_wrap=True, overflow="ellipsis", style="dim")
    for each in sessions:
        row = (each.who, each.id[:_SESSION_CHARS], when(each.begun_at, now), when(each.seen_at, now))
        table.add_row(*row, printable(each.agent))
    return table


def audit_table(entries: Sequence[AuditView], now: int, width: int) -> Table:
    """One line for each action."""
    table = bare_table()
    for heading in ("when", "who", "via", "action"):
        table.add_column(heading, no_wrap=True)
    table.add_column("target", no_wrap=True, overflow="ellipsis")
    if width >= _MIDDLE:
        table.add_column("", no_wrap=True, overflow="ellipsis", style="dim")
    for each in entries:
        row = [when(each.at, now, wide=width >= _WIDE), each.who or "?", each.via, each.action, printable(each.target)]
        if width >= _MIDDLE:
            row.append(printable(each.detail))
        table.add_row(*row)
    return table


def _state(url: str | None, synced_at: str | None, error: SyncError | None, now: int) -> Text:
    if error is not None:
        return Text(f"{error.code}: {printable(error.message)}", style="red")
    if url is None:
        return Text("in process", style="dim")
    return Text("not asked yet" if synced_at is None else f"synced {when(synced_at, now)}")


def triggers_text(function: FunctionView) -> Text:
    """One line for each trigger: a name, perhaps with a condition, or a schedule."""
    lines: list[Text] = []
    for trigger in function.triggers:
        line = Text(trigger.event or f"cron {trigger.cron}")
        if trigger.expression:
            line.append(f"  if {printable(trigger.expression)}", style="dim")
        lines.append(line)
    return Text("\n").join(lines) if lines else Text("invoke only", style="dim")


def when(moment: str, now: int, *, wide: bool = False, short: bool = False) -> str:
    """A moment relative to now, and on the clock too where there is room."""
    ms = parse_moment(moment)
    if short:
        return relative(ms, now).removesuffix(" ago")
    return f"{clock_time(ms, now, None)}  {relative(ms, now)}" if wide else relative(ms, now)


def took(run: ListedRun, now: int) -> str:
    """From the first call to the end, or until now; nothing for a run that has not begun."""
    if run.started_at is None:
        return ""
    started = parse_moment(run.started_at)
    return span((parse_moment(run.ended_at) if run.ended_at else now) - started)


def bare_table() -> Table:
    """Columns without lines between them."""
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
