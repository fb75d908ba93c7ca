"""The project's own files agree with one another."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.meta.sources import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = {package["name"]: package for package in tomllib.loads((ROOT / "uv.lock").read_text())["package"]}
FRAGMENTS = sorted(path for path in (ROOT / "changes").iterdir() if path.name != "README.md")


def test_the_lock_is_made_from_the_dependencies_as_they_are_declared():
    metadata = LOCK["stepwell"]["metadata"]
    declared = {_name(line) for line in PYPROJECT["project"]["dependencies"]}
    declared_dev = {_name(line) for line in PYPROJECT["dependency-groups"]["dev"]}

    assert {each["name"] for each in metadata["requires-dist"] if "extra" not in each.get("marker", "")} == declared
    assert {each["name"] for each in metadata["requires-dev"]["dev"]} == declared_dev
    assert LOCK["stepwell"]["version"] == PYPROJECT["project"]["version"]


@pytest.mark.parametrize("fragment", FRAGMENTS, ids=lambda path: path.name)
def test_a_change_is_told_in_a_fragment_of_the_right_form(fragment: Path):
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*\.(added|changed|fixed|removed)\.md", fragment.name)
    assert fragment.read_text().strip()


def test_decisions_are_numbered_without_gaps_and_listed():
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text()
    names = sorted(path.name for path in folder.glob("[0-9]*.md"))

    assert [int(name[:4]) for name in names] == list(range(len(names)))
    assert [name for name in names if f"]({name})" not in index] == []


def test_the_navigation_of_the_docs_names_pages_that_exist_and_forgets_none():
    docs = ROOT / "docs"
    named = set(re.findall(r"^\s*-.*?([\w./-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), flags=re.MULTILINE))
    pages = {str(path.relative_to(docs)) for path in docs.rglob("*.md")}
    decisions = {page for page in pages if page.startswith("decisions/0")}  # these are reached by their index

    assert named == pages - decisions


def _name(requirement: str) -> str:
    return re.split(r"[<>=!~;\[ ]", requirement, maxsplit=1)[0].lower()
