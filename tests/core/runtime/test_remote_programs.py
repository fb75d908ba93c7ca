"""Random programs give the same in process and over HTTP, however often the engine is killed (I4, I6).

A program is a tree. In process it is played by our SDK, over HTTP by scripted apps that behave as the official ones do;
what it gives, and which bodies have had their effect, must be the same.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from stepwell import Concurrency, Context, NonRetriableError, StepError, Stepwell
from stepwell.testing import Harness, harness
from tests.core.runtime.scripted import Final, Javascript, Python, StepFailed, Steps, pause
from tests.core.runtime.wired import Wired

RETRIES = 2
URL = "https://api.test/"


class Do(NamedTuple):
    """A body that takes so long, and fails so many times before it gives its name; for good if that is too often."""

    name: str
    seconds: int
    failures: int
    final: bool


class Nap(NamedTuple):
    name: str
    seconds: int


class Ask(NamedTuple):
    """A request that the engine makes, which takes so long; the first so many break."""

    name: str
    seconds: int
    failures: int


class Call(NamedTuple):
    name: str
    fails: bool


class Group(NamedTuple):
    branches: tuple[tuple[Any, ...], ...]
    race: bool  # a hint that nobody needs: all members are waited for


def _leaves() -> st.SearchStrategy[Any]:
    name = st.sampled_from("abcdefgh")
    seconds = st.sampled_from([0, 0, 1, 3, 20])
    return st.one_of(
        st.builds(Do, name, seconds, st.sampled_from([0, 0, 0, 1, 2, 3]), st.sampled_from([False, False, False, True])),
        st.builds(Nap, name, seconds),
        st.builds(Call, name, st.booleans()),
        st.builds(Ask, name, seconds, st.sampled_from([0, 0, 1, 99])),
    )


PROGRAMS = st.lists(
    st.recursive(
        _leaves(),
        lambda nodes: st.builds(
            Group,
            st.lists(st.lists(nodes, min_size=1, max_size=3).map(tuple), min_size=1, max_size=3).map(tuple),
            st.booleans(),
        ),
        max_leaves=7,
    ),
    min_size=1,
    max_size=4,
).map(tuple)


class Effects:
    """What the bodies did. Names are unique within a program: a step's is its path."""

    def __init__(self) -> None:
        self.begun: Counter[str] = Counter()
        self.child: Any = None

    async def body(self, key: str, node: Do, attempt: int, final: type[Exception]) -> str:
        self.begun[key] += 1
        if node.seconds:
            await pause(node.seconds)
        if attempt < node.failures:
            raise final(key) if node.final else ValueError(key)
        return f"{key} done"


async def in_process(ctx: Context, effects: Effects, program: tuple[Any, ...], path: str = "") -> list[Any]:
    found: list[Any] = []
    for index, node in enumerate(program):
        key = f"{path}{index}{getattr(node, 'name', '')}"
        try:
            if isinstance(node, Do):
                found.append(
                    await ctx.step.run(
                        key, lambda key=key, node=node: effects.body(key, node, ctx.attempt, NonRetriableError)
                    )
                )
            elif isinstance(node, Nap):
                found.append(await ctx.step.sleep(key, f"{node.seconds}s"))
            elif isinstance(node, Ask):
                found.append((await ctx.step.fetch(key, URL + key)).body)
            elif isinstance(node, Call):
                found.append(await ctx.step.invoke(key, effects.child, data={"fails": node.fails}))
            else:
                branches = [
                    lambda number=number, branch=branch, key=key: in_process(ctx, effects, branch, f"{key}.{number}.")
                    for number, branch in enumerate(node.branches)
                ]
                found.append(list(await ctx.group.parallel(branches)))
        except StepError as error:
            found.append(f"caught {error.name}")
    return found


async def over_http(s: Steps, effects: Effects, program: tuple[Any, ...], path: str = "") -> list[Any]:
    found: list[Any] = []
    for index, node in enumerate(program):
        key = f"{path}{index}{getattr(node, 'name', '')}"
        try:
            if isinstance(node, Do):
                found.append(await s.run(key, lambda key=key, node=node: effects.body(key, node, s.attempt, Final)))
            elif isinstance(node, Nap):
                found.append(await s.sleep(key, f"{node.seconds}s"))
            elif isinstance(node, Ask):
                found.append((await s.fetch(key, URL + key))["body"])
            elif isinstance(node, Call):
                found.append(await s.invoke(key, "app-child", {"fails": node.fails}))
            else:
                branches = [
                    lambda number=number, branch=branch, key=key: over_http(s, effects, branch, f"{key}.{number}.")
                    for number, branch in enumerate(node.branches)
                ]
                found.append(await s.group(*branches, mode="race" if node.race else None))
        except StepFailed as error:
            name = error.error["name"]
            found.append(f"caught {'NonRetriableError' if name == 'Final' else name}")
    return found


def _expected(program: tuple[Any, ...], limit: int | None) -> tuple[Any, Effects]:
    app, effects = Stepwell("app"), Effects()

    @app.create_function(id="child", trigger="child", retries=0)
    async def child(ctx: Context) -> str:
        if ctx.event.data["fails"]:
            raise KeyError("child")
        return "child"

    @app.create_function(id="f", trigger="f", retries=RETRIES, concurrency=Concurrency(limit) if limit else ())
    async def f(ctx: Context) -> Any:
        return await in_process(ctx, effects, program)

    effects.child = child
    with harness(app, retry_interval="2s") as t:
        _answer(t, program)
        t.send("f", {})
        t.advance("1h")
        run = t.run(f)
        t.assert_completed(run)
        return run.output, effects


def _budget(program: tuple[Any, ...], path: str = "") -> dict[str, int]:
    """How often each body begins, or each request, if nobody is killed."""
    found: dict[str, int] = {}
    for index, node in enumerate(program):
        key = f"{path}{index}{getattr(node, 'name', '')}"
        if isinstance(node, Do):
            found[key] = 1 if node.final else min(node.failures, RETRIES) + 1
        elif isinstance(node, Ask):
            found[key] = min(node.failures, RETRIES) + 1
        elif isinstance(node, Group):
            for number, branch in enumerate(node.branches):
                found |= _budget(branch, f"{key}.{number}.")
    return found


def _answer(t: Harness, program: tuple[Any, ...], path: str = "") -> None:
    """What comes back from each request of a program."""
    for index, node in enumerate(program):
        key = f"{path}{index}{getattr(node, 'name', '')}"
        if isinstance(node, Ask):
            broken = iter([OSError("broken")] * node.failures)
            t.answer_fetch(
                URL + key, body=lambda _, key=key, broken=broken: next(broken, f"{key} came"), after=f"{node.seconds}s"
            )
        elif isinstance(node, Group):
            for number, branch in enumerate(node.branches):
                _answer(t, branch, f"{key}.{number}.")


@pytest.mark.slow
@pytest.mark.parametrize(("dialect", "version"), [(Javascript, 1), (Javascript, 2), (Python, 2)])
@given(
    program=PROGRAMS,
    kills=st.lists(st.integers(0, 40_000), max_size=4),
    limit=st.sampled_from([None, None, 1, 2]),
)
@settings(max_examples=30, deadline=None)
def test_a_program_gives_over_http_what_it_gives_in_process(dialect, version, program, kills, limit):
    expected, _ = _expected(program, limit)
    budget = _budget(program)
    effects = Effects()
    with Wired(dialect, version=version, retry_interval=2_000) as t:

        @t.function("child", retries=0)
        async def child(s):
            if s.event["data"]["fails"]:
                raise KeyError("child")
            return "child"

        @t.function("f", retries=RETRIES, **({"concurrency": [{"limit": limit}]} if limit else {}))
        async def f(s):
            return await over_http(s, effects, program)

        _answer(t, program)
        run = t.start("f")
        for ms in kills:
            t.advance(ms)
            t.kill()
        t.advance("3h")

        note(run.trace())
        t.assert_completed(run, expected)
        effects.begun.update(made.url.removeprefix(URL) for made in t.fetches)
        assert set(effects.begun) == set(budget)
        for name, count in effects.begun.items():
            assert count <= budget[name] + t.kills, name
            if not t.kills:
                assert count == budget[name], name
        for name, step in run.steps.items():
            assert step.attempts <= budget.get(name, 0) + t.kills
