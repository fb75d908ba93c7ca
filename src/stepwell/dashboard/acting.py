"""All actions: finds the one at an address, shows its form, and does it. Whatever is done here passes ``_do``."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from stepwell.dashboard.action import Action, Done, Field, Form, Given, Kind, Wrong
from stepwell.dashboard.guest import Guest
from stepwell.dashboard.operations import Deed, Operations
from stepwell.dashboard.page import Missing, Visit
from stepwell.errors import NotRunning, StepwellError, StorageError
from stepwell.ids import secret

_SEED_BITS: Final = 80


class Forbidden(Exception):
    """Whoever asks may look, and not do this."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A value of a field, and what is wrong with it."""

    field: Field
    value: str
    wrong: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FormView:
    """A form as it stands: with what was typed, and why it was not done."""

    form: Form
    fields: Sequence[Shown]
    hidden: Mapping[str, str]
    address: str
    seed: str
    error: StepwellError | None
    status: int


def check(action: Action, guest: Guest) -> None:
    """Raises ``Forbidden``."""
    if not guest.may(action.role):
        raise Forbidden


async def asked(action: Action, visit: Visit, guest: Guest, here: str) -> FormView:
    """The form of an action, which ``here`` is the address of. Raises ``Forbidden`` and ``Missing``."""
    check(action, guest)
    return _view(await action.ask(visit), here, _new_seed(visit.now))


async def done(
    action: Action, operations: Operations, visit: Visit, guest: Guest, here: str, texts: Mapping[str, str]
) -> Done | FormView:
    """Do it, or show the form again: with what was typed, and what is in the way. Raises ``Forbidden``, ``Missing``."""
    check(action, guest)
    given = Given(texts)
    error: StepwellError | None = None
    wrong: Mapping[str, str] = {}
    try:
        found = await _do(action, operations, visit, guest, given)
        if isinstance(found, Done):
            return found
        return _view(found, here, given.seed, texts)
    except Wrong as mistaken:
        wrong = mistaken.fields
    except StepwellError as raised:
        error = raised
    form = await action.ask(visit)
    # What could not be done is tried anew when something else is given: the seed is that of the first try.
    return _view(form, here, given.seed or _new_seed(visit.now), texts, wrong, error)


async def _do(action: Action, operations: Operations, visit: Visit, guest: Guest, given: Given) -> Done | Form:
    """The one place through which all actions pass."""
    outcome = "failed"
    try:
        known = await _known(action, visit, given)
        target, *rest = [*visit.path.values(), *_meant(known)] or [""]
        said = {name: text for name, text in known.items() if text != target}
        if rest:
            said["of"] = " ".join(rest)
        with operations.acting(guest.name, action.name, target, said):
            found = await action.act(operations, visit, given)
        outcome = "done" if isinstance(found, Done) else "asked"
        return found
    except Wrong:
        outcome = "refused"
        raise
    except StepwellError as error:
        outcome = error.slug
        raise
    finally:
        await operations.record(Deed(action=action.name, address=visit.address, who=guest.name, outcome=outcome))


async def _known(action: Action, visit: Visit, given: Given) -> dict[str, str]:
    """Of what was sent, what the form asks for, and no password: of the rest nobody knows what it is."""
    try:
        form = await action.ask(visit)
    except Missing:
        return {}  # there is no form any more; whether there is something to do, the action says
    names = [each.name for each in form.fields if each.kind is not Kind.PASSWORD]
    return {name: given.texts[name] for name in names if name in given.texts}


def _meant(known: Mapping[str, str]) -> list[str]:
    """What a form is about whose address does not say it."""
    return [text for text in (known.get("name", ""),) if text]


def _view(
    form: Form,
    here: str,
    seed: str,
    texts: Mapping[str, str] | None = None,
    wrong: Mapping[str, str] | None = None,
    error: StepwellError | None = None,
) -> FormView:
    wrong = wrong or {}
    fields = [
        Shown(each, _typed(each, texts), wrong.get(each.name, ""))
        for each in form.fields
        if each.kind is not Kind.HIDDEN
    ]
    hidden = {each.name: each.value for each in form.fields if each.kind is Kind.HIDDEN}
    status = 200
    if isinstance(error, NotRunning | StorageError):
        status = 503
    elif wrong or error is not None:
        status = 422
    return FormView(form=form, fields=fields, hidden=hidden, address=here, seed=seed, error=error, status=status)


def _typed(field: Field, texts: Mapping[str, str] | None) -> str:
    """What was typed. Only a box that nobody has ticked is not in a form that was sent."""
    if texts is None or field.kind is Kind.PASSWORD:
        return field.value
    return texts.get(field.name, "" if field.kind is Kind.FLAG else field.value)


def _new_seed(now: int) -> str:
    """As SDKs make theirs (protocol §9.3): a moment, and ten bytes of chance."""
    return f"{now},{b64encode(bytes.fromhex(secret(_SEED_BITS))).decode()}"
