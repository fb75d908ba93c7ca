"""Event classes of each kind that users may have, and the values that steps give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import msgspec
from pydantic import BaseModel

from stepwell import event


@event("shop/ordered")
class Ordered(BaseModel):
    order_id: str
    amount: int


@event("shop/paid")
class Paid(msgspec.Struct):
    order_id: str


@event("shop/shipped")
@dataclass
class Shipped:
    order_id: str
    parcels: int


@event("shop/returned")
class Returned(TypedDict):
    order_id: str
    reason: str


class Receipt(BaseModel):
    number: int


class Report(msgspec.Struct):
    lines: list[str]


async def charge(order_id: str, *, amount: int) -> Receipt:
    return Receipt(number=len(order_id) + amount)


def pack(order_id: str, parcels: int = 1) -> list[str]:
    return [order_id] * parcels
