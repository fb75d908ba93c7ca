"""What browsers get is what was vendored, and none of it is code or style inside a page."""

from __future__ import annotations

import json
import re
from hashlib import sha256
from pathlib import Path

import pytest

from tests.meta.sources import PACKAGE

DASHBOARD = PACKAGE / "dashboard"
VENDOR = DASHBOARD / "assets" / "vendor"
MANIFEST = json.loads((VENDOR / "manifest.json").read_text())
TEMPLATES = sorted((DASHBOARD / "templates").rglob("*.html"))
BYTES_MAX = 60_000  # of all that a browser loads for its first page, compressed
LATER = {"charts.js", "graph.js", "vendor/dagre.js", "vendor/uplot.js", "vendor/uplot.css"}  # loaded by pages that draw


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

    assert {name for name in asked if not (DASHBOARD / "assets" / name).exists()} == set()
    assert len(asked) > 10


def test_what_a_browser_loads_is_little():
    from stepwell.dashboard.assets import all_assets

    sizes = {name: len(asset.small) for name, asset in all_assets().items()}
    assert sizes.keys() >= LATER
    assert sum(size for name, size in sizes.items() if name not in LATER) < BYTES_MAX
    assert sum(sizes.values()) < 2 * BYTES_MAX
