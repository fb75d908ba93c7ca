"""The answers about queues, limits and windows, for REST v2 and the command line."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from stepwell.views.nouns import OutcomeView, View

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

    ``by`` says for what: a limit of steps or of runs, their turn of a throttle, the moment until which somebody
    whom they call asked to be left alone, the end of a pause, a process that
    serves the function, or room in a process. ``value`` is that of the limit's key, and ``expression`` what it was
    worked out from; ``used`` of ``limit`` slots are taken, by ``held_by`` and others. ``function_id`` and
    ``first_run_id`` are those of the first in line, which has waited since ``first_since``. ``next_at`` is the moment
    at which the next may start, if it is a moment that they wait for. ``paused_app_id`` is the app whose pause they
    wait for, if it is not that of the function itself."""

    key: str
    by: Literal["concurrency", "run-concurrency", "throttle", "back-pressure", "paused", "unserved", "room", "other"]
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
    paused_app_id: str | None = None


class QueueView(View, frozen=True):
    """What a function is owed.

    ``due`` runs may go on at once, ``running`` ones have a call in flight. ``blocked`` ones wait for a concurrency
    limit, ``throttled`` ones for their turn or for the end of back-pressure, ``paused`` ones until the function is
    resumed, ``unserved`` ones for a process that has the function. ``later`` ones go on at a moment: they sleep, are
    retried or start in the future. ``oldest_since`` is when the one that could go on for longest could have, and
    ``next_at`` the next moment at which something is due."""

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


class AllQueuesView(View, frozen=True):
    """What all functions are owed, with the deepest of all backlogs, and how many of these there are."""

    functions: list[QueueView]
    keys: AmountView
    backlogs: list[BacklogView]


class LeaseView(View, frozen=True):
    """A run that somebody works at. ``steps`` are those that execute in the process that is asked, ``since`` when the
    first of them began, or the run. The lease ends at ``until``, unless it is extended; ``lapsed`` is whether that
    moment has passed, so that others take the run over."""

    run_id: str
    function_id: str
    steps: list[str]
    since: str | None
    until: str
    lapsed: bool


class PressureView(View, frozen=True):
    """Nothing of a queue begins before ``until``, because what its function calls wants to be left alone: so said a
    ``step`` of a run, or without one its function's own code, with this ``message``. ``value`` is that of the key of
    the ``control`` whose queue it is; without a control it is all of the function."""

    control: Literal["concurrency", "run-concurrency", "throttle"] | None
    value: str | None
    until: str
    run_id: str
    step: str | None
    message: str


class LimitKeyView(View, frozen=True, omit_defaults=True):
    """One key of a control that is in use. ``value`` is null if the control has but one.

    ``used`` slots are taken by ``held_by`` and others; of a window it is how many events came. ``free`` starts are let
    through at this moment, and the next after them at ``next_at``; of a window that is when it closes, and of an
    idempotency key when it is forgotten. ``run_id`` is the run that started first with an idempotency key, last under a
    rate limit, or that a window will start.
    """

    value: str | None
    used: int | None = None
    free: int | None = None
    next_at: str | None = None
    run_id: str | None = None
    held_by: tuple[HolderView, ...] = ()


class LimitView(View, frozen=True, omit_defaults=True):
    """A control that a function declares, and the keys of it that are in use: up to as many as were asked for, by
    value. ``more`` says that there are further ones, which come ``after`` the last of these.

    ``configuration`` is what the app sent. Of a control without a key, nothing in use is no key.
    """

    control: str
    expression: str | None
    configuration: msgspec.Raw
    keys: list[LimitKeyView]
    more: bool = False
    after: str | None = None


class ResetView(View, frozen=True):
    """A person had the key of a control forgotten, at this moment, and gave this ``reason`` or none."""

    control: str
    value: str | None
    at: str
    reason: str = ""


class LimitsView(View, frozen=True):
    """The controls of a function with their present state, and what was reset in the last 30 days."""

    function_id: str
    limits: list[LimitView]
    resets: list[ResetView]


class ForgottenView(View, frozen=True):
    """The keys of controls that were forgotten, or with ``dry_run`` would be."""

    function_id: str
    dry_run: bool
    forgotten: list[ResetView]


class WindowView(View, frozen=True):
    """Events that are held back for one start: of ``count`` that came these are ``held``, the others were left out.

    The run ``run_id`` starts at ``fires_at``: of a debounce it moves with each newer event, but not beyond
    ``latest_at``; a batch starts sooner if it has ``size_max`` events. ``value`` is that of the key.
    """

    function_id: str
    control: Literal["debounce", "batch"]
    value: str | None
    expression: str | None
    run_id: str
    opened_at: str
    fires_at: str
    latest_at: str | None
    count: int
    size_max: int | None
    held: list[str]


class ActedView(View, frozen=True):
    """What became of open windows: how many there were, the runs that were started, and the reasons why others were
    not.

    With ``dry_run`` nothing was done. ``more`` says that there are further ones: ask again.
    """

    function_id: str
    windows: int
    dry_run: bool
    more: bool
    run_ids: list[str]
    outcomes: list[OutcomeView]
