"""A function's configuration as apps send it (protocol §4.5): read, checked, all problems reported at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final, ParamSpec, TypeVar, cast
from urllib.parse import urlsplit

import msgspec

from stepwell.errors import ConfigurationError
from stepwell.expressions import compile_expression
from stepwell.flow import KEYWORDS, Concurrency, RunConcurrency
from stepwell.flow.combinations import conflicts
from stepwell.limits import (
    CANCELS_MAX,
    CONCURRENCY_ENTRIES_MAX,
    ID_CHARS_MAX,
    JITTER_MAX,
    JITTER_MIN,
    RETRIES_DEFAULT,
    RETRIES_MAX,
    RETRY_DELAY_MAX,
    TRIGGER_CHARS_MAX,
    TRIGGERS_MAX,
    URL_CHARS_MAX,
)
from stepwell.model.duration import parse_duration, to_ms
from stepwell.model.function import Backoff, Control, Function
from stepwell.model.schedule import Schedule
from stepwell.model.trigger import CancelOn, CronTrigger, EventTrigger, Trigger
from stepwell.protocol.moments import read_moment

P = ParamSpec("P")
T = TypeVar("T")
L = TypeVar("L", Concurrency, RunConcurrency)

_KNOWN: Final[dict[str, frozenset[str]]] = {
    "": frozenset({"id", "name", "triggers", "steps", "cancel", "timeouts", "backoff", "checkpoint", *KEYWORDS}),
    "triggers": frozenset({"event", "expression", "cron", "jitter", "missed"}),
    "concurrency": frozenset({"limit", "key", "scope", "fn", "step"}),
    "rateLimit": frozenset({"limit", "period", "key"}),
    "throttle": frozenset({"limit", "period", "burst", "key"}),
    "debounce": frozenset({"period", "timeout", "key"}),
    "batchEvents": frozenset({"maxSize", "timeout", "key", "if"}),
    "priority": frozenset({"run"}),
    "singleton": frozenset({"mode", "key"}),
    "cancel": frozenset({"event", "if", "timeout"}),
    "timeouts": frozenset({"start", "finish"}),
    "backoff": frozenset({"delays_ms", "jitter_ms"}),
}
"""The members that mean something, by the option they belong to; ``checkpoint`` only informs (protocol §4.5)."""

_MISSED: Final = ("latest", "skip", "all")
_UNFIT: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_JITTER_MIN_MS, _JITTER_MAX_MS = to_ms(JITTER_MIN), to_ms(JITTER_MAX)
_BACKOFF_MAX_MS: Final = to_ms(RETRY_DELAY_MAX)


def parse_function(
    config: Mapping[str, object] | bytes,
    app_id: str,
    *,
    version: int = 1,
    called: Callable[[str], str] = str,
) -> Function:
    """The function that this configuration declares. ``null`` stands for an absent member, wherever it is.

    ``called`` gives each place of the configuration the name that it has where the function was written.

    Raises ``ConfigurationError`` that names the function and lists everything that is wrong with it. Options of the
    protocol that this engine does not have are refused, never ignored; for members nobody knows see ``warnings``.
    """
    text, fields = _read(config)
    problems = _Problems(called)
    id = problems.attempt("id", _id, fields.get("id")) or ""
    name = problems.attempt("name", _text, fields.get("name"), ID_CHARS_MAX)
    timeouts = problems.attempt("timeouts", _object, fields.get("timeouts")) or {}
    function = Function(
        id=id,
        app_id=problems.attempt("the app's id", _id, app_id) or "",
        name=name or id,
        triggers=_triggers(problems, fields.get("triggers")),
        retries=min(max(problems.attempt("steps.step.retries.attempts", _retries, fields) or 0, 0), RETRIES_MAX),
        backoff=problems.attempt("backoff", _backoff, fields.get("backoff")),
        cancels=_cancels(problems, fields.get("cancel")),
        start_timeout_ms=problems.attempt("timeouts.start", _timeout, timeouts.get("start")),
        finish_timeout_ms=problems.attempt("timeouts.finish", _timeout, timeouts.get("finish")),
        controls=_controls(problems, fields),
        url=problems.attempt("steps.step.runtime.url", _url, fields),
        endpoint=problems.attempt("steps.step.runtime", _endpoint, fields),
        version=version,
        config=text,
    )
    problems.report(fields.get("id"))
    return function


def unknown_options(config: Mapping[str, object] | bytes) -> list[str]:
    """The members of a configuration that nobody reads, such as ``triggers[0].if``: likely spelling mistakes."""
    _, fields = _read(config)
    return [
        f"{place}{name}" for place, option, found in _members(fields) for name in found if name not in _KNOWN[option]
    ]


def warnings(config: Mapping[str, object] | bytes) -> list[str]:
    """What is accepted but probably not meant, one sentence each: unknown members, and retries out of range."""
    found = [f"the option {name!r} is unknown and has no effect" for name in unknown_options(config)]
    retries = _retries(_read(config)[1])
    if not 0 <= retries <= RETRIES_MAX:
        found.append(f"{retries} retries become {min(max(retries, 0), RETRIES_MAX)}: 0 to {RETRIES_MAX} are possible")
    return found


class _Problems:
    """Collects what is wrong, so that one look at the message is enough to set all of it right."""

    def __init__(self, called: Callable[[str], str]) -> None:
        self._found: list[tuple[str, ConfigurationError]] = []
        self.called = called

    def __len__(self) -> int:
        return len(self._found)

    def add(self, place: str, what: str, why: str, fix: str) -> None:
        self._found.append((self.called(place), ConfigurationError(what, why, fix)))

    def attempt(self, place: str, read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """What ``read`` returns, or ``None`` and a problem at this place."""
        try:
            return read(*args, **kwargs)
        except ConfigurationError as error:
            self._found.append((self.called(place), error))
            return None

    def report(self, id: object) -> None:
        if not self._found:
            return
        function = f"function {_short(id or '')}"
        if len(self._found) == 1:
            place, error = self._found[0]
            raise type(error)(f"{function}, {place}: {error.what}", error.why, error.fix)
        raise ConfigurationError(
            what=f"{function} has {len(self._found)} problems",
            why="".join(f"\n    {place}: {error.what}: {error.why}" for place, error in self._found),
            fix="".join(f"\n    {place}: {error.fix}" for place, error in self._found if error.fix),
        )


def _read(config: Mapping[str, object] | bytes) -> tuple[bytes, dict[str, object]]:
    try:
        text = config if isinstance(config, bytes) else msgspec.json.encode(config)
        return text, msgspec.json.decode(text, type=dict[str, object])
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
        raise ConfigurationError(
            what="a function's configuration cannot be read",
            why=str(error),
            fix="send one JSON object for each function",
        ) from None


# Triggers ------------------------------------------------------------------------------------------------------------


def _triggers(problems: _Problems, value: object) -> tuple[Trigger, ...]:
    found: list[Trigger] = []
    seen: set[object] = set()
    for index, entry in enumerate(problems.attempt("triggers", _array, value, TRIGGERS_MAX) or []):
        place = f"triggers[{index}]"
        fields = problems.attempt(place, _object, entry)
        trigger = None if fields is None else _trigger(problems, place, fields)
        if trigger is None:
            continue
        # Two jitters of one schedule would start it twice for each moment (semantics §2).
        key = _plain_cron(trigger.cron) if isinstance(trigger, CronTrigger) else trigger
        if key in seen:
            problems.add(place, "it is there twice", "one event or moment starts a function once", "remove one of them")
        seen.add(key)
        found.append(trigger)
    return tuple(found)


def _plain_cron(cron: str) -> str:
    """The same text for all spellings of a schedule and its zone."""
    return " ".join(cron.replace("CRON_TZ=", "TZ=").split()).removeprefix("TZ=UTC ")


def _trigger(problems: _Problems, place: str, fields: dict[str, object]) -> Trigger | None:
    if (fields.get("event") is None) == (fields.get("cron") is None):
        problems.add(
            place,
            "it names " + ("neither an event nor a cron schedule" if fields.get("event") is None else "both"),
            "a trigger is either an event or a moment",
            'write {"event": "app/thing.happened"} or {"cron": "0 9 * * 1"}',
        )
        return None
    if fields.get("cron") is not None:
        cron = problems.attempt(f"{place}.cron", _cron, fields["cron"])
        jitter = problems.attempt(f"{place}.jitter", _jitter, fields.get("jitter"))
        missed = problems.attempt(f"{place}.missed", _choice, fields.get("missed"), _MISSED)
        return CronTrigger(cron, jitter or 0, missed or "latest") if cron else None
    event = problems.attempt(f"{place}.event", _event_pattern, fields["event"])
    expression = problems.attempt(f"{place}.expression", _condition, fields.get("expression"), ("event",), False)
    return EventTrigger(event, expression) if event else None


def _event_pattern(value: object) -> str:
    """An event name, or one whose last segment is ``*`` (semantics §2.1)."""
    text = _required(value, TRIGGER_CHARS_MAX)
    if "*" in text and ("*" in text[:-1] or not text.endswith(("/*", ".*")) or len(text) == 2):
        raise ConfigurationError(
            f"{text!r} would never match",
            "* stands for the rest of a name, and only after a / or a dot",
            'write the whole name, or something like "app/*" or "app/user.*"',
        )
    return text


def _cron(value: object) -> str:
    text = _required(value, TRIGGER_CHARS_MAX + 1)  # the schedule itself says which length is right
    Schedule.parse(text)
    return text


def _jitter(value: object) -> int | None:
    if value is None:
        return None
    ms = _duration(value)
    if not _JITTER_MIN_MS <= ms <= _JITTER_MAX_MS:
        raise ConfigurationError(
            f"{value!r} is out of range", "starts are spread over 1 s to 5 min", 'write e.g. "30s"'
        )
    return ms


# Cancellation, time, retries -----------------------------------------------------------------------------------------


def _cancels(problems: _Problems, value: object) -> tuple[CancelOn, ...]:
    found: list[CancelOn] = []
    for index, entry in enumerate(problems.attempt("cancel", _array, value, CANCELS_MAX) or []):
        place = f"cancel[{index}]"
        fields = problems.attempt(place, _object, entry)
        if fields is None:
            continue
        event = problems.attempt(f"{place}.event", _event_name, fields.get("event"))
        condition = problems.attempt(f"{place}.if", _condition, fields.get("if"), ("event", "async"), True)
        timeout = problems.attempt(f"{place}.timeout", _lifetime, fields.get("timeout"))
        found.append(CancelOn(event or "", condition, *(timeout or (None, None))))
    return tuple(found)


def _event_name(value: object) -> str:
    text = _required(value, TRIGGER_CHARS_MAX)
    if "*" in text:
        raise ConfigurationError(
            f"{text!r} has a *", "runs are cancelled by events of one name", "write the whole name"
        )
    return text


def _lifetime(value: object) -> tuple[int | None, int | None]:
    """How long a cancellation listens: a length, or the moment at which it ends."""
    if value is None:
        return None, None
    moment = read_moment(value) if isinstance(value, str) else None
    if moment is not None:
        return None, moment
    return _duration(value, empty_is_zero=True), None


def _timeout(value: object) -> int | None:
    if value is None:
        return None
    ms = _duration(value)
    if ms == 0:
        raise ConfigurationError(
            "it is zero", "every run would be cancelled at once", "make it longer, or leave it out"
        )
    return ms


def _retries(fields: dict[str, object]) -> int:
    steps = _object(fields.get("steps"))
    if steps and steps.keys() != {"step"}:
        why = "a function is called at one address"
        raise ConfigurationError(f"it holds {', '.join(steps)}", why, 'give it exactly one member, "step"')
    retries = _object(_object(steps.get("step")).get("retries")).get("attempts")
    return RETRIES_DEFAULT if retries is None else _integer(retries)


def _url(fields: dict[str, object]) -> str | None:
    runtime = _object(_object(_object(fields.get("steps")).get("step")).get("runtime"))
    if runtime.get("url") is None:
        return None
    text = _text(runtime["url"], URL_CHARS_MAX) or ""
    if text.startswith(("ws://", "wss://")):
        return text  # its app connects to us, and need not be found (protocol §4.5)
    return checked_url(text)


def _endpoint(fields: dict[str, object]) -> str | None:
    """The SDK's language of a durable endpoint, which no app registers: ``protocol/endpoints.py`` writes such."""
    runtime = _object(_object(_object(fields.get("steps")).get("step")).get("runtime"))
    return (_text(runtime.get("sdk"), ID_CHARS_MAX) or "") if runtime.get("type") == "endpoint" else None


def checked_url(text: str) -> str:
    """An address at which an app can be called. Raises ``ConfigurationError``."""
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    else:
        if good and (parts.username is not None or parts.password is not None):
            raise ConfigurationError(
                "it holds a user's name or password", "addresses end up in logs and lists", "leave it out"
            )
    if not good:
        raise ConfigurationError(
            f"{text[:80]!r} is no address that can be called", "it is no http or https URL", "send the whole URL"
        )
    return text


def _backoff(value: object) -> Backoff | None:
    if value is None:
        return None
    fields = _object(value)
    delays = [_integer(delay) for delay in _array(fields.get("delays_ms"), RETRIES_MAX)]
    jitter = _integer(fields.get("jitter_ms") or 0)
    if not delays or not all(0 <= ms <= _BACKOFF_MAX_MS for ms in (*delays, jitter)):
        raise ConfigurationError(
            "its lengths are out of range",
            f"there are 1 to {RETRIES_MAX} delays of 0 to 24 hours each, in milliseconds",
            "write e.g. {'delays_ms': [1000, 5000, 60000], 'jitter_ms': 500}",
        )
    return Backoff(tuple(delays), jitter)


# Flow control --------------------------------------------------------------------------------------------------------


def _controls(problems: _Problems, fields: dict[str, object]) -> tuple[Control, ...]:
    found: list[Control] = []
    wrong = set[str]()  # what is meant, and cannot be kept as it stands
    for keyword, control in KEYWORDS.items():
        value, before = fields.get(keyword), len(problems)
        if control is Concurrency:
            found += _limits(problems, value)
        elif value is not None:
            read: Callable[[object], Control | None] = control.read
            one = problems.attempt(keyword, read, value)
            found += [one] if one is not None else []
        if len(problems) > before:
            wrong.add(keyword)
    given = {control.keyword for control in found} | wrong
    if fields.get("cancel"):
        given.add("cancel")
    for place, other, why in conflicts(given):
        problems.add(place, f"it cannot be together with {problems.called(other)}", why, "remove one of the two")
    return tuple(found)


def _limits(problems: _Problems, value: object) -> Iterator[Concurrency | RunConcurrency]:
    """The limits in any of the forms of protocol §4.5: a number, an object, an array, or an object of arrays, one for
    runs and one for steps."""
    fields = _object(value) if _is_object(value) else {}
    if "fn" in fields or "step" in fields:
        yield from _entries(problems, "concurrency.fn", RunConcurrency.read, fields.get("fn"))
        yield from _entries(problems, "concurrency.step", Concurrency.read, fields.get("step"))
        return
    yield from _entries(problems, Concurrency.keyword, Concurrency.read, value)


def _entries(problems: _Problems, name: str, read: Callable[[object], L], value: object) -> Iterator[L]:
    entries: list[object] | None = [value]
    if not isinstance(value, int) and not _is_object(value):
        entries = problems.attempt(name, _array, value, CONCURRENCY_ENTRIES_MAX)
    for index, entry in enumerate(entries or []):
        place = f"{name}[{index}]" if isinstance(value, list) else name
        control = problems.attempt(place, read, entry)
        if control is not None and control.limit:  # 0 is how the wire says "no limit"
            yield control


# Values --------------------------------------------------------------------------------------------------------------


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _object(value: object) -> dict[str, object]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigurationError(f"{_short(value)} stands there", "an object is expected", "write {…}")
    return cast("dict[str, object]", value)


def _array(value: object, most: int) -> list[object]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise ConfigurationError(f"{_short(value)} stands there", "an array is expected", "write […]")
    entries = cast("list[object]", value)
    if len(entries) > most:
        raise ConfigurationError(f"it has {len(entries)} entries", f"at most {most} are possible", "remove the others")
    return entries


def _integer(value: object) -> int:
    if type(value) is not int:
        raise ConfigurationError(f"{_short(value)} stands there", "a whole number is expected", "write e.g. 4")
    return value


def _id(value: object) -> str:
    text = _required(value, ID_CHARS_MAX)
    if text != text.strip():
        raise ConfigurationError(
            f"{text!r} has space around it", "ids that look the same must be the same", "remove it"
        )
    return text


def _required(value: object, chars_max: int) -> str:
    text = _text(value, chars_max)
    if text is None or not text or text.isspace():
        raise ConfigurationError("it is missing" if value is None else "it is empty", "it must be a text", "fill it in")
    return text


def _text(value: object, chars_max: int) -> str | None:
    """Short text that people, indexes and every database can live with (invariants S13)."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise ConfigurationError(f"{_short(value)} stands there", "a text is expected", 'write e.g. "sync-order"')
    if len(value) > chars_max:
        raise ConfigurationError(f"it has {len(value)} characters", f"the limit is {chars_max}", "shorten it")
    if _UNFIT.search(value):
        why = "control characters and broken Unicode look like other text or break databases"
        raise ConfigurationError(f"{value!r} stands there", why, "use letters, digits and punctuation")
    return value


def _choice(value: object, choices: tuple[str, ...]) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or value not in choices:
        raise ConfigurationError(f"{_short(value)} stands there", f"it is one of {', '.join(choices)}", "choose one")
    return value


def _duration(value: object, *, empty_is_zero: bool = False) -> int:
    if not isinstance(value, str):
        raise ConfigurationError(f"{_short(value)} stands there", "a length of time is expected", 'write e.g. "1h30m"')
    return parse_duration(value, empty_is_zero=empty_is_zero)


def _condition(value: object, variables: tuple[str, ...], restricted: bool) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        why = "a condition is an expression"
        raise ConfigurationError(f"{_short(value)} stands there", why, 'write e.g. "event.data.total > 10"')
    compile_expression(value, variables=variables, restricted=restricted, boolean=True)
    return value


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:40] + "…"


def _members(fields: dict[str, object]) -> Iterator[tuple[str, str, dict[str, object]]]:
    """Every object of a configuration with its place and the option it belongs to."""
    yield "", "", fields
    for option in _KNOWN:
        value = fields.get(option) if option else None
        if isinstance(value, dict):
            yield f"{option}.", option, cast("dict[str, object]", value)
        elif isinstance(value, list):
            for index, entry in enumerate(cast("list[object]", value)):
                if isinstance(entry, dict):
                    yield f"{option}[{index}].", option, cast("dict[str, object]", entry)
