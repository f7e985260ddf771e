"""Counts calls in a row that fail in the same way, in all trees of a job.

Knows errors and the order in which calls begin and end. Does not know models, nor trees. Calls that were in
flight together count once, since one outage fails them all.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from critic_loop.core.errors import CriticLoopError, SameError, fingerprint


@dataclass
class Streak:
    """How many calls in a row failed in the same way."""

    most: int
    """The number of calls that ends the job."""
    _ended: int = field(default=0, init=False)
    _same: str = field(default="", init=False)
    _calls: int = field(default=0, init=False)
    _began: int = field(default=0, init=False)

    def sent(self) -> int:
        """Return a mark for a call that begins now."""
        return self._ended

    def answered(self) -> None:
        """Take note of an answer: the count starts again."""
        self._ended += 1
        self._calls = 0

    def failed(self, error: CriticLoopError, sent: int) -> None:
        """Take note of a failure of a call that began at the mark `sent`.

        Raises:
            SameError: the count has reached `most`.
        """
        self._ended += 1
        same = fingerprint(error)
        if not self._calls or same != self._same:
            self._same, self._calls, self._began = same, 1, self._ended
        elif sent >= self._began:
            self._calls += 1
        if self._calls >= self.most:
            raise SameError(
                f"{self._calls} calls in a row failed in the same way, and none was answered: {error.message}",
                hint=f"{error.hint} Then run the same again: finished calls are not repeated.".lstrip(),
            ) from error
