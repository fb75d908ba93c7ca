"""What every test shares: coroutine tests, and property tests that try the same examples each time."""

from __future__ import annotations

import asyncio
import gc
import inspect
import signal
import sys
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import settings

from tests.conformance import describe
from tests.on_postgres import LEFT_OUT, about_files, on_postgres, told

settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.register_profile("explore", deadline=None, max_examples=2_000)
settings.load_profile("repeatable")  # the other one: pytest --hypothesis-profile=explore


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--conformance", action="store_true", help="Only tests of the protocol's checklist, and of features."
    )
    parser.addoption("--shards", type=int, help="How many shards a store has in tests/spec.")
    parser.addoption(
        "--store",
        choices=("sqlite", "postgres"),
        default="sqlite",
        help="What harnesses and servers keep everything in. On PostgreSQL, tests that are about files are left out.",
    )


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a shell; whom we start inherits it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.getoption("--store") == "postgres":
        on_postgres()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Results say what they show of the protocol; docs/reference/conformance.md is made of that."""
    describe(items)
    if config.getoption("--store") == "postgres":
        others = about_files(items)
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in set(others)]
    if config.getoption("--conformance"):
        shown = ("statement", "feature")
        others = [item for item in items if not any(name in shown for name, _ in item.user_properties)]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in set(others)]


def pytest_collection_finish() -> None:
    """What is there by now stays until the end: no collection of garbage needs to go through all of it again."""
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say how many tests were left out, and why."""
    for line in told():
        terminalreporter.write_line(line)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A worker of pytest-xdist has ended: each has looked at all tests."""
    LEFT_OUT.update(getattr(node, "workeroutput", {}).get("left_out", {}))  # one that was killed says nothing


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = dict(LEFT_OUT)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run ``async def`` tests. Fixtures stay synchronous, so this is all the plugin we need."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    work = pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names})
    asyncio.run(_told(work, 0.9 * float(pyfuncitem.config.getini("timeout"))))
    return True


async def _told(work: Coroutine[Any, Any, None], after_s: float) -> None:
    """Run a test. Shortly before one is given up it says what its tasks wait for; its threads only wait for them."""
    stuck = asyncio.get_running_loop().call_later(after_s, _tell_tasks)
    try:
        await work
    finally:
        stuck.cancel()


def _tell_tasks() -> None:
    found: list[Any] = gc.get_objects()  # with those of other threads
    for task in (each for each in found if isinstance(each, asyncio.Task)):
        if not task.done():
            task.print_stack(file=sys.stderr)
