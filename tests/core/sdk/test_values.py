"""Values on their way to JSON and back, as types declare them; events and their mistakes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypedDict
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from stepwell import Context, Event, InvalidEvent, InvalidOutput, Stepwell, event
from stepwell.protocol.messages import Failed
from stepwell.sdk.codec import decode_any, decoder, encode, mismatch
from stepwell.sdk.events import payload
from tests.core.sdk.engine import Run


@dataclass
class Line:
    name: str
    count: int = 1


class Order(msgspec.Struct):
    lines: list[Line]


class Customer(BaseModel):
    full_name: str = Field(alias="fullName")


@dataclass
class Mixed:
    customer: Customer
    order: Order


class Address(TypedDict):
    city: str


ADA = Customer(fullName="Ada")


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (None, None),
        (Line, Line("tea", 2)),
        (Order, Order([Line("tea")])),
        (Customer, ADA),
        (Address, {"city": "Graz"}),
        (list[Line], [Line("tea")]),
        (list[Customer], [ADA]),
        (dict[str, Customer], {"a": ADA}),
        (Customer | None, ADA),
        (Customer | None, None),
        (Mixed, Mixed(ADA, Order([]))),
        (tuple[int, str], (1, "a")),
        (set[int], {1, 2}),
        (datetime, datetime(2026, 1, 1, tzinfo=UTC)),
        (UUID, UUID(int=7)),
        (bytes, b"\x00\xff"),
        (Any, {"any": [1, None]}),
        ("a name that only type checkers know", [1]),
    ],
    ids=str,
)
def test_a_value_comes_back_as_its_annotation_says(annotation: object, value: object) -> None:
    assert decoder(annotation)(encode(value)) == value


@given(st.recursive(st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(), st.lists))
def test_plain_json_comes_back_as_it_was(value: object) -> None:
    assert decode_any(encode(value)) == value


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_does_not_have_becomes_null(value: float) -> None:
    assert encode([value]) == b"[null]"


async def test_such_a_number_is_read_back_only_where_the_annotation_allows_none() -> None:
    app = Stepwell("shop")

    def number() -> float:
        return math.nan

    def perhaps() -> float | None:
        return math.nan

    @app.create_function(id="bill", trigger="test/started")
    async def bill(ctx: Context) -> None:
        assert await ctx.step.run("perhaps", perhaps) is None
        await ctx.step.run("number", number)

    run = Run(app, "shop-bill")
    await run.call()

    assert run.said() == ["StepRun perhaps", "StepFailed number"]
    error = run.ops[1].error
    assert error is not None
    assert error.message.startswith("step 'number': it returned something else than it is annotated with: result: ")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (object(), "result: object of type object"),
        ({"a": [1, {"b": object()}]}, "result.a[1].b: object of type object"),
        ({"not an identifier": object()}, "result['not an identifier']: object of type object"),
        (Order([Line("tea", object())]), "result.lines[0].count: object of type object"),  # type: ignore[arg-type]
        ({("a", "b"): 1}, "result: dict with keys of type tuple"),
        (iter([]), "result: object of type list_iterator"),
        ("\ud800", "result: text with half of a surrogate pair, which is not Unicode"),
    ],
    ids=["object", "nested", "key", "struct", "keys", "iterator", "surrogate"],
)
def test_what_cannot_be_written_is_named_with_its_place(value: object, said: str) -> None:
    with pytest.raises(InvalidOutput) as raised:
        encode(value)

    assert raised.value.what == said


def test_a_list_that_contains_itself_is_refused() -> None:
    endless: list[object] = []
    endless.append(endless)

    with pytest.raises(InvalidOutput, match="it contains itself, or is nested too deeply"):
        encode(endless)


@pytest.mark.parametrize(
    ("annotation", "text", "said"),
    [
        (Line, b'{"name":1}', "data.name: Expected `str`, got `int`"),
        (Order, b'{"lines":[{"name":"a","count":"b"}]}', "data.lines[0].count: Expected `int`, got `str`"),
        (Customer, b"{}", "data.fullName: Field required"),
        (list[Customer], b"[{}]", "data[0].fullName: Field required"),
        (Address, b"{}", "data: Object missing required field `city`"),
    ],
    ids=str,
)
def test_what_does_not_fit_its_type_is_named_with_its_place(annotation: object, text: bytes, said: str) -> None:
    with pytest.raises(ValueError) as raised:
        decoder(annotation)(text)

    assert mismatch(raised.value, "data") == said


# Events --------------------------------------------------------------------------------------------------------------


@event("test/ordered")
class Ordered(msgspec.Struct):
    order: Order


async def test_an_event_that_does_not_fit_fails_the_call_for_good_and_names_the_field() -> None:
    app = Stepwell("shop")

    @app.create_function(id="bill", trigger=Ordered)
    async def bill(ctx: Context[Ordered]) -> None: ...

    answer = await Run(app, "shop-bill", {"order": {"lines": [{"name": 7}]}}, name="test/ordered").call()

    assert isinstance(answer, Failed)
    assert answer.no_retry
    assert answer.error.name == "InvalidEvent"
    assert "data.order.lines[0].name: Expected `str`, got `int`" in answer.error.message


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (Event("x/y", {"a": {1j}}), "data.a{…}: object of type complex"),
        (Event("x/y", [1]), "data of event 'x/y' is of type list"),
        (Event("x/y", {}, user=object()), "user: object of type object"),  # type: ignore[arg-type]
        (Event(Ordered, {"order": {}}), "data.order: Object missing required field `lines`"),
        (Ordered(order=7), "data.order: Expected `object`, got `int`"),  # type: ignore[arg-type]
        ({"name": "x/y"}, "{'name': 'x/y'} is not an event"),
        (Ordered, "Ordered is a class"),
    ],
    ids=str,
)
def test_an_event_that_cannot_be_sent_is_refused_with_the_place_of_its_mistake(given: object, said: str) -> None:
    with pytest.raises(InvalidEvent) as raised:
        payload(given)

    assert said in raised.value.what


def test_an_event_goes_out_as_it_was_given() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)

    found = payload(Event(Ordered, Ordered(Order([])), id="7", ts=moment, v="2", user={"id": "ada"}))

    assert (found.name, found.data, found.id, found.v, found.user) == (
        "test/ordered",
        b'{"order":{"lines":[]}}',
        "7",
        "2",
        b'{"id":"ada"}',
    )
    assert found.ts == int(moment.timestamp() * 1000)


async def test_a_function_may_use_what_is_defined_below_it() -> None:
    app = Stepwell("shop")
    result = list[int]

    @app.create_function(id="bill", trigger="test/started")
    async def bill(ctx: Context[dict[str, Any]]) -> result:
        return [await ctx.step.run("below", below)]

    async def below() -> int:
        return 7

    assert await Run(app, "shop-bill").to_end() == [7]
