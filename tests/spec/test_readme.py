"""The table of the README is whole: every row of the first release, and no file that does not exist."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
ROWS = re.findall(r"^\| (F\d+) \|[^|]+\|([^|]+)\|$", (HERE / "README.md").read_text(), flags=re.MULTILINE)

# What the first release has and a user sees through functions and events.
STEPS_AND_ERRORS = {*range(25, 38), *range(40, 49), *range(52, 62)}
EVENTS_AND_TRIGGERS = {*range(1, 8), *range(12, 19), *range(20, 25)}
FLOW_AND_CANCELLATION = {63, 64, 70, *range(79, 84), 86, 87}
PROMISED = {f"F{number}" for number in STEPS_AND_ERRORS | EVENTS_AND_TRIGGERS | FLOW_AND_CANCELLATION}


def test_every_promised_row_is_in_the_table_once() -> None:
    rows = [row for row, _ in ROWS]

    assert sorted(set(rows)) == sorted(rows)
    assert sorted(PROMISED - set(rows)) == []


def test_every_file_of_the_table_exists_and_says_something() -> None:
    for row, files in ROWS:
        named = re.findall(r"`(test_\w+\.py)`", files)
        assert named, f"{row} names no file"
        for name in named:
            assert re.search(r"^(async )?def test_", (HERE / name).read_text(), flags=re.MULTILINE), name
