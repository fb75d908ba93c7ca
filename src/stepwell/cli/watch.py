"""Notices that the user's code has changed, and whether the change can be read at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Final

from watchfiles import Change, watch

from stepwell.cli.target import user_files

_SETTLE_MS: Final = 400  # editors write in several strokes
_STEP_MS: Final = 100
_LOOK_MS: Final = 1_000  # for changes that came while we were starting, and folders that report none
_COARSE_MS: Final = 20  # file systems write times that lag behind the clock
_AHEAD_NS: Final = 60_000_000_000

Stamp = tuple[int, int]


class Watcher:
    """Watches the folders of the files that the app consists of; not below them, so a large tree costs nothing.

    ``changed`` is called, in a thread, with the file that makes a reload worth while. ``broken`` is called instead with
    a file that is not even Python: what runs goes on running. ``everything`` makes every Python file count, for an app
    that does not load and whose files are not all known. ``since_ms`` is when we began to read them: what was
    written later may be newer than what we run.
    """

    def __init__(
        self,
        folder: Path,
        since_ms: int,
        changed: Callable[[Path], None],
        broken: Callable[[Path, SyntaxError], None],
        *,
        everything: bool = False,
    ) -> None:
        self._folders = {folder} | {file.parent for file in user_files()}
        self._changed, self._broken = changed, broken
        self._everything = everything
        self._stop = Event()
        began = (since_ms - _COARSE_MS) * 1_000_000
        # A time far ahead is another clock's: it says nothing, and must not make us reload for ever.
        self._seen = {
            path: stamp for path, stamp in self._stamps().items() if not began <= stamp[0] <= began + _AHEAD_NS
        }
        self._thread = Thread(target=self._run, name="stepwell-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def _run(self) -> None:
        reports = watch(
            *self._folders,
            watch_filter=_is_python,
            debounce=_SETTLE_MS,
            step=_STEP_MS,
            rust_timeout=_LOOK_MS,
            yield_on_timeout=True,
            stop_event=self._stop,
            recursive=False,
            raise_interrupt=False,
        )
        for _ in reports:
            stamps = self._stamps()
            changed = sorted(
                path for path in stamps.keys() | self._seen.keys() if stamps.get(path) != self._seen.get(path)
            )
            self._seen = stamps
            readable = [path for path in changed if self._reads(path)]
            if readable and len(readable) == len(changed):
                self._changed(readable[0])

    def _stamps(self) -> dict[Path, Stamp]:
        """When each file that counts was last written, and how long it is."""
        files = user_files()
        if self._everything:
            files |= {file for folder in self._folders for file in folder.glob("*.py")}
        stamps: dict[Path, Stamp] = {}
        for file in files:
            try:
                found = file.stat()
            except OSError:
                continue
            stamps[file] = (found.st_mtime_ns, found.st_size)
        return stamps

    def _reads(self, path: Path) -> bool:
        try:
            compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
        except SyntaxError as error:
            self._broken(path, error)
            return False
        except (OSError, ValueError):
            pass  # a file that has gone is the business of whoever imports it
        return True


def _is_python(change: Change, path: str) -> bool:
    return path.endswith(".py")
