"""Who may use which address: one table, which the listener obeys and the reference is written from."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

from stepwell.model.user import Role


class Access(StrEnum):
    """What a request to a production server has to show. A server for development asks for its token in place of a key,
    if it has one.

    A token in the address is one that the server itself has given to somebody without a key, for a moment and for one
    thing; the route that takes it looks at it.
    """

    PUBLIC = "everybody"
    EVENT_KEY = "an event key"
    TOKEN = "a token in the address"
    TOKEN_OR_KEY = "a token, or a signing key"
    SIGNING_KEY = "a signing key"
    DEVELOPMENT = "development only"
    SESSION = "a session of the dashboard"
    VISITOR = "everybody who has a browser"


# An address that is not here needs a signing key: whoever adds a route has to say so to open it.
_OTHERS: Final = {
    "/health": Access.PUBLIC,  # whoever watches over a process need not know its token
    "/dev": Access.DEVELOPMENT,  # SDKs that find JSON there take the server for one of development (protocol §1.3)
    "/v1/realtime/connect": Access.TOKEN,
    "/v1/realtime/sse": Access.TOKEN,
    "/v1/realtime/publish": Access.TOKEN_OR_KEY,
    "/v1/realtime/publish/tee": Access.TOKEN_OR_KEY,
}
# Pages by the first segment of their address, if this server has any: it may be told to have none.
_PAGES: Final = frozenset(
    {
        *("", "apps", "bulk", "runs", "events", "event-types", "functions", "crons", "queue", "settings"),
        *("palette", "live", "logout"),
    }
)
_ADMIN_PAGES: Final = frozenset({"/settings/users"})
_OUTPUT: Final = re.compile(r"/v1/(?:checkpoint|http/runs)/[^/]+/output")  # where the result of a run is waited for

FOR_PAGES: Final = frozenset({Access.EVENT_KEY, Access.TOKEN})
"""What web pages of any origin may ask for: what they show is in the address, never what a browser adds."""

PAGES: Final = frozenset({Access.SESSION, Access.VISITOR})
"""What people look at (``server/pages.py``). Where there are no pages, these addresses are like any other."""

CHECKED_BY_ROUTE: Final = frozenset({Access.PUBLIC, Access.TOKEN, Access.TOKEN_OR_KEY})
"""Where the listener lets everybody in, because nothing has to be shown or the route looks at it."""


def access(path: str) -> Access:
    """Who may use this address, whatever the method."""
    if path.startswith("/e/"):
        return Access.EVENT_KEY
    found = _OTHERS.get(path)
    if found is None:
        first, _, rest = path[1:].partition("/")
        if first in _PAGES:
            return Access.SESSION
        if path in ("/login", "/setup") or (first == "assets" and rest):
            return Access.VISITOR
        return Access.TOKEN if _OUTPUT.fullmatch(path) else Access.SIGNING_KEY
    return found


def page_role(path: str) -> Role:
    """What somebody has to be to see this page."""
    ours = any(path == each or path.startswith(f"{each}/") for each in _ADMIN_PAGES)
    return Role.ADMIN if ours else Role.VIEWER
