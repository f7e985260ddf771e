"""Scores over a solutions x tests matrix: reference values, and what may not matter."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from critic_loop.select import b4_scores, code_t_scores, groups_of, max_pass_scores, mbr_scores

EXAMPLE = ((1, 1, 0), (1, 1, 0), (1, 1, 1), (0, 1, 1))
ALL = {
    "b4": lambda passes: b4_scores(passes, alpha=10, beta0=10),
    "code-t": code_t_scores,
    "max-pass": max_pass_scores,
    "mbr": mbr_scores,
}

matrices = st.integers(1, 6).flatmap(
    lambda tests: st.lists(st.lists(st.booleans(), min_size=tests, max_size=tests), min_size=1, max_size=8)
)


def test_b4_gives_the_values_of_its_authors_code():
    """Printed by the public function of ZJU-CTAG/B4 (strategy.B4) for this matrix, alpha = beta0 = 10."""
    scores = b4_scores(EXAMPLE, alpha=10, beta0=10)
    assert {group: round(score, 6) for group, score in scores.items()} == {
        frozenset({2}): -19.895985,
        frozenset({0, 1}): -21.533594,
        frozenset({3}): -25.957442,
    }


def test_the_baselines_count_what_they_say():
    one, two, three = frozenset({0, 1}), frozenset({2}), frozenset({3})
    assert groups_of(EXAMPLE) == {one: {0, 1}, two: {0, 1, 2}, three: {1, 2}}
    assert code_t_scores(EXAMPLE) == {one: 2 * math.sqrt(2), two: 3.0, three: 2.0}
    assert max_pass_scores(EXAMPLE) == {one: 2.0, two: 3.0, three: 2.0}
    assert mbr_scores(EXAMPLE) == {one: 2.0, two: 1.0, three: 1.0}


def test_small_settings_let_those_win_who_pass_nothing():
    """The pitfall that the settings for real data are there to avoid."""
    passes = [[0, 0, 0], [0, 0, 0], [0, 0, 0], [1, 1, 0]]
    idle, good = frozenset({0, 1, 2}), frozenset({3})
    small, real = b4_scores(passes, alpha=1, beta0=1), b4_scores(passes, alpha=1000, beta0=10_000)
    assert small[idle] > small[good]
    assert real[idle] < real[good]


@pytest.mark.parametrize("name", ALL)
@given(matrix=matrices, data=st.data())
def test_the_order_of_solutions_and_tests_does_not_matter(name, matrix, data):
    rows = data.draw(st.permutations(range(len(matrix))))
    columns = data.draw(st.permutations(range(len(matrix[0]))))
    shuffled = [[matrix[i][j] for j in columns] for i in rows]
    place = {old: new for new, old in enumerate(rows)}
    scores = ALL[name](shuffled)
    for group, score in ALL[name](matrix).items():
        assert scores[frozenset(place[i] for i in group)] == pytest.approx(score, abs=1e-9)


@given(matrices)
def test_every_solution_is_in_one_group_with_all_that_pass_the_same(matrix):
    found = groups_of(matrix)
    assert sorted(i for group in found for i in group) == list(range(len(matrix)))
    for group, passed in found.items():
        for i in group:
            assert {j for j, cell in enumerate(matrix[i]) if cell} == passed


class Array:
    """A matrix that is indexed only, as numpy's are: no truth value, no iteration."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        cell = self.rows[index]
        return Array(cell) if isinstance(cell, tuple) else cell

    def __iter__(self):
        raise AssertionError("iterated")

    def __bool__(self):
        raise AssertionError("the truth value of an array is ambiguous")


@pytest.mark.parametrize("name", ALL)
def test_whatever_can_be_indexed_is_a_matrix(name):
    assert ALL[name](Array(EXAMPLE)) == ALL[name](EXAMPLE)
    assert ALL[name]([]) == {}


def test_what_is_wrong_is_refused():
    with pytest.raises(ValueError, match="rows have different lengths"):
        groups_of([[1, 0], [1]])
    for alpha, beta0 in ((0, 10), (10, -1), (math.nan, 1)):
        with pytest.raises(ValueError, match="alpha and beta0 are above 0"):
            b4_scores(EXAMPLE, alpha=alpha, beta0=beta0)
