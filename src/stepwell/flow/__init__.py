"""One file per flow control: options, key, decision. The tables say which there are and in which order they apply.

A control takes part in one moment: whether an event may start a run (``ADMIT``), or whether a call of a run may go out
now (``GRANT``).
"""

from __future__ import annotations

from typing import Final

from stepwell.flow.concurrency import Concurrency
from stepwell.flow.idempotency import Idempotency

ADMIT: Final = (Idempotency,)
GRANT: Final = (Concurrency,)
KEYWORDS: Final[dict[str, type[Idempotency] | type[Concurrency]]] = {
    control.keyword: control for control in (*ADMIT, *GRANT)
}

__all__ = ["ADMIT", "GRANT", "KEYWORDS", "Concurrency", "Idempotency"]
