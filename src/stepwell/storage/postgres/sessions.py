"""Ends the sessions of processes that stopped where the server itself does not end them (ADR 0044).

The driver lets the server read a statement that is new to a connection, and sends its values when that has answered. A
server that waits for them does not count as idle, so the timeout that a transaction sets for itself does not end it,
and that of a statement ends nothing while the client has to say something. Whoever stops there, or cannot be reached
any more, would hold its locks until TCP gives it up.
"""

from __future__ import annotations

from typing import Final

STALLED_S: Final = 5.0
"""After this long in the midst of a statement a process has stopped: as long as a transaction may be idle."""
END_STALLED: Final = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid() AND state = 'active'
  AND wait_event = 'ClientRead' AND state_change < clock_timestamp() - make_interval(secs => $1)
  AND query LIKE '%stepwell.%'"""
