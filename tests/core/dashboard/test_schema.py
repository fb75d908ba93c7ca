"""What a few events tell of all of a name."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stepwell.dashboard.schema import FIELDS_MAX, Member, schema, shape

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


def of(*samples: Any) -> dict[str, Member]:
    return {each.path: each for each in schema(json.dumps(each).encode() for each in samples).members}


def test_members_are_told_with_their_types_and_how_many_have_them():
    found = of({"order": 1, "user": {"name": "ada"}}, {"order": "two", "user": {"name": "bob", "vip": True}})

    assert list(found) == ["order", "user", "user.name", "user.vip"]
    assert found["order"].types == ["string", "number"]
    assert (found["order"].seen, found["order"].of, found["order"].example) == (2, 2, "1")
    assert (found["user.vip"].seen, found["user.vip"].of, found["user.vip"].depth) == (1, 2, 1)


def test_a_member_is_counted_among_the_parents_that_could_have_it():
    found = of({"user": {"name": "ada"}}, {"user": None}, {})

    assert (found["user"].seen, found["user"].of, found["user"].types) == (2, 3, ["object", "null"])
    assert (found["user.name"].seen, found["user.name"].of) == (1, 1)


def test_items_of_an_array_are_one():
    found = of({"lines": [{"sku": "a"}, {"sku": "b", "count": 2}]})

    assert found["lines[]"].types == ["object"]
    assert (found["lines[].sku"].seen, found["lines[].count"].seen, found["lines[].count"].of) == (2, 1, 2)


def test_what_is_encrypted_is_not_looked_into():
    found = of({"secret": {"__ENCRYPTED__": True, "__STRATEGY__": "inngest/libsodium", "data": "aGVsbG8="}})

    assert (list(found), found["secret"].types, found["secret"].example) == (["secret"], ["encrypted"], "")


def test_a_table_in_an_event_is_not_taken_for_a_record():
    found = schema((json.dumps({f"{number:03}": {"a": number, "b": 1} for number in range(500)}).encode(),))

    assert found.more
    assert len(found.members) <= FIELDS_MAX


def test_texts_with_the_same_members_have_the_same_shape():
    assert shape(b'{"a":1,"b":"x"}') == shape(b'{"b":"y","a":2}')
    assert shape(b'{"a":1}') != shape(b'{"a":"1"}')


@given(st.lists(JSON, max_size=4))
def test_any_json_has_a_schema(values: list[Any]):
    found = schema(json.dumps(each).encode() for each in values)

    assert found.samples == len(values)
    assert all(1 <= each.seen <= each.of and each.types for each in found.members)
