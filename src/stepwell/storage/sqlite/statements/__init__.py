"""Every SQL text that runs while serving: fixed, so that each is prepared once; the time arrives as a parameter.

``?1`` is the shard wherever there is one.
``INDEXED BY`` stands where SQLite would rather walk over the whole shard in the order asked for: it cannot know that
all rows have the same shard.
"""

from __future__ import annotations

from typing import Final

BEGIN: Final = "BEGIN IMMEDIATE"
BEGIN_READ: Final = "BEGIN"
COMMIT: Final = "COMMIT"
ROLLBACK: Final = "ROLLBACK"

NEW_EPOCH: Final = "UPDATE meta SET value = value + 1 WHERE key = 'epoch' RETURNING value"
WARM: Final = "UPDATE meta SET value = value + 1 WHERE key = 'warm'"
DATA_VERSION: Final = "PRAGMA data_version"
