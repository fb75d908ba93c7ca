"""The numbered SQL files that bring a database's tables to what this version knows, one folder for each backend."""

from __future__ import annotations

from importlib.resources import files
from typing import Final, NamedTuple

from stepwell.errors import SchemaTooNew

_FOLDER: Final = files("stepwell.storage").joinpath("migrations")


class Migration(NamedTuple):
    number: int
    name: str
    text: str


def migrations(backend: str) -> list[Migration]:
    """All migrations of a backend, in the order in which they apply."""
    return sorted(
        Migration(int(file.name.partition("_")[0]), file.name, file.read_text(encoding="utf-8"))
        for file in _FOLDER.joinpath(backend).iterdir()
        if file.name.endswith(".sql")
    )


def too_new(where: str, found: int, known: int) -> SchemaTooNew:
    """The refusal to touch a database that knows more than we do."""
    return SchemaTooNew(
        what=f"the database {where} has schema {found}; this Stepwell knows schemas up to {known}",
        why="it was written by a newer Stepwell, and an older one could damage what it does not understand",
        fix="upgrade Stepwell here, or restore the backup made before the upgrade",
    )
