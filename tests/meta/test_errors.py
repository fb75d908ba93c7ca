"""Every error has a stable slug and a section in the reference that says what, why and how to fix it."""

from __future__ import annotations

import inspect
import re

import pytest

from stepwell import errors
from tests.meta.sources import ROOT

REFERENCE = (ROOT / "docs" / "reference" / "errors.md").read_text()
CLASSES = [
    value
    for _, value in inspect.getmembers(errors, inspect.isclass)
    if value.__module__ == errors.__name__ and issubclass(value, BaseException)
]


def sections() -> dict[str, str]:
    parts = re.split(r"^## `([a-z-]+)`$", REFERENCE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_error_has_a_slug_of_its_own():
    slugs = [vars(error).get("slug") for error in CLASSES]

    assert None not in slugs
    assert len(slugs) == len(set(slugs))


@pytest.mark.parametrize("error", CLASSES, ids=lambda error: error.__name__)
def test_every_error_is_explained(error):
    section = sections()[error.slug]

    assert f"`{error.__name__}`" in section
    for part in ("**What.**", "**Why.**", "**Fix.**"):
        assert part in section


def test_the_reference_explains_no_error_that_does_not_exist():
    assert set(sections()) == {error.slug for error in CLASSES}


def test_the_tree_in_the_docstring_is_the_real_one():
    drawn = set(re.findall(r"─ (\w+)", errors.__doc__ or ""))

    assert drawn == {error.__name__ for error in CLASSES}
