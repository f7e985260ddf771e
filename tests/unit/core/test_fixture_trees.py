"""What each published method needs can be read off its tree, without a trick."""

from __future__ import annotations

from itertools import pairwise

import pytest

from critic_loop.core.messages import ToolResult
from critic_loop.core.records import Feedback, Subject, Verdict
from critic_loop.core.tree import Tree
from critic_loop.evidence import best, preference, value_of
from critic_loop.testing import trees
from critic_loop.testing.trees import ALL


@pytest.mark.parametrize("name", ALL)
def test_trees_are_whole(name: str) -> None:
    tree = ALL[name]()
    assert tree.id == name
    assert tree.log == ALL[name]().log, "always the same"
    assert (ALL[name].__doc__ or "").count("**Source**") == 1
    assert tree.outcome is not None
    assert set(tree.calls) == set(tree.replies)
    cited = [c for a in tree for c in a.calls] + [c for f in tree.feedback.values() for c in f.calls]
    assert set(cited) == set(tree.calls), "every call belongs to an attempt or a feedback"
    times = [r.sent_at for r in tree.calls.values()]
    assert all(a < b for a, b in pairwise(times))


def said_of(tree: Tree, subject: Subject) -> list[Feedback]:
    return [f for f in tree.feedback.values() if f.subject == subject]


def test_multi_critique_units_labels_and_merger() -> None:
    tree = trees.multi_critique_tree()
    (answer,) = tree.attempts
    text = tree[answer].messages[0].text
    units = [f for f in tree.about(answer) if f.subject and f.subject.location]
    quotes = [
        text[u.subject.location.start : u.subject.location.end]
        for u in units
        if u.subject and u.subject.location
    ]
    assert quotes == ["1853", "which was completed in 1850", "1853", "Charles Babbage"]
    labels = [tree.about(u.id)[0].text for u in units]
    assert labels == ["valid", "valid", "redundant", "wrong"]
    (merged,) = tree.judgements(answer)
    assert [tree.feedback[i] for i in merged.rests_on] == units[:2]
    weights = {critic: sum(tree.about(u.id)[0].verdict is Verdict.PASS for u in units if u.author == critic)
               for critic in {u.author for u in units}}  # fmt: skip
    assert weights == {"critic/0/unit": 2, "critic/1/unit": 0, "critic/2/unit": 0}, "pairs of critiques follow"


def test_spc_rewards_are_zero_sum() -> None:
    tree = trees.spc_tree()
    (sneaky,) = (a for a, ask in tree.asks.items() if ask.agent == "sneaky")
    verifier, critic = tree.judgements(sneaky)
    reward = 1 if critic.verdict == verifier.verdict else -1
    assert (reward, -reward) == (1, -1)
    original = tree[tree.asks[sneaky].replaces or ""]
    assert original.parents == tree[sneaky].parents
    assert (original.answer, tree[sneaky].answer) == (
        "3 * 9 = 27.",
        {"error_type": "arithmetic", "step": "3 * 9 = 24."},
    )


def test_rethinking_replaces_a_node() -> None:
    tree = trees.rethink_mcts_tree()
    (rethought,) = (a for a in tree if a.replaces)
    old = rethought.replaces or ""
    assert tree.asks[rethought.id].parents == tree.asks[old].parents
    assert tree.asks[rethought.id].context.feedback != ()
    replaced = {a.replaces for a in tree}
    assert [i for i in tree.roots if i not in replaced] == ["rethink-mcts.2", "rethink-mcts.3", rethought.id]
    assert value_of(tree, tree.children(old)[0]).score == 0.5
    assert value_of(tree, tree.children(rethought.id)[0]).verified is True


def test_pairwise_contradiction_is_a_tie() -> None:
    tree = trees.pairwise_tree()
    one, two, three = tree.attempts
    assert preference(tree, one, two) == 0.5
    assert preference(tree, one, three) == pytest.approx(0.85)
    assert preference(tree, two, three) is None


def test_the_gate_judged_before_the_action_ran() -> None:
    tree = trees.gate_tree()
    vetoed, done = tree
    assert (vetoed.status, vetoed.error_code, done.status) == ("failed", "vetoed", "complete")
    for attempt in (vetoed, done):
        gate = next(f for f in tree.about(attempt.id) if f.author == "gate/0/gate")
        assert gate.subject is not None
        assert gate.subject.location is not None
        proposed = attempt.messages[gate.subject.location.message or 0].parts[
            gate.subject.location.content_part or 0
        ]
        assert proposed in attempt.messages[0].tool_calls
        versions = [r for r in tree.log if getattr(r, "id", "") == attempt.id]
        assert tree.log.index(versions[0]) < tree.log.index(gate) < tree.log.index(versions[-1])
        ran = any(isinstance(p, ToolResult) for m in attempt.messages for p in m.parts)
        assert ran == (gate.verdict is Verdict.PASS)
    first = tree.about(vetoed.id)[0]
    assert done.messages[0].tool_calls[0].arguments == {"command": first.suggestion}
    assert tree.asks[done.id].context.feedback == (first.id,)


def test_ask_f1() -> None:
    tree = trees.ask_for_help_tree()
    hits = [f for f in tree.feedback.values() if "blocker" in f.data]
    questions = [c for a in tree for m in a.messages for c in m.tool_calls if c.name == "ask_human"]
    blockers = tree.task.checks["hil"]
    assert isinstance(blockers, dict)
    found = {str(f.data["blocker"]) for f in hits}
    assert (len(found) / len(questions), len(found) / int(str(blockers["n_blockers"]))) == (1.0, 0.5)
    human = next(f for f in tree.feedback.values() if f.source == "human")
    heard = [p.text for a in tree for m in a.messages for p in m.parts if isinstance(p, ToolResult)]
    assert heard == [human.text]


def test_code_t_matrix() -> None:
    tree = trees.code_t_tree()
    solutions = [a.id for a in tree if a.kind == "answer"]
    tests = [a.id for a in tree if a.kind == "tests"]
    matrix = [[said_of(tree, Subject.of(s, t))[0].verdict is Verdict.PASS for t in tests] for s in solutions]
    assert matrix == [[True, True, False], [True, True, False], [False, True, False], [True, False, False]]
    assert value_of(tree, solutions[0]).verified is None, "a pair says nothing of one of them alone"


def test_a_prompt_is_worth_what_nested_runs_say() -> None:
    outer, inner = trees.prompt_agent_tree(), trees.nested_tree()
    plain, better = outer.attempts
    assert inner.task.parent == inner.head.origin == plain
    assert inner.id in outer.judgements(plain)[0].trees
    assert [value_of(outer, i).evidence for i in (plain, better)] == [0.4, 0.9]
    assert best(outer) == better


def test_best_of_n_is_one_request() -> None:
    tree = trees.best_of_n_tree()
    (call,) = tree.calls.values()
    assert call.choices == len(tree.replies[call.id].choices) == len(tree) == 8
    assert {tree.asks[a.id].group for a in tree} == {tree.roots[0]}
    assert [tree.asks[a.id].lane for a in tree] == list(range(8))
    assert [c.message for c in tree.replies[call.id].choices] == [a.messages[0] for a in tree]


def test_a_parked_tree_is_not_settled() -> None:
    tree = trees.parked_tree()
    assert [*tree.open] == [*tree.attempts] == ["parked.1"]
    assert tree.outcome is not None
    assert (tree.outcome.stop, tree.outcome.chosen) == ("parked", None)
    assert tree.judgements("parked.1") == (), "a shadow critic's abstention"


def test_spans_and_boxes_point_at_what_they_say() -> None:
    image, chinese = trees.image_tree(), trees.chinese_tree()
    ((critique,), text) = image.judgements("image.1"), str(image["image.1"].answer)
    assert [text[s.start : s.end] for s in critique.spans] == ["It is blue."]
    assert critique.first_error == next(s.index for s in critique.steps if s.verdict is Verdict.FAIL)
    assert image.task.prompt[0].blobs[0].data
    (critique,) = (f for f in chinese.judgements("chinese.1") if f.spans)
    assert [str(chinese["chinese.1"].answer)[s.start : s.end] for s in critique.spans] == ["x=22"]
