"""`why` is a function of the tree: it always answers, always the same, at any moment of a log."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from critic_loop.core.records import Ask, Attempt, Feedback, Outcome, Subject, Task, Verdict
from critic_loop.core.tree import Tree
from critic_loop.metrics import Cause, why
from critic_loop.render.html import page as html_page
from critic_loop.render.outline import outline
from critic_loop.render.text import page as terminal_page
from critic_loop.testing.trees import ALL
from tests.conftest import Grown
from tests.planted.test_planted import PLANTED

EVERY = {**ALL, **PLANTED}


@pytest.mark.parametrize("name", EVERY)
def test_every_beginning_of_a_log_gives_an_answer(name: str) -> None:
    log = EVERY[name]().log
    for end in range(1, len(log) + 1):
        tree = Tree.of(log[:end])
        found = why(tree)
        assert found == why(Tree.of(log[:end]))
        latest = next((r for r in reversed(tree.log) if isinstance(r, Ask | Attempt | Outcome)), None)
        assert (found.cause is Cause.UNFINISHED) == (not isinstance(latest, Outcome))
        assert found.text
        assert len(str(found).splitlines()) <= 8


words = st.text(max_size=20)
feedback = st.fixed_dictionaries(
    {
        "source": st.sampled_from(["verifier", "critic", "judge", "tool", "human", "user"]),
        "author": words,
        "verdict": st.sampled_from([None, *Verdict]),
        "score": st.none() | st.floats(0, 1),
        "text": words,
        "parse": st.sampled_from(["ok", "unparsed", "error"]),
        "advisory": st.booleans(),
        "saw_reference": st.booleans(),
    }
)
answers = st.none() | words | st.integers() | st.dictionaries(words, st.integers(), max_size=2)


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    """Any tree, grown at random: nothing in it need make sense."""
    g = Grown(Task.of("x", reference=draw(answers)))
    for _ in range(draw(st.integers(0, 12))):
        settled = list(g.tree.attempts)
        match draw(st.sampled_from(["attempt", "attempt", "say", "say", "say", "open", "outcome"])):
            case "attempt":
                parents = draw(st.lists(st.sampled_from(settled), max_size=2, unique=True)) if settled else []
                status = draw(st.sampled_from(["complete", "complete", "failed", "partial", "parked"]))
                code = draw(st.sampled_from(["", "", "output", "model"]))
                kind = draw(st.sampled_from(["answer", "answer", "step", "tests"]))
                replaces = draw(st.sampled_from([None, *settled]))
                fields: dict[str, Any] = {"error_code": code, "kind": kind, "replaces": replaces}
                g.attempt(*parents, answer=draw(answers), status=status, **fields)
            case "say" if settled:
                supersedes = draw(st.sampled_from([None, *g.tree.feedback]))
                g.say(draw(st.sampled_from(settled)), **draw(feedback), supersedes=supersedes)
            case "open":
                g.ask(*settled[-1:])
            case "outcome":
                g.tree.append(end(draw, settled))
            case _:
                pass
    return g.tree


def end(draw: st.DrawFn, settled: list[str]) -> Outcome:
    stops = ["accepted", "verified", "budget", "parked", "failing", "max_rounds+elapsed", "", "anything"]
    chosen = draw(st.sampled_from([None, *settled]))
    return Outcome(chosen=chosen, stop=draw(st.sampled_from(stops)), decided_by=draw(words))


@given(trees())
def test_any_tree_gets_the_same_answer_twice(tree: Tree) -> None:
    found = why(tree)
    assert found == why(Tree.of(tree.log))
    assert {e.id for e in found.evidence} <= {*tree.attempts, *tree.feedback}
    assert type(found).model_validate_json(found.model_dump_json()) == found


@given(trees())
def test_any_tree_can_be_shown(tree: Tree) -> None:
    shown = outline(tree)
    assert [node.id for node in shown.nodes if node.chosen] == [i for i in tree.attempts if i == chosen(tree)]
    Console(file=io.StringIO(), width=40).print(terminal_page(shown))
    assert html_page(shown).endswith("</html>")


def chosen(tree: Tree) -> str | None:
    return tree.outcome.chosen if tree.outcome else None


@given(trees(), st.data())
def test_what_nobody_obeys_changes_no_cause(tree: Tree, data: st.DataObject) -> None:
    """A shadow critic's opinion: asked and recorded, never acted upon."""
    if not tree.attempts:
        return
    before = why(tree).cause
    said = {**data.draw(feedback), "source": "critic", "advisory": True, "saw_reference": False}
    about = data.draw(st.sampled_from(list(tree.attempts)))
    tree.append(Feedback(id=tree.next_feedback_id(), subject=Subject.of(about), **said))
    assert why(tree).cause == before


@given(trees())
def test_a_user_who_is_content_ends_the_matter(tree: Tree) -> None:
    outcome = tree.outcome
    if outcome is None or outcome.chosen is None:
        return
    chosen = tree[outcome.chosen]
    if chosen.status != "complete" or chosen.error_code:
        return
    tree.append(outcome)  # it may have gone on after the one that was drawn
    users = {f.author for f in tree.feedback.values() if f.source == "user"} | {"u"}
    for author in users:
        said = Feedback(source="user", author=author, score=1.0, subject=Subject.of(chosen.id))
        tree.append(said.model_copy(update={"id": tree.next_feedback_id()}))
    assert why(tree).cause is Cause.SOLVED
