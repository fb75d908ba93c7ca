// An order: reserve, wait for the payment, ship. Cancelled by an event, ended by a timeout, undone when shipping fails.

import path from "node:path";
import type { DatabaseSync } from "node:sqlite";

import { NonRetriableError } from "inngest";

import { folder, functions, inngest, paced, writeWhole } from "./base.ts";
import { shop } from "./shop.ts";

const CARRIER_SERVES = new Set(["DE", "FR", "GB", "NL", "PL"]);

type Order = { order_id: string; sku: string; quantity: number; country: string };

const fulfilOrder = inngest.createFunction(
  {
    id: "order",
    triggers: [{ event: "shop/order.placed" }],
    retries: 2,
    idempotency: "event.data.order_id",
    cancelOn: [{ event: "shop/order.cancelled", if: "event.data.order_id == async.data.order_id" }],
    // Whatever happens, an order does not stay open for longer than this.
    timeouts: { finish: `${Math.max(1, paced({ days: 14 }) / 1000)}s` },
  },
  async ({ event, logger, step }) => {
    const order = event.data as Order;
    await step.run("reserve", () => reserve(order, new Date(event.ts ?? 0)));

    const payment = await step.waitForEvent("payment", {
      event: "shop/payment.received",
      if: "event.data.order_id == async.data.order_id",
      timeout: paced({ days: 2 }),
    });
    if (payment === null) return await step.run("release", () => putBack(order.order_id, "expired"));
    await step.run("book payment", () => bookPayment(order.order_id, payment.data.amount_cents));

    try {
      await step.run("ship", () => ship(order));
    } catch (refused) {
      // The run does not fail, it takes another way: back, step by step.
      logger.warn(`order ${order.order_id} cannot be shipped: ${(refused as Error).message}`);
      return await step.run("refund and release", () => putBack(order.order_id, "refunded"));
    }
    return "shipped";
  },
);

/** The same event that cancels the run starts this one, which does what a cancelled run cannot do any more. */
const undoOrder = inngest.createFunction(
  { id: "undo-order", triggers: [{ event: "shop/order.cancelled" }] },
  async ({ event, step }) => await step.run("put back", () => putBack(event.data.order_id, "cancelled")),
);
functions.push(fulfilOrder, undoOrder);

const statusOf = (db: DatabaseSync, orderId: string): string | undefined =>
  db.prepare("SELECT status FROM orders WHERE order_id = ?").get(orderId)?.status as string | undefined;

const setStatus = (db: DatabaseSync, orderId: string, status: string): unknown =>
  db.prepare("UPDATE orders SET status = ? WHERE order_id = ?").run(status, orderId);

/** Take the goods from the stock and open the order, both or neither. */
function reserve({ order_id, sku, quantity }: Order, placedAt: Date): void {
  shop((db) => {
    if (statusOf(db, order_id) !== undefined) return;
    const product = db.prepare("SELECT in_stock FROM products WHERE sku = ?").get(sku);
    if (product === undefined) throw new NonRetriableError(`there is no product ${sku}`);
    if (Number(product.in_stock) < quantity) throw new NonRetriableError(`${sku} is sold out`);
    db.prepare("UPDATE products SET in_stock = in_stock - ? WHERE sku = ?").run(quantity, sku);
    db.prepare("INSERT INTO orders SELECT ?, sku, ?, price_cents * ?, 'reserved', ? FROM products WHERE sku = ?").run(
      order_id,
      quantity,
      quantity,
      placedAt.toISOString().replace(/\.\d+/, ""),
      sku,
    );
  });
}

function bookPayment(orderId: string, amountCents: number): void {
  shop((db) => {
    if (statusOf(db, orderId) !== "reserved") return;
    db.prepare("INSERT INTO payments VALUES (?, ?, ?)").run(`${orderId}-in`, orderId, amountCents);
    setStatus(db, orderId, "paid");
  });
}

/** Print the label for the parcel. The carrier's refusal is an answer and no accident: trying again cannot help. */
function ship({ order_id, sku, quantity, country }: Order): string {
  if (!CARRIER_SERVES.has(country)) throw new NonRetriableError(`the carrier does not go to ${country}`);
  return shop((db) => {
    if (!["paid", "shipped"].includes(statusOf(db, order_id) ?? ""))
      throw new NonRetriableError(`order ${order_id} is not to be shipped any more`);
    const name = `${order_id}.txt`;
    writeWhole(path.join(folder("labels"), name), `${order_id}\n${quantity} x ${sku}\n${country}\n`);
    setStatus(db, order_id, "shipped");
    return name;
  });
}

/** Undo what was done for an order, whatever that is, and return the state it ends in. */
function putBack(orderId: string, status: string): string {
  return shop((db) => {
    const before = statusOf(db, orderId);
    if (before === undefined) {
      db.prepare("INSERT INTO orders VALUES (?, NULL, 0, 0, ?, NULL)").run(orderId, status);
      return status;
    }
    if (!["reserved", "paid"].includes(before)) return before;
    db.prepare(
      `UPDATE products SET in_stock = in_stock + (SELECT quantity FROM orders WHERE order_id = :id)
       WHERE sku = (SELECT sku FROM orders WHERE order_id = :id)`,
    ).run({ id: orderId });
    db.prepare(
      "INSERT INTO payments SELECT order_id || '-back', order_id, -amount_cents FROM payments WHERE order_id = ?",
    ).run(orderId);
    setStatus(db, orderId, status);
    return status;
  });
}
