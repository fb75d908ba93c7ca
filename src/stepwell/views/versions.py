"""What people are shown of the configurations that a function has had, and in words what each has changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple, cast

import msgspec

from stepwell.limits import FUNCTION_VERSIONS_KEPT, RETRIES_DEFAULT
from stepwell.model.event import rfc3339
from stepwell.model.function import FunctionVersion
from stepwell.model.questions import FunctionVersions, ListFunctions, StoredFunction
from stepwell.views.nouns import Reader, View

_SHORT: Final = 60  # characters of a value: all of it is in the configuration itself
_WORDS: Final = {
    "rateLimit": "rate limit",
    "batchEvents": "batch",
    "maxSize": "size",
    "delays_ms": "delays in ms",
    "jitter_ms": "jitter in ms",
    "checkpoint": "checkpointing",
    "expression": "condition",
    "if": "condition",
}

Members = dict[str, str]


class VersionView(View, frozen=True):
    """A configuration of a function, and since when it had it. ``changes`` is in words what it changed: null if that
    before it is not kept. ``sdk`` and ``app_version`` are what its app said of itself then, if it is served."""

    version: int
    registered_at: str
    sdk: str | None
    app_version: str | None
    changes: list[str] | None
    configuration: msgspec.Raw


async def versions(reader: Reader, function_id: str, present: int) -> list[FunctionVersion]:
    """The configurations of a function that are kept, the newest first: at least that of its ``present`` version."""
    kept: list[FunctionVersion] = await reader.read(FunctionVersions(function_id, FUNCTION_VERSIONS_KEPT))
    if not kept or kept[0].version < present:  # it was registered before they were kept
        registered: list[StoredFunction] = await reader.read(ListFunctions(archived=True))
        kept[:0] = [
            FunctionVersion(
                function_id=each.id, version=each.version, config=each.config, registered_at=each.updated_at
            )
            for each in registered
            if each.id == function_id
        ]
    return kept


def before(kept: Sequence[FunctionVersion], place: int) -> FunctionVersion | None:
    """That which a version was a change of, if it is kept."""
    older = kept[place + 1] if place + 1 < len(kept) else None
    return older if older is not None and older.version == kept[place].version - 1 else None


async def version_views(reader: Reader, function: StoredFunction) -> list[VersionView]:
    kept = await versions(reader, function.id, function.version)
    found: list[VersionView] = []
    for place, each in enumerate(kept):
        older = before(kept, place)
        view = VersionView(
            version=each.version,
            registered_at=rfc3339(each.registered_at),
            sdk=each.sdk,
            app_version=each.app_version,
            changes=None if older is None else changes(older.config, each.config),
            configuration=msgspec.Raw(each.config),
        )
        found.append(view)
    return found


def said(version: int, changes: list[str] | None) -> list[str]:
    """What a version has changed, also where that is nothing, or not known."""
    if changes is None:
        return ["registered" if version == 1 else f"version {version - 1} is not kept"]
    return changes or ["nothing but how it is written"]


def changes(old: bytes, new: bytes) -> list[str]:
    """What a configuration says otherwise than the one before, such as ``retries 3 → 5``. Empty if it is only written
    in another way."""
    one, other = _subjects(old, new)
    return [
        sentence
        for subject in dict.fromkeys((*other, *one))
        for sentence in _changed(subject, one.get(subject), other.get(subject))
    ]


def _changed(subject: str, one: Members | None, other: Members | None) -> Iterator[str]:
    if one is None:
        said = ", ".join(f"{name} {_short(text)}".lstrip() for name, text in (other or {}).items())
        yield f"{subject} added{f' ({said})' if said else ''}"
    elif other is None:
        yield f"{subject} removed"
    else:
        for name in dict.fromkeys((*other, *one)):
            if (was := one.get(name)) != (now := other.get(name)):
                yield f"{subject} {name}".rstrip() + _turned(was, now)


def _turned(was: str | None, now: str | None) -> str:
    if was is None:
        return f" added ({_short(now or '')})"
    if now is None:
        return " removed"
    return f" {_short(was)} → {_short(now)}" if _short(was) != _short(now) else " changed"


# What a configuration is about ----------------------------------------------------------------------------------------


class _Entry(NamedTuple):
    """What a configuration says about a subject. ``told_by`` are the members that tell it from others of the same."""

    subject: str
    members: Members
    told_by: Sequence[str] = ()


def _subjects(*configs: bytes) -> list[dict[str, Members]]:
    """What each configuration says, by what that is about."""
    said = [list(_entries(_object(config))) for config in configs]
    several = {subject for found in said for subject, times in _counted(found).items() if times > 1}
    return [dict(_told_apart(found, several)) for found in said]


def _counted(found: Sequence[_Entry]) -> Counter[str]:
    return Counter(each.subject for each in found)


def _told_apart(found: Sequence[_Entry], several: set[str]) -> Iterator[tuple[str, Members]]:
    seen = Counter[str]()
    for each in found:
        subject, members = each.subject, dict(each.members)
        if subject in several:
            subject = " ".join([subject, *(f"{name} {members.pop(name)}" for name in each.told_by if name in members)])
        seen[subject] += 1
        yield (subject if seen[subject] == 1 else f"{subject} ({seen[subject]})"), members


def _entries(config: Mapping[str, object]) -> Iterator[_Entry]:
    step = _object_in(_object_in(config, "steps"), "step")
    retries = _object_in(step, "retries").get("attempts")
    yield _Entry("retries", {"": _text(RETRIES_DEFAULT if retries is None else retries)})
    runtime = _members(_object_in(step, "runtime"))
    if "url" in runtime:
        yield _Entry("address", {"": runtime.pop("url")})
    yield _Entry("runtime", runtime)
    for name, value in config.items():
        if name in ("id", "steps") or value is None:
            continue
        if name == "triggers":
            yield from _started_by("trigger", value)
        elif name == "cancel":
            yield from _started_by("cancellation by", value)
        elif name == "concurrency":
            yield from _limits("concurrency", value)
        else:
            yield _Entry(_WORDS.get(name, name), _members(value))


def _started_by(word: str, value: object) -> Iterator[_Entry]:
    """What starts a run, or cancels it: an event, or a moment."""
    for each in cast("list[object]", value) if isinstance(value, list) else []:
        members = _members(each)
        what = members.pop("event", "") or members.pop("cron", "")
        yield _Entry(f"{word} {what}", members, ("condition",))


def _limits(word: str, value: object) -> Iterator[_Entry]:
    """Each limit, in whichever form the wire has it (protocol §4.5)."""
    if isinstance(value, dict) and ("fn" in value or "step" in value):
        fields = cast("dict[str, object]", value)
        yield from _limits("concurrency of runs", fields.get("fn"))
        yield from _limits("concurrency", fields.get("step"))
    elif isinstance(value, list):
        for each in cast("list[object]", value):
            yield from _limits(word, each)
    elif value is not None:
        members = _members(cast("dict[str, object]", value)) if isinstance(value, dict) else {"limit": _text(value)}
        yield _Entry(word, members, ("scope", "key"))


# Values ---------------------------------------------------------------------------------------------------------------


def _object(config: bytes) -> dict[str, object]:
    """It is one as it was registered; what somebody has changed by hand may be anything."""
    try:
        return msgspec.json.decode(config, type=dict[str, object])
    except (msgspec.MsgspecError, RecursionError):
        return {}


def _object_in(value: Mapping[str, object], name: str) -> dict[str, object]:
    found = value.get(name)
    return cast("dict[str, object]", found) if isinstance(found, dict) else {}


def _members(value: object) -> Members:
    if not isinstance(value, dict):
        return {"": _text(value)}
    fields = cast("dict[str, object]", value)
    return {_WORDS.get(name, name): _text(each) for name, each in fields.items() if each is not None}


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _short(text: str) -> str:
    return text if len(text) <= _SHORT else f"{text[:_SHORT]}…"
