"""The same store without threads, for tests and simulations: every work is done inside the call that asks for it."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from stepwell.model.questions import Question
from stepwell.storage.sqlite.answers import Reader
from stepwell.storage.sqlite.committer import Committer, Outcome, Work
from stepwell.storage.sqlite.faults import explained
from stepwell.storage.sqlite.files import Files
from stepwell.storage.sqlite.threads import resolve


class Hook(Protocol):
    """Where a simulation lets commits fail. What it raises goes to whoever asked for the commit."""

    def before_commit(self, work: Work) -> None:
        """The work has not taken effect, and will not if this raises."""
        ...

    def after_commit(self, work: Work) -> None:
        """The work has taken effect, even if this raises."""
        ...


class Inline:
    """Writes and reads on one connection in the calling thread. Only the answers come later, from the loop."""

    def __init__(self, files: Files, committer: Committer, hook: Hook | None) -> None:
        self._files, self._committer, self._hook = files, committer, hook

    def submit(self, work: Work, future: asyncio.Future[Any]) -> None:
        future.get_loop().call_soon(resolve, [(future, self._run(work))])

    def submit_question(self, question: Question[Any], future: asyncio.Future[Any]) -> None:
        try:
            outcome = Outcome(Reader(self._committer.connection).answer(question))
        except Exception as error:
            outcome = Outcome(None, explained(error, self._files.path))
        future.get_loop().call_soon(resolve, [(future, outcome)])

    def _run(self, work: Work) -> Outcome:
        try:
            if self._hook is not None:
                self._hook.before_commit(work)
            outcome = self._committer.run((work,))[0]
            if self._hook is not None:
                self._hook.after_commit(work)
        except Exception as error:
            return Outcome(None, error)
        self._committer.checkpoint_if_due(idle=False)
        return outcome
