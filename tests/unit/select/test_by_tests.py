"""Selection by tests that may be wrong: the matrix out of a tree, and who wins."""

import pytest

from critic_loop.core.protocols import Pick
from critic_loop.core.records import Feedback
from critic_loop.select import B4, code_t, matrix_of, max_pass, mbr
from critic_loop.testing.trees import code_t_tree

RULES = {"b4": B4(), "b4, small": B4(alpha=10, beta0=10), "code-t": code_t, "max-pass": max_pass, "mbr": mbr}


def ran(grown, solution, verifier="unit", **tests):
    """A verifier that tells single tests, and judges nothing as a whole."""
    return grown.say(solution, source="verifier", author=verifier, data={"tests": tests})


def test_the_matrix_of_solutions_and_tests_that_are_attempts():
    tree = code_t_tree()
    matrix = matrix_of(tree, ("code-t.1", "code-t.2", "code-t.3", "code-t.4"))
    assert matrix.solutions == ("code-t.1", "code-t.2", "code-t.3", "code-t.4")
    assert matrix.tests == (("code-t.5", ""), ("code-t.6", ""), ("code-t.7", ""))
    assert matrix.passes == (
        (True, True, False),
        (True, True, False),
        (False, True, False),
        (True, False, False),
    )


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_the_oldest_of_the_largest_agreeing_group_wins(rule):
    found = rule(code_t_tree())
    assert (found.attempt, found.decided_by) == ("code-t.1", "vote")
    assert found.text == "2 of 4 solutions pass the same 2 of 3 tests"


def test_single_tests_are_read_from_one_place():
    told = Feedback(data={"tests": {"adds": True, "carries": False, "not run": None, "odd": "yes"}})
    assert told.tests == {"adds": True, "carries": False}
    assert Feedback().tests == Feedback(data={"tests": 3}).tests == {}


def test_single_tests_of_verifiers_and_of_attempts_are_columns(grown):
    one, two = grown.attempt(answer="1"), grown.attempt(answer="2")
    tests = grown.attempt(answer="asserts", kind="tests")
    for solution, adds in ((one, True), (two, False)):
        ran(grown, solution, adds=adds, carries=True)
        grown.say(solution, tests, source="verifier", author="run", data={"tests": {"adds": not adds}})
        grown.say(solution, source="tool", author="shell", data={"tests": {"prints": adds}})
    matrix = matrix_of(grown.tree, (one, two))
    assert matrix.tests == (("unit", "adds"), ("unit", "carries"), (tests, "adds"))
    assert matrix.passes == ((True, True, False), (False, True, True))


def test_what_was_not_run_on_all_is_no_column_and_who_was_not_run_no_row(grown):
    ids = [grown.attempt(answer=str(n)) for n in range(3)]
    ran(grown, ids[0], a=True, b=True)
    ran(grown, ids[1], a=True, b=None)
    assert matrix_of(grown.tree, tuple(ids)).solutions == (ids[0], ids[1])
    assert matrix_of(grown.tree, tuple(ids)).tests == (("unit", "a"),)


def test_the_latest_word_counts_and_shadows_opinions_and_replaced_tests_do_not(grown):
    solution = grown.attempt(answer="1")
    old = grown.attempt(answer="asserts", kind="tests")
    new = grown.attempt(answer="better asserts", kind="tests", replaces=old)
    for tests in (old, new):
        grown.say(solution, tests, source="verifier", verdict="pass")
    first = ran(grown, solution, a=False)
    grown.say(solution, source="verifier", author="unit", data={"tests": {"a": True}}, supersedes=first)
    grown.say(solution, source="verifier", author="shadow", data={"tests": {"b": True}}, advisory=True)
    grown.say(solution, data={"tests": {"c": True}})
    matrix = matrix_of(grown.tree, (solution,))
    assert dict(zip(matrix.tests, matrix.passes[0], strict=True)) == {(new, ""): True, ("unit", "a"): True}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_verifier_outranks_the_agreement_of_many(grown, rule):
    agreeing = [grown.attempt(answer=str(n)) for n in range(5)]
    right = grown.attempt(answer="right")
    for attempt in agreeing:
        ran(grown, attempt, a=True, b=True)
        grown.verified(attempt, "fail")
        grown.say(attempt, score=1.0, verdict="pass")
    ran(grown, right, a=False, b=False)
    grown.verified(right, "pass")
    assert rule(grown.tree).attempt == right
    assert rule(grown.tree).decided_by == "verifier"


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_the_value_decides_where_no_test_was_run(grown, rule):
    grown.attempt(answer="1")
    better = grown.attempt(answer="2")
    grown.say(better, score=0.7)
    assert rule(grown.tree) == Pick(attempt=better, decided_by="critic")


def test_the_settings_of_b4_change_its_mind(grown):
    for _ in range(3):
        ran(grown, grown.attempt(answer="idle"), a=False, b=False, c=False)
    good = grown.attempt(answer="good")
    ran(grown, good, a=True, b=True, c=False)
    assert B4()(grown.tree).attempt == good
    assert B4(alpha=1, beta0=1)(grown.tree).attempt != good
