"""What people decide for a function, an app, or all there is, until they take it back."""

from __future__ import annotations

from stepwell.engine import standing
from stepwell.errors import ConfigurationError, NotFound
from stepwell.limits import PAUSE_REASON_CHARS_MAX
from stepwell.model.pause import Pause
from stepwell.model.standing import EVERYTHING, StandingKind, StandingOrder
from stepwell.runtime.engine import Engine


async def give(engine: Engine, kind: StandingKind, target: str, *, reason: str = "") -> StandingOrder:
    """Archive or drain from now on (semantics §9.6, §9.9). Raises ``NotFound``, and ``ConfigurationError`` for a
    durable endpoint or a reason that is too long."""
    checked_reason(reason)
    return await _give(engine, StandingOrder(kind=kind, target=target, since=engine.clock.now_ms(), reason=reason))


async def pause_all(engine: Engine, target: str, *, events: str, runs: str, reason: str = "") -> StandingOrder:
    """Pause all functions of an app, also those that it gets later. Raises as ``give()`` does."""
    checked_reason(reason)
    pause = Pause(since=engine.clock.now_ms(), events=events, runs=runs, reason=reason)
    return await _give(
        engine, StandingOrder(kind=StandingKind.PAUSE, target=target, since=pause.since, reason=reason, pause=pause)
    )


async def withdraw(engine: Engine, kind: StandingKind, target: str) -> StandingOrder | None:
    """Take it back; the order that held, ``None`` if there was none."""
    engine.refuse_if_stopping()
    found: StandingOrder | None = await engine.declare(lambda draft: standing.withdraw(draft, kind, target))
    return found


def checked_reason(reason: str) -> None:
    """Raises ``ConfigurationError``."""
    if len(reason) > PAUSE_REASON_CHARS_MAX or not (reason.isprintable() or not reason):
        raise ConfigurationError(
            f"the reason {reason!r:.40} cannot be kept",
            f"it is one line of up to {PAUSE_REASON_CHARS_MAX} characters, for people who ask why",
            "write less, and keep the rest elsewhere",
        )


async def _give(engine: Engine, order: StandingOrder) -> StandingOrder:
    engine.refuse_if_stopping()
    scope, _, name = order.target.partition("/")
    function = engine.registry.of_run(name) if scope == "function" else None
    if function is not None and function.endpoint is not None:
        verb = {StandingKind.ARCHIVE: "archived", StandingKind.DRAIN: "drained"}[StandingKind(order.kind)]
        raise ConfigurationError(
            f"{name} cannot be {verb}",
            "it is a durable endpoint: its own clients call it, and it begins its runs by itself",
            "refuse the requests in the app",
        )
    found: StandingOrder | None = await engine.declare(lambda draft: standing.give(draft, order))
    if found is None:
        assert order.target != EVERYTHING, "there is always something"
        why = "no app has ever registered it" if scope == "function" else "no function was ever registered under it"
        raise NotFound(f"there is no {scope} {name!r}", why, f"list them: stepwell {scope}s")
    await engine.until_seen()
    return found
