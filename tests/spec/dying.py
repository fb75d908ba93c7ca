"""Processes of the harness that die at a commit of one's choice."""

from __future__ import annotations


class DiesAt:
    """For ``Harness.die_when``: the process dies at the one of these moments, before and after commits, from 0."""

    def __init__(self, moment: int) -> None:
        self.died = False
        self._left = moment

    def __call__(self, before: bool, work: object) -> bool:
        dies = self._left == 0
        self._left -= 1
        self.died = self.died or dies
        return dies
