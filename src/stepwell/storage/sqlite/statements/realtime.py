"""Messages between the processes that share a file."""

from __future__ import annotations

from typing import Final

OTHERS_LISTEN: Final = "SELECT EXISTS (SELECT 1 FROM listeners WHERE id <> ?1 AND expires_at > ?2)"
LISTEN: Final = """
INSERT INTO listeners (id, expires_at) VALUES (?1, ?2)
ON CONFLICT (id) DO UPDATE SET expires_at = excluded.expires_at"""
UNLISTEN: Final = "DELETE FROM listeners WHERE id = ?1"
FORGET_LISTENERS: Final = "DELETE FROM listeners WHERE expires_at <= ?1"
POST: Final = """
INSERT INTO postings (origin, channel, topic, body, raw, expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)"""
FORGET_POSTINGS: Final = "DELETE FROM postings WHERE expires_at <= ?1"
FORGET_ALL_BUT: Final = "DELETE FROM postings WHERE id <= (SELECT max(id) FROM postings) - ?1"
LAST_POSTING: Final = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'postings'), 0)"
POSTINGS: Final = """
SELECT id, origin, channel, topic, CASE WHEN origin = ?2 THEN x'' ELSE body END, raw, expires_at FROM postings
WHERE id > ?1 ORDER BY id LIMIT ?3"""
