"""The documentation is true: its Python compiles, its examples run, its links lead somewhere."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.meta.sources import ROOT

ALLOW_TOP_LEVEL_AWAIT = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT  # an example may await without saying who runs it
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "changes").glob("*.md")])


@dataclass(frozen=True)
class Block:
    """A fenced block of Python. ``info`` is what stands after the fence: ``python`` or ``python test``."""

    page: Path
    line: int
    info: str
    code: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def tokens(page: Path) -> list[Token]:
    top = MarkdownIt("commonmark").parse(page.read_text())
    return [token for each in top for token in (each, *(each.children or ()))]


@cache
def blocks() -> list[Block]:
    return [
        Block(page, (token.map or [0])[0] + 1, token.info.strip(), token.content)
        for page in PAGES
        for token in tokens(page)
        if token.type == "fence" and token.info.split()[:1] == ["python"]
    ]


def anchors(page: Path) -> set[str]:
    """The names of a page's headings, as mkdocs and GitHub make them."""
    parsed = MarkdownIt("commonmark").parse(page.read_text())
    titles = [parsed[i + 1].content for i, token in enumerate(parsed) if token.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("block", blocks(), ids=str)
def test_python_in_the_docs_compiles(block: Block):
    compile(block.code, str(block), "exec", flags=ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)


@pytest.mark.slow
@pytest.mark.parametrize("block", [b for b in blocks() if b.info == "python test"], ids=str)
def test_examples_in_the_docs_run(block: Block, tmp_path: Path):
    (tmp_path / "example.py").write_text(block.code)

    done = subprocess.run(
        [sys.executable, "-W", "error", "example.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("block", blocks(), ids=str)
def test_a_block_of_python_is_shown_or_run_and_nothing_else(block: Block):
    assert block.info in {"python", "python test"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path):
    broken = []
    for token in tokens(page):
        target = str(token.attrs.get("href") or token.attrs.get("src") or "")
        if not target or re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
            broken.append(target)

    assert broken == []
