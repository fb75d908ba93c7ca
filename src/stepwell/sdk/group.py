"""Branches that go on at the same time: ``ctx.group``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from enum import Enum
from inspect import isawaitable
from reprlib import repr as short
from typing import Any, Literal, Never, TypeVar, overload

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

ParallelMode = Literal["wait", "race"] | Enum
"""When a failure is raised. A member of an enum stands for its value, as that of the official SDK does."""


class Group:
    """Parallel branches of an async function. ``asyncio.gather`` and ``TaskGroup`` do as well."""

    __slots__ = ()

    @overload
    def parallel(
        self, branches: tuple[Branch[T1], Branch[T2]], /, parallel_mode: ParallelMode | None = None
    ) -> Awaited[tuple[T1, T2]]: ...
    @overload
    def parallel(
        self, branches: tuple[Branch[T1], Branch[T2], Branch[T3]], /, parallel_mode: ParallelMode | None = None
    ) -> Awaited[tuple[T1, T2, T3]]: ...
    @overload
    def parallel(
        self,
        branches: tuple[Branch[T1], Branch[T2], Branch[T3], Branch[T4]],
        /,
        parallel_mode: ParallelMode | None = None,
    ) -> Awaited[tuple[T1, T2, T3, T4]]: ...
    @overload
    def parallel(
        self, branches: Iterable[Branch[T]], /, parallel_mode: ParallelMode | None = None
    ) -> Awaited[tuple[T, ...]]: ...
    def parallel(
        self, branches: Iterable[Branch[Any]], /, parallel_mode: ParallelMode | None = None
    ) -> Awaited[tuple[Any, ...]]:
        """The results of all branches, in their order. Each is a coroutine, or a callable that gives one.

        When branches fail in mode ``"wait"``, the default, the first of them (in their order) is raised after all
        others have come to their end. In mode ``"race"`` the first to fail is raised at once; the others go on and are
        ignored, and a replay raises the same one. The modes differ in nothing else: in both of them each branch goes on
        as soon as its step is done (semantics §5.6). Raises ``ConfigurationError``.
        """
        return _all(branches, parallel_mode)

    async def race(self, branches: Iterable[Branch[T]], /) -> T:
        """The result of the branch that ends first, or its error. The others go on and are ignored.

        A replay ends the race as it ended at first.
        """
        tasks = _started(members(branches, _fits, _FIX))
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


def members(branches: Any, fits: Callable[[Any], bool], fix: str) -> list[Any]:
    """The branches of a group, in a list. Raises ``ConfigurationError`` if one of them is none."""
    try:
        each = iter(branches)
    except TypeError:
        raise _refusal(
            [branches], f"the branches of a group are {short(branches)}", "there is nothing to go through", fix
        ) from None
    found: list[Any] = list(each)
    for place, branch in enumerate(found, 1):
        if not fits(branch):
            raise _refusal(found, f"branch {place} of a group is {short(branch)}", "there is nothing to begin", fix)
    return found


def fails_at_once(mode: object, branches: Sequence[Any]) -> bool:
    """Whether a failure is raised before the other branches have ended. Raises ``ConfigurationError``."""
    value = mode.value if isinstance(mode, Enum) else mode
    if value is None or value == "wait":
        return False
    if value == "race":
        return True
    raise _refusal(
        branches,
        f"the parallel_mode is {short(mode)}",
        "it says whether the failure of a branch is raised after all others have ended, or at once",
        'give "wait" or "race", or leave it out, which is "wait"',
    )


def _refusal(branches: Sequence[Any], what: str, why: str, fix: str) -> ConfigurationError:
    for branch in branches:
        if isinstance(branch, Coroutine):
            branch.close()  # else Python would complain that nobody has awaited it
    return ConfigurationError(what=what, why=why, fix=fix)


_FIX = 'give a list of steps, as in [ctx.step.run("a", a), ctx.step.run("b", b)], or of callables that give them'


def _fits(branch: Any) -> bool:
    return callable(branch) or isawaitable(branch)


async def _all(branches: Iterable[Branch[Any]], mode: ParallelMode | None) -> tuple[Any, ...]:
    found = members(branches, _fits, _FIX)
    if fails_at_once(mode, found):
        return tuple(await asyncio.gather(*_started(found)))
    results = await asyncio.gather(*_started(found), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return tuple(results)


def _started(branches: Sequence[Branch[T]]) -> list[asyncio.Task[T]]:
    # A branch that is there already is handed over as it is: wrapped, it would never be awaited where its task is
    # cancelled before it begins, and Python would complain of that.
    return [asyncio.ensure_future(_begun(branch) if callable(branch) else branch) for branch in branches]


async def _begun(branch: Callable[[], Awaitable[T]]) -> T:
    begun = branch()
    if not isawaitable(begun):
        raise ConfigurationError(
            what=f"a branch of a group has given {short(begun)}",
            why="in an 'async def' function a callable has to give something to await",
            fix="let it give a step, or be an 'async def' itself",
        )
    return await begun
