"""Which limit of a function each key of a run belongs to, if the function has others by now (semantics §7.3)."""

from __future__ import annotations

import pytest

from stepwell import Concurrency
from stepwell.flow.limit import pairs

USER = Concurrency(1, key="event.data.user")
ORDER = Concurrency(2, key="event.data.order")
WHOLE = Concurrency(3)
SHARED = Concurrency(4, key="'printer'", scope="env")
EVENT = {"event": {"data": {"user": "ann", "order": "7"}}}


def keys(limits: list[Concurrency]) -> list[str]:
    return [limit.slot("shop-f", EVENT, 0) or "" for limit in limits]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ([USER, WHOLE], [USER, WHOLE], [USER, WHOLE]),
        ([USER, WHOLE], [WHOLE, USER], [USER, WHOLE]),
        ([USER, WHOLE], [WHOLE], [None, WHOLE]),
        ([USER, WHOLE], [USER], [USER, None]),
        ([WHOLE], [USER, WHOLE], [WHOLE]),
        ([USER], [ORDER], [ORDER]),  # only the expression has changed
        ([USER, WHOLE], [WHOLE, ORDER], [ORDER, WHOLE]),
        ([USER, SHARED], [SHARED], [None, SHARED]),
        ([WHOLE, WHOLE], [WHOLE, Concurrency(1)], [WHOLE, Concurrency(1)]),
        ([USER, WHOLE], [], [None, None]),
        ([], [USER], []),
    ],
)
def test_each_key_belongs_to_the_limit_that_still_makes_such_keys(
    before: list[Concurrency], after: list[Concurrency], expected: list[Concurrency | None]
) -> None:
    found = pairs(keys(before), after, "shop-f")

    both = zip(keys(before), expected, strict=True)
    assert found == [(key, limit) for key, limit in both if limit is not None]
