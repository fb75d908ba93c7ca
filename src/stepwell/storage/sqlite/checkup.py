"""Looks at a database file as a doctor: where it lies, whether it is whole, and what its rows are to each other."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import apsw

from stepwell.errors import StepwellError
from stepwell.storage.checkup import Check, Finding, State, findings, questions
from stepwell.storage.sqlite.driver import executor
from stepwell.storage.sqlite.files import refuse_old_sqlite
from stepwell.storage.sqlite.looking import look
from stepwell.storage.sqlite.schema import refuse_unreadable, version

_MOUNTS: Final = Path("/proc/self/mounts")
# Locks and shared memory between processes, on which the log relies, do not work there or not always
# (https://sqlite.org/wal.html, "all processes using a database must be on the same host computer").
_REMOTE: Final = frozenset(
    (
        *(
            "nfs",
            "nfs4",
            "cifs",
            "smb3",
            "smbfs",
            "9p",
            "afs",
            "ceph",
            "glusterfs",
            "lustre",
            "ocfs2",
            "gfs2",
            "beegfs",
        ),
        *("virtiofs", "fuse.sshfs", "fuse.glusterfs", "fuse.s3fs", "fuse.gcsfuse", "fuse.rclone"),
    )
)
_VANISHING: Final = {"tmpfs": "memory", "ramfs": "memory", "overlay": "the layer of a container"}
_ROOM_MIN: Final = 256 * 1024 * 1024
_LOG_MAX: Final = 1024 * 1024 * 1024


def checks(path: str) -> list[Check]:
    """The place, the library and the file itself. Changes nothing."""
    parts = (_library, _lies, _rights, _room, _log, _schema, _whole)
    return [check for part in parts for check in part(os.path.realpath(path))]


def inconsistencies(path: str, now: int) -> list[Finding]:
    """What the rows of one snapshot should not be to each other. Raises ``StorageError``."""

    def ask(connection: apsw.Connection) -> list[Finding]:
        execute = executor(connection)
        refuse_unreadable(execute, path)
        execute("BEGIN")
        found: list[Finding] = []
        for each, text in questions(now):
            found += findings(each, execute(text).fetchall())
        execute("ROLLBACK")
        return found

    return look(path, ask)


def _library(path: str) -> Iterator[Check]:
    number = apsw.sqlite_lib_version()
    try:
        refuse_old_sqlite(number)
    except StepwellError as error:
        yield Check(name="sqlite", state=State.WRONG, says=f"SQLite {number}: {error.why}", fix=error.fix)
    else:
        yield Check(name="sqlite", says=f"SQLite {number}")


def _lies(path: str) -> Iterator[Check]:
    kind = _file_system(path)
    if kind is None:
        return
    if kind in _REMOTE:
        yield Check(
            name="file-system",
            state=State.WRONG,
            says=f"the file is on a network file system ({kind}), where SQLite's log cannot be relied upon",
            fix="put the file on a local disk, or use PostgreSQL",
        )
    elif kind in _VANISHING:
        yield Check(
            name="file-system",
            state=State.WARNING,
            says=f"the file is on {kind}, {_VANISHING[kind]}: it is gone when that is",
            fix="put it on a disk, in a container on a volume",
        )
    else:
        yield Check(name="file-system", says=kind)


def _file_system(path: str) -> str | None:
    """The kind of file system that a path is on, where the system says so."""
    try:
        mounts = [line.split() for line in _MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()]
    except OSError:
        return None
    best: tuple[str, str | None] = ("", None)
    for _, where, kind, *_ in mounts:
        where = where.replace("\\040", " ")
        inside = path == where or path.startswith(where.rstrip("/") + "/")
        if inside and len(where) >= len(best[0]):  # of two on one place the later one counts
            best = (where, kind)
    return best[1]


def _rights(path: str) -> Iterator[Check]:
    mode = Path(path).stat().st_mode
    if os.name == "posix" and mode & (stat.S_IROTH | stat.S_IWOTH):
        yield Check(
            name="rights",
            state=State.WARNING,
            says=f"others on this machine may read the file ({stat.filemode(mode)}), with all that runs were given",
            fix=f"chmod o= {path}",
        )
    if not os.access(path, os.W_OK) or not os.access(Path(path).parent, os.W_OK):
        yield Check(
            name="rights",
            state=State.WARNING,
            says="this user may not write the file, or create its log beside it",
            fix="run this as the user of the server, to see what the server sees",
        )


def _room(path: str) -> Iterator[Check]:
    free = shutil.disk_usage(Path(path).parent).free
    if free < _ROOM_MIN:
        yield Check(
            name="room",
            state=State.WARNING,
            says=f"{free // 1024**2} MiB are free where the file is",
            fix="make room: a server without any refuses events until it has some",
        )
    else:
        yield Check(name="room", says=f"{free // 1024**2} MiB free")


def _log(path: str) -> Iterator[Check]:
    try:
        size = Path(f"{path}-wal").stat().st_size
    except OSError:
        return
    if size > _LOG_MAX:
        yield Check(
            name="log",
            state=State.WARNING,
            says=f"the log beside the file has {size // 1024**2} MiB",
            fix="find what has been reading the file for long: it keeps the log from being copied",
        )


def _schema(path: str) -> Iterator[Check]:
    try:
        number = look(path, lambda connection: version(executor(connection), path))
        look(path, lambda connection: refuse_unreadable(executor(connection), path))
    except StepwellError as error:
        yield Check(name="schema", state=State.WRONG, says=error.what, fix=error.fix)
    else:
        yield Check(name="schema", says=f"schema {number}")


def _whole(path: str) -> Iterator[Check]:
    """Whether the pages of the file make sense. Reads all of it."""
    try:
        said = look(path, lambda connection: executor(connection)("PRAGMA quick_check(10)").fetchall())
    except (StepwellError, apsw.Error) as error:
        said = [(str(error).splitlines()[0],)]
    if said == [("ok",)]:
        yield Check(name="file", says="whole")
    else:
        yield Check(
            name="file",
            state=State.WRONG,
            says=f"the file is damaged: {'; '.join(str(line) for (line,) in said)}",
            fix="stop the server, keep a copy, and restore the last backup, or try 'sqlite3 FILE .recover'",
        )
