"""The page of limits says what ``limits.py`` says."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from stepwell import limits
from tests.meta.sources import ROOT

PAGE = (ROOT / "docs" / "reference" / "limits.md").read_text()
ROWS = dict(re.findall(r"^\| `([A-Z_]+)` \| ([^|]+?) \|", PAGE, flags=re.MULTILINE))
LIMITS = {name: value for name, value in vars(limits).items() if name.isupper()}


def written(name: str, value: int | timedelta) -> str:
    """A limit as a page for people has it."""
    if isinstance(value, timedelta):
        seconds = int(value.total_seconds())
        for unit, size in (("d", 86_400), ("min", 60)):
            if seconds % size == 0:
                return f"{seconds // size} {unit}"
        return f"{seconds} s"
    if name.endswith(("_MS_MIN", "_MS_MAX")):
        return f"{datetime.fromtimestamp(value / 1000, UTC):%Y-%m-%d}"
    for unit, size in (("MiB", 1024**2), ("KiB", 1024)):
        if "BYTES" in name and value % size == 0:
            return f"{value // size} {unit}"
    return f"{value:,}"


@pytest.mark.parametrize("name", LIMITS)
def test_every_limit_is_on_the_page_with_its_value(name: str):
    assert ROWS.get(name) == written(name, LIMITS[name])


def test_the_page_has_no_limit_that_does_not_exist():
    assert set(ROWS) == set(LIMITS)
