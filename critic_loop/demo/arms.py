"""The arms of the demo's comparison: ways to use the same number of tokens on a Countdown puzzle.

Every arm is an ordinary loop: the recipe `countdown` with one thing changed. No arm has a verifier. In all arms
the network's own critic decides when to stop and which answer to give, and critiques count as generated tokens.

    draft           one answer
    resample        new answers until the critic accepts one
    refine          the answer is revised by the critique of its lines until the critic accepts it
    best-of-n       new answers until the tokens are used up; the one with the critic's highest score
    vote            as best-of-n; the most frequent of the answers that the critic accepts

and controls, in which the actor of `refine` revises without the critique of its answer:

    no-critique     it is shown its rejected answers, but no critique
    wrong-critique  it is shown a critique of another answer to another puzzle
    reviser-drafts  it is shown nothing, so it writes new answers as in `resample`

Knows recipes. Does not know how arms are run and compared (`demo.experiment`) or the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from critic_loop.assets import Library, SearchUse
from critic_loop.core.functions import FunctionCritic, critic
from critic_loop.core.protocols import Model, Store
from critic_loop.core.records import Feedback, Verdict
from critic_loop.core.stop import Accepted, Spent
from critic_loop.core.view import View
from critic_loop.demo.seeds import seed_of
from critic_loop.graph.loop import Loop
from critic_loop.graph.result import Result

ARMS = ("draft", "resample", "refine")
"""The arms of the short demo."""

CONTROLS = ("no-critique", "wrong-critique", "reviser-drafts")
ALL_ARMS = (*ARMS, "best-of-n", "vote", *CONTROLS)

TOKENS = {"easy": 400, "hard": 600}
"""The limit of generated tokens per puzzle, by level; the round that reaches it is completed."""

_MAX_SAMPLES = 64
_N = 32
"""More samples than the tokens allow. It differs from `_MAX_SAMPLES`, as stop rules are not part of a loop's
identity: with equal settings, one arm would resume the trees of another."""

_MAX_CALLS = 200
_NEVER_STOP_EARLY = ("draft", "best-of-n", "vote")

Others: TypeAlias = Sequence[tuple[str, str]]
"""Pairs of a task's id and the text of a critique of an answer to it."""


def arm_loop(name: str, model: Model, store: Store, *, tokens: int, others: Others = ()) -> Loop[str]:
    """Return the loop of an arm.

    Args:
        name: one of `ALL_ARMS`.
        model: the model of actor and critic.
        store: the store for the trees.
        tokens: the limit of generated tokens per puzzle.
        others: critiques of other answers, which `wrong-critique` shows.

    Raises:
        ValueError: the name is unknown.
    """
    refine = Library().recipe("countdown")
    spent = Spent(output_tokens=tokens)
    critics: list[Any] = [model]
    match name:
        case "refine":
            changed = {}
        case "no-critique":
            changed = {"show": ("verdict",)}
        case "wrong-critique":
            changed = {"show": ("verdict", "suggestion")}
            critics.append(_foreign_critic(others))
        case "draft":
            changed = _sampling(1) | {"critics": ()}
        case "resample":
            changed = _sampling(_MAX_SAMPLES)
        case "reviser-drafts":
            changed = _sampling(_MAX_SAMPLES) | {"actor": "actor/countdown-reviser"}
        case "best-of-n":
            changed = _sampling(_N)
        case "vote":
            changed = _sampling(_N) | {"select": "filtered-majority"}
        case _:
            raise ValueError(f"unknown arm {name!r}: write one of {', '.join(ALL_ARMS)}")
    rule = spent if name in _NEVER_STOP_EARLY else Accepted() | spent
    recipe = refine.model_copy(update={"name": f"countdown/{name}", **changed})
    return Loop(recipe, actor=model, critic=critics, stop=rule, store=store, lanes=1, max_calls=_MAX_CALLS)


def _sampling(n: int) -> dict[str, Any]:
    return {"search": (SearchUse(kind="sample", settings={"n": n}),), "show": ()}


def _foreign_critic(others: Others) -> FunctionCritic:
    """Return a critic whose suggestion is a critique of another answer to another puzzle, without a verdict."""

    @critic(name="another", sees=())
    def another(view: View[str]) -> Feedback:
        foreign = [text for task, text in others if task != view.task.id]
        if not foreign:
            return Feedback.abstain("there is no other critique")
        return Feedback(
            suggestion=foreign[seed_of(view.task.id, view.attempt.id if view.attempt else "") % len(foreign)]
        )

    return another


def rejections(results: Sequence[Result[str]]) -> list[tuple[str, str]]:
    """Return the critiques that reject an answer, each with the id of its task."""
    return [
        (result.task.id, feedback.text)
        for result in results
        for attempt in result.tree
        for feedback in result.tree.judgements(attempt.id)
        if feedback.source == "critic" and feedback.verdict is Verdict.FAIL
    ]
