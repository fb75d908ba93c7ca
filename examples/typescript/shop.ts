// The shop that two of the examples work for: products with a stock, and orders. Plain SQLite, nothing durable here.

import path from "node:path";
import type { DatabaseSync } from "node:sqlite";

import { DATA, database, rows } from "./base.ts";

const TABLES = `
  CREATE TABLE products
  (sku TEXT PRIMARY KEY, title TEXT, price_cents INTEGER, in_stock INTEGER CHECK (in_stock >= 0));

  CREATE TABLE orders
  (order_id TEXT PRIMARY KEY, sku TEXT, quantity INTEGER, amount_cents INTEGER, status TEXT, placed_at TEXT);

  CREATE TABLE payments (key TEXT PRIMARY KEY, order_id TEXT, amount_cents INTEGER);
`;

/** One transaction on the tables of the shop. The first one fills them from `data/`. */
export function shop<T>(work: (db: DatabaseSync) => T): T {
  return database("shop.db", (db) => {
    if (db.prepare("SELECT 1 FROM sqlite_master WHERE name = 'orders'").get() === undefined) {
      db.exec(TABLES);
      for (const [table, marks] of [["products", "?, ?, ?, ?"], ["orders", "?, ?, ?, ?, ?, ?"]]) {
        const insert = db.prepare(`INSERT INTO ${table} VALUES (${marks})`);
        for (const row of rows(path.join(DATA, `${table}.csv`))) insert.run(...Object.values(row));
      }
    }
    return work(db);
  });
}
