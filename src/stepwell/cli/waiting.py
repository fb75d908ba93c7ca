"""How queues, limits and windows look in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from rich.console import Group, RenderableType
from rich.text import Text

from stepwell.cli.show import bare_table, when
from stepwell.views.queues.shapes import (
    AmountView,
    BacklogView,
    FunctionQueueView,
    HolderView,
    LimitKeyView,
    LimitsView,
    LimitView,
    QueueView,
    ResetView,
    WindowView,
)
from stepwell.views.wording import printable

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
    parts: list[RenderableType] = [queues([one], now, width)]
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
    return Group(*parts)


def moves(backlog: BacklogView, now: int) -> str:
    """When the first in line can go on, as far as it is known."""
    if backlog.by == "throttle" and backlog.next_at is not None:
        return f"the next starts {when(backlog.next_at, now)}"
    if backlog.by == "back-pressure":
        return f"all of them {when(backlog.next_at, now)}" if backlog.next_at is not None else "at once"
    if backlog.by == "paused":
        app = backlog.paused_app_id
        return f"when it is resumed: stepwell resume {backlog.function_id if app is None else f'--app {app}'}"
    if backlog.by == "unserved":
        return "when a process serves the function"
    if backlog.by == "room":
        return "when a call of this process ends"
    if backlog.by == "other":
        return ""
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


def limits(found: Sequence[LimitsView], now: int) -> Group:
    """For each function its rules, and under each the keys that are in use."""
    parts: list[RenderableType] = []
    for one in found:
        if not one.limits:
            continue
        parts.append(Text(one.function_id, style="bold"))
        for limit in one.limits:
            parts.append(Text(f"  {_declared(limit)}"))
            parts += [Text(f"    {_in_use(limit, key, now)}") for key in limit.keys]
            if limit.more:
                parts.append(Text(f"    and more, after {limit.after!r}", style="dim"))
        parts += [Text(f"  {_reset(reset, now)}", style="dim") for reset in one.resets]
    return Group(*(parts or [Text("No rules.")]))


def windows(found: Sequence[WindowView], now: int, width: int) -> Group:
    """One line for each open window."""
    if not found:
        return Group(Text("No events are held back."))
    drawn = bare_table()
    drawn.add_column("function", no_wrap=True, overflow="ellipsis")
    drawn.add_column("key", overflow="fold")
    drawn.add_column("events", justify="right", no_wrap=True)
    drawn.add_column("opened", no_wrap=True)
    drawn.add_column("starts", no_wrap=True)
    if width >= _MIDDLE:
        drawn.add_column("at the latest", no_wrap=True)
        drawn.add_column("run", no_wrap=True, min_width=26)
        drawn.add_column("event held", no_wrap=True, overflow="ellipsis")
    for one in found:
        events = f"{one.count:,}" if one.size_max is None else f"{one.count:,} of {one.size_max:,}"
        row = [one.function_id, _value(one.expression, one.value), events]
        row += [when(one.opened_at, now, short=True), when(one.fires_at, now)]
        if width >= _MIDDLE:
            row += [when(one.latest_at, now) if one.latest_at else "", one.run_id, " ".join(one.held)]
        drawn.add_row(*row)
    return Group(drawn)


def reset_said(reset: ResetView) -> str:
    """The rule and the key that was forgotten."""
    return f"{reset.control}{'' if reset.value is None else f' {printable(reset.value)!r}'}"


def _declared(limit: LimitView) -> str:
    if bytes(limit.configuration)[:1] != b"{":  # an idempotency rule is its expression
        return f"{limit.control} by {limit.expression}"
    settings = msgspec.json.decode(limit.configuration, type=dict[str, object])
    told = [f"{name} {printable(str(value))}" for name, value in settings.items() if name not in ("key", "run")]
    return ", ".join([f"{limit.control}{f' by {limit.expression}' if limit.expression else ''}", *told])


def _in_use(limit: LimitView, key: LimitKeyView, now: int) -> str:
    which = f"{printable(key.value)!r}: " if key.value is not None else ""
    next_at = when(key.next_at, now) if key.next_at else ""
    if limit.control in ("debounce", "batch"):
        return f"{which}{key.used} {'event' if key.used == 1 else 'events'} came, run {key.run_id} starts {next_at}"
    if limit.control == "idempotency":
        return f"{which}run {key.run_id} started, forgotten {next_at}"
    if key.free is not None:
        return f"{which}{key.free:,} may start now, the next {next_at}"
    by = "; ".join(held(holder, now) for holder in key.held_by)
    more = (key.used or 0) - len(key.held_by)
    return f"{which}{key.used} in use by {by}{f' and {more:,} more' if more > 0 else ''}"


def _reset(reset: ResetView, now: int) -> str:
    because = f": {printable(reset.reason)}" if reset.reason else ""
    return f"{reset_said(reset)} was reset by a person {when(reset.at, now)}{because}"


def _value(expression: str | None, value: str | None) -> str:
    return f"{expression} = {printable(value or '')!r}" if expression else ""


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
    "back-pressure": "back-pressure",
    "paused": "the pause",
    "unserved": "a process that serves it",
    "room": "room in the process",
    "other": "something else:",
}


def _said(one: QueueView) -> str:
    found = [f"{_number(getattr(one, state))} {state}" for state, _ in _STATES if getattr(one, state).count]
    return ", ".join(found) or "nothing"


def _number(amount: AmountView, zero: str = "0") -> str:
    if not amount.count:
        return "?" if amount.more else zero
    return f"{amount.count:,}{'+' if amount.more else ''}"
