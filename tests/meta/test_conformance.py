"""The page of conformance has every statement of the protocol's checklist and each feature of flow control and
operations, and each is tested or says why not."""

from __future__ import annotations

import ast
import re
from itertools import chain

import pytest

from tests.conformance import OFFICIAL, features, left_out, missing, numbers, statements, unsaid
from tests.meta.sources import ROOT, TESTS

PAGE = (ROOT / "docs" / "reference" / "conformance.md").read_text()
TEXTS = {number: text for found in statements().values() for number, text in found.items()}


def by_number() -> dict[int, list[str]]:
    """The tests of each statement."""
    found: dict[int, list[str]] = {}
    for file in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                for number in numbers(node.name, ast.get_docstring(node)):
                    found.setdefault(number, []).append(f"{file.relative_to(TESTS)}::{node.name}")
    return found


def test_the_statements_are_numbered_from_1_without_gaps():
    assert list(TEXTS) == list(range(1, len(TEXTS) + 1))


def test_every_statement_has_a_test_or_a_reason():
    assert {*TEXTS} - {*by_number()} - {*missing()} == set()


def test_a_statement_that_has_a_test_needs_no_reason():
    """Else remove it from [missing] in tests/protocol/statements.toml, and run scripts/conformance."""
    assert {number: tests for number, tests in by_number().items() if number in missing()} == {}


def test_no_test_names_a_statement_that_does_not_exist():
    assert {number: tests for number, tests in by_number().items() if number not in TEXTS} == {}


def test_the_page_has_every_statement():
    rows = re.findall(r"^\| (\d+) \| (.+?) \|(?: [✓✗]? \|){5}$", PAGE, flags=re.MULTILINE)

    assert {int(number): text.replace("\\|", "|") for number, text in rows} == TEXTS


def test_the_page_shows_no_failure():
    assert "✗" not in PAGE.partition("## Transport")[2]


@pytest.mark.parametrize(
    ("name", "docstring", "shown"),
    [
        ("test_16_python_spells_its_members", None, {16}),
        ("test_p14_54_55_a_memo_has_one_member", None, {54, 55}),
        ("test_p14_39_40_no_retry", None, {39, 40}),
        ("test_101_a", None, {101}),
        ("test_5000_events_fit", None, set[int]()),
        ("test_a", "Checklist 12.", {12}),
        ("test_a", "Checklist 97, and §15, 20.", {97}),
        ("test_a", "Checklist 75 for v4, and 76 for v3: there a call follows each of 3.", {75, 76}),
        ("test_a", "Invariants S4. 12 more.", set[int]()),
    ],
)
def test_what_a_test_shows_is_in_its_name_or_its_docstring(name: str, docstring: str | None, shown: set[int]):
    assert numbers(name, docstring) == shown


def test_every_reason_is_a_sentence():
    reasons = chain(missing().values(), left_out().values(), unsaid().values())
    assert all(re.match(r"[A-Z].+\.$", reason) for reason in reasons)


def test_the_page_says_what_is_left_out():
    assert [row for row in left_out().items() if f"| {row[0]} | {row[1]} |" not in PAGE] == []


# Features -------------------------------------------------------------------------------------------------------------


def marked() -> set[str]:
    """The features that tests say they show."""
    found: set[str] = set()
    for file in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.feature":
                found |= {ast.literal_eval(each) for each in node.args}
    return found


def test_every_feature_has_a_test_or_a_reason_with_each_official_sdk():
    rows = re.findall(r"^\| (F\d+) \| (.+?) \|((?: [✓–] \|){3})$", PAGE, flags=re.MULTILINE)

    assert {id: text for id, text, _ in rows} == features()
    shown = {(id, sdk): mark for id, _, marks in rows for sdk, mark in zip(OFFICIAL, marks[1::4], strict=True)}
    assert {each for each, mark in shown.items() if mark == "–"} == {*unsaid()}


def test_no_test_shows_a_feature_that_is_not_listed():
    assert marked() - {*features()} == set()
