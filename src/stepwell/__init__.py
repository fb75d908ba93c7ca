"""Durable workflows in Python.

What is here is the whole public API for those who write functions; importing it loads msgspec and the standard library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepwell.errors import (
    BackpressureError,
    CodeChanged,
    ConfigurationError,
    EventTooLarge,
    InvalidCron,
    InvalidDuration,
    InvalidEvent,
    InvalidExpression,
    InvalidMessage,
    InvalidOutput,
    InvalidSignal,
    LimitExceeded,
    MessageTooLarge,
    NonRetriableError,
    NotFound,
    NotRunning,
    RetryAfterError,
    SchemaTooNew,
    StepError,
    StepwellError,
    StorageError,
    StorageUnavailable,
    UnknownName,
)
from stepwell.flow import BatchEvents, Concurrency, Debounce, Priority, RateLimit, RunConcurrency, Singleton, Throttle
from stepwell.sdk.app import Stepwell
from stepwell.sdk.context import Context, Sync
from stepwell.sdk.events import Event, ReceivedEvent, RunFailed, event
from stepwell.sdk.fetch import FetchResponse
from stepwell.sdk.function import DeferredFunction, Function
from stepwell.sdk.logs import LogHandler
from stepwell.sdk.options import Backoff, Cancel, Timeouts
from stepwell.sdk.realtime import Channel, RealtimeMessage, SubscriptionToken, Topic
from stepwell.sdk.triggers import TriggerCron, TriggerEvent

__version__ = "0.1.0"

__all__ = [
    "Backoff",
    "BackpressureError",
    "BatchEvents",
    "Cancel",
    "Channel",
    "CodeChanged",
    "Concurrency",
    "ConfigurationError",
    "Context",
    "Debounce",
    "DeferredFunction",
    "Event",
    "EventTooLarge",
    "FetchResponse",
    "Function",
    "InvalidCron",
    "InvalidDuration",
    "InvalidEvent",
    "InvalidExpression",
    "InvalidMessage",
    "InvalidOutput",
    "InvalidSignal",
    "LimitExceeded",
    "LogHandler",
    "MessageTooLarge",
    "NonRetriableError",
    "NotFound",
    "NotRunning",
    "Priority",
    "RateLimit",
    "RealtimeMessage",
    "ReceivedEvent",
    "RetryAfterError",
    "RunConcurrency",
    "RunFailed",
    "SchemaTooNew",
    "Singleton",
    "StepError",
    "Stepwell",
    "StepwellError",
    "StorageError",
    "StorageUnavailable",
    "SubscriptionToken",
    "Sync",
    "Throttle",
    "Timeouts",
    "Topic",
    "TriggerCron",
    "TriggerEvent",
    "UnknownName",
    "__version__",
    "event",
]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Say which name was meant. ``from stepwell import …`` would hide our error behind one of its own."""
        import sys
        from importlib import import_module

        if name in ("ai", "testing"):  # "from stepwell import ai" asks here first
            return import_module(f"{__name__}.{name}")

        from stepwell.sdk.names import no_such_export

        error = no_such_export(name, __all__)
        asker = sys._getframe(1).f_code
        if not name.startswith("__") and asker.co_filename.startswith("<frozen importlib"):
            raise ImportError(str(error), name=__name__) from error
        raise error
