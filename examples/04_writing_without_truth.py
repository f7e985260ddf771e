"""Writing has no right answer: a critic scores a rubric, a judge compares, and the result names what decided.

    python examples/04_writing_without_truth.py [--endpoint SPEC]

A revision is kept only if the judge prefers it to its parent in both orders. If the judge contradicts itself
when the order is swapped, it is a tie, and the parent is kept.
"""

import argparse
import asyncio
import json

import critic_loop as cl
from critic_loop.core import Request
from critic_loop.testing import ScriptedModel

TASK = "Write one sentence that invites colleagues to a talk on tree search, on Friday at 3 pm in room 12."
DRAFTS = [
    "There will be a talk.",
    "Come and hear how trees search: Friday, 3 pm, room 12.",
    "COME!!! Trees!!! Friday!!!",
    "You are cordially, warmly and sincerely invited to a talk that concerns the searching of trees.",
]
NOTES = [(0.3, "Say when and where."), (0.8, "Livelier."), (0.2, "Calmer."), (0.5, "Cut.")]


def rubric(score: float, suggestion: str) -> str:
    criteria = [{"name": name, "score": score} for name in ("fulfils the request", "clear", "precise")]
    return json.dumps({"criteria": criteria, "suggestion": suggestion, "verdict": "fail"})


def judge(request: Request) -> str:
    """Prefer the text that names room 12; a tie if both or neither do."""
    first, second = request.messages[-1].text.split("Answer B:")
    better = ("room 12" in first.split("Answer A:")[1], "room 12" in second)
    return "Better: " + {(True, False): "A", (False, True): "B"}.get(better, "tie")


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--endpoint", help="a model spec, as in openai:NAME")
    endpoint = parser.parse_args().endpoint
    notes = [rubric(*note) for note in NOTES]
    actor = endpoint or ScriptedModel(DRAFTS, spec="writer")
    critic = endpoint or ScriptedModel(notes, spec="editor")

    comparer = endpoint or ScriptedModel(judge, spec="judge")
    async with cl.Loop("refine-rubric", actor=actor, critic=critic, judge=comparer) as loop:
        result = await loop.run(TASK)

    tree = result.tree
    for attempt in tree:
        kept = "*" if attempt.id == result.attempt_id else " "
        parent = f" revises {attempt.parents[0].rpartition('.')[2]}" if attempt.parents else ""
        score = cl.value_of(tree, attempt.id).score
        print(f"{kept} {attempt.id.rpartition('.')[2]}{parent} (score {score or 0:.2f}): {attempt.answer}")
    for feedback in tree.feedback.values():
        if feedback.preference is not None and feedback.subject is not None:
            order = " before ".join(a.rpartition(".")[2] for a in feedback.subject.attempts)
            print(f"  judge, {order}: {feedback.preference}")
    print(f"\nanswer: {result.answer}\ndecided by: {result.decided_by}; stopped by: {result.stop}")


if __name__ == "__main__":
    asyncio.run(main())
