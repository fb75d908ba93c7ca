"""What a failing database means: whether to try again, and PostgreSQL's errors as ours, with what, why and fix."""

from __future__ import annotations

from asyncio import CancelledError
from enum import Enum
from typing import Final

from stepwell.errors import StorageError, StorageUnavailable
from stepwell.storage.postgres.library import asyncpg


class Fault(Enum):
    """What to do about an error."""

    AGAIN = "the transaction was rolled back because of others: run it again"
    LOST = "the connection is gone, or the server is going or coming: run it again on another one"
    UNPREPARED = "a pooler gives each transaction to another connection: prepare no more statements"
    REFUSED = "this statement will be refused each time"
    UNABLE = "the server can take nothing now: whatever is written is refused"


class Leave(Exception):
    """What is under way is to be given up here, and run again elsewhere."""


_BY_STATE: Final = {
    "40001": Fault.AGAIN,  # serialization failure
    "40P01": Fault.AGAIN,  # deadlock
    "55P03": Fault.AGAIN,  # lock not available
    "25P03": Fault.LOST,  # this process was stopped in the midst of a transaction, which was then ended
    "57P01": Fault.LOST,  # terminated by an administrator
    "57P02": Fault.LOST,  # another backend has crashed
    "57P03": Fault.LOST,  # starting up or shutting down
    "57P05": Fault.LOST,
    "53300": Fault.LOST,  # too many connections: some of them end
    "25006": Fault.LOST,  # read-only: after a failover, another server is the one that writes
    "26000": Fault.UNPREPARED,
    "42P05": Fault.UNPREPARED,
    "57014": Fault.UNABLE,  # a statement took too long
    "53100": Fault.UNABLE,  # disk full
    "53200": Fault.UNABLE,  # out of memory
    "42501": Fault.UNABLE,  # no permission
}


def fault(error: BaseException) -> Fault:
    """What to do about an error of a statement."""
    if isinstance(error, asyncpg.InvalidCachedStatementError):
        return Fault.AGAIN  # its plan is of tables that a migration has changed since
    if isinstance(error, asyncpg.PostgresError):
        state = str(getattr(error, "sqlstate", None) or "")
        if state.startswith("08"):
            return Fault.LOST
        if state[:2] in ("58", "XX", "28", "3D"):
            return Fault.UNABLE
        return _BY_STATE.get(state, Fault.REFUSED)
    if isinstance(error, CancelledError | Leave):
        return Fault.LOST  # nobody knows how far the statement has come, so nobody can use the connection any more
    if isinstance(error, OSError | EOFError | TimeoutError | asyncpg.InternalClientError | StorageUnavailable):
        return Fault.LOST
    if isinstance(error, asyncpg.InterfaceError) and not isinstance(error, ValueError):
        return Fault.LOST  # it is closed, or in a state in which it can do nothing
    return Fault.REFUSED


def explained(error: BaseException, where: str) -> BaseException:
    """The error as a user should see it; one that is a mistake of ours is returned as it is."""
    ours = _explain(error, where)
    if ours is None:
        return error
    ours.__cause__ = error
    return ours


def _explain(error: BaseException, where: str) -> StorageError | None:
    why = str(error) or type(error).__name__
    state = str(getattr(error, "sqlstate", None) or "") if isinstance(error, asyncpg.PostgresError) else ""
    for states, what, fix in _SAID:
        if state and state.startswith(states):
            return StorageUnavailable(what=what.format(where=where), why=why, fix=fix)
    if isinstance(error, StorageError):
        return None
    if state == "0A000" and fault(error) is Fault.REFUSED:
        return StorageError(
            what=f"the database {where} cannot do what Stepwell asks for",
            why=why,
            fix="use PostgreSQL 13 or later; if an extension, a pooler or another product is in its place, see whether "
            "it is what refuses",
        )
    if fault(error) is Fault.REFUSED:
        return None
    if isinstance(error, ConnectionError) and "SSL" in why:  # asyncpg has no other sign of it
        return StorageUnavailable(
            what=f"the database {where} is not reached by TLS, which its URL asks for",
            why=why,
            fix="turn it on at the server (ssl = on), or leave sslmode out of the URL where the network is trusted",
        )
    return StorageUnavailable(
        what=f"the database {where} does not answer",
        why=why,
        fix="check that the server is up and that this machine reaches it; Stepwell goes on by itself once it is",
    )


_GOES_ON: Final = "Stepwell goes on by itself then"
_SAID: Final = (
    (("53100",), "nothing can be written to the database {where}: its disk is full", f"free some space; {_GOES_ON}"),
    (
        ("53300",),
        "the database {where} takes no more connections",
        "raise its max_connections, give each replica a smaller pool, or put a pooler between; " + _GOES_ON,
    ),
    (("53200",), "the database {where} is out of memory", f"give it more, or less to do; {_GOES_ON}"),
    (
        ("25006",),
        "nothing can be written to the database {where}: it is read-only",
        "connect to the primary, not to a replica of it (target_session_attrs=read-write finds it among several hosts)",
    ),
    (
        ("28",),
        "the database {where} refuses the log-in",
        "check user and password in the address, and the server's pg_hba.conf",
    ),
    (("3D",), "there is no database {where}", "check the name in the address, or create it with createdb"),
    (
        ("42501",),
        "this user may not do that in the database {where}",
        "make the user the owner of the tables, or grant what is missing",
    ),
    (
        ("57014",),
        "the database {where} took too long",
        "look for what holds locks or keeps its disk busy (pg_stat_activity); " + _GOES_ON,
    ),
    (("58", "XX"), "the database {where} fails", "look into the server's log; restore a backup if it is damaged"),
)
