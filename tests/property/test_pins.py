"""A restart changes no binding: what a tree's log says is what the switchboard had in memory."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from critic_loop.core.records import Ask, Event, Head, Task
from critic_loop.core.tree import Tree
from critic_loop.models import Switchboard, restore
from critic_loop.testing import ScriptedModel

MOST = 8
MODELS = [ScriptedModel([], spec=f"c{n}") for n in range(MOST + 1)]
STEPS = st.lists(st.sampled_from(["ask", "settle", "call", "attempt", "tree"]), max_size=MOST)


def board(bound: str) -> Switchboard:
    """A switchboard that knows all models, with one of them as critic."""
    made = Switchboard("critic", *(model.spec for model in MODELS))
    for model in MODELS:
        made.bind(model.spec, model)
    made.bind("critic", next(model for model in MODELS if model.spec == bound))
    return made


@given(STEPS)
def test_what_a_resumed_tree_keeps_is_what_it_had(steps: list[str]) -> None:
    tree = Tree(Head(tree="t", task=Task.of("x"), recipe="r", recipe_digest="d", key="k", created_at=0))
    live, going_on, swaps = board("c0"), list[str](), 0
    live.subscribe(lambda c: tree.append(Event(kind=c.kind, at=0, text=c.text, data=c.data)))
    for step in steps:
        if step == "ask":
            going_on.append(tree.next_attempt_id())
            tree.append(Ask(attempt=going_on[-1]))
            live.begin(going_on[-1])
        elif step == "settle" and going_on:
            live.settled(going_on.pop(0))
        elif step in ("call", "attempt", "tree"):
            swaps += 1
            asyncio.run(live.swap("critic", MODELS[swaps], when=step, warm=False, drain=False))  # type: ignore[arg-type]

    after = board(MODELS[swaps].spec)
    assert restore(after, tree, going_on) == []
    for attempt in (*going_on, "t.99"):
        had, has = (one.binding("critic", attempt=attempt) for one in (live, after))
        assert has.spec == had.spec
