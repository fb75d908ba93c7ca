"""``/settings/about``: which version this is, where it keeps things, and the settings that hold."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final, NamedTuple

from stepwell.dashboard.page import Page, Shown, Visit
from stepwell.dashboard.source import About
from stepwell.model.questions import DescribeStore, StoreFacts


class Vendored(NamedTuple):
    """A package of somebody else that is part of these pages, with the text of its licence."""

    package: str
    version: str
    licence: str
    text: str


class AboutView(NamedTuple):
    store: StoreFacts
    about: About
    vendored: Sequence[Vendored]


async def show(visit: Visit) -> Shown:
    store = await visit.source.reader.read(DescribeStore())
    return Shown(title="About", view=AboutView(store, visit.source.here.about(), vendored()))


@cache
def vendored() -> list[Vendored]:
    """What the manifest names, each package once."""
    folder = files("stepwell.dashboard") / "assets" / "vendor"
    listed: list[dict[str, Any]] = json.loads((folder / "manifest.json").read_text())
    found = {
        each["package"]: Vendored(
            each["package"], each["version"], each["licence"], (folder / each["licence_file"]).read_text()
        )
        for each in listed
    }
    return [found[name] for name in sorted(found)]


PAGE: Final = Page(path="/settings/about", show=show, section="settings", template="about.html")
