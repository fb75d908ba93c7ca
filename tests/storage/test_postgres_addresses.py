"""A database is named to people without who logs in and with what."""

from __future__ import annotations

import asyncio
import traceback

import pytest

from stepwell.errors import ConfigurationError, StepwellError, StorageUnavailable
from stepwell.storage.address import is_postgres, place
from stepwell.storage.postgres.store import PostgresStore
from tests.postgres import server


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ann:secret@db.example.com/shop", "shop at db.example.com"),
        ("postgres://ann:secret@db.example.com:6432/shop?sslmode=require", "shop at db.example.com:6432"),
        ("postgresql://a,b:5433/shop?target_session_attrs=read-write", "shop at a,b:5433"),
        ("postgresql://[::1]:5432/shop", "shop at [::1]:5432"),
        ("postgresql:///shop?host=/run/postgresql", "shop at /run/postgresql"),
        ("postgresql://ann:secret@/", "postgres at localhost"),
        ("postgresql://ann:secret@%2Frun%2Fpostgresql:5433/shop", "shop at /run/postgresql:5433"),
        ("postgresql://ann:secret@db/my%20shop", "my shop at db"),
    ],
)
def test_a_database_is_named_by_where_it_is(url: str, shown: str):
    assert place(url) == shown


UNQUOTED = ["xq/zj", "123/zj", "123?zj", "123#zj", "xq#zj", "xq?zj", "xq[zj", "xq@zj", "xq/zj@xq", "xq@zj/123"]


@pytest.mark.parametrize("password", UNQUOTED)
def test_no_part_of_a_password_that_should_have_been_quoted_is_shown(password: str):
    shown = place(f"postgresql://joe:{password}@db.example.com/shop")

    assert not any(part in shown for part in ("xq", "zj", "123", "joe"))


@pytest.mark.parametrize("password", UNQUOTED)
def test_who_opens_a_database_by_such_an_address_is_told_without_it(password: str):
    with pytest.raises(StepwellError) as raised:
        asyncio.run(PostgresStore.open(f"postgresql://joe:{password}@127.0.0.1:1/shop"))

    said = "".join(traceback.format_exception_only(raised.value))
    assert not any(part in said for part in ("xq", "zj", "123"))
    assert raised.value.__cause__ is None or "does not answer" in said, "what could not be read has a part of it"


@pytest.mark.parametrize("option", ["sslmode=perhaps", "target_session_attrs=some"])
def test_an_option_that_is_none_is_named(option: str):
    with pytest.raises(ConfigurationError) as raised:
        asyncio.run(PostgresStore.open(f"postgresql://joe:secret@127.0.0.1:1/shop?{option}"))

    assert option.partition("=")[0] in str(raised.value)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    "address", ["mysql://db/shop", "redis://db", "postgres:/db/shop", "Postgresql://db/shop", "sqlite:///shop.db"]
)
def test_the_address_of_something_else_is_no_file(address: str):
    with pytest.raises(ConfigurationError, match="is not where a store can be"):
        is_postgres(address)


@pytest.mark.parametrize("path", ["shop.db", ":memory:", "/var/lib/shop.db", "C:/shop.db", "C:\\shop.db", "a:b.db"])
def test_a_path_is_one(path: str):
    assert not is_postgres(path)


def test_a_setting_that_the_server_does_not_know_is_named():
    url = server()
    with pytest.raises(ConfigurationError, match="cannot be read") as raised:
        asyncio.run(PostgresStore.open(f"{url}{'&' if '?' in url else '?'}sslmood=require"))

    assert "sslmood" in raised.value.why


@pytest.mark.slow
def test_a_server_without_tls_is_told_from_one_that_is_down():
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        writer.write(b"N")
        await reader.read()
        writer.close()

    async def ask() -> None:
        listening = await asyncio.start_server(refuse, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        async with listening:
            await PostgresStore.open(f"postgresql://joe:secret@127.0.0.1:{port}/shop?sslmode=require")

    with pytest.raises(StorageUnavailable, match="is not reached by TLS, which its URL asks for"):
        asyncio.run(ask())
