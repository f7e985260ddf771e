"""What can still be reached, against all traces written out."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from critic_loop.demo.countdown import (
    MAX_VALUE,
    Level,
    Puzzle,
    check,
    check_line,
    generate,
    sample_puzzles,
    solutions,
    solve,
    trace_text,
    traces,
)
from critic_loop.demo.reach import can_reach, judge, reachable, walk

PUZZLE = Puzzle(24, (3, 5, 7, 8))

few = st.lists(st.integers(1, 15) | st.integers(1, MAX_VALUE), min_size=1, max_size=4)
NOISE = st.text(alphabet="0123456789+-*/=>,\n x", max_size=30)


@given(few)
def test_the_targets_are_the_results_of_all_traces(numbers):
    results = {t[-1].result for t in traces(numbers)} if len(numbers) > 1 else set(numbers)
    bits = reachable(tuple(sorted(numbers)))
    assert {n for n in range(MAX_VALUE + 1) if bits >> n & 1} == results
    assert bits < 1 << (MAX_VALUE + 1)


@given(st.lists(st.integers(1, 10), min_size=2, max_size=3), st.randoms())
def test_the_order_of_numbers_does_not_matter(numbers, rng):
    shuffled = rng.sample(numbers, len(numbers))
    assert all(can_reach(numbers, n) == can_reach(shuffled, n) for n in range(1, 101))


@pytest.mark.parametrize("size", [3, 4, 5])
def test_a_walk_is_a_solution_and_finds_them_all(size):
    for puzzle in sample_puzzles(2, 3, Level(size=size), split="train"):
        rng = random.Random(1)
        drawn = {tuple(walk(rng, puzzle.numbers, puzzle.target)[0]) for _ in range(20)}
        assert all(check(puzzle, trace_text(puzzle.numbers, steps)).passed for steps in drawn)
    three = next(generate(4, Level(size=3)))
    drawn = {tuple(walk(rng, three.numbers, three.target)[0]) for _ in range(200)}
    assert drawn == set(solutions(three))


def test_no_way_is_an_error():
    with pytest.raises(ValueError, match="999 cannot be reached"):
        walk(random.Random(1), (1, 1, 1), 999)
    assert solve(Puzzle(999, (1, 1, 1))) is None


def brute(puzzle: Puzzle, answer: str) -> list[bool | None]:
    """The same judgements, by writing out every trace from where each line leads."""
    left, found = list(puzzle.numbers), []
    for text in answer.strip().splitlines():
        after = check_line(left, text.strip(), 1) if len(left) > 1 else None
        if not isinstance(after, list):
            return [*found, None]
        left = after
        ends = {t[-1].result for t in traces(left)} if len(left) > 1 else set(left)
        found.append(puzzle.target in ends)
    return found


@given(st.sampled_from(sample_puzzles(3, 30)), st.data())
def test_every_line_is_judged_as_brute_force_does(puzzle, data):
    steps = data.draw(st.sampled_from([*traces(puzzle.numbers)]))
    lines = trace_text(puzzle.numbers, steps).splitlines()
    if data.draw(st.booleans()):
        lines.insert(data.draw(st.integers(0, len(lines))), data.draw(NOISE))
    answer = "\n".join(lines)
    found = judge(puzzle, answer)
    assert found == brute(puzzle, answer)
    right = found == [True] * (len(puzzle.numbers) - 1)
    assert right == check(puzzle, answer).passed


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("", []),
        ("no idea", [None]),
        ("7*3=21>5,8,21", [True]),
        ("7*3=21>5,8,21\n8-5=3>21,3\n21+3=24", [True, True, True]),
        ("7*3=21>5,8,21\n8+5=13>21,13\n21+13=34", [True, False, False]),
        ("7*3=21>5,8,21\n8-5=4>21,4\n21+4=25", [True, None]),
        ("8*3=24>5,7,24\n7-5=2>24,2\n24-2=22\n1+1=2", [False, False, False, None]),
    ],
)
def test_nothing_follows_a_wrong_line(answer, found):
    assert judge(PUZZLE, answer) == found
