"""Drives the processes of a load, ours or a peer's, and tells how many steps a second they took and what that cost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.postgres_server import Server, Spent, tree_cpu_s

STEPS: Final = 5
_WARM: Final = 200  # runs, after which connections are open, statements prepared and caches warm
_TOO_LONG_S: Final = 120
_TOLD_S: Final = 11  # after so long at the latest a backend that rests has said what it did
_ROOT: Final = Path(__file__).resolve().parents[1]


class Rate(NamedTuple):
    """``cpu_s`` is that of the processes of the load, ``spent`` what a round took of the server on average, if one was
    given; each of ``steps`` steps."""

    steps_per_s: float
    steps: int
    cpu_s: float
    spent: Spent | None


def ours(store: str, processes: int = 1) -> list[list[str]]:
    return [[sys.executable, "-m", "benchmarks.postgres_load", store] for _ in range(processes)]


def drive(commands: Sequence[list[str]], runs: int, rounds: int, server: Server | None = None) -> Rate:
    """So many runs in all, started at once and shared out among the processes; the median of the rounds."""
    return asyncio.run(_drive(commands, runs, rounds, server))


async def _drive(commands: Sequence[list[str]], runs: int, rounds: int, server: Server | None) -> Rate:
    async with _started(commands) as load:
        await load.take(_WARM)
        before = await asyncio.to_thread(server.spent) if server is not None else None
        found: list[Rate] = []
        for _ in range(rounds):
            cpu = load.cpu_s()
            took = await load.take(runs)
            found.append(Rate(runs * STEPS / took, runs * STEPS, load.cpu_s() - cpu, None))
        spent = None
        if server is not None and before is not None:
            await asyncio.sleep(_TOLD_S)  # a round is over before its backends have said anything
            in_all = (await asyncio.to_thread(server.spent)).since(before)
            spent = Spent(*(each / rounds for each in in_all))
    middle = statistics.median_low(rate.steps_per_s for rate in found)
    return next(rate for rate in found if rate.steps_per_s == middle)._replace(spent=spent)


class _Load:
    def __init__(self) -> None:
        self.processes: list[asyncio.subprocess.Process] = []
        self._counts: list[int] = []
        self._changed = asyncio.Event()

    async def start(self, command: list[str]) -> asyncio.Task[None]:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=_ROOT,
            env=_environment(command),
        )
        self.processes.append(process)
        self._counts.append(0)
        assert process.stdout is not None
        while (line := await process.stdout.readline()).strip() != b"ready":
            if not line:
                raise RuntimeError(f"{' '.join(command)} has ended before it was ready")
        return asyncio.create_task(self._listen(len(self.processes) - 1, process.stdout))

    async def take(self, runs: int) -> float:
        """Seconds until so many runs more have ended."""
        share = runs // len(self.processes)
        wanted = sum(self._counts) + share * len(self.processes)
        began = time.perf_counter()
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.write(b"%d\n" % share)
        while sum(self._counts) < wanted:
            self._changed.clear()
            await asyncio.wait_for(self._changed.wait(), _TOO_LONG_S)
        return time.perf_counter() - began

    def cpu_s(self) -> float:
        return sum(tree_cpu_s(process.pid) for process in self.processes)

    async def _listen(self, index: int, lines: asyncio.StreamReader) -> None:
        while line := await lines.readline():
            if line.strip().isdigit():  # a library may say other things
                self._counts[index] = int(line)
                self._changed.set()


def _environment(command: list[str]) -> dict[str, str]:
    """A peer has packages of its own, and is not to find ours."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH" or command[0] == sys.executable}


@contextlib.asynccontextmanager
async def _started(commands: Sequence[list[str]]) -> AsyncGenerator[_Load]:
    load = _Load()
    listening: list[asyncio.Task[None]] = []
    try:
        for command in commands:  # one after the other: the first makes the tables
            listening += [await load.start(command)]
        yield load
    finally:
        for process in load.processes:
            assert process.stdin is not None
            process.stdin.close()
        for process in load.processes:
            try:
                await asyncio.wait_for(process.wait(), 20)
            except TimeoutError:
                process.kill()
                await process.wait()
        for task in listening:
            task.cancel()
