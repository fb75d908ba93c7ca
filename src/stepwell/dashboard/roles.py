"""What somebody may do here: look, act upon runs and functions, or change who may."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """Each may do what those before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def may(self, needed: Role) -> bool:
        """Whether this is that role, or one that may more."""
        order = list(Role)
        return order.index(self) >= order.index(needed)
