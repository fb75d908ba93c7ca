"""The judge of bodies that real processes began: two runs of one key at a time are found, and a repetition is none."""

from __future__ import annotations

import pytest

from tests.crash.verdict import overlapping


def body(run: str, key: int, begins: int, ends: int | None) -> list[dict[str, object]]:
    begun: dict[str, object] = {"run": run, "step": "alone", "attempt": 0, "key": key, "at": begins}
    return [begun] if ends is None else [begun, {"over": run, "step": "alone", "at": ends}]


def lines(*bodies: list[dict[str, object]]) -> list[dict[str, object]]:
    return sorted((line for each in bodies for line in each), key=lambda line: str(line["at"]))


@pytest.mark.parametrize(
    "ledger",
    [
        lines(body("a", 1, 100, 200), body("b", 1, 200, 300)),
        lines(body("a", 1, 100, 200), body("b", 2, 100, 200)),
        lines(body("a", 1, 100, 200), body("a", 1, 102, 220)),
        lines(body("a", 1, 100, None), body("b", 1, 150, 200)),  # whose process died at 140
    ],
    ids=["one after the other", "of two keys", "again beside itself", "after a death"],
)
def test_bodies_that_may_be(ledger: list[dict[str, object]]) -> None:
    assert overlapping(ledger, [140] if len(ledger) == 3 else []) == []


@pytest.mark.parametrize(
    "ledger",
    [
        lines(body("a", 1, 100, 200), body("b", 1, 199, 300)),
        lines(body("a", 1, 100, 200), body("a", 1, 102, 220), body("b", 1, 150, 160)),
    ],
    ids=["two runs", "beside one that began again"],
)
def test_bodies_of_two_runs_of_a_key_at_one_moment(ledger: list[dict[str, object]]) -> None:
    (found,) = overlapping(ledger, [])

    assert found.startswith("I12: 2 runs of the key 1")
