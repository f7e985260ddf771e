"""The dueling bandit (card 1.41): few comparisons find the best of many texts."""

import itertools
import math

import pytest

from critic_loop.core.protocols import Compare, Pick
from critic_loop.select import selection
from critic_loop.select.duel import Duel, features, fitted

WORDS = ["brief", "precise", "rude", "vague"]
WORTH = {"brief": 1.0, "precise": 2.0, "rude": -2.0, "vague": -1.0}


def pool(grown):
    """All texts of two different words or one; the judge likes `precise`, then `brief`."""
    texts = [*WORDS, *(f"{a} {b}" for a, b in itertools.combinations(WORDS, 2))]
    ids = [grown.attempt(answer=text, kind="prompt") for text in texts]
    return dict(zip(ids, texts, strict=True))


def play(grown, texts, select, judge=lambda a, b: 1.0 if a > b else 0.0):
    """Answer every comparison that is asked for; return these and the pick."""
    asked = []
    while isinstance(said := select(grown.tree), Compare):
        asked.append((said.first, said.second))
        assert len(asked) < 100
        worth = {i: sum(WORTH[w] for w in texts[i].split()) / len(texts[i].split()) for i in asked[-1]}
        share = judge(worth[said.first], worth[said.second])
        for pair, shares in ((asked[-1], (share, 1 - share)), (asked[-1][::-1], (1 - share, share))):
            grown.say(*pair, source="judge", author="j", preference=shares)
    return asked, said


def test_a_third_of_all_comparisons_find_the_best_text(grown):
    texts = pool(grown)
    asked, pick = play(grown, texts, Duel(rounds=15))
    assert len(asked) == 15 < math.comb(len(texts), 2)
    assert texts[pick.attempt] == "precise"
    assert pick.decided_by == "judge"


def test_no_pair_is_compared_twice_and_all_pairs_are_an_end(grown):
    texts = pool(grown)
    asked, pick = play(grown, texts, Duel(rounds=1000))
    assert len({frozenset(pair) for pair in asked}) == len(asked) == math.comb(len(texts), 2)
    assert "precise" in texts[pick.attempt]


def test_after_the_warm_up_the_best_so_far_is_always_in(grown):
    texts = pool(grown)
    asked, _ = play(grown, texts, Duel(rounds=14, warm_up=3))
    assert all(any("precise" in texts[i] for i in pair) for pair in asked[8:])


def test_a_judge_that_abstains_does_not_keep_it_asking(grown):
    pool(grown)
    select = Duel(rounds=3)
    for _ in range(3):
        said = select(grown.tree)
        for pair in ((said.first, said.second), (said.second, said.first)):
            grown.say(*pair, source="judge", author="j", verdict="abstain")
    assert select(grown.tree).decided_by == "nobody"


def test_the_same_tree_asks_the_same_and_nothing_has_no_winner(grown):
    assert Duel()(grown.tree) == Pick(attempt=None, decided_by="nobody")
    only = grown.attempt(answer={"a": 1})
    assert Duel()(grown.tree).attempt == only
    pool(grown)
    assert Duel()(grown.tree) == Duel()(grown.tree)
    assert selection("duel", {"rounds": 9}) == Duel(rounds=9)


def test_fitted_weights_explain_the_contests():
    arms = [features(word, 64) for word in WORDS]
    contests = [(1, 0, 1.0), (0, 3, 1.0), (3, 2, 1.0), (1, 2, 1.0)]
    weights = fitted(arms, contests, 0.1)
    worth = [sum(w * x for w, x in zip(weights, arm, strict=True)) for arm in arms]
    assert worth[1] > worth[0] > worth[3] > worth[2]
    assert fitted(arms, [], 0.1) == [0.0] * 64


@pytest.mark.parametrize("text", ["precise and brief", "ein Wort", "\u6570\u5b66"])
def test_features_have_length_one_and_follow_from_the_text(text):
    vector = features(text, 16)
    assert sum(x * x for x in vector) == pytest.approx(1.0)
    assert vector == features(text.upper(), 16)
    assert features("", 4) == (0.0,) * 4
