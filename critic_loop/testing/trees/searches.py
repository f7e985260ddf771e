"""Trees of searches over thoughts and prompts.

Knows records. Does not know models, searches or stores.
"""

from __future__ import annotations

from critic_loop.core.messages import assistant, system, user
from critic_loop.core.records import Criterion, Feedback, Task
from critic_loop.core.tree import Tree
from critic_loop.testing.tree_builder import FAIL, PASS, TreeBuilder, task_of


def rethink_mcts_tree() -> Tree:
    """Return a tree of a search over thoughts, in which a failed evaluation replaces a node's thought.

    **Source**: RethinkMCTS (Li et al. 2024): the thought on the edge is replaced and evaluated again.
    """
    builder = TreeBuilder("rethink-mcts", task_of("Return the second largest of a list."), "rethink-mcts")
    first = builder.tree.next_attempt_id()
    ids = [builder.ask(kind="thought", group=first) for _ in range(3)]
    thoughts = ("Sort, take the second last.", "Take the maximum twice.", "Keep two variables.")
    proposed = assistant("\n".join(thoughts), sampled=True)
    call = builder.call(
        (first,), "actor/0/thinker", "Propose three thoughts, each with its reasonableness.", proposed
    )
    for attempt, thought, prior in zip(ids, thoughts, (0.9, 0.4, 0.7), strict=True):
        builder.settle(attempt, assistant(thought), answer=thought, calls=(call,))
        builder.say(attempt, Feedback(author="actor/0/thinker", score=prior, text="reasonableness"))
    program = builder.write("return sorted(xs)[-2]", first)
    failed = builder.verify(program, FAIL, 0.5, "[5, 5, 3]: expected 3, got 5")
    analysis = Feedback(author="critic/0/blocks", text="Block 1 keeps equal values.", parse="repaired")
    traced = builder.say(program, analysis, asked="Analyse the failing trace block by block.")
    second = builder.write(
        "Sort the distinct values, take the second last.",
        kind="thought",
        replaces=first,
        shown=(first, program),
        told=(failed, traced),
    )
    better = builder.write("return sorted(set(xs))[-2]", second)
    builder.verify(better, PASS, 1.0)
    builder.say(
        better, Feedback(author="actor/0/estimate", score=0.95, text="0.9"), asked="Rate it from -1 to 1."
    )
    return builder.end(better, "verifier", "verified")


def prompt_agent_tree() -> Tree:
    """Return a tree of a search over prompts, where a prompt's value is the accuracy of nested runs with it.

    `nested_tree` is one of these runs.

    **Source**: PromptAgent (Wang et al. 2023): states are prompts, actions are error feedback.
    """
    builder = TreeBuilder("prompt-agent", task_of("Find a prompt for counting letters."), "prompt-agent")
    plain = builder.write("Count the letters.", kind="prompt")
    builder.say(plain, _accuracy(0.4, "nested", "nested-2"))
    errors = Feedback(author="critic/0/errors", text="It skips doubled letters.", rubric=_rubric())
    said = builder.say(plain, errors, asked="What do the errors have in common?")
    better = builder.write("Spell the word letter by letter, then count.", plain, kind="prompt", told=(said,))
    builder.say(better, _accuracy(0.9, "nested-3", "nested-4"))
    return builder.end(better, "verifier", "exhausted")


def _rubric() -> tuple[Criterion, ...]:
    return (
        Criterion(name="explains the errors", verdict=PASS, score=1.0),
        Criterion(name="names a remedy", verdict=FAIL, score=0.0, weight=0.5),
    )


def _accuracy(share: float, *trees: str) -> Feedback:
    return Feedback(source="verifier", author="dev_set", score=share, text=f"accuracy {share}", trees=trees)


def nested_tree() -> Tree:
    """Return the tree of a nested run that measures a prompt of `prompt_agent_tree`; its task names the prompt.

    **Source**: PromptAgent (Wang et al. 2023).
    """
    task = Task(prompt=(system("Count the letters."), user("How many r in strawberry?")), reference=3)
    builder = TreeBuilder("nested", Task.of(task, parent="prompt-agent.1"), "once", origin="prompt-agent.1")
    answer = builder.write("2")
    builder.verify(answer, FAIL, 0.0)
    return builder.end(answer, "verifier", "max_rounds")
