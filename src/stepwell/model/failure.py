"""An error as it is remembered and as it travels: name, message and stack, never an object (invariants S32)."""

from __future__ import annotations

import msgspec

from stepwell.errors import LimitExceeded

_encode = msgspec.json.Encoder().encode
_NOTHING = msgspec.Raw(b"")
BACKPRESSURE = "backpressure_error"


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error as the wire carries it (protocol §5.6). ``cause`` is JSON, of whatever form its SDK gave it; ``data`` is
    JSON text: what a model's provider said (§6.5)."""

    name: str
    message: str
    stack: str | None = None
    code: str | None = None
    cause: msgspec.Raw = _NOTHING
    data: msgspec.Raw = _NOTHING

    @property
    def presses(self) -> bool:
        """Whether it says that nothing else of its queue is to begin either: a ``BackpressureError``, of any SDK.

        Version 3 of the JavaScript SDK tells the class of such an error only by the first line of its stack.
        """
        if self.code == BACKPRESSURE or self.name == "BackpressureError":
            return True
        return self.stack is not None and self.stack.startswith("BackpressureError:")

    def json(self) -> bytes:
        return _encode(self)


# Errors that the engine itself gives to runs and steps; names are the wire's (protocol §6, §13), and so are the texts
# of those that have but one sentence.


def too_many_steps(limit: int) -> Failure:
    return _failure(
        "InngestErrFunctionOverflowed",
        f"the run has more than {limit} steps",
        "every call of the function reads all of them again, so they are bounded",
        "do more in each step, or give parts of the work to runs of their own: step.invoke, step.send_event",
    )


def state_too_large(limit: int) -> Failure:
    return _failure(
        "InngestErrStateOverflowed",
        f"the results of the run's steps, with its output, take more than {limit} bytes",
        "every call of the function reads all of them again, so they are bounded",
        "store what is large elsewhere and return where it is",
    )


def output_too_large(size: int, limit: int) -> Failure:
    return _failure(
        "OutputTooLarge",
        f"the step's output has {size} bytes; the limit is {limit}",
        "every later call of the function reads it again",
        "store it elsewhere and return where it is",
        code="output_too_large",
    )


def input_too_large(size: int, limit: int) -> Failure:
    return _failure(
        "InputTooLarge",
        f"the data of the invoke has {size} bytes; the limit is {limit}",
        "it is the event of the run that is started, and every call of that run reads it again",
        "store it elsewhere and give where it is",
        code="input_too_large",
    )


def input_no_object() -> Failure:
    return _failure(
        "InvalidInput",
        "the data of an invoke is no JSON object",
        "it becomes the data of an event, to which fields can be added later",
        'wrap it, as in {"value": …}',
    )


def answer_too_large(size: int, limit: int) -> Failure:
    return _failure(
        "OutputTooLarge",
        f"the function returned {size} bytes; the limit is {limit}",
        "the output of a run is kept, listed and told to others",
        "store it elsewhere and return where it is",
        code="output_too_large",
    )


def request_too_large(name: str, size: int, limit: int) -> Failure:
    return _failure(
        name,
        f"the request has {size} bytes; the limit is {limit}",
        "it is kept until there is an answer to it",
        "store what is large elsewhere and send where it is",
        code="input_too_large",
    )


def request_unusable(name: str, what: str) -> Failure:
    return _failure(name, what, "no attempt at such a request could succeed", "correct what is given to the step")


def timeout_too_long(days: int) -> Failure:
    return _failure(
        "InngestErrTimeoutTooLong",
        f"a sleep, or the timeout of a wait or an invoke, is longer than {days} days",
        "what is so far away is mostly a wrong unit",
        "make it shorter; what has to take longer can sleep or wait again",
    )


def signal_conflict(signal: str) -> Failure:
    return _failure(
        "SignalConflict",
        f"Signal conflict; signal wait already exists for another run: {signal!r}",
        "a signal resumes one run, so only one can wait for it at a time",
        "use a name of its own for each, or on_conflict='replace' to take it over",
    )


def signal_unusable(signal: str, limit: int) -> Failure:
    what = f"a signal has {len(signal.encode())} bytes in its name" if signal else "a signal has no name"
    return _failure("InvalidSignal", what, "waiters are found by it", f"give it a name of 1 to {limit} bytes")


def invoke_timed_out() -> Failure:
    return Failure("InngestInvokeTimeoutError", "Timed out waiting for invoked function to complete")


def invoke_cancelled(function_id: str) -> Failure:
    return Failure("InvokeCancelled", f"the invoked function {function_id} was cancelled")


def invoke_skipped(function_id: str, reason: str) -> Failure:
    return _failure(
        "InvokeSkipped",
        f"the invoked function {function_id} was not started",
        reason,
        "catch this error, or change the rule of the function that refused the run",
    )


def function_not_found(function_id: str) -> Failure:
    return Failure("Error", f"could not find function with ID: {function_id}")


def worker_lost(times: int) -> Failure:
    return _failure(
        "WorkerLost",
        f"the processes that ran it died {times} times in a row while it was in flight",
        "a run may be what ends its process, so it is given up; it may be innocent: all in flight go down together",
        "look at the server's log for what ended the processes, then send the event again",
    )


def _failure(name: str, what: str, why: str, fix: str, *, code: str | None = None) -> Failure:
    return Failure(name, str(LimitExceeded(what, why, fix)), code=code)
