"""A dry run of a search: what it asks for, without a call.

A search is a pure function, so this costs nothing. Knows moves and records. Does not know agents (`graph.check`
compares).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle

from critic_loop.core.messages import assistant, user
from critic_loop.core.protocols import AnySearch, Move
from critic_loop.core.records import UNFINISHED, Ask, Attempt, Feedback, Head, Subject, Task
from critic_loop.core.tree import Tree

_ATTEMPTS = 40
_SCORES = (0.3, 0.8, 0.0, 0.6)
"""What attempts are worth, in turn: some good, some bad, none right."""


def dry_run(search: AnySearch) -> Iterator[Move]:
    """Yield the moves that a search makes where no attempt is right, one after the other; 40 at most.

    Every third step ends its answer. What hangs on traits, on costs or on more attempts does not show.
    """
    task = Task(prompt=(user("?"),))
    tree = Tree(Head(tree="dry-run", task=task, recipe="", recipe_digest="", key="key", created_at=0.0))
    state, scores = search.start(task), cycle(_SCORES)
    while len(tree.asks) < _ATTEMPTS and isinstance(move := search.ask(state, tree), Move):
        yield move
        for _ in range(move.samples):
            ask = Ask(
                attempt=tree.next_attempt_id(), parents=move.parents, kind=move.kind, replaces=move.replaces
            )
            tree.append(ask)
            state = search.fold(state, tree, ask)
            attempt = _attempt(ask, len(tree.asks))
            tree.append(attempt)
            tree.append(_feedback(tree, attempt.id, next(scores)))
            state = search.fold(state, tree, attempt)


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


def _feedback(tree: Tree, attempt_id: str, score: float) -> Feedback:
    return Feedback.failed(
        id=tree.next_feedback_id(),
        subject=Subject.of(attempt_id),
        source="verifier",
        score=score,
        suggestion="?",
    )
