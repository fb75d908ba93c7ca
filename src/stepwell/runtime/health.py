"""Is the work that is due being done?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from stepwell.errors import StorageError
from stepwell.model.questions import AnyLease, Count, NextDues, Totals

if TYPE_CHECKING:
    from stepwell.runtime.engine import Engine

_UNHEALTHY_MS: Final = 5_000  # due work that has not moved for this long is not moving
_REFUSED_MS: Final = 5_000  # for so long a disk that refused to be written counts as failing, unless it has been since


class Health(msgspec.Struct, frozen=True):
    """Whether due work moves (invariants §1.10)."""

    healthy: bool
    why: str
    totals: Totals | None


async def health_of(engine: Engine, *, count: bool) -> Health:
    """How an engine is; ``count`` for the totals as well."""
    now, totals = engine.clock.now_ms(), None
    try:
        if count:
            totals = await engine.store.read(Count(now))
        oldest = min((at for _, at in await engine.store.read(NextDues())), default=None)
    except StorageError as error:
        return Health(False, error.what, None)
    if engine.closing or engine.stopping:  # whoever spreads the load is to ask another process
        return Health(False, "this process is stopping", totals)
    if engine.refused is not None and now - engine.refused[0] < _REFUSED_MS:
        return Health(False, f"nothing can be written: {engine.refused[1]}", totals)
    if oldest is not None:
        late = now - oldest
        if late > _UNHEALTHY_MS and not await _is_full(engine, now):
            return Health(False, f"work has been due for {late / 1000:.1f} s and does not move", totals)
    if engine.dispatch_failures:
        return Health(False, f"the dispatcher failed {engine.dispatch_failures} times in a row", totals)
    return Health(True, "OK", totals)


async def _is_full(engine: Engine, now: int) -> bool:
    """Whether what is due may have to wait for calls in flight. Whoever follows cannot see those, only leases."""
    if engine.leads:
        return len(engine.caller.live) >= engine.calls_max
    return await engine.store.read(AnyLease(now))
