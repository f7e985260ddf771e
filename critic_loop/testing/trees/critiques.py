"""Trees of methods that judge or train critics.

Knows records. Does not know models, searches or stores.
"""

from __future__ import annotations

from pydantic import JsonValue

from critic_loop.core.messages import assistant
from critic_loop.core.records import Feedback, Location, Subject
from critic_loop.core.tree import Tree
from critic_loop.testing.tree_builder import FAIL, PASS, TreeBuilder, task_of


def multi_critique_tree() -> Tree:
    """Return a tree of critique units by several critics, judged by a meta-judge and merged.

    A unit is feedback on a span of the answer. The meta-judge's label is feedback on a unit. The merged
    critique rests on the valid units.

    **Source**: MultiCritique (Lan et al. 2024).
    """
    builder = TreeBuilder(
        "multi-critique", task_of("When did Ada Lovelace publish her notes, and on what?"), "meta"
    )
    text = "In 1853, on the Analytical Engine of Charles Babbage, which was completed in 1850."
    answer = builder.write(text)
    units = [
        _unit(builder, answer, text, "1853", 0, "The notes are of 1843.", "factual", "severe"),
        _unit(
            builder, answer, text, "which was completed in 1850", 0, "It was never built.", "factual", "severe"
        ),
        _unit(builder, answer, text, "1853", 1, "Wrong year: 1843.", "factual", "severe"),
        _unit(builder, answer, text, "Charles Babbage", 2, "Give his title.", "style", "minor"),
    ]
    labels = ("valid", "valid", "redundant", "wrong")
    for unit, label in zip(units, labels, strict=True):
        verdict = PASS if label == "valid" else FAIL
        judged = Feedback(source="judge", author="meta/0/judge", verdict=verdict, text=label)
        builder.say(Subject(feedback=unit), judged, asked=builder.tree.feedback[unit].text)
    merged = Feedback(
        author="meta/0/merger",
        verdict=FAIL,
        score=0.1,
        text="The notes are of 1843. The engine was never built.",
        rests_on=(units[0], units[1]),
    )
    builder.say(answer, merged, asked="Merge the valid ones.")
    return builder.end(answer, "critic", "max_rounds")


def _unit(
    builder: TreeBuilder, answer: str, text: str, quote: str, critic: int, remark: str, kind: str, severity: str
) -> str:
    start = text.index(quote)
    where = Subject(attempts=(answer,), location=Location(message=0, start=start, end=start + len(quote)))
    return builder.say(
        where,
        Feedback(
            author=f"critic/{critic}/unit",
            verdict=FAIL,
            text=remark,
            suggestion=remark,
            data={"error_type": kind, "severity": severity},
        ),
        asked=builder.fence("answer", text),
    )


def spc_tree() -> Tree:
    """Return a tree of a correct step, a corrupted one that replaces it, and a critic that judges it.

    Both rewards follow from the evidence (completions from the corrupted step fail) and the critic's verdict:
    +1 for the critic if they agree, else -1, and the opposite for the generator of corrupted steps.

    **Source**: SPC (Chen et al. 2025).
    """
    builder = TreeBuilder("spc", task_of("What is 3 * (4 + 5)?"), "self-play")
    prefix = builder.write("4 + 5 = 9.", kind="step")
    right = builder.write("3 * 9 = 27.", prefix, kind="step")
    sneaky = builder.ask(prefix, kind="step", agent="sneaky", replaces=right, shown=(prefix, right))
    message = assistant('{"error_type": "arithmetic", "step": "3 * 9 = 24."}', sampled=True)
    call = builder.call((sneaky,), "sneaky/0/generator", "Make the step wrong, and hide it.", message)
    answer: dict[str, JsonValue] = {"error_type": "arithmetic", "step": "3 * 9 = 24."}
    builder.settle(sneaky, message, answer=answer, calls=(call,))
    builder.say(
        sneaky,
        Feedback(
            source="verifier",
            author="completions",
            verdict=FAIL,
            score=0.0,
            text="0 of 8 completions from here are right; 8 of 8 from the step that it replaces.",
            data={"from_step": 0.0, "from_original": 1.0},
        ),
    )
    judged = Feedback(author="critic/0/step", verdict=FAIL, score=0.1, text="3 * 9 is 27.", first_error=0)
    builder.say(sneaky, judged, asked=builder.fence("step", "3 * 9 = 24."))
    return builder.end(right, "verifier", "exhausted")
