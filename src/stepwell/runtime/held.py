"""What people ask of an engine about flow controls: close windows of events now, delete them, forget what is used
up."""

from __future__ import annotations

from collections.abc import Sequence

from stepwell.engine import held
from stepwell.flow.window import Window
from stepwell.model.history import Outcome
from stepwell.model.run import Run
from stepwell.runtime.engine import Engine
from stepwell.runtime.standing import checked_reason


async def run_now(engine: Engine, key: str) -> Run | Outcome | None:
    """Start the run of a window of events before its time: the run, or why there is none; ``None`` if there is no
    window of this key any more."""
    engine.refuse_if_stopping()
    verdict = await engine.commit(lambda draft: held.run_now(draft, key))
    await engine.until_ends_seen(verdict)  # it may take the place of a run that another process executes (I18)
    started: Run | Outcome | None = verdict.result.value
    return started


async def discard(engine: Engine, key: str) -> bool:
    """Delete a window of events: no run starts, and each event says so. False if there is none of this key any more."""
    engine.refuse_if_stopping()
    verdict = await engine.commit(lambda draft: held.discard(draft, key))
    found: Window | None = verdict.result.value
    return found is not None


async def reset(engine: Engine, function_id: str, keys: Sequence[str], *, reason: str = "") -> list[str]:
    """Forget what is remembered under these keys, as if no run had started for them, and record that. The keys under
    which there was something. Raises ``ConfigurationError`` for a reason that is too long."""
    engine.refuse_if_stopping()
    checked_reason(reason)
    verdict = await engine.commit(lambda draft: held.reset(draft, function_id, keys, reason))
    done: list[str] = verdict.result.value
    return done
