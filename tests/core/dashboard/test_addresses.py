"""Which page or action is at an address."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from stepwell.dashboard.addresses import Addresses


class At(NamedTuple):
    path: str


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("/", ("/", {})),
        ("/runs", ("/runs", {})),
        ("/runs/7", ("/runs/{run_id}", {"run_id": "7"})),
        ("/runs/bulk", ("/runs/bulk", {})),
        ("/runs/7/steps/a b", ("/runs/{run_id}/steps/{step_id}", {"run_id": "7", "step_id": "a b"})),
        ("/types/shop/ordered", ("/types/{name:path}", {"name": "shop/ordered"})),
        ("/runs/", None),
        ("/runs/7/steps", None),
        ("/run", None),
        ("/nothing/7", None),
    ],
)
def test_the_first_that_fits_is_at_an_address(address: str, found: tuple[str, dict[str, str]] | None):
    paths = ("/", "/runs", "/runs/bulk", "/runs/{run_id}", "/runs/{run_id}/steps/{step_id}", "/types/{name:path}")

    there = Addresses([At(path) for path in paths]).find(address)

    assert there == (found and (At(found[0]), found[1]))


def test_an_address_that_begins_with_anything_is_refused():
    with pytest.raises(AssertionError):
        Addresses([At("/{name}")])
