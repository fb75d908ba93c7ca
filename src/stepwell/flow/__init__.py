"""One file per flow control: options, key, decision. The tables say which there are and in which order they apply.

A control takes part in one moment: whether an event may start a run (``ADMIT``), whether a run may start now
(``START``), whether a call of a run may go out now (``GRANT``), or who goes first among those that wait (``RANK``).
"""

from __future__ import annotations

from typing import Final

from stepwell.flow.concurrency import Concurrency
from stepwell.flow.idempotency import Idempotency
from stepwell.flow.priority import Priority
from stepwell.flow.rate_limit import RateLimit
from stepwell.flow.singleton import Singleton
from stepwell.flow.throttle import Throttle

ADMIT: Final = (RateLimit, Idempotency, Singleton)
START: Final = (Throttle,)
GRANT: Final = (Concurrency,)
RANK: Final = (Priority,)
KEYWORDS: Final[dict[str, type[RateLimit | Idempotency | Singleton | Throttle | Concurrency | Priority]]] = {
    control.keyword: control for control in (*ADMIT, *START, *GRANT, *RANK)
}

__all__ = [
    "ADMIT",
    "GRANT",
    "KEYWORDS",
    "RANK",
    "START",
    "Concurrency",
    "Idempotency",
    "Priority",
    "RateLimit",
    "Singleton",
    "Throttle",
]
