"""What a person orders of a hundred thousand runs, and what the steps of another function notice of it."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from benchmarks.deep import Deep, hold, on_deep
from benchmarks.floors import percentile, scratch
from benchmarks.multiply import park
from stepwell.model.place import EVERYWHERE
from stepwell.model.questions import Backlog
from stepwell.runtime.operator import pause, resume
from stepwell.runtime.orders import Selection, cancel_many, find_cancellation

ORDERED = (
    "resume_s",
    "resume_step_p50_ratio",
    "resume_step_ms_p99",
    "cancel_s",
    "cancel_step_p50_ratio",
    "cancel_step_ms_p99",
)
_HELD = "deep-held"
_IDLE_S = 2.0


def ordered(quick: bool) -> dict[str, float]:
    """A function with a backlog that its pause holds is resumed, and then cancelled as a whole, while another function
    takes one step after the other."""
    with tempfile.TemporaryDirectory(dir=scratch()) as folder:
        path = Path(folder) / "ordered.db"
        hold(path, keys=1000, each=20 if quick else 100)
        on_deep(path, lambda deep: pause(deep.engine, _HELD, events="hold", runs="hold"))
        park(path, _HELD, f"'paused/{_HELD}'")
        return on_deep(path, _order)


async def _order(deep: Deep) -> dict[str, float]:
    _, idle = await _meanwhile(deep, asyncio.sleep(_IDLE_S))
    found: dict[str, float] = {}
    for name, act in (("resume", _resume(deep)), ("cancel", _cancel(deep))):
        taken, steps = await _meanwhile(deep, act)
        found[f"{name}_s"] = taken
        found[f"{name}_step_p50_ratio"] = percentile(steps, 0.5) / percentile(idle, 0.5)
        found[f"{name}_step_ms_p99"] = percentile(steps, 0.99)
    return found


async def _resume(deep: Deep) -> None:
    await resume(deep.engine, _HELD)
    while await deep.engine.store.read(Backlog(f"paused/{_HELD}", 1, EVERYWHERE)):
        await asyncio.sleep(0.02)


async def _cancel(deep: Deep) -> None:
    order = await cancel_many(deep.engine, Selection(app_id="deep", function_id=_HELD))
    while (await find_cancellation(deep.engine, order.id)).ended_at is None:
        await asyncio.sleep(0.02)


async def _meanwhile(deep: Deep, act: Coroutine[Any, Any, None]) -> tuple[float, list[float]]:
    """How long it takes, in seconds, and the steps of a run at that time, in milliseconds."""
    before = time.perf_counter()
    acting = asyncio.create_task(act)
    deep.steps = []
    while not acting.done():
        deep.expect(1)
        await deep.send("deep/steps", [0])
        await deep.finished.wait()
    await acting
    return time.perf_counter() - before, deep.steps
