"""A loop served by `langgraph dev`: the graph that langgraph.json names.

    langgraph dev --no-browser
    curl -s localhost:2024/runs/wait -H 'content-type: application/json' \
        -d '{"assistant_id": "critic_loop", "input": {"task": "Countdown 24: 3 5 7 8"}}'

The embedded model solves Countdown puzzles and needs no API key. CRITIC_LOOP_ACTOR names another model, which
then answers any task with the recipe `refine`. The graph's state has ids and the answer; trees are in
.critic_loop/.
"""

import os
from functools import cache
from typing import Any

import critic_loop as cl


@cache
def loop() -> cl.Loop[str]:
    """Return the loop of this process: the server calls `graph` for every run."""
    store = "./.critic_loop/langgraph.db"
    actor = os.environ.get("CRITIC_LOOP_ACTOR")
    if actor:
        return cl.Loop("refine", actor=actor, store=store)
    return cl.Loop("try-again", actor="embedded:countdown", verifiers=["countdown"], store=store)


def graph() -> Any:
    """Return the compiled graph."""
    return loop().graph
