"""Toy worlds for searches: an attempt's worth follows from where it stands, so the right answer is known."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from critic_loop.core.messages import user
from critic_loop.core.protocols import AnySearch, Move, Wait
from critic_loop.core.records import Ask, Attempt, Feedback, Task
from critic_loop.core.tree import Tree
from critic_loop.search.driver import Driver

World = Callable[[Tree, Ask], dict[str, Any]]
"""What comes of an ask: `score`, `answer`, `status`, `data`, `suggestion`."""


class Played(Driver):
    """A search at play in a world, on so many lanes; attempts end in the order of asking, or shuffled."""

    def __init__(self, search: AnySearch, world: World, *, lanes: int = 1, seed: int = 0) -> None:
        super().__init__(search, Task(id="toy", prompt=(user("Climb."),)), seed, "toy")
        self.world, self.lanes = world, lanes
        self.moves: list[Move] = []
        self.idle = 0
        """How often a lane had nothing to do."""

    def run(self, attempts: int | None = None, shuffle: random.Random | None = None) -> Played:
        """Play until the search ends, or so many attempts were asked for; without a number it must end."""
        endless, attempts = attempts is None, attempts or 500
        while len(self.tree.asks) < attempts or self.in_flight:
            proposal = self.ask() if len(self.tree.asks) < attempts else Wait()
            if isinstance(proposal, Move) and len(self.in_flight) < self.lanes:
                self.begin(proposal)
                continue
            if not self.in_flight:
                break
            self.idle += len(self.in_flight) < self.lanes and len(self.tree.asks) < attempts
            self.settle(self.in_flight[shuffle.randrange(len(self.in_flight)) if shuffle else 0])
        assert not endless or len(self.tree.asks) < attempts, f"no end within {attempts} attempts"
        return self

    def begin(self, move: Move) -> None:
        self.moves.append(move)
        super().begin(move)

    def settle(self, attempt_id: str) -> None:
        ask = self.tree.asks[attempt_id]
        made = {"answer": attempt_id, "status": "complete", **self.world(self.tree, ask)}
        made["kind"] = "answer" if made["answer"] is not None and ask.kind == "step" else ask.kind
        judged = {k: made.pop(k) for k in ("score", "data", "suggestion", "verdict") if k in made}
        attempt = self.write(Attempt(id=attempt_id, parents=ask.parents, replaces=ask.replaces, **made))
        if judged:
            self.judge(attempt_id, Feedback(author="world", **judged))
        self.fold(attempt)

    def scores(self) -> dict[str, float]:
        return {f.subject.attempts[0]: f.score for f in self.tree.feedback.values() if f.subject}


def draw(tree: Tree, ask: Ask) -> random.Random:
    """Return chance that follows from the attempt alone."""
    return random.Random(f"{tree.head.seed}/{ask.attempt}")


def wide(tree: Tree, ask: Ask) -> dict[str, Any]:
    """Revisions only spoil: the best there is, is a draft."""
    if not ask.parents:
        return {"score": round(0.6 * draw(tree, ask).random(), 3)}
    return {"score": round(max(0.0, score_of(tree, ask.parents[0]) - 0.2), 3)}


def deep(tree: Tree, ask: Ask) -> dict[str, Any]:
    """Drafts are bad, and each revision is a little better than what it revises."""
    chance = draw(tree, ask)
    if not ask.parents:
        return {"score": round(0.2 * chance.random(), 3)}
    return {"score": round(min(1.0, score_of(tree, ask.parents[0]) + 0.1 * chance.random()), 3)}


def path(right: Sequence[int], width: int = 3) -> World:
    """One way is right: step k is number `right[k]` below its parent, and scores say how many are right so far.

    The answer ends with the last step. Numbers count from 0, by the order of asking, modulo `width`.
    """

    def world(tree: Tree, ask: Ask) -> dict[str, Any]:
        siblings = tree.children(ask.parents[0]) if ask.parents else tree.roots
        number, depth = siblings.index(ask.attempt) % width, tree.depth(ask.attempt)
        before = score_of(tree, ask.parents[0]) if ask.parents else 0.0
        good = depth < len(right) and number == right[depth] and round(before * len(right)) == depth
        ended = depth == len(right) - 1
        return {"score": before + good / len(right), "answer": ask.attempt if ended else None}

    return world


def score_of(tree: Tree, attempt_id: str) -> float:
    """Return what the world said."""
    score = tree.judgements(attempt_id)[0].score
    return 0.0 if score is None else score
