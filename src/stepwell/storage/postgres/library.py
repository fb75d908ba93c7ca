"""asyncpg, which says nothing of its types."""

from __future__ import annotations

from typing import Any, Final

import asyncpg as _asyncpg  # pyright: ignore[reportMissingTypeStubs]

asyncpg: Final[Any] = _asyncpg
