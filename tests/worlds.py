"""Toy worlds for searches: an attempt's worth follows from where it stands, so the right answer is known."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from critic_loop.core.messages import user
from critic_loop.core.protocols import AnySearch, Move, Wait
from critic_loop.core.records import Ask, Attempt, Feedback, Head, Subject, Task
from critic_loop.core.tree import Tree

World = Callable[[Tree, Ask], dict[str, Any]]
"""What comes of an ask: `score`, `answer`, `status`, `data`, `suggestion`."""


class Played:
    """A search at play in a world, on so many lanes; attempts settle in the order of asking, or shuffled."""

    def __init__(self, search: AnySearch, world: World, *, lanes: int = 1, seed: int = 0) -> None:
        task = Task(id="toy", prompt=(user("Climb."),))
        head = Head(tree="toy", task=task, recipe="", recipe_digest="", key="k", created_at=0.0, seed=seed)
        self.search, self.world, self.lanes = search, world, lanes
        self.tree, self.state, self.flying = Tree(head), search.start(task), list[str]()
        self.moves: list[Move] = []
        self.idle = 0
        """How often a lane had nothing to do."""

    def run(self, attempts: int = 10_000, shuffle: random.Random | None = None) -> Played:
        """Play until the search ends, or so many attempts were asked for."""
        while len(self.tree.asks) < attempts or self.flying:
            said = self.search.ask(self.state, self.tree) if len(self.tree.asks) < attempts else Wait()
            if isinstance(said, Move) and len(self.flying) < self.lanes:
                self.begin(said)
                continue
            if not self.flying:
                break
            self.idle += len(self.flying) < self.lanes and len(self.tree.asks) < attempts
            self.settle(self.flying[shuffle.randrange(len(self.flying)) if shuffle else 0])
        return self

    def begin(self, move: Move) -> None:
        self.moves.append(move)
        for _ in range(move.samples):
            ask = Ask(
                attempt=self.tree.next_attempt_id(), parents=move.parents, kind=move.kind, agent=move.agent,
                replaces=move.replaces, context={"attempts": move.parents, "also_shown": move.shows},
            )  # fmt: skip
            self.tree.append(ask)
            self.state = self.search.fold(self.state, self.tree, ask)
            self.flying.append(ask.attempt)

    def settle(self, attempt_id: str) -> None:
        ask = self.tree.asks[attempt_id]
        said = {"answer": attempt_id, "status": "complete", **self.world(self.tree, ask)}
        said["kind"] = "answer" if said["answer"] is not None and ask.kind == "step" else ask.kind
        rest = {k: said.pop(k) for k in ("score", "data", "suggestion", "verdict") if k in said}
        self.tree.append(Attempt(id=attempt_id, parents=ask.parents, replaces=ask.replaces, **said))
        if rest:
            self.tree.append(
                Feedback(
                    id=self.tree.next_feedback_id(), subject=Subject.of(attempt_id), author="world", **rest
                )
            )
        self.flying.remove(attempt_id)
        self.state = self.search.fold(self.state, self.tree, self.tree[attempt_id])

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
