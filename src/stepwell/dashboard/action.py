"""What an action is: something that a person does here, asked once, by a form that says what will happen.

Each is part of one file of ``actions/``: an address, a form, a check of what was given, an effect, and an answer that
says where the effect can be seen. ``acting.py`` is what all of them have in common.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import msgspec

from stepwell.dashboard.operations import Operations
from stepwell.dashboard.page import Visit
from stepwell.model.user import Role
from stepwell.views.wording import parse_moment

SEED: Final = "seed"
"""The field of each form that makes its action happen once, however often the form is sent."""
_SEED_CHARS_MAX: Final = 64


class Kind(StrEnum):
    """How a field is asked for."""

    TEXT = "text"
    JSON = "json"
    CHOICE = "choice"
    MENU = "menu"
    FLAG = "flag"
    HIDDEN = "hidden"
    PASSWORD = "password"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One of several; ``says`` is what it means."""

    value: str
    word: str
    says: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """Something that is asked for. ``value`` is what stands there at first, ``help`` is for people."""

    name: str
    label: str = ""
    kind: Kind = Kind.TEXT
    value: str = ""
    help: str = ""
    choices: Sequence[Choice] = ()
    required: bool = False
    rows: int = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What is asked before an action: ``says`` is what will happen, sentence by sentence, ``verb`` the word on the
    button. ``back`` is the page that it is about. With ``harm`` something is lost by it: the other button is the one
    that has the focus."""

    title: str
    says: Sequence[str]
    verb: str
    back: str
    fields: Sequence[Field] = ()
    harm: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """It was done. ``address`` is where that can be seen, under the name ``word``; with ``go`` people are led there."""

    text: str
    address: str
    word: str = "Open it"
    go: bool = False


class Wrong(Exception):
    """Something that was given cannot be meant: why, by the name of the field."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        super().__init__(", ".join(fields))
        self.fields = fields


class Given:
    """What was typed into a form. Readers remember what is wrong, and ``check`` says all of it at once."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self.texts = texts
        self.wrong: dict[str, str] = {}

    @property
    def seed(self) -> str:
        return self.texts.get(SEED, "")[:_SEED_CHARS_MAX]

    def text(self, name: str, *, required: bool = False, chars_max: int = 255) -> str:
        """One line, without the spaces around it."""
        found = self.texts.get(name, "").strip()
        if required and not found:
            self.wrong[name] = "Something has to be given here."
        elif len(found) > chars_max:
            self.wrong[name] = f"It has {len(found):,} characters; the limit is {chars_max:,}."
        return found

    def choice(self, name: str, choices: Sequence[str]) -> str:
        found = self.texts.get(name, "")
        if found not in choices:
            self.wrong[name] = "Choose one of these."
        return found

    def flag(self, name: str) -> bool:
        return name in self.texts

    def moment(self, name: str) -> int | None:
        """A moment in milliseconds, ``None`` if there is none."""
        found = self.text(name)
        try:
            return parse_moment(found) if found else None
        except ValueError:
            self.wrong[name] = "Write a moment like 2026-01-02T03:04:05Z."
            return None

    def json(self, name: str, of: Any = Any, what: str = "JSON") -> bytes | None:
        """JSON text of this type, ``None`` if nothing stands there. ``what`` is how people call that type."""
        text = self.texts.get(name, "").strip()
        if not text:
            return None
        try:
            msgspec.json.decode(text, type=of)
        except msgspec.ValidationError as error:
            self.wrong[name] = f"It has to be {what}: {error}."
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
            self.wrong[name] = f"It is no JSON: {_where(error, text)}."
        return text.encode(errors="replace")

    def check(self) -> None:
        """Raises ``Wrong`` if anything is."""
        if self.wrong:
            raise Wrong(self.wrong)


def _where(error: Exception, text: str) -> str:
    """The same, with the place as people count it."""
    said, _, rest = str(error).partition(" (byte ")
    at = rest.rstrip(")")
    if not at.isdigit():
        return str(error)
    before = text.encode(errors="replace")[: int(at)].decode(errors="replace")
    line = before.count("\n") + 1
    return f"{said}, in line {line}, column {len(before) - before.rfind(chr(10))}"


Ask = Callable[[Visit], Awaitable[Form]]
Act = Callable[[Operations, Visit, Given], Awaitable[Done | Form]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Something to do at an address. ``name`` is for whoever reads later what was done, ``role`` who may do it.

    ``ask`` makes the form, and raises ``Missing``. ``act`` does it, or gives back a form that asks further; it raises
    ``Wrong`` for what cannot be meant and ``StepwellError`` for what cannot be done, which the form then shows.
    """

    name: str
    path: str
    ask: Ask
    act: Act
    role: Role = Role.OPERATOR
