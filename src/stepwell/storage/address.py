"""Where a store is: the path of a SQLite file, or the URL of a PostgreSQL database."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from stepwell.errors import ConfigurationError

_SCHEMES: Final = ("postgresql://", "postgres://")
_OTHER_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")  # one letter is a drive
_HOST: Final = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(:\d*)?")


def is_postgres(address: str) -> bool:
    """Whether this names a PostgreSQL database; everything else is a file.

    Raises ``ConfigurationError`` for the address of something else, and for a mistyped one: as a path it would make a
    new file, and the server would begin from nothing without a word.
    """
    if address.startswith(_SCHEMES):
        return True
    other = _OTHER_SCHEME.match(address)
    if other is not None:
        raise ConfigurationError(
            what=f"{other[1]}:… is not where a store can be",
            why="a store is a SQLite file, named by its path, or a PostgreSQL database",
            fix="write a path, such as stepwell.db, or postgresql://user:password@host:5432/database",
        )
    return False


def may_have_password(address: str) -> bool:
    """Whether it may be a secret."""
    return address.startswith(_SCHEMES) and ("@" in address or "password=" in address)


def shown(address: str) -> str:
    """The address as people may read it."""
    return place(address) if is_postgres(address) else address


def place(dsn: str) -> str:
    """A database as people may read it: without who logs in and with what."""
    try:
        parts = urlsplit(dsn)
    except ValueError:
        return "with an address that cannot be read"
    netloc = parts.netloc.rpartition("@")[2]
    quoted = ("@" in parts.netloc or "@" not in dsn) and not torn(dsn)
    if not quoted or not all(_HOST.fullmatch(host) for host in netloc.split(",")):
        return "with an address that cannot be read"  # a slash in a password ends what looks like the host
    hosts = parse_qs(parts.query).get("host", [])
    host = unquote(netloc) or ",".join(hosts) or "localhost"
    return f"{unquote(parts.path).lstrip('/') or 'postgres'} at {host}"


def torn(dsn: str) -> bool:
    """Whether a password that is not quoted has torn the address apart: what looks like the name of the database is the
    end of it, and the host."""
    return "@" in dsn.partition("://")[2].partition("/")[2].partition("?")[0]
