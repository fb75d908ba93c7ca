"""Who may use which address: one table, which the listener obeys and the reference is written from."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Access(StrEnum):
    """What a request to a production server has to show. A server for development asks for its token, if it has one."""

    PUBLIC = "everybody"
    EVENT_KEY = "an event key"
    SIGNING_KEY = "a signing key"
    DEVELOPMENT = "development only"


# An address that is not here needs a signing key: whoever adds a route has to say so to open it.
_OTHERS: Final = {
    "/health": Access.PUBLIC,  # whoever watches over a process need not know its token
    "/dev": Access.DEVELOPMENT,  # SDKs that find JSON there take the server for one of development (protocol §1.3)
}


def access(path: str) -> Access:
    """Who may use this address, whatever the method."""
    return Access.EVENT_KEY if path.startswith("/e/") else _OTHERS.get(path, Access.SIGNING_KEY)
