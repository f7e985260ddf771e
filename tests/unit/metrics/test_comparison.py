"""Runs out of trees, and equal-cost curves of two loops."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from critic_loop.core.messages import assistant
from critic_loop.core.records import Call, Choice, Outcome, Place, Reply, Usage
from critic_loop.metrics import Cost, Run, by_task, curve, equal_cost, found_within, run_of
from tests.conftest import Grown


def run(task, spent, *, solved=True, found=None, usd=None, score=None):
    cost = Cost(calls=1, tokens=spent, usd=usd)
    made = None if found is None else Cost(calls=1, tokens=found, usd=None)
    return Run(task=task, solved=solved, score=score, spent=cost, found=made)


def called(grown, attempt, tokens, **reply):
    call = f"c{len(grown.tree.calls) + 1}"
    place = Place(subject=(attempt,), agent="actor", turn=len(grown.tree.calls))
    grown.tree.append(Call(id=call, place=place, digest="", request=(), binding="scripted", sent_at=0.0))
    choices = (Choice(message=assistant("x", sampled=True)),)
    usage = Usage(output_tokens=tokens)
    grown.tree.append(Reply(call=call, status="ok", choices=choices, usage=usage, ended_at=1.0, **reply))


def ended(grown, chosen, stop="exhausted", usd=None):
    spend = grown.tree.spend().model_copy(update={"cost_usd": usd})
    grown.tree.append(Outcome(chosen=chosen, stop=stop, spend=spend))
    return grown.tree


# -- runs --------------------------------------------------------------------------------------------


def test_a_tree_as_a_run_with_what_it_cost_by_its_end_and_by_its_first_right_attempt(grown):
    for answer, verdict, tokens in (("41", "fail", 10), ("42", "pass", 20), ("43", "fail", 40)):
        attempt = grown.ask()
        called(grown, attempt, tokens, sends=2)
        grown.settle(attempt, answer)
        grown.verified(attempt, verdict, score=0.25)
    tree = ended(grown, "t.3", usd=0.5)
    called(grown, "t.3", 1000)
    found = run_of(tree)
    assert found == Run(
        task=tree.task.id,
        solved=False,
        score=0.25,
        spent=Cost(calls=6, tokens=70, usd=0.5),
        found=Cost(calls=4, tokens=30, usd=None),
    )


def test_what_chose_nothing_did_not_solve_it_and_what_nobody_judged_is_unknown(grown):
    attempt = grown.attempt(answer="42")
    none = run_of(ended(Grown(), None))
    unknown = run_of(ended(grown, attempt))
    assert (none.solved, none.score) == (False, None)
    assert (unknown.solved, unknown.score, unknown.found) == (None, None, None)
    assert by_task([none, unknown]) == {none.task: [0.0]}


@pytest.mark.parametrize("stop", [None, "parked", "interrupted", "stopped"])
def test_what_has_not_ended_is_no_run(grown, stop):
    attempt = grown.attempt(answer="42")
    tree = grown.tree if stop is None else ended(grown, attempt, stop)
    assert run_of(tree) is None


def test_values_by_task(grown):
    runs = [
        run("a", 1),
        run("a", 1, solved=False),
        run("b", 1, solved=None, score=0.5),
        run("b", 2, score=None),
    ]
    assert by_task(runs) == {"a": [1.0, 0.0], "b": [1.0]}
    assert by_task(runs, "score") == {"b": [0.5]}


# -- equal cost --------------------------------------------------------------------------------------


def test_a_curve_counts_who_had_solved_it_by_then():
    runs = [run("a", 10), run("b", 20), run("c", 5, solved=False), run("d", 40), run("e", 1, solved=None)]
    assert equal_cost(runs, [5, 10, 20, 39, 40]) == pytest.approx((0, 0.25, 0.5, 0.5, 0.75))
    several = [run("a", 10), run("a", 30), run("b", 20, solved=False)]
    assert equal_cost(several, [10, 30]) == pytest.approx((0.25, 0.5)), "each task weighs the same"


def test_what_was_found_and_not_chosen_is_on_the_other_curve():
    runs = [run("a", 10, solved=False, found=4), run("b", 20, found=8), run("c", 9, solved=False)]
    assert equal_cost(runs, [4, 8, 20]) == pytest.approx((0, 0, 1 / 3))
    assert found_within(runs, [4, 8, 20]) == pytest.approx((1 / 3, 2 / 3, 2 / 3))


def test_an_unknown_price_is_refused_not_taken_for_nothing():
    runs = [run("a", 1, usd=0.01), run("b", 1)]
    with pytest.raises(ValueError, match="the cost of a run of task 'b' in usd is unknown"):
        equal_cost(runs, [1.0], unit="usd")
    with pytest.raises(ValueError, match="not known in US dollars"):
        found_within(runs, [1.0], unit="usd")
    with pytest.raises(ValueError, match="no run"):
        equal_cost([run("a", 1, solved=None)], [1.0])


def test_two_curves_are_over_the_tasks_that_both_have():
    ours = [run("a", 10), run("b", 1000), run("mine", 1)]
    theirs = [run("a", 80, solved=False), run("b", 100), run("yours", 5000)]
    points = curve(ours, theirs, points=4)
    assert [p.budget for p in points] == [10, 47, 216, 1000]
    assert [p.ours for p in points] == [0.5, 0.5, 0.5, 1.0]
    assert [p.theirs for p in points] == [0.0, 0.0, 0.5, 0.5]


costs = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 99), st.booleans()), min_size=1, max_size=20)


@given(costs, costs, st.integers(1, 9))
def test_curves_rise_to_the_share_that_was_solved(one, other, points):
    sides = [[run(task, spent, solved=solved) for task, spent, solved in side] for side in (one, other)]
    both = by_task(sides[0]).keys() & by_task(sides[1]).keys()
    if not both:
        return
    found = curve(*sides, points=points)
    assert sorted({p.budget for p in found}) == [p.budget for p in found]
    assert len(found) <= max(2, points)
    for name, side in zip(("ours", "theirs"), sides, strict=True):
        shares = [getattr(point, name) for point in found]
        assert shares == sorted(shares)
        solved = by_task([r for r in side if r.task in both])
        assert shares[-1] == pytest.approx(math.fsum(sum(v) / len(v) for v in solved.values()) / len(both))


def test_a_run_is_measured_by_grades(grown):
    wrong, right = grown.attempt(answer="41"), grown.attempt(answer="42")
    for attempt, grade in ((wrong, "fail"), (right, "pass")):
        grown.verified(attempt, "pass", score=1.0)
        grown.say(attempt, source="grader", verdict=grade)
    found = run_of(ended(grown, wrong))
    assert (found.solved, found.score) == (False, 1.0), "grades are no part of what it was worth to its loop"
    assert found.found is not None
