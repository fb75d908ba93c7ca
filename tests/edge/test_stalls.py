"""Code that holds the event loop is named while it does (design D23)."""

from __future__ import annotations

import asyncio
import gc
import logging
import subprocess
import sys
import threading
from typing import Any

import pytest

from stepwell import Context, Stepwell
from stepwell.runtime.stalls import StallWatch
from stepwell.sdk.doing import doing
from stepwell.testing import harness


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_a_loop_that_does_not_turn_is_told_once_with_the_line_that_holds_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    watch = StallWatch(lambda _: "step 'charge'", monotonic=clock)
    watch.start()
    try:
        clock.now += 0.9
        watch.look()
        assert not caplog.messages

        clock.now += 0.3
        watch.look()
        watch.look()

        (told,) = caplog.messages
        assert "held_s=1.2" in told
        assert "test_stalls.py" in told
        assert "step 'charge'" in told
        assert caplog.records[0].levelno == logging.WARNING
    finally:
        watch.stop()


async def test_each_time_it_is_held_it_is_told_again(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    watch = StallWatch(lambda _: None, monotonic=clock)
    for _ in range(2):
        watch.start()
        clock.now += 5
        watch.look()
        watch.stop()

    assert len(caplog.messages) == 2


async def test_a_watch_that_was_stopped_leaves_no_thread() -> None:
    before = set(threading.enumerate())
    watch = StallWatch(lambda _: None)
    watch.start()
    (thread,) = [one for one in threading.enumerate() if one.name == "stepwell-stalls" and one not in before]

    watch.stop()

    await asyncio.to_thread(thread.join, 10)
    assert not thread.is_alive()


_MUCH_GARBAGE = """
import asyncio, gc, threading
from stepwell.runtime.stalls import StallWatch

class Cycle:
    def __init__(self):
        self.itself, self.local = self, threading.local()  # its end needs a lock of the interpreter

async def main():
    now = 0
    watch = StallWatch(lambda frame: None, monotonic=lambda: now)
    gc.set_threshold(50, 2, 2)
    for _ in range(1_000):
        watch.start()
        now += 5
        for _ in range(20):
            Cycle()
        watch.look()
        watch.stop()

asyncio.run(main())
"""


def test_a_process_that_looks_while_there_is_much_garbage_goes_on() -> None:
    done = subprocess.run([sys.executable, "-c", _MUCH_GARBAGE], capture_output=True, timeout=60, check=False)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("collects", [True, False])
async def test_whether_garbage_is_collected_stays_as_it_is(collects: bool) -> None:
    clock = Clock()
    watch = StallWatch(lambda _: None, monotonic=clock)
    watch.start()
    clock.now += 5
    if not collects:
        gc.disable()
    try:
        watch.look()
        assert gc.isenabled() is collects
    finally:
        gc.enable()
        watch.stop()


def test_what_is_going_on_is_the_step_or_the_code_between_steps() -> None:
    app = Stepwell("shop")
    found: list[str | None] = []

    def look() -> None:
        found.append(doing(sys._getframe()))

    async def charge() -> None:
        look()
        await asyncio.sleep(0)
        look()

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx: Context[Any]) -> None:
        await ctx.step.run("charge", charge)
        await asyncio.gather(ctx.step.run("again", charge))
        look()

    with harness(app) as t:
        t.send("ordered")
        run_id = t.run(bill).id

    assert found == [
        *[f"step 'charge' of shop-bill, run {run_id}"] * 2,
        *[f"step 'again' of shop-bill, run {run_id}"] * 2,
        f"shop-bill, run {run_id}, between its steps",
    ]
    assert doing(sys._getframe()) is None
