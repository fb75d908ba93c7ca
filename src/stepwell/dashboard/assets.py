"""Scripts and styles: files of this package, sent compressed, and kept by browsers for as long as they like.

All of them share an address that names what is in them, so that modules find one another by relative names. Nothing
builds them: what is in the folder is what browsers get. Only the styles of all pages are sent as one, because a page
is not drawn before the last of them is there.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

PREFIX: Final = "/assets/"
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
STYLES: Final = "styles.css"
# In this order, in which later ones may say otherwise.
_STYLES: Final = ("tokens", "frame", "parts", "trace", "compare", "actions", "overview", "queue", "events", "palette")
_FOREVER: Final = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is sent. ``small`` is the same, compressed by gzip."""

    type: str
    body: bytes
    small: bytes


@cache
def all_assets() -> dict[str, Asset]:
    """Each by its name, such as ``vendor/htmx.js``."""
    found: dict[str, Asset] = {}
    _gather(files("stepwell.dashboard") / "assets", "", found)
    styles = [found.pop(f"{name}.css") for name in _STYLES] + [found.pop("vendor/uplot.css")]
    found[STYLES] = _asset(".css", b"\n".join(each.body for each in styles))
    return found


@cache
def bundle() -> str:
    """What tells these assets from those of another version."""
    seen = sha256()
    for name, asset in sorted(all_assets().items()):
        seen.update(f"{name} {len(asset.body)} ".encode())
        seen.update(asset.body)
    return seen.hexdigest()[:16]


def asset_url(name: str) -> str:
    """Where a browser finds it. Raises ``KeyError`` for one that there is not."""
    assert name in all_assets(), f"there is no asset {name}"
    return f"{PREFIX}{bundle()}/{name}"


def find(path: str) -> tuple[Asset, str] | None:
    """The asset at an address, and for how long it may be kept. While versions change, a page may come from one process
    and its assets from another: then they are what that has, and are not kept."""
    version, _, name = path.removeprefix(PREFIX).partition("/")
    asset = all_assets().get(name)
    return None if asset is None else (asset, _FOREVER if version == bundle() else "no-store")


def _gather(folder: Traversable, prefix: str, found: dict[str, Asset]) -> None:
    for each in folder.iterdir():
        if each.is_dir():
            _gather(each, f"{prefix}{each.name}/", found)
            continue
        ending = each.name[each.name.rfind(".") :]
        if ending in _TYPES:
            found[prefix + each.name] = _asset(ending, each.read_bytes())


def _asset(ending: str, body: bytes) -> Asset:
    return Asset(_TYPES[ending], body, gzip.compress(body, 9, mtime=0))
