"""Somebody says something about a run: it is remembered, or refused; the run itself never notices (ADR 0018)."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import msgspec

from stepwell.engine.draft import Draft
from stepwell.limits import METADATA_BYTES_MAX, METADATA_PER_RUN_BYTES_MAX, METADATA_PER_RUN_MAX
from stepwell.model.changes import Plan, SaveMetadata, SaveNote
from stepwell.model.history import Note
from stepwell.model.metadata import RUN, Entry, Metadata
from stepwell.model.questions import GetMetadata, GetSteps, ask
from stepwell.model.run import Run
from stepwell.ops import Annotated

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode

_Key = tuple[str, int, str]


def annotate(draft: Draft, run: Run, entries: Sequence[Entry]) -> Plan:
    """Remember all of these, or none. The value says why none was; ``None`` if all were."""
    steps = yield from ask(GetSteps(run.id)) if any(entry.step_id != RUN for entry in entries) else _none()
    ids = {step.id for step in steps}
    named = {(step.name, step.repeat): step.id for step in steps}
    resolved = [
        entry
        if entry.step_id in ids
        else msgspec.structs.replace(entry, step_id=named.get((entry.step_id, entry.repeat), entry.step_id))
        for entry in entries
    ]
    saved, problem = yield from _written(draft, run, resolved)
    if problem is None:
        draft.add(*(SaveMetadata(one) for one in saved))
    return draft.decision(problem)


def annotate_step(draft: Draft, run: Run, op: Annotated) -> Generator[Any, Any, None]:
    """What came with a step. What cannot be taken is noted on the run."""
    if op.problem is not None:
        _note(draft, run, op.problem)
    for entry in op.entries:
        saved, problem = yield from _written(draft, run, [entry])
        if problem is None:
            draft.add(*(SaveMetadata(one) for one in saved))
        else:
            _note(draft, run, problem)


def _written(
    draft: Draft, run: Run, entries: Sequence[Entry]
) -> Generator[Any, Any, tuple[list[Metadata], str | None]]:
    known: dict[_Key, Metadata] = {_key(one): one for one in (yield from ask(GetMetadata(run.id)))}
    for change in draft.changes:
        if isinstance(change, SaveMetadata) and change.metadata.run_id == run.id:
            known[_key(change.metadata)] = change.metadata
    saved: dict[_Key, Metadata] = {}
    for entry in entries:
        if len(entry.values) > METADATA_BYTES_MAX:
            return [], f"{entry.kind!r} has {len(entry.values):,} bytes; the limit is {METADATA_BYTES_MAX:,}"
        before = known.get((entry.step_id, entry.attempt, entry.kind))
        values = entry.values
        if entry.merge and before is not None:
            values = _encode(_decode(before.values) | _decode(values))
            if len(values) > METADATA_BYTES_MAX:
                return [], f"{entry.kind!r} would have {len(values):,} bytes; the limit is {METADATA_BYTES_MAX:,}"
        one = Metadata(
            run_id=run.id,
            kind=entry.kind,
            values=values,
            updated_at=draft.now,
            step_id=entry.step_id,
            attempt=entry.attempt,
        )
        known[_key(one)] = saved[_key(one)] = one
    size = sum(one.size for one in known.values())
    if size > METADATA_PER_RUN_BYTES_MAX:
        return [], f"the run would have {size:,} bytes of it; the limit is {METADATA_PER_RUN_BYTES_MAX:,}"
    if len(known) > METADATA_PER_RUN_MAX:
        return [], f"the run would have {len(known):,} kinds of it; the limit is {METADATA_PER_RUN_MAX:,}"
    return list(saved.values()), None


def _note(draft: Draft, run: Run, problem: str) -> None:
    text = f"metadata is not kept: {problem}"
    draft.add(SaveNote(Note(run_id=run.id, at=draft.now, kind="metadata-rejected", text=text)))


def _key(one: Metadata) -> _Key:
    return one.step_id, one.attempt, one.kind


def _none() -> Generator[Any, Any, list[Any]]:
    return []
    yield
