"""Planted trees that real loops wrote, played by scripted models."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

import critic_loop as cl
from critic_loop.core.errors import Refused
from critic_loop.core.records import Feedback
from critic_loop.core.tree import Tree
from critic_loop.testing import ScriptedModel

WRONG, RIGHT = "No.\nVerdict: wrong", "Yes.\nVerdict: correct"
TASK = cl.Task.of("What is 6 * 7?", reference="42")
UNKNOWN = cl.Task.of("What is 6 * 7?")


class Number(BaseModel):
    n: int


@cl.verifier
def broken(view: cl.View[Any]) -> bool:
    raise RuntimeError("the checker's own file is missing")


@cl.verifier
def helpless(view: cl.View[Any]) -> Feedback:
    return Feedback.abstain("the compiler gave up after 10 s")


def last(tree: cl.Tree) -> cl.Pick:
    """A selection that takes whatever came last."""
    return cl.Pick(attempt=list(tree.attempts)[-1], decided_by="nobody")


def script(*replies: str) -> ScriptedModel:
    return ScriptedModel(list(replies))


def ever(reply: str) -> ScriptedModel:
    return ScriptedModel([reply], cycle=True)


def run(loop: cl.Loop[Any], task: cl.Task, *late: tuple[int, Feedback]) -> Tree:
    """Run the loop; then add feedback to attempts by their number, as somebody would days later."""

    async def go() -> Tree:
        async with loop:
            await loop.run(task, tree_id="planted")
            for number, feedback in late:
                await loop.store.add_feedback(f"planted.{number}", feedback)
            return await loop.store.load("planted")

    return asyncio.run(go())


def verifier_says(verdict: bool) -> Feedback:
    made = Feedback.passed if verdict else Feedback.failed
    return made(source="verifier", author="late_check")


def never_refined() -> Tree:
    """Four rounds, a critic and a verifier who agree, and no right answer."""
    loop = cl.Loop("refine", actor=script("38", "39", "40", "41"), critic=ever(WRONG), stop=cl.MaxRounds(4))
    return run(loop, TASK)


def never_sampled() -> Tree:
    loop = cl.Loop("best-of-n", actor=script(*map(str, range(30, 38))), lanes=1)
    return run(loop, TASK)


def passed_over_by_vote() -> Tree:
    """One sample was verified; the majority was of another opinion."""
    actor = script("41", "42", "41", "41", "40", "41", "41", "39")
    loop = cl.Loop("best-of-n", actor=actor, select="majority", stop=cl.MaxAttempts(8), lanes=1)
    return run(loop, TASK)


def passed_over_by_latest() -> Tree:
    """Two drafts, each revised; the last word of the last branch was taken."""
    actor = script("41", "42", "40", "39")
    search = [{"kind": "sample", "n": 2}, {"kind": "refine", "rounds": 2}]
    recipe = cl.Recipe(
        name="nested", actor="actor/solver", search=search, verifiers=("answer",), stop=(), lanes=1
    )
    return run(cl.Loop(recipe, actor=actor, select=last), TASK)


def broken_refined() -> Tree:
    """The draft was right; the critic rejected it and accepted its wrong revision."""
    loop = cl.Loop("refine", actor=script("42", "41"), critic=script(WRONG, RIGHT), verifiers=[])
    return run(loop, UNKNOWN, (2, verifier_says(False)), (1, verifier_says(True)))


def accepted_refined() -> Tree:
    """The critic accepted the first draft; the user did not."""
    loop = cl.Loop("refine", actor=script("41"), critic=script(RIGHT), verifiers=[])
    return run(loop, UNKNOWN, (1, Feedback.user(score=0.0, text="wrong")))


def unreadable_typed() -> Tree:
    """An integer was wanted; the actor chats."""
    loop = cl.Loop("try-again", output=Number, actor=ever("Well, that depends."), verifiers=[])
    return run(loop, UNKNOWN)


def unreadable_critiques() -> Tree:
    """The critic never comes to a verdict."""
    actor, critic = script("40", "41", "42", "43"), ever("Hmm, let me think about it.")
    loop = cl.Loop("refine", actor=actor, critic=critic, verifiers=[], stop=cl.MaxRounds(4))
    return run(loop, UNKNOWN)


def abstained_broken() -> Tree:
    """The verifier raises on each attempt."""
    loop = cl.Loop("try-again", actor=script("40", "41", "42", "43", "44"), verifiers=[broken])
    return run(loop, UNKNOWN)


def abstained_hearsay() -> Tree:
    """The verifier times out on each attempt; the critic is never content."""
    loop = cl.Loop(
        "refine",
        actor=script("40", "41", "42", "43"),
        critic=ever(WRONG),
        verifiers=[helpless],
        stop=cl.MaxRounds(4),
    )
    return run(loop, UNKNOWN)


def no_reference_rejected() -> Tree:
    """The verifier would need a reference, and the task has none; the critic is never content."""
    loop = cl.Loop("refine", actor=script("40", "41", "42", "43"), critic=ever(WRONG), stop=cl.MaxRounds(4))
    return run(loop, UNKNOWN)


def no_reference_accepted() -> Tree:
    """The same with a critic that is content: an ordinary end of a task without a verifiable answer."""
    return run(cl.Loop("refine", actor=script("42"), critic=ever(RIGHT)), UNKNOWN)


def budget_refined() -> Tree:
    """Three calls: a draft, its critique, a revision."""
    loop = cl.Loop("refine", actor=script("40", "41"), critic=ever(WRONG), max_calls=3)
    return run(loop, TASK)


def budget_sampled() -> Tree:
    """Samples one by one with calls for two of eight."""
    recipe = cl.Recipe(
        name="samples", actor="actor/solver", search=[{"kind": "sample", "n": 8}], verifiers=("answer",),
        stop=(), lanes=1,
    )  # fmt: skip
    return run(cl.Loop(recipe, actor=ever("41"), max_calls=2), TASK)


def solved_refined() -> Tree:
    loop = cl.Loop("refine", actor=script("41", "42"), critic=ever(WRONG))
    return run(loop, TASK)


def waits_for_a_person() -> Tree:
    return run(cl.Loop("refine", actor=script("42"), critic=cl.Human(), verifiers=[]), UNKNOWN)


def declined() -> Tree:
    """The model declines whatever it is asked."""

    def refuse(request: Any) -> Any:
        raise Refused("the model declined to answer.")

    return run(cl.Loop("try-again", actor=ScriptedModel(refuse), stop=cl.Failing(3)), TASK)


PLANTED: dict[str, Callable[[], Tree]] = {
    f.__name__.replace("_", "-"): f
    for f in (
        never_refined, never_sampled, passed_over_by_vote, passed_over_by_latest, broken_refined,
        accepted_refined, unreadable_typed, unreadable_critiques, abstained_broken, abstained_hearsay,
        no_reference_rejected, no_reference_accepted,
        budget_refined, budget_sampled, solved_refined, waits_for_a_person, declined,
    )
}  # fmt: skip
