"""The shop that two of the examples work for: products with a stock, and orders. Plain SQLite, nothing durable here."""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager

from examples.base import DATA, database

TABLES = """
    CREATE TABLE products
    (sku TEXT PRIMARY KEY, title TEXT, price_cents INTEGER, in_stock INTEGER CHECK (in_stock >= 0));

    CREATE TABLE orders
    (order_id TEXT PRIMARY KEY, sku TEXT, quantity INTEGER, amount_cents INTEGER, status TEXT, placed_at TEXT);

    CREATE TABLE payments
    (key TEXT PRIMARY KEY, order_id TEXT, amount_cents INTEGER);
"""


@contextmanager
def shop() -> Generator[sqlite3.Connection]:
    """One transaction on the tables of the shop. The first one fills them from ``data/``."""
    with database("shop.db") as db:
        if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'orders'").fetchone() is None:
            for statement in TABLES.split(";"):
                db.execute(statement)
            db.executemany("INSERT INTO products VALUES (?, ?, ?, ?)", rows("products.csv"))
            db.executemany("INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?)", rows("orders.csv"))
        yield db


def rows(name: str) -> list[list[str]]:
    """The rows of a file in ``data/``, without the names of its columns."""
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))[1:]
