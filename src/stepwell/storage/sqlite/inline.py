"""The same store without threads, for tests and simulations: every work is done inside the call that asks for it."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from stepwell.storage.delivery import Outcome, resolve
from stepwell.storage.sqlite.committer import Ask, Committer, Work


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

    def __init__(self, committer: Committer, hook: Hook | None) -> None:
        self._committer, self._hook = committer, hook

    def submit(self, work: Work, future: asyncio.Future[Any]) -> None:
        future.get_loop().call_soon(resolve, [(future, self._run(work))])

    def _run(self, work: Work) -> Outcome:
        if isinstance(work, Ask):
            return self._committer.answer(work)
        try:
            if self._hook is not None:
                self._hook.before_commit(work)
            outcome = self._committer.run((work,))[0]
            if self._hook is not None:
                self._hook.after_commit(work)
        except Exception as error:
            return Outcome(None, error)
        if self._committer.copy_due(idle=False):
            self._committer.copy_log()
        return outcome
