"""The virtual event loop: time that jumps, threads that are waited for, an order that a seed decides."""

from __future__ import annotations

import asyncio
import threading
from random import Random

import pytest

from stepwell.testing.loop import Stuck, VirtualClock, VirtualLoop, VirtualTimers


@pytest.fixture
def loop():
    loop = VirtualLoop(patience_s=0.05)
    yield loop
    loop.close()


async def pause(seconds: float) -> None:
    over = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, over.set)
    await over.wait()


def test_a_year_passes_at_once(loop):
    loop.run_until_complete(pause(365 * 86_400))

    assert loop.time() == 365 * 86_400
    assert loop.rounds < 10


def test_timers_fire_in_their_order_and_those_of_one_moment_first_come_first_served(loop):
    seen: list[str] = []
    for when, name in [(2, "c"), (1, "a"), (2, "d"), (1, "b")]:
        loop.call_at(when, seen.append, name)

    loop.run_until_complete(pause(3))

    assert seen == ["a", "b", "c", "d"]


def test_a_cancelled_timer_neither_fires_nor_holds_time_up(loop):
    seen: list[str] = []
    loop.call_at(1, seen.append, "cancelled").cancel()

    loop.run_until_complete(pause(5))

    assert seen == []
    assert loop.time() == 5


def test_thousands_of_cancelled_timers_are_thrown_away(loop):
    for _ in range(10_000):
        loop.call_at(1_000_000, print).cancel()

    assert len(loop._timers) < 1_000
    loop.run_until_complete(pause(1))


def test_timeouts_of_asyncio_work_in_virtual_time(loop):
    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3600):
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time()

    assert loop.run_until_complete(main()) == 3600


def test_a_wait_that_nothing_can_end_is_found_and_named(loop):
    async def wait_for_godot():
        await asyncio.Event().wait()

    with pytest.raises(Stuck, match=r"nothing is due any more.*wait_for_godot line"):
        loop.run_until_complete(wait_for_godot())


def test_time_stands_still_while_a_thread_works(loop):
    release = threading.Event()

    async def main():
        loop.call_later(1, release.set)
        return await asyncio.to_thread(release.wait, 0.02)

    assert loop.run_until_complete(main()) is False, "the timer fired while the thread was at work"


def test_a_thread_may_ask_the_loop(loop):
    async def answer():
        await pause(0)
        return threading.get_ident()

    def ask():
        return asyncio.run_coroutine_threadsafe(answer(), loop).result(timeout=5)

    assert loop.run_until_complete(asyncio.to_thread(ask)) == threading.get_ident()


def test_a_thread_that_never_returns_is_named(loop):
    release = threading.Event()

    def hang():
        release.wait(5)

    with pytest.raises(Stuck, match="hang"):
        loop.run_until_complete(asyncio.to_thread(hang))
    release.set()


def test_a_loop_without_pause_is_found(loop, monkeypatch):
    monkeypatch.setattr("stepwell.testing.loop._ROUNDS_MAX", 1_000)

    async def spin():
        while True:  # noqa: ASYNC110
            await asyncio.sleep(0)

    with pytest.raises(Stuck, match=r"loops without end.*spin"):
        loop.run_until_complete(spin())


def test_sockets_are_refused_with_a_way_out(loop):
    async def connect():
        await asyncio.open_connection("127.0.0.1", 1)

    with pytest.raises(Stuck, match="stub the step"):
        loop.run_until_complete(connect())


def test_in_line_nothing_runs_in_a_thread():
    loop = VirtualLoop(inline=True)

    assert loop.run_until_complete(asyncio.to_thread(threading.get_ident)) == threading.get_ident()
    loop.close()


async def order_of(count: int) -> list[int]:
    seen: list[int] = []

    async def note(number: int) -> None:
        await asyncio.sleep(0)
        seen.append(number)

    await asyncio.gather(*(note(number) for number in range(count)))
    return seen


def test_callbacks_that_are_ready_run_first_come_first_served(loop):
    assert loop.run_until_complete(order_of(10)) == list(range(10))


def test_a_seed_permutes_them_and_the_same_seed_does_so_again():
    orders = []
    for seed in (1, 1, 2):
        loop = VirtualLoop(order=Random(seed))
        orders.append(loop.run_until_complete(order_of(10)))
        loop.close()

    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == list(range(10))


def test_held_time_does_not_move_by_itself(loop):
    seen: list[str] = []
    loop.call_later(1, seen.append, "later")
    loop.call_soon(seen.append, "now")

    loop.run_ready()
    assert (seen, loop.time(), loop.next_timer()) == (["now"], 0.0, 1.0)

    loop.jump(1.0)
    loop.run_ready()
    assert seen == ["now", "later"]


async def test_it_runs_inside_of_another_loop_which_goes_on_after_it(loop):
    outer, task = asyncio.get_running_loop(), asyncio.current_task()

    inner = loop.create_task(pause(86_400))
    loop.run_apart(inner)

    assert asyncio.get_running_loop() is outer
    assert asyncio.current_task() is task
    assert loop.time() == 86_400
    await asyncio.sleep(0)


def test_its_clock_tells_whole_milliseconds_and_timers_fire_at_theirs(loop):
    clock = VirtualClock(loop, 1_767_225_600_123)
    timers = VirtualTimers(loop, clock)
    seen: list[int] = []
    for at in (1_767_225_600_124, 1_767_225_601_001, 1_798_761_600_999):
        timers.call_at(at, lambda: seen.append(clock.now_ms()))
    timers.call_at(1_767_225_600_500, lambda: seen.append(-1)).cancel()

    loop.run_until_complete(pause(366 * 86_400))

    assert seen == [1_767_225_600_124, 1_767_225_601_001, 1_798_761_600_999]
    assert timers.armed == set()
