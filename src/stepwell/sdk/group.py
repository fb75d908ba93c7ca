"""Branches that go on at the same time: ``ctx.group``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Never, TypeVar, overload

from stepwell.errors import ConfigurationError

T = TypeVar("T")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
T4 = TypeVar("T4")

Awaited = Coroutine[object, Never, T]
"""What a step is until it is awaited. There is no ``Any`` in it: mypy gives up on the types of ``asyncio.gather`` and
of ``parallel`` where an argument has one."""

Branch = Awaitable[T] | Callable[[], Awaitable[T]]


class Group:
    """Parallel branches of an async function. ``asyncio.gather`` and ``TaskGroup`` do as well."""

    __slots__ = ()

    @overload
    def parallel(self, branches: tuple[Branch[T1], Branch[T2]], /) -> Awaited[tuple[T1, T2]]: ...
    @overload
    def parallel(self, branches: tuple[Branch[T1], Branch[T2], Branch[T3]], /) -> Awaited[tuple[T1, T2, T3]]: ...
    @overload
    def parallel(
        self, branches: tuple[Branch[T1], Branch[T2], Branch[T3], Branch[T4]], /
    ) -> Awaited[tuple[T1, T2, T3, T4]]: ...
    @overload
    def parallel(self, branches: Iterable[Branch[T]], /) -> Awaited[tuple[T, ...]]: ...
    def parallel(self, branches: Iterable[Branch[Any]], /) -> Awaited[tuple[Any, ...]]:
        """The results of all branches, in their order. Each is a coroutine, or a callable that gives one.

        When branches fail, the first of them (in that order) is raised after all others have come to their end.
        """
        return _all(branches)

    async def race(self, branches: Iterable[Branch[T]], /) -> T:
        """The result of the branch that ends first, or its error. The others go on and are ignored.

        A replay ends the race as it ended at first.
        """
        tasks = _started(branches)
        if not tasks:
            raise ConfigurationError(
                what="a race without branches", why="nobody could win it", fix="give it at least one"
            )
        first: asyncio.Future[asyncio.Task[T]] = asyncio.get_running_loop().create_future()

        def over(task: asyncio.Task[T]) -> None:
            if not first.done():
                first.set_result(task)
            elif not task.cancelled():
                task.exception()  # nobody will ask for the error of a loser

        for task in tasks:
            task.add_done_callback(over)
        try:
            return (await first).result()
        except asyncio.CancelledError:
            for task in tasks:
                task.cancel()
            raise


async def _all(branches: Iterable[Branch[Any]]) -> tuple[Any, ...]:
    results = await asyncio.gather(*_started(branches), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return tuple(results)


def _started(branches: Iterable[Branch[T]]) -> list[asyncio.Task[T]]:
    # A branch that is there already is handed over as it is: wrapped, it would never be awaited where its task is
    # cancelled before it begins, and Python would complain of that.
    return [asyncio.ensure_future(_begun(branch) if callable(branch) else branch) for branch in branches]


async def _begun(branch: Callable[[], Awaitable[T]]) -> T:
    return await branch()
