"""Every failure that is known from systems like this one has a test that plays it, or says why not."""

from __future__ import annotations

import ast
import re

from tests.meta.sources import ROOT, TESTS

PAGE = (ROOT / "docs" / "reference" / "known-failures.md").read_text()
PLAYED, _, NOT_PLAYED = PAGE.partition("## What is not played")
NAMED = {8, 10, *range(12, 26), 33, 45, 47, 50, 51, 52, 53, 65}
"""Those about rules for starts, clocks and cancels: there the name of a test begins with the number."""


def cited() -> dict[str, tuple[set[int], set[int]]]:
    """The numbers in the name, and in name and docstring, of each test."""
    found: dict[str, tuple[set[int], set[int]]] = {}
    for file in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                head = re.match(r"test_((?:K\d\d_)*)", node.name)
                named = {int(number) for number in re.findall(r"K(\d\d)", head[1] if head else "")}
                told = {int(number) for number in re.findall(r"\bK(\d\d)\b", ast.get_docstring(node) or "")}
                if named or told:
                    found[f"{file.relative_to(TESTS)}::{node.name}"] = named, named | told
    return found


def rows(text: str) -> dict[int, str]:
    return {int(number): rest for number, rest in re.findall(r"^\| K(\d\d) (.*)$", text, flags=re.MULTILINE)}


def test_each_failure_is_on_the_page_once():
    assert sorted([*rows(PLAYED), *rows(NOT_PLAYED)]) == list(range(1, 66))


def test_each_that_is_played_names_tests_that_say_so():
    tests = cited()
    for number, row in rows(PLAYED).items():
        names = re.findall(r"`([\w/]+\.py::\w+)`", row)
        assert names, f"K{number:02} names no test"
        assert [name for name in names if number not in tests.get(name, (set(), set()))[1]] == [], f"K{number:02}"


def test_no_test_plays_what_is_not_on_the_page():
    known = {*rows(PLAYED), *rows(NOT_PLAYED)}

    assert {name: numbers for name, (_, numbers) in cited().items() if numbers - known} == {}


def test_those_about_starts_clocks_and_cancels_have_tests_named_after_them():
    assert NAMED - set[int]().union(*(named for named, _ in cited().values())) == set()


def test_each_that_is_not_played_says_why_in_a_sentence():
    assert [number for number, row in rows(NOT_PLAYED).items() if not re.search(r"\| [A-Z][^|]+\. \|$", row)] == []
