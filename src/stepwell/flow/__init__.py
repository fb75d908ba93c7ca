"""One file per flow control: options, key, decision. The tables say which there are and in which order they apply.

A control takes part in one moment: whether an event is held back (``HOLD``) or may start a run (``ADMIT``), whether a
run may start now (``START``), whether a call of a run may go out now (``GRANT``), or who goes first among those that
wait (``RANK``).
"""

from __future__ import annotations

from typing import Final

from stepwell.flow.batch_events import BatchEvents
from stepwell.flow.concurrency import Concurrency
from stepwell.flow.debounce import Debounce
from stepwell.flow.idempotency import Idempotency
from stepwell.flow.priority import Priority
from stepwell.flow.rate_limit import RateLimit
from stepwell.flow.run_concurrency import RunConcurrency
from stepwell.flow.singleton import Singleton
from stepwell.flow.throttle import Throttle

ADMIT: Final = (BatchEvents, RateLimit, Idempotency, Debounce, Singleton)
HOLD: Final = (BatchEvents, Debounce)
START: Final = (RunConcurrency, Throttle)
GRANT: Final = (Concurrency,)
RANK: Final = (Priority,)
KEYED: Final = (*ADMIT, *START, *GRANT)
_Any = BatchEvents | RateLimit | Idempotency | Debounce | Singleton | Throttle | Concurrency | Priority
KEYWORDS: Final[dict[str, type[_Any]]] = {control.keyword: control for control in (*ADMIT, Throttle, *GRANT, *RANK)}
"""By what they are called on the wire, where limits of runs are a part of those of steps."""

__all__ = [
    "ADMIT",
    "GRANT",
    "HOLD",
    "KEYED",
    "KEYWORDS",
    "RANK",
    "START",
    "BatchEvents",
    "Concurrency",
    "Debounce",
    "Idempotency",
    "Priority",
    "RateLimit",
    "RunConcurrency",
    "Singleton",
    "Throttle",
]
