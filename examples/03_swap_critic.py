"""Swap the critic's model while `map` runs, then count the verdicts of each model in the trees.

    python examples/03_swap_critic.py [--endpoint SPEC --second SPEC]

Calls in flight finish with the old model; attempts that begin later use the new one. Every recorded call
names the model, and every running tree records the swap.
"""

import argparse
import asyncio
from collections import Counter

import critic_loop as cl
from critic_loop.core import Request
from critic_loop.testing import ScriptedModel

TASKS = [f"Name a country whose name begins with {letter}." for letter in "ABCDEFGHIJKL"]


def reviewer(name: str) -> ScriptedModel:
    """Return a critic that accepts second answers only."""

    def judge(request: Request) -> str:
        good = "Second thought" in request.messages[-1].text
        return f"{name} has looked at it.\nVerdict: {'correct' if good else 'wrong'}"

    return ScriptedModel(judge, spec=name, latency_s=0.02)


def writer(request: Request) -> str:
    revising = any(message.role == "assistant" for message in request.messages)
    return "Second thought: Chile." if revising else "Atlantis."


def verdicts_by_model(trees: list[cl.Tree]) -> Counter[tuple[str, str]]:
    """Count the verdicts of each model that the critic's slot was bound to."""
    counts: Counter[tuple[str, str]] = Counter()
    for tree in trees:
        for feedback in tree.feedback.values():
            bindings = [tree.calls[call].binding for call in feedback.calls]
            counts.update((binding, str(feedback.verdict)) for binding in bindings)
    return counts


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--endpoint", help="model of the actor and the first critic, such as openai:NAME")
    parser.add_argument("--second", help="model of the second critic; the same as --endpoint unless given")
    given = parser.parse_args()
    actor = given.endpoint or ScriptedModel(writer, spec="writer", latency_s=0.01)
    first = given.endpoint or reviewer("critic-v1")
    second = given.second or given.endpoint or reviewer("critic-v2")

    trees: list[cl.Tree] = []
    async with cl.Loop("refine", actor=actor, critic=first) as loop:
        async for result in loop.map(TASKS, in_flight=4):
            trees.append(result.tree)
            if len(trees) == 4:
                await loop.swap("critic", second, when="attempt")

    for (binding, verdict), times in sorted(verdicts_by_model(trees).items()):
        print(f"{binding:<12} {verdict:<6} {times}")
    swaps = {event.text for tree in trees for event in tree.events if event.kind == "swap"}
    print("recorded:", *sorted(swaps))


if __name__ == "__main__":
    asyncio.run(main())
