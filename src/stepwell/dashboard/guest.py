"""Who looks at pages."""

from __future__ import annotations

from dataclasses import dataclass

from stepwell.model.user import Role


@dataclass(frozen=True, slots=True)
class Guest:
    """Somebody who looks. ``csrf`` is what their forms have to say; ``session`` whether they have logged in, and can
    log out; ``name`` what they are called, if that is known; ``id`` which of the sessions is theirs. Where nobody
    has to log in, whoever comes may do all there is."""

    csrf: str = ""
    session: bool = False
    role: Role = Role.ADMIN
    name: str = ""
    id: str = ""

    def may(self, needed: str) -> bool:
        """Whether they have this role, or one that may more."""
        return self.role.may(Role(needed))
