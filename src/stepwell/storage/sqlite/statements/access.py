"""Users, their sessions, and what people did."""

from __future__ import annotations

from typing import Final

_USER: Final = "name, role, password, created_at, changed_at"
SAVE_USER: Final = f"""
INSERT INTO users ({_USER}) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (name) DO UPDATE SET role = excluded.role, password = excluded.password, changed_at = excluded.changed_at"""
DROP_USER: Final = "DELETE FROM users WHERE name = ?1"
GET_USER: Final = f"SELECT {_USER} FROM users WHERE name = ?1"
LIST_USERS: Final = f"SELECT {_USER} FROM users ORDER BY name LIMIT ?1"

_SESSION: Final = "id, who, begun_at, seen_at, expires_at, agent"
BEGIN_SESSION: Final = f"INSERT INTO sessions ({_SESSION}) VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (id) DO NOTHING"
FORGET_SESSIONS: Final = "DELETE FROM sessions WHERE expires_at <= ?1"
END_OLDEST: Final = """
DELETE FROM sessions
WHERE id IN (SELECT id FROM sessions WHERE who = ?1 ORDER BY begun_at DESC, id DESC LIMIT -1 OFFSET ?2)"""
SEE_SESSION: Final = "UPDATE sessions SET seen_at = max(seen_at, ?2) WHERE id = ?1"
END_SESSION: Final = "DELETE FROM sessions WHERE id = ?1"
END_SESSIONS: Final = "DELETE FROM sessions WHERE who = ?1"
GET_SESSION: Final = f"SELECT {_SESSION} FROM sessions WHERE id = ?1"
LIST_SESSIONS: Final = f"""
SELECT {_SESSION} FROM sessions INDEXED BY sessions_begun WHERE expires_at > ?1
ORDER BY begun_at DESC, id DESC LIMIT ?2"""
LIST_SESSIONS_OF: Final = f"""
SELECT {_SESSION} FROM sessions WHERE who = ?3 AND expires_at > ?1 ORDER BY begun_at DESC, id DESC LIMIT ?2"""

_AUDIT: Final = "id, at, who, via, action, target, detail, request"
SAVE_AUDIT: Final = f"""
INSERT INTO audit (shard, {_AUDIT}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (shard, id) DO NOTHING"""
# ?2 before, ?3 after, ?4 limit, then what it is found by, then what is looked for in that.
_LISTED: Final = f"SELECT {_AUDIT} FROM audit WHERE shard = ?1 AND id < ?2 AND id > ?3"
_NEWEST: Final = " ORDER BY id DESC LIMIT ?4"
LIST_AUDIT: Final = _LISTED + _NEWEST
LIST_AUDIT_OF_WHO: Final = _LISTED + " AND who = ?5" + _NEWEST
LIST_AUDIT_OF_TARGET: Final = _LISTED + " AND target = ?5" + _NEWEST

OLD_AUDIT: Final = """
SELECT at, id, 1 FROM audit
WHERE shard = ?1 AND at < ?2 AND (at, id) > (?3, ?4) ORDER BY at, id LIMIT ?5"""
FORGET_AUDIT: Final = "DELETE FROM audit WHERE shard = ?1 AND id = ?2"
