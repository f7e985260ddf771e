"""Runs a search over plain functions: no models, no store, no graph.

    tree = drive(Mcts(n=40), "Name a prime.", attempt=propose, evaluate=score)

Knows the `Search` protocol and trees. Does not know any search.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import JsonValue

from critic_loop.core.errors import ConfigError, SearchError
from critic_loop.core.functions import remarks
from critic_loop.core.messages import assistant
from critic_loop.core.progress import Progress
from critic_loop.core.protocols import AnySearch, Move, Stop, Wait
from critic_loop.core.records import (
    UNFINISHED,
    Ask,
    Attempt,
    ContextSpec,
    Feedback,
    Head,
    Sampling,
    Spend,
    Subject,
    Task,
)
from critic_loop.core.roles import Unfinished
from critic_loop.core.rules import StopFunction, as_rule
from critic_loop.core.tree import Tree
from critic_loop.evidence import value_of
from critic_loop.search.base import require_move

Attempted = Attempt | Unfinished | JsonValue
Evaluated = Feedback | bool | float | Sequence[Feedback | bool | float] | None


def drive(
    search: AnySearch,
    task: str | Task,
    *,
    attempt: Callable[[Tree, Ask], Attempted],
    evaluate: Callable[[Tree, Attempt], Evaluated],
    lanes: int = 1,
    stop: StopFunction | None = None,
    seed: int = 0,
) -> Tree:
    """Run a search until it stops; return the tree.

    Args:
        search: any search, also one that `build` makes of a recipe's data.
        task: what the tree is about; the search is given it, your functions find it in `tree.task`.
        attempt: makes what is asked for. `ask.parents` are the attempts that it builds on: `tree[id]`. It
            returns the answer (text or other JSON), `Unfinished(text)` for a step that ends no answer, or an
            `Attempt` of its own, for example a failed one: `Attempt(id=ask.attempt, parents=ask.parents,
            status="failed")`.
        evaluate: judges what is complete. A number in [0, 1] or a bool is evidence; a `Feedback`, or several,
            is written as it is; None = not judged.
        lanes: attempts in flight at once, 1 or more: a search spreads them as it does for a loop with so many
            lanes. They end in the order of asking, one after the other.
        stop: a stop rule or a function of `Progress`, asked after each attempt; what is in flight then still
            ends. None leaves the end to the search.
        seed: for searches that draw random numbers; the same seed gives the same tree.

    Raises:
        SearchError: the search waits although nothing is in flight, or what it returned is no move.
        VerifierError: `evaluate` returned something else.
        StopRuleError: `stop` did.
        ConfigError: `lanes` is less than 1.
        Exception: what your functions raise.
    """
    if lanes < 1:
        raise ConfigError(f"drive was given {lanes} lanes.", hint="Give it 1 or more.")
    driver, rule = Driver(search, task, seed), None if stop is None else as_rule(stop)
    tree, progress, stopped = driver.tree, Progress(driver.tree), False
    while True:
        full = stopped or len(driver.in_flight) >= lanes
        proposal = Wait() if full else driver.ask()
        if isinstance(proposal, Move):
            driver.begin(proposal)
        elif driver.in_flight:
            ask = tree.asks[driver.in_flight[0]]
            made = driver.write(_attempt_of(ask, attempt(tree, ask)))
            if made.status == "complete":
                driver.judge(made.id, *_feedback_of(evaluate(tree, made), _name_of(evaluate)))
            driver.fold(made)
            if rule is not None and not stopped:
                progress.observe(made.id, Spend(), value_of(tree, made.id))
                stopped = rule(progress) is not None
        elif stopped or isinstance(proposal, Stop):
            return tree
        else:
            raise SearchError(
                "the search waits, but nothing is in flight.",
                hint="A search returns Wait only while an attempt that it asked for is open.",
            )


@dataclass
class Driver:
    """A search and its tree, driven one step at a time: `ask`, `begin`, `write`, `judge`, `fold`."""

    search: AnySearch
    task: str | Task
    seed: int = 0
    tree_id: str = ""
    """Empty = `drive-SEED`."""
    tree: Tree = field(init=False)
    state: Any = field(init=False)
    """The search's own."""
    in_flight: list[str] = field(init=False, default_factory=list[str])
    """Attempts that were asked for and not written, in the order of asking."""

    def __post_init__(self) -> None:
        """Begin a tree."""
        task = Task.of(self.task)
        name = self.tree_id or f"drive-{self.seed}"
        head = Head(
            tree=name, task=task, recipe="", recipe_digest="", key="key", created_at=0.0, seed=self.seed
        )
        self.tree, self.state = Tree(head), self.search.start(task)

    def ask(self) -> Move | Wait | Stop:
        """Return the search's next move.

        Raises:
            SearchError: what it returned is none.
        """
        return require_move(self.search.ask(self.state, self.tree), self.search)

    def begin(self, move: Move) -> None:
        """Ask for the attempts of a move: they are in flight."""
        for _ in range(move.samples):
            ask = Ask(
                attempt=self.tree.next_attempt_id(),
                parents=move.parents,
                kind=move.kind,
                agent=move.agent,
                sampling=move.sampling or Sampling(),
                context=ContextSpec(attempts=move.parents, also_shown=move.shows),
                replaces=move.replaces,
            )
            self.tree.append(ask)
            self.fold(ask)
            self.in_flight.append(ask.attempt)

    def write(self, attempt: Attempt) -> Attempt:
        """Write an attempt that was in flight; return it."""
        self.tree.append(attempt)
        self.in_flight.remove(attempt.id)
        return attempt

    def judge(self, attempt_id: str, *feedback: Feedback) -> None:
        """Write feedback about an attempt; its id is given here."""
        subject = Subject.of(attempt_id)
        for one in feedback:
            update = {"id": self.tree.next_feedback_id(), "subject": one.subject or subject}
            self.tree.append(one.model_copy(update=update))

    def fold(self, record: Ask | Attempt) -> None:
        """Let the search take in a record of the tree; an attempt once all feedback on it is there."""
        self.state = self.search.fold(self.state, self.tree, record)


def _attempt_of(ask: Ask, made: Attempted) -> Attempt:
    if isinstance(made, Attempt):
        return made
    if isinstance(made, Unfinished):
        kind, answer, text = ask.kind, None, made.text
    else:
        kind, answer, text = ("answer" if ask.kind in UNFINISHED else ask.kind), made, made
    messages = (assistant(text),) if isinstance(text, str) else ()
    return Attempt(
        id=ask.attempt, parents=ask.parents, kind=kind, answer=answer, messages=messages, replaces=ask.replaces
    )


def _feedback_of(given: Evaluated, author: str) -> tuple[Feedback, ...]:
    said = given if isinstance(given, Sequence) else (given,)
    if given is None or not said:
        return ()
    evidence = {"source": "verifier", "author": author}
    return tuple(
        one if isinstance(raw, Feedback) else one.model_copy(update=evidence)
        for raw, one in zip(said, remarks(said), strict=True)
    )


def _name_of(function: object) -> str:
    return getattr(function, "__name__", type(function).__name__)
