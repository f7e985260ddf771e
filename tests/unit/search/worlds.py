"""Small worlds with known answers, in which a search is played without models or lanes."""

from __future__ import annotations

from critic_loop.core.messages import user
from critic_loop.core.records import Ask, Attempt, Feedback, Task, Verdict
from critic_loop.core.stop import MaxAttempts
from critic_loop.search.driver import drive


def folded(search, tree):
    """Return the state of a search that has taken in a tree."""
    state = search.start(tree.task)
    for record in tree.log[1:]:
        if isinstance(record, Ask | Attempt):
            state = search.fold(state, tree, record)
    return state


def next_move(search, grown):
    """Return what a search does next in a tree that was written by hand."""
    return search.ask(folded(search, grown.tree), grown.tree)


class World:
    """Answers follow from the path: `nexts(path, k)` is what the k-th child says, `worth(path)` its score.

    A score of None is not judged; of an answer `ends` says whether it ends one (steps).
    """

    def __init__(self, nexts, worth, ends=lambda path: True, verdicts=False):
        self.nexts, self.worth, self.ends, self.verdicts = nexts, worth, ends, verdicts

    def play(self, search, lanes=1):
        """Return the tree and the state after the search's end."""
        functions = {"attempt": self.attempt, "evaluate": self.evaluate}
        tree = drive(search, Task.of("x"), **functions, lanes=lanes, stop=MaxAttempts(500))
        return tree, folded(search, tree)

    def attempt(self, tree, ask):
        above = self.path(tree, ask.parents[0]) if ask.parents else ()
        siblings = tree.children(ask.parents[0]) if ask.parents else tree.roots
        text = self.nexts(above, siblings.index(ask.attempt))
        return Attempt(
            id=ask.attempt, parents=ask.parents, kind=ask.kind, replaces=ask.replaces,
            answer=text if self.ends((*above, text)) else None,
            messages=(user(text),), status="failed" if text == "!" else "complete",
        )  # fmt: skip

    def evaluate(self, tree, attempt):
        score = self.worth(self.path(tree, attempt.id))
        if score is None:
            return None
        verdict = None if not self.verdicts else Verdict.PASS if score == 1 else Verdict.FAIL
        return Feedback(source="verifier", author="world", score=score, verdict=verdict)

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
