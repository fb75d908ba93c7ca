"""Notices that the user's code has changed, and whether the change can be read at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Final

from watchfiles import Change, watch

from stepwell.cli.target import user_files

_SETTLE_MS: Final = 120  # editors write in several strokes
_STEP_MS: Final = 30


class Watcher:
    """Watches the folders of the files that the app consists of; not below them, so a large tree costs nothing.

    ``changed`` is called, in a thread, with the file that makes a reload worth while. ``broken`` is called instead with
    a file that is not even Python: what runs goes on running. ``everything`` makes every Python file count, for an app
    that does not load and whose files are not all known.
    """

    def __init__(
        self,
        folders: set[Path],
        changed: Callable[[Path], None],
        broken: Callable[[Path, SyntaxError], None],
        *,
        everything: bool = False,
    ) -> None:
        self._folders = folders | {file.parent for file in user_files()}
        self._changed, self._broken = changed, broken
        self._everything = everything
        self._stop = Event()
        self._thread = Thread(target=self._run, name="stepwell-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def _run(self) -> None:
        changes = watch(
            *self._folders,
            watch_filter=_is_python,
            debounce=_SETTLE_MS,
            step=_STEP_MS,
            stop_event=self._stop,
            recursive=False,
            raise_interrupt=False,
        )
        for found in changes:
            paths = sorted({Path(path).resolve() for _, path in found})
            mine = paths if self._everything else sorted(user_files() & set(paths))
            readable = [path for path in mine if self._reads(path)]
            if readable and len(readable) == len(mine):
                self._changed(readable[0])

    def _reads(self, path: Path) -> bool:
        try:
            compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
        except SyntaxError as error:
            self._broken(path, error)
            return False
        except (OSError, ValueError):
            return path.exists()  # a file that has gone is the business of whoever imports it
        return True


def _is_python(change: Change, path: str) -> bool:
    return path.endswith(".py")
