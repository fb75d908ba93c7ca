"""Rules as sentences, and what the last runs of a function tell."""

from __future__ import annotations

import shlex
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from stepwell.dashboard.commands import curl
from stepwell.dashboard.lately import lately, volume
from stepwell.dashboard.rules import rules, sentence
from stepwell.flow import (
    BatchEvents,
    Concurrency,
    Debounce,
    Idempotency,
    Priority,
    RateLimit,
    RunConcurrency,
    Singleton,
    Throttle,
)
from stepwell.model.function import Function
from stepwell.model.run import Run, RunStatus
from stepwell.views.queues.shapes import AmountView, LimitKeyView, LimitView

HOUR = 3_600_000


@pytest.mark.parametrize(
    ("control", "said"),
    [
        (Concurrency(1), "At most 1 step at a time."),
        (Concurrency(2, "'bank'", "env"), "At most 2 steps at a time, together with all functions of the environment."),
        (Concurrency(0), "No limit."),
        (RunConcurrency(3), "At most 3 runs under way at a time."),
        (RunConcurrency(0), "No limit."),
        (Throttle(10, "1m"), "Starts 10 runs in 1m, 1 more at once; the others wait their turn."),
        (Throttle(1, "1m", burst=0), "Starts 1 run in 1m; the others wait their turn."),
        (RateLimit(5, timedelta(hours=1)), "Starts 5 runs in 1h; the others never start."),
        (Idempotency("event.data.id"), "Starts one run in 1d for each key."),
        (Singleton("skip"), "One run at a time, from its creation to its end; a second one is not started."),
        (Singleton("cancel"), "One run at a time, from its creation to its end; a second one cancels the first."),
        (Debounce("10s"), "Waits until no event has come for 10s, and starts with the newest."),
        (Debounce("10s", "1m"), "Waits until no event has come for 10s, for 1m at most, and starts with the newest."),
        (BatchEvents(20, "30s"), "Collects up to 20 events for one run, for 30s at most."),
        (Priority("event.data.p"), "Moves a run forward among those that wait, by so many seconds."),
    ],
    ids=lambda each: type(each).__name__ if not isinstance(each, str) else "",
)
def test_a_rule_says_what_it_does(control: Any, said: str):
    assert sentence(control) == said


def test_a_key_in_use_says_how_many_wait_for_it():
    limit = Concurrency(2, key="event.data.user")
    function = Function(id="shop-work", app_id="shop", name="work", controls=(limit, Priority("1")))
    views = [
        LimitView("concurrency", limit.key, msgspec.Raw(b"{}"), [LimitKeyView(value="ann", used=2)]),
        LimitView("priority", "1", msgspec.Raw(b"{}"), []),
    ]
    waiting = {f"{limit.prefix(function.id)}ann": AmountView(count=7)}

    first, second = rules(function, views, waiting)

    (row,) = first.rows
    assert (first.kind, row.key.used, row.most, row.waiting) == ("slots", 2, 2, AmountView(count=7))
    assert (second.kind, second.rows) == ("none", [])


def run(status: str, queued_at: int, took: int = 10) -> Run:
    ended = None if status == RunStatus.RUNNING else queued_at + took
    return Run(
        id=str(queued_at), function_id="f", event_id="e", queued_at=queued_at, scheduled_at=queued_at, status=status,
        started_at=queued_at, ended_at=ended,
    )  # fmt: skip


def test_rates_and_lengths_are_told_of_what_has_ended():
    last = [run(RunStatus.RUNNING, 400), run(RunStatus.FAILED, 300, 30), run(RunStatus.CANCELLED, 200, 99)]
    last += [run(RunStatus.COMPLETED, number, number) for number in (20, 10)]

    found = lately(last, 400, asked=5)

    assert (found.runs, found.ended, found.failed, found.rate) == (5, 3, 1, "33.3 %")
    assert (found.p50, found.p95, found.since, found.all) == (20, 30, 10, False)
    assert lately([], 400, asked=5).rate == "—"
    assert lately(last, 400, asked=6).all


@pytest.mark.parametrize(
    ("runs", "ms", "said"),
    [
        (200, 10_000, "20 a second"),
        (200, 500, "200 a second"),
        (60, HOUR, "1 a minute"),
        (200, 24 * HOUR, "8.3 an hour"),
        (3, 24 * HOUR, "3 a day"),
        (1, 10 * 24 * HOUR, "0.1 a day"),
        (150_000, 1_000, "150,000 a second"),
    ],
)
def test_a_volume_is_told_in_the_unit_that_fits(runs: int, ms: int, said: str):
    assert volume(runs, ms) == said


def test_a_command_sends_what_was_shown_whatever_is_in_it():
    command = curl("http://127.0.0.1:8288", "shop/x", b'{"text": "it\'s $HOME `x`"}', production=False)

    program, address, option, body = shlex.split(command)
    assert (program, address, option) == ("curl", "http://127.0.0.1:8288/e/dev", "--json")
    assert msgspec.json.decode(body) == {"name": "shop/x", "data": {"text": "it's $HOME `x`"}}
    assert "$INNGEST_EVENT_KEY" in curl("https://x", "n", production=True)
