"""What a step was given, and what its result says, where more is known of it than that it is JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

import msgspec

from stepwell.ids import is_ulid
from stepwell.model.event import INVOKED
from stepwell.model.questions import GetEvent, GetRun
from stepwell.model.run import Run
from stepwell.model.step import Step
from stepwell.views.nouns import Reader
from stepwell.views.trace import child_run

_EVENTS_MAX: Final = 20
_encode: Final = msgspec.json.Encoder().encode


class Given(NamedTuple):
    """The input of a step as JSON text. ``note`` says how that is known, where it is not the step's own word."""

    text: bytes
    note: str = ""


class Answer(NamedTuple):
    """What came back for a request. ``body`` is text, JSON or not."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes


class _Details(msgspec.Struct):
    input: msgspec.Raw = msgspec.Raw(b"")


class _Response(msgspec.Struct):
    status_code: int
    headers: dict[str, str]
    body: str


_decode_details: Final = msgspec.json.Decoder(_Details).decode
_decode_response: Final = msgspec.json.Decoder(_Response).decode
_decode: Final = msgspec.json.Decoder().decode


async def given_to(reader: Reader, run: Run, step: Step | None) -> Given | None:
    """Of most steps nobody has told: their code gives it anew. Of an invoke it is the data of the event of its run."""
    again = run.rerun
    if step is None:
        return None
    if again is not None and again.from_step == step.id and again.input is not None:
        return Given(again.input.encode(), "given by a person, in place of what the code gives")
    if step.details and (told := bytes(_decode_details(step.details).input)):
        return Given(told)
    child = child_run(step)
    if child is None:
        return None
    found = await reader.read(GetRun(child))
    event = await reader.read(GetEvent(found.event_id, found.place)) if found is not None else None
    if event is None:
        return None
    fields: Any = _decode(event.data)
    if event.name == INVOKED and isinstance(fields, dict):
        data = {name: each for name, each in cast("Mapping[str, Any]", fields).items() if name != "_inngest"}
        return Given(_encode(data), "the data of the event of the run")
    return Given(event.data, "the data of the event of the run")


def answer_in(step: Step | None) -> Answer | None:
    """The response that a request of ours brought."""
    if step is None or step.kind != "fetch" or step.output is None:
        return None
    try:
        found = _decode_response(step.output)
    except msgspec.MsgspecError:
        return None
    return Answer(found.status_code, sorted(found.headers.items()), found.body.encode(errors="replace"))


def sent_by(step: Step | None) -> Sequence[str]:
    """The ids of the events that a step has sent, as its SDK says."""
    if step is None or step.kind != "sendEvent" or step.open or step.output is None:
        return ()
    value: Any = _decode(step.output)
    listed: Any = cast("Mapping[str, Any]", value).get("ids") if isinstance(value, dict) else value
    found = cast("Sequence[Any]", listed) if isinstance(listed, list) else ()
    return [each for each in found if isinstance(each, str) and is_ulid(each)][:_EVENTS_MAX]
