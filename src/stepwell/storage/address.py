"""Where a store is: the path of a SQLite file, or the URL of a PostgreSQL database."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qs, urlsplit

_SCHEMES: Final = ("postgresql://", "postgres://")
_HOST: Final = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(:\d*)?")


def is_postgres(address: str) -> bool:
    """Whether this names a PostgreSQL database; everything else is a file."""
    return address.startswith(_SCHEMES)


def may_have_password(address: str) -> bool:
    """Whether it may be a secret."""
    return is_postgres(address) and ("@" in address or "password=" in address)


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
    quoted = "@" in parts.netloc or "@" not in dsn
    if not quoted or not all(_HOST.fullmatch(host) for host in netloc.split(",")):
        return "with an address that cannot be read"  # a slash in a password ends what looks like the host
    hosts = parse_qs(parts.query).get("host", [])
    host = netloc or ",".join(hosts) or "localhost"
    return f"{parts.path.lstrip('/') or 'postgres'} at {host}"
