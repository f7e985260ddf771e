import pytest

from critic_loop.core.messages import Image, assistant, user
from critic_loop.core.records import Verdict
from critic_loop.evidence import Better, better_of
from critic_loop.export import Preference, Row, Skip
from tests.unit.export.grow import FAIL, PASS, SYSTEM, add, judge, tree_of


def pairs(exporter, tree):
    rows = [item.columns for item in exporter.rows([tree]) if isinstance(item, Row)]
    return [(row["chosen"][-1]["content"], row["rejected"][-1]["content"]) for row in rows]


def reasons(exporter, tree):
    return [item.reason for item in exporter.rows([tree]) if isinstance(item, Skip)]


def test_a_pair_is_prompt_chosen_and_rejected():
    tree = tree_of("6", "7")
    judge(tree, 1, FAIL)
    judge(tree, 2, PASS)
    (row,) = [item for item in Preference().rows([tree]) if isinstance(item, Row)]
    assert row.columns["prompt"] == [{"role": "user", "content": "What is 3 + 4?"}]
    assert row.columns["chosen"] == [{"role": "assistant", "content": "7"}]
    assert row.columns["rejected"] == [{"role": "assistant", "content": "6"}]
    assert row.columns["weight"] == 1.0
    provenance = row.columns["provenance"]
    assert provenance["attempts"] == ["t.2", "t.1"]
    assert provenance["feedback"] == ["t.f2", "t.f1"]
    assert provenance["decided_by"] == "evidence"


def ordered(tree, **settings):
    one, two = (
        better_of(tree, *pair, both_judged=True, **settings) for pair in (("t.1", "t.2"), ("t.2", "t.1"))
    )
    better, other = (found if isinstance(found, Better) else None for found in (one, two))
    assert (better and (better.better, better.by, better.margin)) == (
        other and (other.better, other.by, other.margin)
    )
    return (better.better, better.by, round(better.margin, 6)) if better else None


OPINION = {"source": "critic", "author": "c"}


def test_evidence_comes_before_opinion():
    tree = tree_of("a", "b")
    judge(tree, 1, FAIL)
    judge(tree, 2, PASS)
    judge(tree, 1, PASS, 1.0, **OPINION)
    judge(tree, 2, FAIL, 0.0, **OPINION)
    assert ordered(tree) == ("t.2", "evidence", 1.0)


def test_scores_order_what_verdicts_leave_open():
    tree = tree_of("a", "b")
    judge(tree, 1, FAIL, 0.25)
    judge(tree, 2, FAIL, 0.75)
    assert ordered(tree) == ("t.2", "evidence", 0.5)


def test_opinion_orders_what_evidence_leaves_open():
    tree = tree_of("a", "b")
    judge(tree, 1, score=0.9, **OPINION)
    judge(tree, 2, score=0.4, **OPINION)
    assert ordered(tree) == ("t.1", "opinion", 0.5)


@pytest.mark.parametrize("verdict", [PASS, FAIL])
def test_what_only_one_was_judged_by_orders_nothing(verdict):
    tree = tree_of("a", "b")
    judge(tree, 1, verdict)
    judge(tree, 1, PASS, 0.9, **OPINION)
    judge(tree, 2, PASS, 0.1, **OPINION)
    assert ordered(tree) is None
    tree = tree_of("a", "b")
    judge(tree, 1, verdict, **OPINION)
    judge(tree, 1, score=0.9, **OPINION)
    judge(tree, 2, score=0.1, **OPINION)
    assert ordered(tree) is None


def test_an_abstention_orders_nothing():
    tree = tree_of("a", "b")
    judge(tree, 1, PASS)
    judge(tree, 2, Verdict.ABSTAIN, reason="timeout")
    assert ordered(tree) is None
    assert pairs(Preference(), tree) == []


def test_equal_values_order_nothing():
    tree = tree_of("a", "b")
    for number in (1, 2):
        judge(tree, number, PASS, 0.5)
    assert ordered(tree) is None


def compare(tree, attempts, shares, **fields):
    return judge(tree, attempts, preference=shares, **({"source": "judge", "author": "j"} | fields))


def test_a_judge_counts_in_both_orders_only():
    tree = tree_of("a", "b")
    compare(tree, (1, 2), (1.0, 0.0))
    assert ordered(tree) is None
    assert ordered(tree, both_orders=False) == ("t.1", "judge", 1.0)
    compare(tree, (2, 1), (0.5, 0.5))
    assert ordered(tree) == ("t.1", "judge", 0.5)


def test_a_judge_who_prefers_a_place_prefers_nobody():
    tree = tree_of("a", "b")
    compare(tree, (1, 2), (1.0, 0.0))
    compare(tree, (2, 1), (1.0, 0.0))
    judge(tree, 1, score=0.9, **OPINION)
    judge(tree, 2, score=0.1, **OPINION)
    assert ordered(tree) is None


def test_a_person_counts_in_one_order_and_shares_are_scaled():
    tree = tree_of("a", "b")
    compare(tree, (2, 1), (0.1, 0.3), source="user", author="u")
    assert ordered(tree) == ("t.1", "judge", 0.5)


@pytest.mark.parametrize("fields", [{"advisory": True}, {"verdict": Verdict.ABSTAIN}])
def test_shadow_judges_and_abstentions_prefer_nobody(fields):
    tree = tree_of("a", "b")
    compare(tree, (1, 2), (1.0, 0.0), source="human", **fields)
    assert ordered(tree) is None


def test_a_comparison_without_any_share_is_a_tie():
    tree = tree_of("a", "b")
    compare(tree, (1, 2), (0.0, 0.0), source="human")
    assert ordered(tree) is None


def test_evidence_overrules_a_judge():
    tree = tree_of("a", "b")
    judge(tree, 1, FAIL)
    judge(tree, 2, PASS)
    compare(tree, (1, 2), (1.0, 0.0), source="human")
    assert ordered(tree) == ("t.2", "evidence", 1.0)


def three():
    tree = tree_of("a", "b", "c", "d")
    for number, score in enumerate((0.0, 0.3, 1.0, 0.4), start=1):
        judge(tree, number, score=score)
    return tree


def test_the_clearest_pairs_come_first_and_are_few():
    assert pairs(Preference(pairs=2), three()) == [("c", "a"), ("c", "b")]
    assert reasons(Preference(pairs=2), three()) == ["more pairs than the setting allows"] * 4
    assert len(pairs(Preference(pairs=10), three())) == 6


def test_of_large_trees_the_best_and_the_worst_are_compared():
    assert pairs(Preference(compared=2), three()) == [("c", "a")]
    assert reasons(Preference(compared=2), three()) == ["in the middle of a large tree"] * 2
    assert pairs(Preference(compared=3), three()) == [("c", "a"), ("c", "d"), ("d", "a")]


def test_the_margin_is_a_setting():
    assert pairs(Preference(margin=0.6), three()) == [("c", "a"), ("c", "b"), ("c", "d")]
    assert reasons(Preference(margin=0.6), three()) == ["margin too small"] * 3


def test_who_decides_is_a_setting():
    tree = tree_of("a", "b")
    judge(tree, 1, score=0.9, **OPINION)
    judge(tree, 2, score=0.4, **OPINION)
    assert pairs(Preference(), tree) == [("a", "b")]
    assert reasons(Preference(by=("evidence", "judge")), tree) == ["decided by opinion only"]


def test_identical_answers_make_no_pair():
    tree = tree_of()
    add(tree, "It is 7.", answer=7)
    add(tree, "7, I think.", answer=7)
    judge(tree, 1, score=0.9)
    judge(tree, 2, score=0.1)
    assert reasons(Preference(), tree) == ["both answers are the same"]
    tree = tree_of()
    add(tree, "7", answer=None)
    add(tree, " 7\n", answer=None)
    judge(tree, 1, score=0.9)
    judge(tree, 2, score=0.1)
    assert reasons(Preference(), tree) == ["both answers are the same"]


def test_the_shown_prompt_must_be_the_same():
    tree = tree_of("6")
    add(tree, "7", request=(SYSTEM, *tree.task.prompt, assistant("6"), user("Wrong.")))
    add(tree, "8")
    for number, verdict in ((1, FAIL), (2, PASS), (3, FAIL)):
        judge(tree, number, verdict)
    assert pairs(Preference(), tree) == [("7", "6"), ("7", "8")]
    assert pairs(Preference(prompt="shown"), tree) == []
    tree = tree_of("6", "7")
    judge(tree, 1, FAIL)
    judge(tree, 2, PASS)
    (row,) = [item for item in Preference(prompt="shown").rows([tree]) if isinstance(item, Row)]
    assert [turn["role"] for turn in row.columns["prompt"]] == ["system", "user"]


def test_a_picture_in_an_answer_cannot_be_told_from_one_in_the_prompt():
    tree = tree_of("6")
    add(tree, [assistant("See", Image.of(b"png", "image/png"), sampled=True)])
    judge(tree, 1, FAIL)
    judge(tree, 2, PASS)
    assert reasons(Preference(), tree) == ["an answer has an image"]


def test_incomplete_and_unsampled_attempts_make_no_pair():
    tree = tree_of("7")
    add(tree, [assistant("6")], calls=False)
    add(tree, "5", status="failed")
    for number, verdict in ((1, PASS), (2, FAIL), (3, FAIL)):
        judge(tree, number, verdict)
    assert pairs(Preference(), tree) == []
    assert pairs(Preference(sampled=False), tree) == [("7", "6")]
