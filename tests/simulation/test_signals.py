"""Signals in imagined worlds: functions that wait for them and send them, beside those that a seed makes up."""

from __future__ import annotations

from collections import Counter
from functools import cache

import msgspec
import pytest

from stepwell.testing.plans import Plan, make_plan
from stepwell.testing.programs import Do, Fork, Hear, Nap, Signal, Spec
from stepwell.testing.world import Report, World

SEEDS = 40
HOUR_MS = 3_600_000


def with_signals(plan: Plan) -> Plan:
    """The plan, whose events also start runs that wait for a signal, take a name over, and send one."""
    waits = Spec(id="waits", event="e/0", program=(Hear("hear", HOUR_MS), Do("after"), Hear("again", 5_000)))
    takes = Spec(id="takes", event="e/1", program=(Nap("nap", 500), Hear("hear", HOUR_MS, replace=True)))
    sends = Spec(
        id="sends",
        event="e/2",
        program=(Fork(branches=((Signal("one"),), (Nap("nap", 5_000), Signal("two")))), Signal("three")),
    )
    return msgspec.structs.replace(plan, functions=(*plan.functions, waits, takes, sends))


@cache
def play(seed: int) -> Report:
    return World(with_signals(make_plan(seed))).play()


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_signal_is_heard_by_whom_its_sender_was_told(seed: int) -> None:
    report = play(seed)

    assert report.violations == (), "\n".join(report.story[-40:])


def test_signals_are_heard_missed_and_too_late() -> None:
    reached: Counter[str] = Counter()
    for seed in range(SEEDS):
        reached.update(play(seed).reached)

    assert reached.keys() >= {"signal COMPLETED", "signal TIMED_OUT", "signalled", "signalled nobody"}
