"""Where a store is: the path of a SQLite file, or the URL of a PostgreSQL database."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

_SCHEMES = ("postgresql://", "postgres://")


def is_postgres(address: str) -> bool:
    """Whether this names a PostgreSQL database; everything else is a file."""
    return address.startswith(_SCHEMES)


def has_password(address: str) -> bool:
    """Whether it is a secret."""
    if not is_postgres(address):
        return False
    return ":" in urlsplit(address).netloc.rpartition("@")[0] or "password=" in address


def shown(address: str) -> str:
    """The address as people may read it: that of a database without who logs in, and with what."""
    if not is_postgres(address):
        return address
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2] or ",".join(parse_qs(parts.query).get("host", [])) or "localhost"
    return f"postgresql://{host}{parts.path or '/postgres'}"
