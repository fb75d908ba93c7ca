"""Names that people give, and names that they try because another product uses them, with the ones they mean here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Final
from unicodedata import category

from stepwell.errors import ConfigurationError, UnknownName
from stepwell.limits import ID_CHARS_MAX

_MODULE: Final = {
    "Inngest": "Stepwell",
    "Client": "Stepwell",
    "App": "Stepwell",
    "Engine": "Stepwell",
    "Workflow": "Stepwell",
    "RetryError": "RetryAfterError",
    "RetriableError": "RetryAfterError",
    "RetryAfter": "RetryAfterError",
    "NonRetryableError": "NonRetriableError",
    "NonRetriable": "NonRetriableError",
    "FatalError": "NonRetriableError",
    "ContextSync": "Context[E, Sync]",
    "Trigger": "TriggerEvent or TriggerCron",
    "CronTrigger": "TriggerCron",
    "EventTrigger": "TriggerEvent",
    "Cron": "TriggerCron",
    "CancelOn": "Cancel",
    "Retry": "retries= and Backoff",
    "RetryPolicy": "retries= and Backoff",
    "create_function": "Stepwell(…).create_function",
    "function": "Stepwell(…).create_function",
    "workflow": "Stepwell(…).create_function",
    "step": "ctx.step",
}
_APP: Final = {
    "create_workflow": "create_function",
    "createFunction": "create_function",
    "workflow": "create_function",
    "function": "create_function",
    "task": "create_function",
    "job": "create_function",
    "register": "create_function",
    "send_event": "send",
    "sendEvent": "send",
    "sendSignal": "send_signal",
    "signal": "send_signal",
    "publish": "send",
    "emit": "send",
    "trigger": "send",
    "run": "embedded",
    "start": "embedded",
}
_STEP: Final = {
    "waitForEvent": "wait_for_event",
    "waitForSignal": "wait_for_signal",
    "sendSignal": "send_signal",
    "signal": "send_signal",
    "wait": "wait_for_event",
    "wait_for": "wait_for_event",
    "sleepUntil": "sleep_until",
    "sleep_for": "sleep",
    "delay": "sleep",
    "sendEvent": "send_event",
    "send": "send_event",
    "emit": "send_event",
    "execute": "run",
    "do": "run",
    "call": "invoke",
    "invoke_function": "invoke",
    "invokeById": "invoke_by_id",
    "infer": "ctx.step.ai.infer",
    "ai_infer": "ctx.step.ai.infer",
    "wrap": "ctx.step.ai.wrap",
    "request": "fetch",
    "http": "fetch",
    "get": "fetch",
    "post": "fetch",
    "parallel": "ctx.group.parallel",
    "publish": "realtime.publish",
    "gather": "ctx.group.parallel, or asyncio.gather",
}
_CONTEXT: Final = {
    "data": "event.data",
    "input": "event.data",
    "payload": "event.data",
    "publish": "realtime.publish",
    "runId": "run_id",
    "id": "run_id",
    "log": "logger",
    "steps": "step",
    "sleep": "step.sleep",
    "run": "step.run",
    "uuid": "uuid4()",
    "time": "now()",
    "maxAttempts": "max_attempts",
}
_KEYWORDS: Final = {
    "event": "trigger",
    "on": "trigger",
    "triggers": "trigger (a list is welcome)",
    "cron": 'trigger=TriggerCron("0 9 * * *")',
    "schedule": 'trigger=TriggerCron("0 9 * * *")',
    "cancel_on": "cancel",
    "cancelOn": "cancel",
    "timeout": "timeouts=Timeouts(finish=…)",
    "retry": "retries",
    "max_retries": "retries",
    "attempts": "retries (those after the first attempt)",
    "fn_id": "id",
    "function_id": "id",
    "onFailure": "on_failure",
    "concurrency_limit": "concurrency",
    "idempotency_key": "idempotency",
    "rateLimit": "rate_limit",
    "batch": "batch_events",
    "batchEvents": "batch_events",
}
_STEP_KEYWORDS: Final = {
    "max_retries": "retries",
    "retry": "retries",
    "attempts": "retries (those after the first attempt)",
    "time_limit": "timeout",
}
LATER: Final = {
    "middleware": "middleware",
}


_ID_CHARS_SHOWN: Final = 40


def check_id(what: str, id: str, *, before: str = "", after: str = "") -> None:
    """Ids are to be readable and to be told apart. ``before`` and ``after`` are added to it where runs are filed.

    Raises ``ConfigurationError``.
    """
    if id != id.strip():
        raise ConfigurationError(
            what=f"{what} is {id!r:.80}, which has space around it",
            why="ids that look the same must be the same",
            fix=f"write {id.strip()!r:.80}",
        )
    if any(category(char) in ("Cc", "Cs") for char in id):
        raise ConfigurationError(
            what=f"{what} is {id!r:.80}",
            why="control characters and broken Unicode look like other text or break databases",
            fix="use letters, digits and punctuation",
        )
    whole = f"{before}{id}{after}"
    if len(whole) > ID_CHARS_MAX:
        raise ConfigurationError(
            what=f"{what} is too long: {id[:_ID_CHARS_SHOWN]!r}… has {len(id)} characters",
            why=f"the limit is {ID_CHARS_MAX}" + (f", and {before}…{after} counts too" if before else ""),
            fix=f"make it {len(whole) - ID_CHARS_MAX} shorter",
        )


def no_such_export(name: str, known: Iterable[str]) -> UnknownName:
    return _unknown(f"stepwell.{name}", name, _MODULE, known)


def no_such_app_name(name: str, known: Iterable[str]) -> UnknownName:
    return _unknown(f"Stepwell.{name}", name, _APP, known)


def no_such_step(name: str) -> UnknownName:
    known = (
        "ai",
        "fetch",
        "idempotency_key",
        "invoke",
        "invoke_by_id",
        "metadata",
        "options",
        "realtime",
        "run",
        "score",
        "send_event",
        "sleep",
        "sleep_until",
        "send_signal",
        "wait_for_event",
        "wait_for_signal",
    )
    return _unknown(f"ctx.step.{name}", name, _STEP, known)


def no_such_context_name(name: str, known: Iterable[str]) -> UnknownName:
    return _unknown(f"ctx.{name}", name, _CONTEXT, known)


def wrong_keywords(where: str, given: Iterable[str], known: Iterable[str]) -> ConfigurationError:
    """Options that ``where`` does not have, with those that were meant or that come later."""
    names, known = sorted(given), tuple(known)
    lines = [_keyword(name, known) for name in names]
    return ConfigurationError(
        what=f"{where} got {', '.join(f'{name}=' for name in names)}",
        why=f"it knows {', '.join(known)}",
        fix="; ".join(lines),
    )


def _keyword(name: str, known: tuple[str, ...]) -> str:
    if name in LATER and "trigger" in known:
        return f"{LATER[name]} is not in this version"
    table = _KEYWORDS if "trigger" in known else _STEP_KEYWORDS
    meant = table.get(name) or _closest(name, known)
    return f"for {name} write {meant}" if meant else f"leave {name} out"


def _unknown(shown: str, name: str, table: Mapping[str, str], known: Iterable[str]) -> UnknownName:
    if name.startswith("__"):
        return UnknownName(what=f"{shown} does not exist")  # asked by Python itself: no need to explain
    names = sorted(each for each in known if not each.startswith("_"))
    meant = table.get(name) or _closest(name, names)
    return UnknownName(
        what=f"{shown} does not exist",
        why="" if meant else f"there are {', '.join(names)}",
        fix=f"write {meant}" if meant else "choose one of these",
    )


def _closest(name: str, known: Iterable[str]) -> str | None:
    return next(iter(get_close_matches(name, list(known), n=1)), None)
