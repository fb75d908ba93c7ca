"""How queues, limits and windows look in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.console import Group
from rich.text import Text

from stepwell.cli.show import bare_table, when
from stepwell.server.queues.shapes import AmountView, BacklogView, FunctionQueueView, HolderView, QueueView
from stepwell.server.wording import printable

_MIDDLE: Final = 84
_STATES: Final = (
    ("due", "cyan"),
    ("running", "blue"),
    ("blocked", "yellow"),
    ("throttled", "yellow"),
    ("paused", "magenta"),
    ("unserved", "red"),
    ("later", "dim"),
)


def queues(found: Sequence[QueueView], now: int, width: int) -> Group:
    """One line for each function. Where there is room, zeros keep the columns; else only what there is is named."""
    if not found:
        return Group(Text("No functions."))
    drawn = bare_table()
    drawn.add_column("function", no_wrap=True, overflow="ellipsis")
    if width >= _MIDDLE:
        for state, style in _STATES:
            drawn.add_column(state, justify="right", no_wrap=True, style=style)
    else:
        drawn.add_column("waits", overflow="fold")
    drawn.add_column("oldest", no_wrap=True)
    if width >= _MIDDLE:
        drawn.add_column("next", no_wrap=True)
    for one in found:
        row: list[str | Text] = [one.function_id]
        if width >= _MIDDLE:
            row += [_number(getattr(one, state), zero="·") for state, _ in _STATES]
        else:
            row.append(_said(one))
        row.append(when(one.oldest_since, now, short=True) if one.oldest_since else "")
        if width >= _MIDDLE:
            row.append(when(one.next_at, now) if one.next_at else "")
        drawn.add_row(*row)
    return Group(drawn)


def function_queue(one: FunctionQueueView, now: int, width: int) -> Group:
    """One function: its line, then one for each backlog with what it waits for."""
    parts: list[object] = [queues([one], now, width)]
    if one.backlogs:
        drawn = bare_table()
        drawn.add_column("waiting", justify="right", no_wrap=True)
        drawn.add_column("for", overflow="fold")
        drawn.add_column("since", no_wrap=True)
        drawn.add_column("moves", overflow="fold")
        for backlog in one.backlogs:
            since = when(backlog.first_since, now, short=True) if backlog.first_since else ""
            drawn.add_row(_number(backlog.waiting), _reason(backlog), since, moves(backlog, now))
        parts += [Text(), drawn]
        hidden = one.keys.count - len(one.backlogs)
        if hidden > 0:
            parts.append(Text(f"\n{hidden:,}{'+' if one.keys.more else ''} more keys wait: --limit", style="dim"))
    return Group(*parts)  # type: ignore[arg-type]


def moves(backlog: BacklogView, now: int) -> str:
    """When the first in line can go on, as far as it is known."""
    if backlog.by == "throttle" and backlog.next_at is not None:
        return f"the next starts {when(backlog.next_at, now)}"
    if backlog.by == "paused":
        return f"when it is resumed: stepwell resume {backlog.function_id}"
    if backlog.by == "unserved":
        return "when a process serves the function"
    if backlog.by == "room":
        return "when a call of this process ends"
    if not backlog.held_by:
        return "at once"
    what = "run" if backlog.by == "run-concurrency" else "call"
    others = (backlog.used or 0) - len(backlog.held_by)
    which = "; ".join(held(holder, now) for holder in backlog.held_by[:2])
    more = others + max(0, len(backlog.held_by) - 2)
    return f"when a {what} ends: {which}{f' and {more:,} more' if more > 0 else ''}"


def held(holder: HolderView, now: int) -> str:
    """A run that holds a slot: what it does, and since when."""
    step = f" in {printable(holder.step)}" if holder.step else ""
    since = f", since {when(holder.since, now, short=True)}" if holder.since else ""
    return f"{holder.run_id}{step}{since}"


def _reason(backlog: BacklogView) -> str:
    which = f" {backlog.expression} = {printable(backlog.value or '')!r}" if backlog.expression else ""
    if not which and backlog.value:
        which = f" {printable(backlog.value)!r}"
    used = f", {backlog.used:,} of {backlog.limit:,} in use" if backlog.used is not None and backlog.limit else ""
    shared = (
        f", shared in the {'environment' if backlog.scope == 'env' else 'account'}" if backlog.scope != "fn" else ""
    )
    return f"{_NAMES[backlog.by]}{which}{used}{shared}"


_NAMES: Final = {
    "concurrency": "concurrency",
    "run-concurrency": "runs under way",
    "throttle": "throttle",
    "paused": "the pause",
    "unserved": "a process that serves it",
    "room": "room in the process",
}


def _said(one: QueueView) -> str:
    found = [f"{_number(getattr(one, state))} {state}" for state, _ in _STATES if getattr(one, state).count]
    return ", ".join(found) or "nothing"


def _number(amount: AmountView, zero: str = "0") -> str:
    if not amount.count and not amount.more:
        return zero
    return f"{amount.count:,}{'+' if amount.more else ''}"
