"""Runs works on the one writing connection: many in one transaction, each as if it were alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, cast

import apsw

from stepwell.errors import StorageError
from stepwell.model.changes import Decision, Plan
from stepwell.model.questions import Question
from stepwell.storage.delivery import Outcome
from stepwell.storage.interface import Verdict
from stepwell.storage.sqlite import statements as sql
from stepwell.storage.sqlite.answers import Paths, Reader
from stepwell.storage.sqlite.changes import Writer
from stepwell.storage.sqlite.driver import Execute, executor
from stepwell.storage.sqlite.faults import DISTRUST, HOPELESS, explained
from stepwell.storage.sqlite.files import Files
from stepwell.storage.sqlite.log import Log
from stepwell.storage.sqlite.moved import refuse_moved
from stepwell.storage.sqlite.schema import migrate


class Upkeep(NamedTuple):
    """Work on the store itself, such as retention."""

    run: Callable[[Execute], Any]


class Ask(NamedTuple):
    """A question from outside of a plan, where no other connection could answer it."""

    question: Question[Any]


Work = Decision | Callable[[], Plan] | Ask | Upkeep


class Committer:
    """The writing connection, and what it takes to trust it. Used by one thread at a time."""

    def __init__(self, files: Files, *, leader: bool) -> None:
        self.leader = leader
        self._files = files
        self._connection: apsw.Connection | None = None
        self._paths: Paths = {}
        self._connections = 0
        self._connect()
        if leader:
            self._warm()

    @property
    def connection(self) -> apsw.Connection:
        if self._connection is None:
            self._connect()
        return cast("apsw.Connection", self._connection)

    def run(self, works: Sequence[Work]) -> list[Outcome]:
        """Run works in order, in one transaction if all goes well. Never raises."""
        try:
            if self._connection is None:
                self._connect()
            return self._run_together(works)
        except BaseException as error:
            self._undo(error)
            if len(works) == 1 or isinstance(error, HOPELESS):
                return [Outcome(None, explained(error, self._files.path)) for _ in works]
            return [self.run((work,))[0] for work in works]

    def answer(self, ask: Ask) -> Outcome:
        """Answer a question where nobody else writes, so that no transaction is needed. Never raises."""
        try:
            if self._connection is None:
                self._connect()
            self._paths.clear()
            return Outcome(self._reader.answer(ask.question))
        except BaseException as error:
            self._undo(error)
            return Outcome(None, explained(error, self._files.path))

    def copy_due(self, *, idle: bool) -> bool:
        """Whether the log has grown enough to be copied; much less is enough when there is nothing else to do."""
        return self._connection is not None and self._log.due(leader=self.leader, idle=idle)

    def copy_log(self) -> None:
        """Copy the log into the database file."""
        try:
            self._log.copy()
        except apsw.Error as error:
            self._undo(error)

    def data_version(self) -> tuple[int, int]:
        """What changes when another connection has written: numbers of different connections cannot be compared."""
        if self._connection is not None:
            with suppress(apsw.Error):  # the next commit will say what is wrong
                return self._connections, int(self._execute(sql.DATA_VERSION).fetchall()[0][0])
        return self._connections, -1

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> None:
        connection = self._files.connect("writer")
        execute = executor(connection)
        with self._files.closing_on_error(connection):
            migrate(execute, self._files.path)
            refuse_moved(execute, self._files.path)
        self._writer = Writer(connection, self._paths, self._files.shards)
        self._reader = Reader(connection, self._paths, self._files.shards)
        self._log = Log(connection, self._files)
        self._execute = execute
        self._connection = connection
        self._connections += 1

    def _warm(self) -> None:
        try:
            self._log.warm()
        except (apsw.Error, OSError) as error:  # no room for it, or the disk fails: then the next commit says so
            self._undo(error)
            with suppress(apsw.Error, StorageError):
                if self._connection is None:
                    self._connect()
                self._log.shrink()

    def _run_together(self, works: Sequence[Work]) -> list[Outcome]:
        self._execute(sql.BEGIN)
        self._paths.clear()
        outcomes = [self._run_one(work) for work in works]
        self._execute(sql.COMMIT)
        return outcomes

    def _run_one(self, work: Work) -> Outcome:
        if isinstance(work, Decision):
            return Outcome(Verdict(self._writer.apply(work), work.result))
        if isinstance(work, Upkeep):
            return Outcome(work.run(self._execute))
        if isinstance(work, Ask):
            return Outcome(self._reader.answer(work.question))
        try:
            decision = self._drive(work())
        except apsw.Error:
            raise
        except BaseException as error:
            return Outcome(None, error)  # it has written nothing, so the others need not suffer
        return Outcome(Verdict(self._writer.apply(decision), decision.result))

    def _drive(self, plan: Plan) -> Decision:
        answer: Any = None
        while True:
            try:
                question = plan.send(answer)
            except StopIteration as done:
                return cast("Decision", done.value)
            answer = self._reader.answer(question)

    def _undo(self, error: BaseException) -> None:
        """Roll back; or, where that cannot be trusted, close the connection, and the next work opens another one."""
        connection = self._connection
        if connection is None:
            return
        if not isinstance(error, DISTRUST):
            with suppress(apsw.Error):
                if connection.in_transaction:
                    self._execute(sql.ROLLBACK)
                return
        self._connection = None
        with suppress(apsw.Error):
            connection.close(True)
