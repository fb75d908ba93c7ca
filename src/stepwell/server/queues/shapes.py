"""The answers about queues, limits and windows, for REST v2 and the command line."""

from __future__ import annotations

from typing import Final, Literal

from stepwell.server.views import View

COUNT_MAX: Final = 10_000
"""From here on a number is only the least: counting costs a look at each row."""


class AmountView(View, frozen=True):
    """How many there are: at least so many if there are ``more`` than were counted."""

    count: int
    more: bool = False


class HolderView(View, frozen=True):
    """A run that uses a slot. ``step`` is what it executes, as far as the process that is asked knows, and ``since``
    the moment that began, or the run. Its lease lasts ``until`` then if it is not extended; a run that holds its place
    while it sleeps or waits has none."""

    run_id: str
    function_id: str | None
    step: str | None
    since: str | None
    until: str | None


class BacklogView(View, frozen=True):
    """Runs that wait for the same thing, in their order.

    ``by`` says for what: a limit of steps or of runs, their turn of a throttle, the end of a pause, a process that
    serves the function, or room in a process. ``value`` is that of the limit's key, and ``expression`` what it was
    worked out from; ``used`` of ``limit`` slots are taken, by ``held_by`` and others. ``function_id`` and
    ``first_run_id`` are those of the first in line, which has waited since ``first_since``. ``next_at`` is the moment
    at which the next may start, if it is a moment that they wait for."""

    key: str
    by: Literal["concurrency", "run-concurrency", "throttle", "paused", "unserved", "room"]
    scope: Literal["fn", "env", "account"]
    value: str | None
    expression: str | None
    waiting: AmountView
    function_id: str | None
    first_run_id: str | None
    first_since: str | None
    limit: int | None
    used: int | None
    held_by: list[HolderView]
    next_at: str | None


class QueueView(View, frozen=True):
    """What a function is owed.

    ``due`` runs may go on at once, ``running`` ones have a call in flight. ``blocked`` ones wait for a concurrency
    limit, ``throttled`` ones for their turn, ``paused`` ones until the function is resumed, ``unserved`` ones for a
    process that has the function. ``later`` ones go on at a moment: they sleep, are retried or start in the future.
    ``oldest_since`` is when the one that could go on for longest could have, and ``next_at`` the next moment at which
    something is due."""

    function_id: str
    due: AmountView
    running: AmountView
    blocked: AmountView
    throttled: AmountView
    paused: AmountView
    unserved: AmountView
    later: AmountView
    oldest_since: str | None
    next_at: str | None


class FunctionQueueView(QueueView, frozen=True):
    """The same with the backlogs that there are, the deepest first, and how many there are."""

    keys: AmountView
    backlogs: list[BacklogView]
