"""Whatever becomes of an order: stock, money and state fit together."""

from __future__ import annotations

from pathlib import Path

from examples.order import OrderCancelled, OrderPlaced, PaymentReceived, fulfil_order, undo_order
from examples.shop import shop
from stepwell.testing import Harness

STOCK = 40  # of mugs, in data/products.csv
MUGS = OrderPlaced("n-1", "mug", 2, "FR")
PAID = PaymentReceived("n-1", 2900)


def state(order_id: str = "n-1") -> tuple[str | None, int, int]:
    """The status of the order, how many mugs are in stock, and what we have been paid for the order."""
    with shop() as db:
        status = db.execute("SELECT status FROM orders WHERE order_id = ?", [order_id]).fetchone()
        (stock,) = db.execute("SELECT in_stock FROM products WHERE sku = 'mug'").fetchone()
        (paid,) = db.execute("SELECT sum(amount_cents) FROM payments WHERE order_id = ?", [order_id]).fetchone()
    return status and status["status"], stock, paid or 0


def test_an_order_that_is_paid_is_shipped(t: Harness, home: Path):
    t.send(MUGS)
    assert state() == ("reserved", STOCK - 2, 0)
    t.advance("1d")
    t.send(PAID)

    t.assert_completed(t.run(fulfil_order), "shipped")
    assert state() == ("shipped", STOCK - 2, 2900)
    assert (home / "labels" / "n-1.txt").read_text() == "n-1\n2 x mug\nFR\n"


def test_a_payment_in_the_very_moment_of_the_order_counts(t: Harness):
    t.send([MUGS, PAID])

    t.assert_completed(t.run(fulfil_order), "shipped")


def test_the_payment_of_another_order_does_not_count(t: Harness):
    t.send(MUGS)
    t.send(PaymentReceived("n-2", 2900))

    t.assert_waiting(t.run(fulfil_order), "payment")


def test_an_order_that_nobody_pays_expires_and_gives_the_goods_back(t: Harness):
    t.send(MUGS)
    t.advance("47h59m")
    t.assert_waiting(t.run(fulfil_order), "payment")
    t.advance("1m")

    t.assert_completed(t.run(fulfil_order), "expired")
    assert state() == ("expired", STOCK, 0)


def test_a_cancelled_order_gives_the_goods_back(t: Harness):
    t.send(MUGS)
    t.advance("1h")
    t.send(OrderCancelled("n-1", "too slow"))
    t.send(PAID)
    t.advance("3d")

    t.assert_cancelled(t.run(fulfil_order))
    t.assert_completed(t.run(undo_order), "cancelled")
    assert state() == ("cancelled", STOCK, 0)


def test_a_cancellation_that_comes_too_late_changes_nothing(t: Harness):
    t.send(MUGS)
    t.send(PAID)
    t.send(OrderCancelled("n-1", "changed my mind"))

    t.assert_completed(t.run(fulfil_order), "shipped")
    t.assert_completed(t.run(undo_order), "shipped")
    assert state() == ("shipped", STOCK - 2, 2900)


def test_what_was_cancelled_before_it_was_reserved_stays_cancelled(t: Harness):
    t.send(OrderCancelled("n-1", "never mind"))
    t.send(MUGS)
    t.send(PAID)

    assert state() == ("cancelled", STOCK, 0)


def test_an_order_that_cannot_be_shipped_is_refunded_and_gives_the_goods_back(t: Harness):
    t.send(OrderPlaced("n-1", "mug", 2, "AQ"))
    t.send(PAID)

    run = t.run(fulfil_order)
    t.assert_completed(run, "refunded")
    error = run.steps["ship"].error
    assert error is not None
    assert error.message == "the carrier does not go to AQ"
    assert run.steps["ship"].attempts == 1
    assert state() == ("refunded", STOCK, 0)
    with shop() as db:
        moved = db.execute("SELECT amount_cents FROM payments ORDER BY key DESC").fetchall()
    assert [row["amount_cents"] for row in moved] == [2900, -2900]


def test_what_is_sold_out_fails_the_order_at_once_and_takes_nothing(t: Harness):
    t.send(OrderPlaced("n-1", "mug", STOCK + 1, "FR"))

    t.assert_failed(t.run(fulfil_order), "mug is sold out")
    assert state() == (None, STOCK, 0)
