"""The smallest loop: draft, critique, revise, until the critic accepts.

    python examples/01_refine.py
    python examples/01_refine.py --endpoint chat:NAME@http://localhost:8000/v1

Without an endpoint, two models with scripted replies are used, so that the example runs anywhere.
"""

import argparse
import asyncio

import critic_loop as cl
from critic_loop.testing import ScriptedModel

TASK = "A bat and a ball cost 1.10 together. The bat costs 1.00 more than the ball. What does the ball cost?"


def models(endpoint: str | None) -> tuple[cl.Model | str, cl.Model | str]:
    if endpoint:
        return endpoint, endpoint
    actor = ScriptedModel(["The ball costs 0.10.", "The ball costs 0.05: 0.05 + 1.05 = 1.10."], spec="actor")
    critic = ScriptedModel(
        [
            "If the ball costs 0.10, the bat costs 1.10, and both cost 1.20.\nVerdict: wrong",
            "0.05 and 1.05 differ by 1.00 and add up to 1.10.\nVerdict: correct",
        ],
        spec="critic",
    )
    return actor, critic


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--endpoint", help="a model spec, as in openai:NAME")
    actor, critic = models(parser.parse_args().endpoint)

    async with cl.Loop("refine", actor=actor, critic=critic) as loop:
        result = await loop.run(TASK)

    for attempt in result.tree:
        print(f"{attempt.id}: {attempt.answer}")
        for feedback in result.tree.judgements(attempt.id):
            verdict = "no verdict" if feedback.verdict is None else str(feedback.verdict)
            print(f"    {feedback.source} {feedback.author}: {verdict}")
    print(f"\nanswer: {result.answer}")
    print(f"decided by the {result.decided_by}, stopped by {result.stop!r} after {result.spend.calls} calls")


if __name__ == "__main__":
    asyncio.run(main())
