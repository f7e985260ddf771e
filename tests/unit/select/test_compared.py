"""A knock-out and a round robin by a judge who is asked in both orders."""

import pytest

from critic_loop.core.protocols import Compare, Pick
from critic_loop.select import WinRate, tournament


def judged(grown, rule, prefers):
    """Play to the end; return the pick and who met. `prefers(a, b)` is the share of `a`, shown first."""
    met = []
    while isinstance(said := rule(grown.tree), Compare):
        met.append((said.first, said.second))
        assert len(met) < 99
        for pair in (met[-1], met[-1][::-1]):
            share = prefers(*(grown.tree[i].answer for i in pair))
            fields = {"verdict": "abstain"} if share is None else {"preference": (share, 1.0 - share)}
            grown.say(*pair, source="judge", author="judge", **fields)
    return said, met


def longest(first, second):
    return 0.5 if len(first) == len(second) else float(len(first) > len(second))


def answers(grown, *texts):
    return [grown.attempt(answer=text) for text in texts]


@pytest.mark.parametrize("rule", [tournament, WinRate()])
def test_whom_the_judge_always_prefers_wins(grown, rule):
    ids = answers(grown, "xx", "x", "xxxxx", "xxx", "xxxx")
    found, _ = judged(grown, rule, longest)
    assert (found.attempt, found.decided_by) == (ids[2], "judge")


def test_a_knock_out_takes_n_minus_one_meetings_from_the_oldest_pair_on(grown):
    a, b, c, d, e = answers(grown, "xx", "x", "xxxxx", "xxx", "xxxx")
    _, met = judged(grown, tournament, longest)
    assert met == [(a, b), (c, d), (a, c), (c, e)]


def test_a_round_robin_lets_all_meet_and_counts_shares(grown):
    ids = answers(grown, "rock", "paper", "scissors", "well")
    beats = {
        ("rock", "scissors"),
        ("paper", "rock"),
        ("scissors", "paper"),
        ("well", "rock"),
        ("well", "scissors"),
    }
    found, met = judged(
        grown, WinRate(), lambda a, b: 1.0 if (a, b) in beats else 0.0 if (b, a) in beats else 0.5
    )
    assert len(met) == 6
    assert found == Pick(attempt=ids[3], decided_by="judge", text="win rate 0.83 among 4")


@pytest.mark.parametrize("rule", [tournament, WinRate()])
@pytest.mark.parametrize("says", [1.0, 0.5, None])
def test_a_judge_who_contradicts_itself_ties_or_abstains_leaves_it_to_value_then_age(grown, rule, says):
    ids = answers(grown, "a", "b", "c", "d")
    grown.say(ids[1], score=0.5)
    grown.say(ids[3], score=0.5)
    found, _ = judged(grown, rule, lambda *_: says)
    assert found.attempt == ids[1]
    assert found.decided_by == ("critic" if says is None else "judge")


@pytest.mark.parametrize("rule", [tournament, WinRate()])
def test_only_those_meet_that_verifiers_rank_highest(grown, rule):
    ids = answers(grown, "xxxx", "x", "xx")
    grown.verified(ids[0], "fail")
    grown.verified(ids[1], "pass")
    grown.verified(ids[2], "pass")
    found, met = judged(grown, rule, longest)
    assert (found.attempt, met) == (ids[2], [(ids[1], ids[2])])
    grown.verified(ids[2], "fail", author="another")
    assert rule(grown.tree) == Pick(attempt=ids[1], decided_by="verifier")


@pytest.mark.parametrize("rule", [tournament, WinRate()])
def test_equal_answers_play_as_one(grown, rule):
    ids = answers(grown, "x", "x", "xx", "x")
    found, met = judged(grown, rule, longest)
    assert (found.attempt, met) == (ids[2], [(ids[0], ids[2])])


def test_only_the_best_by_value_meet_in_a_round_robin(grown):
    ids = answers(grown, "xxxx", "xxx", "xx", "x")
    for attempt in ids[1:3]:
        grown.say(attempt, score=0.5)
    found, met = judged(grown, WinRate(among=2), longest)
    assert (found.attempt, met) == (ids[1], [(ids[1], ids[2])])
