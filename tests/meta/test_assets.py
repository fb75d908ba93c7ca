"""What browsers get is what was vendored, and none of it is code or style inside a page."""

from __future__ import annotations

import json
import re
from hashlib import sha256
from pathlib import Path

import pytest

from stepwell.dashboard.assets import STYLES, all_assets
from tests.meta.sources import PACKAGE

DASHBOARD = PACKAGE / "dashboard"
VENDOR = DASHBOARD / "assets" / "vendor"
MANIFEST = json.loads((VENDOR / "manifest.json").read_text())
TEMPLATES = sorted((DASHBOARD / "templates").rglob("*.html"))
FIRST_BYTES_MAX = 75_000  # of what a browser loads for its first page, compressed
ALL_BYTES_MAX = 120_000  # of what it loads for all pages there are


@pytest.mark.parametrize("each", MANIFEST, ids=lambda each: each["file"])
def test_a_vendored_file_is_the_one_that_was_published(each: dict[str, str]):
    assert sha256((VENDOR / each["file"]).read_bytes()).hexdigest() == each["sha256"]
    assert (VENDOR / each["licence_file"]).read_text().strip()
    assert all(each[name] for name in ("package", "version", "from", "licence"))


def test_nothing_is_vendored_that_is_not_in_the_manifest():
    named = {each[name] for each in MANIFEST for name in ("file", "licence_file")} | {"manifest.json"}

    assert {path.name for path in VENDOR.iterdir()} == named


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_template_has_a_script_or_a_style_in_it(path: Path):
    text = path.read_text()

    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:|hx-on", text)
    assert all("src=" in each for each in re.findall(r"<script[^>]*>", text))


def test_every_asset_that_is_asked_for_is_there():
    asked = {name for path in TEMPLATES for name in re.findall(r'asset\("([^"]+)"\)', path.read_text())}
    for path in (DASHBOARD / "assets").glob("*.js"):
        asked |= set(re.findall(r'(?:from|import)\s*\(?"\./([^"]+)"', path.read_text()))

    assert asked - set(all_assets()) == set()
    assert len(asked) > 10


def test_all_styles_are_one():
    assert [name for name in all_assets() if name.endswith(".css")] == [STYLES]
    for path in (DASHBOARD / "assets").rglob("*.css"):
        assert path.read_bytes() in all_assets()[STYLES].body


def test_what_a_browser_loads_is_little():
    """What its first page loads, the overview, is in its templates: ``tests/dashboard/test_first_load.py`` holds that
    it loads nothing else."""
    sizes = {name: len(asset.small) for name, asset in all_assets().items()}

    assert sum(sizes[name] for name in first_assets()) < FIRST_BYTES_MAX
    assert sum(sizes.values()) < ALL_BYTES_MAX


def first_assets() -> set[str]:
    """What the templates of the overview ask for."""
    text = "".join((DASHBOARD / "templates" / name).read_text() for name in ("frame.html", "overview.html"))
    (modules,) = re.findall(r"for module in \[([^\]]*)\]", text)
    return {*re.findall(r'asset\("([^"]+)"\)', text), *(f"{each}.js" for each in re.findall(r'"(\w+)"', modules))}
