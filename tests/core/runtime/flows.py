"""Functions of apps over HTTP that their tests share."""

from __future__ import annotations

import pytest

from tests.core.runtime.scripted import (
    Javascript,
    Python,
    Steps,
)

DIALECTS = pytest.mark.parametrize("dialect", [Javascript, Python])


def boom():
    raise ValueError("boom")


async def two_steps(s: Steps):
    return [await s.run("a"), await s.run("b")]


async def three_at_once(s: Steps):
    return await s.group(lambda: s.run("a"), lambda: s.run("b"), lambda: s.run("c"))
