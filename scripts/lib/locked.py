"""Prints what uv.lock holds for this machine as pip requirements with hashes, for machines where uv cannot run."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

from pip._vendor.packaging.markers import Marker

LOCK = Path(__file__).resolve().parents[2] / "uv.lock"


def closure(packages: dict[str, dict], dev: bool) -> list[str]:
    """The names of all packages that Stepwell needs here; with the development group if asked."""
    needed: set[str] = set()
    seen: set[tuple[str, str]] = set()
    root = packages["stepwell"]
    edges = root["dependencies"] + (root["dev-dependencies"]["dev"] if dev else [])
    while edges:
        edge = edges.pop()
        if "marker" in edge and not Marker(edge["marker"]).evaluate({"extra": ""}):
            continue
        package = packages[edge["name"]]
        needed.add(edge["name"])
        for extra in ["", *edge.get("extra", [])]:
            if (edge["name"], extra) not in seen:
                seen.add((edge["name"], extra))
                edges += package.get("optional-dependencies", {})[extra] if extra else package.get("dependencies", [])
    return sorted(needed)


def requirement(package: dict) -> str:
    """One package as pip wants it: its version, and the hash of every file it may come as."""
    files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
    return " ".join([f"{package['name']}=={package['version']}", *(f"--hash={file['hash']}" for file in files)])


if __name__ == "__main__":
    locked = {package["name"]: package for package in tomllib.loads(LOCK.read_text())["package"]}
    for name in closure(locked, dev="dev" in sys.argv):
        print(requirement(locked[name]))
