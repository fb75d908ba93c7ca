"""How long to leave a run alone whose process has died under it (ADR 0010). All lengths are milliseconds."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from stepwell.limits import LEASE_LOSS_PAUSE_MAX
from stepwell.model.duration import to_ms

_AT_ONCE: Final = 2  # a deployment that went wrong, a machine that lost its power: nobody's fault, and nobody waits
_FIRST_MS: Final = 1_000
_DOUBLINGS_MAX: Final = 30
_LONGEST_MS: Final = to_ms(LEASE_LOSS_PAUSE_MAX)


def pause_ms(losses: int, run_id: str) -> int:
    """The pause after so many leases lost in a row without progress: none at first, then twice as long each time.

    Runs that went down together come back apart: each takes between half and all of the pause, by its id.
    """
    if losses <= _AT_ONCE:
        return 0
    full = min(_FIRST_MS << min(losses - _AT_ONCE - 1, _DOUBLINGS_MAX), _LONGEST_MS)
    chance = int.from_bytes(sha256(f"{run_id}/{losses}".encode(errors="surrogatepass")).digest()[:8])
    return full // 2 + chance % (full // 2)
