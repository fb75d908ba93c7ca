"""Settings of the interpreter whose defaults are wrong for a process that runs an engine."""

from __future__ import annotations

import gc
import sys
from typing import Final

_SWITCH_INTERVAL_S: Final = 0.0005  # ADR 0004: a thread that burns CPU must not hold every step up for 5 ms
_YOUNG_MAX: Final = 100_000  # ADR 0009: a thousand calls in flight are fifty thousand objects, none of them garbage


def tune() -> None:
    """Set what the process has not set itself: how often threads take turns, and how often cycles are looked for."""
    sys.setswitchinterval(min(sys.getswitchinterval(), _SWITCH_INTERVAL_S))
    young, middle, old = gc.get_threshold()
    if 0 < young < _YOUNG_MAX:  # 0: whoever switched the collector off knows why
        gc.set_threshold(_YOUNG_MAX, middle, old)
