"""What a test shows of the protocol, and for which SDK; docs/reference/conformance.md tells it.

A test shows a statement if its name begins with the number (``test_16_...``, ``test_p14_54_55_...``) or its docstring
says "Checklist 16". What is scripted holds for the protocol; a test with an app of an SDK holds for that, which it
says by the fixture it uses or by ``@pytest.mark.sdk``. A feature is shown by ``@pytest.mark.feature``.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from typing import Any, Final

import pytest

from tests.meta.sources import ROOT

PROTOCOL: Final = "protocol"
SDKS: Final = {
    PROTOCOL: "scripted",
    "stepwell": "Stepwell's SDK",
    "python": "Python 0.5",
    "javascript-3": "JavaScript 3",
    "javascript-4": "JavaScript 4",
}
"""The columns of the table, by the names that tests use."""

OFFICIAL: Final = ("python", "javascript-3", "javascript-4")
"""Those with which each feature is tried."""

_MISSING: Final = "missing"
_LEFT_OUT: Final = "left out"
_FIXTURES: Final = ("own", "python", "javascript", "sdk")
_NAMES: Final = {"own": "stepwell", "python": "python", "v3": "javascript-3", "v4": "javascript-4"}
_FRAMEWORKS: Final = ("fastapi", "flask", "django")  # in which the official Python SDK is tried
_NUMBERED: Final = re.compile(r"test_(?:p14_)?((?:\d{2,3}_)+)")
_TOLD: Final = re.compile(r"[Cc]hecklist ([^.:()\n]*)")
_SECTION: Final = re.compile(r"§[\d., ]*\d")
_NUMBER: Final = re.compile(r"(?<![\dv])\d{1,3}\b")


def statements() -> dict[str, dict[int, str]]:
    """The text of each statement by its number, section by section."""
    return {
        section: {int(number): text for number, text in found.items()}
        for section, found in _read("statements").items()
        if section not in (_MISSING, _LEFT_OUT)
    }


def missing() -> dict[int, str]:
    """Why a statement has no test."""
    return {int(number): reason for number, reason in _read("statements").get(_MISSING, {}).items()}


def left_out() -> dict[str, str]:
    """What the protocol has beside its checklist and Stepwell does not, and why."""
    found: dict[str, str] = _read("statements").get(_LEFT_OUT, {})
    return found


def features() -> dict[str, str]:
    """What there is of flow control and operations, by the ids of the feature table."""
    return _read("features")["features"]


def unsaid() -> dict[tuple[str, str], str]:
    """Why there is no test of a feature with an official SDK."""
    missing: dict[str, Any] = _read("features")["missing"]
    return {
        (feature, each): reason
        for feature, found in missing.items()
        for sdk, reason in found.items()
        for each in (OFFICIAL if sdk == "*" else (sdk,))
    }


def numbers(name: str, docstring: str | None) -> set[int]:
    """The statements that a test shows, by its name and docstring."""
    found = _NUMBERED.match(name)
    named = found[1].strip("_").split("_") if found else []
    told = [_SECTION.sub("", part) for part in _TOLD.findall(docstring or "")]
    return {int(number) for number in (*named, *(each for part in told for each in _NUMBER.findall(part)))}


def describe(items: Iterable[pytest.Item]) -> None:
    """Write into the results of tests what they show."""
    for item in items:
        if isinstance(item, pytest.Function):
            shown = numbers(item.originalname, item.obj.__doc__)
            item.user_properties += [("statement", str(number)) for number in sorted(shown)]
            marked = {id for mark in item.iter_markers("feature") for id in mark.args}
            item.user_properties += [("feature", id) for id in sorted(marked)]
            item.user_properties += [("sdk", sdk) for sdk in sorted(_sdks(item))] if shown or marked else []


def _sdks(item: pytest.Function) -> set[str]:
    marked = {name for mark in item.iter_markers("sdk") for name in mark.args}
    return marked or set(_of_fixtures(item)) or {PROTOCOL}


def _of_fixtures(item: pytest.Function) -> Iterator[str]:
    params: dict[str, object] = item.callspec.params if hasattr(item, "callspec") else {}
    for fixture in _FIXTURES:
        if fixture in item.fixturenames:
            value = "python" if params.get(fixture) in _FRAMEWORKS and fixture != "own" else params.get(fixture)
            name = _NAMES.get(str(value)) or _NAMES.get(fixture)
            if name is not None:
                yield name


def _read(name: str) -> dict[str, dict[str, Any]]:
    return tomllib.loads((ROOT / "tests" / "protocol" / f"{name}.toml").read_text())
