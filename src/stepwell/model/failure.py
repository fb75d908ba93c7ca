"""An error as it is remembered and as it travels: name, message and stack, never an object (invariants S32)."""

from __future__ import annotations

import msgspec

_encode = msgspec.json.Encoder().encode


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error as the wire carries it (protocol §5.6)."""

    name: str
    message: str
    stack: str | None = None
    code: str | None = None

    def json(self) -> bytes:
        return _encode(self)


# Errors that the engine itself gives to runs and steps; names are the wire's (protocol §6, §13).
def too_many_steps(limit: int) -> Failure:
    return Failure("InngestErrFunctionOverflowed", f"the run has more than {limit} steps")


def state_too_large(limit: int) -> Failure:
    return Failure("InngestErrStateOverflowed", f"the results of the run's steps take more than {limit} bytes")


def output_too_large(size: int, limit: int) -> Failure:
    return Failure("OutputTooLarge", f"the output has {size} bytes; the limit is {limit}", code="output_too_large")


def timeout_too_long(days: int) -> Failure:
    return Failure("InngestErrTimeoutTooLong", f"a sleep or wait may last at most {days} days")


def invoke_timed_out() -> Failure:
    return Failure("InngestInvokeTimeoutError", "Timed out waiting for invoked function to complete")


def invoke_cancelled(function_id: str) -> Failure:
    return Failure("InvokeCancelled", f"the invoked function {function_id} was cancelled")


def invoke_skipped(function_id: str, reason: str) -> Failure:
    return Failure("InvokeSkipped", f"the invoked function {function_id} was not started: {reason}")


def function_not_found(function_id: str) -> Failure:
    return Failure("Error", f"could not find function with ID: {function_id}")


def worker_lost(times: int) -> Failure:
    return Failure("WorkerLost", f"the process that ran this function died {times} times in a row without progress")
