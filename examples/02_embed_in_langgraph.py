"""A loop as one node of a host graph in LangGraph that has its own state and checkpointer.

    python examples/02_embed_in_langgraph.py [--endpoint SPEC]

The host graph does not know attempts: it passes its state to the node and gets an update. The loop keeps its
tree in its own store. The tree's id is derived from the host's thread id, so a resumed host graph continues
the same tree.
"""

import argparse
import asyncio
from typing import Any, TypedDict

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph

import critic_loop as cl
from critic_loop.testing import ScriptedModel


class Ticket(TypedDict, total=False):
    """The host graph's state."""

    issue: str
    reply: str
    reviewed_by: str


def greet(state: Ticket) -> Ticket:
    return {"issue": f"Answer this customer in one sentence: {state['issue']}"}


def update(result: cl.Result[str]) -> dict[str, Any]:
    who = f"{result.decided_by} ({result.verdict}), tree {result.tree.id}"
    return {"reply": result.answer, "reviewed_by": who}


@cl.verifier
def short(view: cl.View[str]) -> cl.Feedback:
    """Check that the reply has at most 20 words: evidence without a model."""
    words = len((view.answer or "").split())
    return cl.Feedback.passed() if words <= 20 else cl.Feedback.failed(f"{words} words; at most 20 are allowed")


def host(loop: cl.Loop[str]) -> Any:
    graph = StateGraph(Ticket)
    graph.add_node("greet", greet)
    graph.add_node("reply", loop.as_node(input=lambda state: state["issue"], output=update))
    graph.add_edge(START, "greet")
    graph.add_edge("greet", "reply")
    graph.add_edge("reply", END)
    return graph.compile(checkpointer=InMemorySaver())


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--endpoint", help="a model spec, as in openai:NAME")
    endpoint = parser.parse_args().endpoint
    wordy = "We are so very sorry to hear about this and " * 3 + "we will send a new one."
    actor = endpoint or ScriptedModel([wordy, "Sorry! A new one is on its way."], spec="scripted")
    critic = endpoint or ScriptedModel(["Too long.\nVerdict: wrong"], spec="critic", cycle=True)

    async with cl.Loop("refine", actor=actor, critic=critic, verifiers=[short]) as loop:
        config = {"configurable": {"thread_id": "ticket-7"}, "recursion_limit": 25}
        state = await host(loop).ainvoke({"issue": "My kettle leaks."}, config)
    print("reply:      ", state["reply"])
    print("reviewed by:", state["reviewed_by"])


if __name__ == "__main__":
    asyncio.run(main())
