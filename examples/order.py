"""An order: reserve, wait for the payment, ship. Cancelled by an event, ended by a timeout, undone when shipping fails.

The three ways in which an order does not go well each have their own means:

- nobody pays: the wait returns ``None``, and the function releases the goods;
- the customer cancels: ``cancel=`` ends the run wherever it is, and ``undo_order`` puts things back;
- the carrier refuses: ``StepError`` is caught, and the steps before are compensated in reverse.

    python -m examples order
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime

from examples.base import app, folder, home, paced, quiet, write_whole
from examples.shop import shop
from stepwell import Cancel, Context, NonRetriableError, StepError, Timeouts, event

PAY_WITHIN = paced(days=2)
CARRIER_SERVES = {"DE", "FR", "GB", "NL", "PL"}


@event("shop/order.placed")
@dataclass(frozen=True)
class OrderPlaced:
    order_id: str
    sku: str
    quantity: int
    country: str


@event("shop/payment.received")
@dataclass(frozen=True)
class PaymentReceived:
    order_id: str
    amount_cents: int


@event("shop/order.cancelled")
@dataclass(frozen=True)
class OrderCancelled:
    order_id: str
    reason: str


@app.create_function(
    id="order",
    trigger=OrderPlaced,
    idempotency="event.data.order_id",
    cancel=Cancel(OrderCancelled, match="data.order_id"),
    # Whatever happens, an order does not stay open for longer than this.
    timeouts=Timeouts(finish=paced(days=14)),
)
async def fulfil_order(ctx: Context[OrderPlaced]) -> str:
    order = ctx.event.data
    placed_at = datetime.fromtimestamp(ctx.event.ts / 1000, UTC)
    await ctx.step.run("reserve", reserve, order, placed_at)

    # lookback: who pays within the blink of an eye between reservation and wait has paid too.
    payment = await ctx.step.wait_for_event(
        "payment", PaymentReceived, match="data.order_id", timeout=PAY_WITHIN, lookback="run"
    )
    if payment is None:
        return await ctx.step.run("release", put_back, order.order_id, "expired")
    await ctx.step.run("book payment", book_payment, order.order_id, payment.data.amount_cents)

    try:
        await ctx.step.options("ship", retries=2).run(ship, order)
    except StepError as refused:
        # The run does not fail, it takes another way: back, step by step.
        ctx.logger.warning("order %s cannot be shipped: %s", order.order_id, refused.message)
        return await ctx.step.run("refund and release", put_back, order.order_id, "refunded")
    return "shipped"


@app.create_function(id="undo-order", trigger=OrderCancelled)
async def undo_order(ctx: Context[OrderCancelled]) -> str:
    """The same event that cancels the run starts this one, which does what a cancelled run cannot do any more."""
    return await ctx.step.run("put back", put_back, ctx.event.data.order_id, "cancelled")


def reserve(order: OrderPlaced, placed_at: datetime) -> None:
    """Take the goods from the stock and open the order, both or neither.

    A step body that runs while its run is cancelled is not interrupted, so the table has the last word: what was
    cancelled before it was reserved stays cancelled.
    """
    with shop() as db:
        if _status(db, order.order_id) is not None:
            return
        try:
            taken = db.execute("UPDATE products SET in_stock = in_stock - ? WHERE sku = ?", [order.quantity, order.sku])
        except sqlite3.IntegrityError as error:  # the stock would fall below 0
            raise NonRetriableError(f"{order.sku} is sold out") from error
        if taken.rowcount == 0:
            raise NonRetriableError(f"there is no product {order.sku}")
        db.execute(
            """
            INSERT INTO orders SELECT ?, sku, ?, price_cents * ?, 'reserved', ? FROM products WHERE sku = ?
            """,
            [order.order_id, order.quantity, order.quantity, f"{placed_at:%Y-%m-%dT%H:%M:%SZ}", order.sku],
        )


def book_payment(order_id: str, amount_cents: int) -> None:
    with shop() as db:
        if _status(db, order_id) != "reserved":
            return
        db.execute("INSERT INTO payments VALUES (?, ?, ?)", [f"{order_id}-in", order_id, amount_cents])
        db.execute("UPDATE orders SET status = 'paid' WHERE order_id = ?", [order_id])


def ship(order: OrderPlaced) -> str:
    """Print the label for the parcel. The carrier's refusal is an answer and no accident: trying again cannot help."""
    if order.country not in CARRIER_SERVES:
        raise NonRetriableError(f"the carrier does not go to {order.country}")
    with shop() as db:
        if _status(db, order.order_id) not in ("paid", "shipped"):
            raise NonRetriableError(f"order {order.order_id} is not to be shipped any more")
        label = folder("labels") / f"{order.order_id}.txt"
        write_whole(label, f"{order.order_id}\n{order.quantity} x {order.sku}\n{order.country}\n")
        db.execute("UPDATE orders SET status = 'shipped' WHERE order_id = ?", [order.order_id])
    return label.name


def put_back(order_id: str, status: str) -> str:
    """Undo what was done for an order, whatever that is, and return the state it ends in.

    Both ways to come here may meet, and each may be tried twice: the state of the order decides, in one transaction.
    """
    with shop() as db:
        before = _status(db, order_id)
        if before is None:
            db.execute("INSERT INTO orders VALUES (?, NULL, 0, 0, ?, NULL)", [order_id, status])
            return status
        if before not in ("reserved", "paid"):
            return before
        db.execute(
            """
            UPDATE products SET in_stock = in_stock + (SELECT quantity FROM orders WHERE order_id = :order)
            WHERE sku = (SELECT sku FROM orders WHERE order_id = :order)
            """,
            {"order": order_id},
        )
        db.execute(
            "INSERT INTO payments SELECT order_id || '-back', order_id, -amount_cents FROM payments WHERE order_id = ?",
            [order_id],
        )
        db.execute("UPDATE orders SET status = ? WHERE order_id = ?", [status, order_id])
    return status


def _status(db: sqlite3.Connection, order_id: str) -> str | None:
    row = db.execute("SELECT status FROM orders WHERE order_id = ?", [order_id]).fetchone()
    return None if row is None else str(row["status"])


async def main() -> None:
    """Four orders: paid, never paid, cancelled, and one that the carrier refuses."""
    async with app.embedded(str(home() / "order.db")) as engine:
        for order_id, country in [("n-1", "FR"), ("n-2", "DE"), ("n-3", "NL"), ("n-4", "AQ")]:
            await app.send(OrderPlaced(order_id, "mug", 2, country))
        await app.send([PaymentReceived("n-1", 2900), PaymentReceived("n-4", 2900), OrderCancelled("n-3", "too slow")])
        await quiet(engine)
    with shop() as db:
        for row in db.execute("SELECT * FROM orders WHERE order_id LIKE 'n-%'"):
            print(row["order_id"], row["status"])
