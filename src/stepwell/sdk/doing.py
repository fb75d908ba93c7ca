"""What a thread is busy with, from its frames."""

from __future__ import annotations

from types import FrameType

from stepwell.sdk.drive import AsyncDrive


def doing(frame: FrameType) -> str | None:
    """The step or function whose ``async`` code runs in this frame, in words. ``None`` if it is neither."""
    at: FrameType | None = frame
    while at is not None:
        if at.f_code is AsyncDrive._attempt.__code__:  # pyright: ignore[reportPrivateUsage]
            run = at.f_locals["self"].call
            return f"step {at.f_locals['step'].name!r} of {run.function_id}, run {run.run_id}"
        if at.f_code is AsyncDrive.run.__code__:
            run = at.f_locals["self"].call
            return f"{run.function_id}, run {run.run_id}, between its steps"
        at = at.f_back
    return None
