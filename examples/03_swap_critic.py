"""Swap the critic while a map is running, then read from the trees who said what.

    python examples/03_swap_critic.py [--endpoint SPEC --second SPEC]

Calls in flight finish with the old critic; attempts that begin later get the new one. Every call names
the binding that answered it, and every running tree records the swap.
"""

import argparse
import asyncio
from collections import Counter

import critic_loop as cl
from critic_loop.core import Request
from critic_loop.testing import ScriptedModel

TASKS = [f"Name a country whose name begins with {letter}." for letter in "ABCDEFGHIJKL"]


def reviewer(name: str) -> ScriptedModel:
    """Accepts second answers only."""

    def say(request: Request) -> str:
        good = "Second thought" in request.messages[-1].text
        return f"{name} has looked at it.\nVerdict: {'correct' if good else 'wrong'}"

    return ScriptedModel(say, spec=name, latency_s=0.02)


def writer(request: Request) -> str:
    revising = any(message.role == "assistant" for message in request.messages)
    return "Second thought: Chile." if revising else "Atlantis."


def who_said_what(trees: list[cl.Tree]) -> Counter[tuple[str, str]]:
    """Count verdicts by the model that was bound when the critic was asked."""
    said: Counter[tuple[str, str]] = Counter()
    for tree in trees:
        for feedback in tree.feedback.values():
            bindings = [tree.calls[call].binding for call in feedback.calls]
            said.update((binding, str(feedback.verdict)) for binding in bindings)
    return said


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--endpoint", help="plays actor and first critic, as in openai:NAME")
    parser.add_argument("--second", help="the critic that takes over; the same endpoint unless given")
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

    for (binding, verdict), times in sorted(who_said_what(trees).items()):
        print(f"{binding:<12} {verdict:<6} {times}")
    swaps = {event.text for tree in trees for event in tree.events if event.kind == "swap"}
    print("recorded:", *sorted(swaps))


if __name__ == "__main__":
    asyncio.run(main())
