"""Small worlds with known answers, in which a search is played without models or lanes."""

from __future__ import annotations

from critic_loop.core.messages import user
from critic_loop.core.protocols import Move
from critic_loop.core.records import Ask, Attempt, Feedback, Head, Subject, Task, Verdict
from critic_loop.core.tree import Tree


class World:
    """Answers follow from the path: `nexts(path, k)` is what the k-th child says, `worth(path)` its score.

    A score of None is not judged; of an answer `ends` says whether it ends one (steps).
    """

    def __init__(self, nexts, worth, ends=lambda path: True, verdicts=False):
        self.nexts, self.worth, self.ends, self.verdicts = nexts, worth, ends, verdicts

    def play(self, search, limit=1000):
        """Return the tree and the state after the search's end, one attempt after the other."""
        task = Task(prompt=(user("x"),))
        tree = Tree(Head(tree="w", task=task, recipe="", recipe_digest="", key="k", created_at=0.0))
        state = search.start(task)
        while isinstance(move := search.ask(state, tree), Move) and len(tree) < limit:
            for _ in range(move.samples):
                ask = Ask(
                    attempt=tree.next_attempt_id(), parents=move.parents, kind=move.kind, agent=move.agent,
                    replaces=move.replaces,
                )  # fmt: skip
                tree.append(ask)
                state = search.fold(state, tree, ask)
                self.end(tree, ask)
                state = search.fold(state, tree, tree[ask.attempt])
        self.said = move
        return tree, state

    def end(self, tree, ask):
        above = self.path(tree, ask.parents[0]) if ask.parents else ()
        siblings = tree.children(ask.parents[0]) if ask.parents else tree.roots
        text = self.nexts(above, siblings.index(ask.attempt))
        path = (*above, text)
        tree.append(
            Attempt(
                id=ask.attempt, parents=ask.parents, kind=ask.kind, replaces=ask.replaces,
                answer=text if self.ends(path) else None,
                messages=(user(text),), status="failed" if text == "!" else "complete",
            )
        )  # fmt: skip
        score = self.worth(path)
        if score is not None and text != "!":
            verdict = None if not self.verdicts else Verdict.PASS if score == 1 else Verdict.FAIL
            self.say(tree, ask.attempt, score, verdict)

    def say(self, tree, attempt, score, verdict, source="verifier"):
        tree.append(
            Feedback(
                id=tree.next_feedback_id(), subject=Subject.of(attempt), source=source, author="world",
                score=score, verdict=verdict,
            )
        )  # fmt: skip

    @staticmethod
    def path(tree, attempt):
        return tuple(tree[i].messages[0].text for i in tree.path(attempt))


def bandit(*arms):
    """Each root is an arm; what is below it is worth the same as it."""
    names = "abcdefghijklmnop"
    return World(
        lambda path, k: names[k] if not path else f"{path[0]}{len(path)}{k}",
        lambda path: arms[names.index(path[0])],
    )


def deceptive(depth=4):
    """Drafts `a` look good and lead nowhere; `b` looks bad, and right revisions of it come to 1."""

    def worth(path):
        if path[0] != "b":
            return 0.6
        return 1.0 if len(path) == depth else 0.3 + 0.1 * len(path)

    return World(lambda path, k: "ab"[k] if not path else f"{path[0]}{len(path)}{k}", worth)


def two_steps():
    """A first step of two, a second of two: only `1` then `3` is right; nothing else is judged."""
    return World(
        lambda path, k: ("0", "1", "4")[k] if not path else ("2", "3", "4")[k],
        lambda path: None if len(path) < 2 else float(path == ("1", "3")),
        ends=lambda path: len(path) == 2,
    )
