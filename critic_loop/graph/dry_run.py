"""A dry run of a search: the moves that it makes, without a call.

A search is a pure function, so this costs nothing. Knows moves and records. Does not know agents (`graph.check`
compares).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle

from critic_loop.core.messages import assistant
from critic_loop.core.protocols import AnySearch, Move
from critic_loop.core.records import UNFINISHED, Ask, Attempt, Feedback
from critic_loop.search.driver import Driver

_ATTEMPTS = 40
_SCORES = (0.3, 0.8, 0.0, 0.6)
"""The scores of attempts, in turn: some good, some bad, none right."""


def dry_run(search: AnySearch) -> Iterator[Move]:
    """Yield the moves that a search makes where no attempt is right, one after the other; 40 at most.

    Every third step ends its answer. Moves that depend on traits, on costs or on more attempts do not occur.
    """
    driver, scores = Driver(search, "?"), cycle(_SCORES)
    while len(driver.tree.asks) < _ATTEMPTS and isinstance(move := driver.ask(), Move):
        yield move
        driver.begin(move)
        for attempt_id in tuple(driver.in_flight):
            attempt = driver.write(_attempt(driver.tree.asks[attempt_id], len(driver.tree.attempts) + 1))
            driver.judge(attempt_id, Feedback.failed(source="verifier", score=next(scores), suggestion="?"))
            driver.fold(attempt)


def _attempt(ask: Ask, number: int) -> Attempt:
    part = ask.kind in UNFINISHED and (ask.kind == "thought" or number % 3 > 0)
    return Attempt(
        id=ask.attempt,
        parents=ask.parents,
        kind=ask.kind if part or ask.kind not in UNFINISHED else "answer",
        messages=(assistant(f"attempt {number}"),),
        answer=None if part else f"attempt {number}",
        replaces=ask.replaces,
    )
