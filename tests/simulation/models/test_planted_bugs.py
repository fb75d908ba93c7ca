"""Bugs planted on purpose in each rule: a model that does not find them proves nothing."""

from __future__ import annotations

import pytest

from tests.simulation.models.machine import check
from tests.simulation.models.test_batch_events import BatchMachine
from tests.simulation.models.test_concurrency import ConcurrencyMachine
from tests.simulation.models.test_debounce import DebounceMachine
from tests.simulation.models.test_priority import PriorityMachine
from tests.simulation.models.test_rate_limit import IdempotencyMachine, RateLimitMachine
from tests.simulation.models.test_run_concurrency import RunConcurrencyMachine
from tests.simulation.models.test_singleton import SingletonMachine
from tests.simulation.models.test_throttle import ThrottleMachine
from tests.simulation.mutants import MUTANTS, MUTANTS_OF_RULES

pytestmark = pytest.mark.sqlite("is about the models, which are the same wherever the store is")
PLANTED = [
    (ThrottleMachine, "throttles let everybody through"),
    (ThrottleMachine, "nobody calls those who wait their turn"),
    (ThrottleMachine, "an older, slower rate goes on"),
    (ThrottleMachine, "nobody lets go what waited for its function to be resumed"),
    (ThrottleMachine, "runs of a paused function go on"),
    (RateLimitMachine, "rate limits let everybody through"),
    (RateLimitMachine, "an older, slower rate goes on"),
    (IdempotencyMachine, "an event id is not remembered"),
    (SingletonMachine, "a second run starts beside the one there may be"),
    (SingletonMachine, "slots are not given back"),
    (DebounceMachine, "a debounce keeps the oldest"),
    (DebounceMachine, "nothing ends a window"),
    (DebounceMachine, "a window is used again"),
    (BatchMachine, "nothing ends a window"),
    (BatchMachine, "a window is used again"),
    (BatchMachine, "events of a batch are not kept"),
    (PriorityMachine, "nobody has a head start"),
    (RunConcurrencyMachine, "places are given to everybody"),
    (RunConcurrencyMachine, "nobody is let in when a slot is free"),
    (ConcurrencyMachine, "a limit does not hold"),
    (ConcurrencyMachine, "nobody is let in when a slot is free"),
    (ConcurrencyMachine, "slots are not given back"),
    (ConcurrencyMachine, "of those who share a limit only the first is asked"),
    (ConcurrencyMachine, "room that its first cannot take is lost"),
    (ConcurrencyMachine, "a call that goes on takes slots that there are not"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("machine", "name"), PLANTED, ids=lambda value: getattr(value, "__name__", value))
def test_a_model_finds(machine, name, monkeypatch):
    (MUTANTS | MUTANTS_OF_RULES)[name](monkeypatch)

    with pytest.raises(Exception) as found:
        check(machine, share=1, shrinks=False)

    assert not isinstance(found.value, ImportError)
