"""What virtual time costs whoever tests with it: a month of one run, a year of a cron."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from benchmarks.floors import percentile
from stepwell import Context, Stepwell, TriggerCron
from stepwell.testing import harness

_HOURS = 365 * 24

app = Stepwell("virtual")
_failed: set[str] = set()


@app.create_function(id="month", trigger="bench/joined", retries=3)
async def month(ctx: Context[Any]) -> str:
    async def flaky() -> str:
        if ctx.run_id not in _failed:
            _failed.add(ctx.run_id)
            raise ConnectionError("not yet")
        return "sent"

    await ctx.step.run("welcome", flaky)
    for number in range(9):
        await ctx.step.sleep(f"rest {number}", "2d")
        await ctx.step.run(f"nudge {number}", small)
    answer = await ctx.step.wait_for_event("answer", "bench/answered", match="data.user", timeout="7d")
    await ctx.step.sleep("cool off", "11d")
    return "silent" if answer is None else "answered"


async def small() -> str:
    return "x" * 90


def month_ms(rounds: int = 7) -> float:
    """One flow of 30 days with ten sleeps, ten steps, a retry and a wait, the harness included."""
    taken: list[float] = []
    for _ in range(rounds):
        _failed.clear()
        started = time.perf_counter()
        with harness(app) as t:
            t.send("bench/joined", {"user": "u-1"})
            t.advance("19d")
            t.send("bench/answered", {"user": "u-1"})
            t.advance("12d")
            run = t.run(month)
            t.assert_completed(run, "answered")
            taken.append((time.perf_counter() - started) * 1000)
            took = run.ended_at - run.started_at if run.started_at and run.ended_at else timedelta()
            if took.days < 30 or run.steps["welcome"].attempts != 2:
                raise RuntimeError(f"not the flow that is to be measured:\n{run.trace()}")
    return percentile(taken, 0.5)


def year_s() -> float:
    """A year of an hourly cron whose function has one step, the harness included."""
    ticking = Stepwell("ticking")

    @ticking.create_function(id="hourly", trigger=TriggerCron("0 * * * *"))
    async def hourly(ctx: Context[Any]) -> None:
        await ctx.step.run("tick", small)

    started = time.perf_counter()
    with harness(ticking) as t:
        t.advance("365d")
        taken = time.perf_counter() - started
        ended = sum(1 for run in t.runs(hourly) if run.ended)
    if ended != _HOURS:
        raise RuntimeError(f"{ended:,} of {_HOURS:,} ticks ran to their end")
    return taken
