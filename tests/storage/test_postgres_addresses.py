"""A database is named to people without who logs in and with what."""

from __future__ import annotations

import pytest

pytest.importorskip("asyncpg")

from stepwell.storage.address import place


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ann:secret@db.example.com/shop", "shop at db.example.com"),
        ("postgres://ann:secret@db.example.com:6432/shop?sslmode=require", "shop at db.example.com:6432"),
        ("postgresql://a,b:5433/shop?target_session_attrs=read-write", "shop at a,b:5433"),
        ("postgresql://[::1]:5432/shop", "shop at [::1]:5432"),
        ("postgresql:///shop?host=/run/postgresql", "shop at /run/postgresql"),
        ("postgresql://ann:secret@/", "postgres at localhost"),
    ],
)
def test_a_database_is_named_by_where_it_is(url: str, shown: str):
    assert place(url) == shown


@pytest.mark.parametrize(
    "password", ["xq/zj", "123/zj", "123?zj", "123#zj", "xq#zj", "xq?zj", "xq[zj", "xq@zj", "xq/zj@xq"]
)
def test_no_part_of_a_password_that_should_have_been_quoted_is_shown(password: str):
    shown = place(f"postgresql://joe:{password}@db.example.com/shop")

    assert not any(part in shown for part in ("xq", "zj", "123", "joe"))
