"""What an answer costs."""

from __future__ import annotations

import asyncio
from queue import Queue
from threading import Event, Thread

import pytest

from stepwell import clock
from stepwell.server import meter
from stepwell.server.meter import Meter


class Work:
    """Takes as long as it says, by a clock that nothing else moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 5.0
        monkeypatch.setattr(meter, "worked_s", lambda: self.now_s)

    def works(self, ms: float) -> None:
        self.now_s += ms / 1000

    async def pauses(self, ms: float) -> None:
        """Others have their turn meanwhile, and work too."""
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(self.works, 1_000)
        await asyncio.sleep(0)
        self.works(ms)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    return Work(monkeypatch)


async def test_what_others_do_meanwhile_is_not_counted(work: Work):
    counted = Meter()

    async def answer() -> str:
        work.works(2)
        await work.pauses(3)
        assert counted.ms == pytest.approx(2), "what comes after the last pause is counted at its end"
        await work.pauses(4)
        return "done"

    assert await counted.of(answer()) == "done"
    assert counted.ms == pytest.approx(9)


async def test_what_goes_wrong_is_told_and_counted(work: Work):
    counted = Meter()

    async def fail() -> None:
        await work.pauses(3)
        raise ValueError("away")

    with pytest.raises(ValueError, match="away"):
        await counted.of(fail())
    assert counted.ms == pytest.approx(3)


async def test_work_that_is_cancelled_hears_of_it(work: Work):
    counted, begun, ended = Meter(), asyncio.Event(), []

    async def wait() -> None:
        begun.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            work.works(7)
            ended.append(True)

    task = asyncio.ensure_future(counted.of(wait()))
    await begun.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert (ended, counted.ms) == ([True], pytest.approx(7))


def test_a_thread_that_waits_does_not_work():
    over, waits = Event(), Queue[float]()

    def wait() -> None:
        began_s = clock.worked_s()
        waits.put(began_s)
        over.wait()
        waits.put(clock.worked_s() - began_s)

    thread = Thread(target=wait)
    thread.start()
    waits.get()
    began_s = clock.worked_s()
    while clock.worked_s() - began_s < 0.05:
        pass
    over.set()
    thread.join()

    assert waits.get() < 0.025
