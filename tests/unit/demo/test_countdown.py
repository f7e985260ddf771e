"""Puzzles, their text, their solver and their verifier."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import islice

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from critic_loop.core.messages import assistant
from critic_loop.core.records import Attempt, Task, Verdict
from critic_loop.core.view import View
from critic_loop.demo import countdown as cd
from critic_loop.demo.verifier import countdown, task_of

PUZZLE = cd.Puzzle(24, (3, 5, 7, 8))
GOOD = "8*3=24>5,7,24\n7-5=2>24,2\n24-2=22"

numbers = st.integers(1, 20)
puzzles = st.builds(cd.Puzzle, st.integers(1, 99), st.lists(numbers, min_size=3, max_size=6).map(tuple))
THREE = cd.Level(size=3)
solvable = st.sampled_from([*cd.sample_puzzles(1, 40), *cd.sample_puzzles(2, 10, THREE, split="train")])
NOISE = st.text(alphabet="0123456789+-*/=>,\n ²٣", max_size=60)


@given(puzzles)
def test_a_prompt_is_read_back_as_the_puzzle_that_it_was_written_from(puzzle):
    assert cd.puzzle_of(cd.prompt_of(puzzle)) == puzzle
    assert cd.puzzle_of(f"Please solve this.\n{cd.prompt_of(puzzle)}\nThank you.") == puzzle


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Countdown 24:",
        "Countdown 24: 3 5",
        "Countdown 0: 3 5 7",
        "countdown 24: 3 5 7 8",
        "Countdown 24: 1 2 3 4 5 6 7",
    ],
)
def test_text_without_a_puzzle_has_none(text):
    assert cd.puzzle_of(text) is None


def test_a_puzzle_at_the_end_of_a_sentence_is_found():
    assert cd.puzzle_of("Solve Countdown 24: 3 5 7 8, please") == PUZZLE


@given(puzzles, st.randoms())
def test_the_split_does_not_depend_on_the_order_of_numbers(puzzle, rng):
    shuffled = list(puzzle.numbers)
    rng.shuffle(shuffled)
    again = cd.Puzzle(puzzle.target, tuple(shuffled))
    assert again == puzzle
    assert again.split == puzzle.split


def test_the_splits_are_disjoint_and_as_large_as_they_should_be():
    train = set(islice(cd.generate(3, split="train"), 300))
    held_out = set(islice(cd.generate(3, split="held_out"), 100))
    assert not train & held_out
    everything = list(islice(cd.generate(4), 500))
    share = sum(p.split == "held_out" for p in everything) / len(everything)
    assert 0.5 * cd.HELD_OUT_SHARE < share < 1.7 * cd.HELD_OUT_SHARE


def test_the_same_seed_gives_the_same_puzzles():
    assert cd.sample_puzzles(5, 20) == cd.sample_puzzles(5, 20)
    assert cd.sample_puzzles(5, 20) != cd.sample_puzzles(6, 20)
    assert len(set(cd.sample_puzzles(5, 50))) == 50


def test_puzzles_that_are_left_out_are_not_drawn():
    some = cd.sample_puzzles(5, 200)
    others = cd.sample_puzzles(6, 600, without=some)
    assert len(set(others)) == 600
    assert not set(others) & set(some)


def test_asking_for_more_puzzles_than_there_are_is_refused():
    with pytest.raises(ValueError, match="found only"):
        cd.sample_puzzles(1, 400, THREE)


@pytest.mark.parametrize("size", [3, 4, 5, 6])
def test_generated_puzzles_are_solvable_at_every_size(size):
    for puzzle in islice(cd.generate(1, cd.Level(size=size)), 5):
        trace = cd.solve(puzzle)
        assert trace is not None
        assert cd.check(puzzle, cd.trace_text(puzzle.numbers, trace)).passed


@pytest.mark.parametrize("level", cd.LEVELS.values(), ids=cd.LEVELS)
def test_a_level_says_what_its_puzzles_look_like(level):
    for puzzle in cd.sample_puzzles(3, 5, level):
        assert len(puzzle.numbers) == level.size
        assert 1 <= puzzle.numbers[0] <= puzzle.numbers[-1] <= level.max_number
        assert level.targets[0] <= puzzle.target <= level.targets[1]
        assert puzzle.split == "held_out"


@given(puzzles)
def test_a_step_is_read_back_as_it_was_written(puzzle):
    for trace in islice(cd.traces(puzzle.numbers), 3):
        lines = cd.trace_text(puzzle.numbers, trace).splitlines()
        assert tuple(map(cd.read_step, lines)) == trace


@pytest.mark.parametrize("text", ["", "8*3", "8*3=", "8x3=24", "8*3=24>", "8*3=24>5,7,24!", "8*3=24\n7-5=2"])
def test_what_is_no_step_is_refused(text):
    with pytest.raises(ValueError, match="is not a step such as"):
        cd.read_step(text)


@given(solvable)
def test_every_solver_trace_passes(puzzle):
    found = list(cd.solutions(puzzle))
    assert found
    assert len(set(found)) == len(found)
    for trace in found:
        assert cd.check(puzzle, cd.trace_text(puzzle.numbers, trace)).passed


@given(solvable)
def test_every_other_trace_fails_at_its_last_line(puzzle):
    wrong = [t for t in islice(cd.traces(puzzle.numbers), 200) if t[-1].result != puzzle.target]
    for trace in wrong:
        found = cd.check(puzzle, cd.trace_text(puzzle.numbers, trace))
        assert found.error_kind == cd.ErrorKind.TARGET_NOT_REACHED
        assert found.line == len(puzzle.numbers) - 1


def test_a_puzzle_without_solution_has_none():
    assert cd.solve(cd.Puzzle(999, (1, 1, 1))) is None
    assert not list(cd.solutions(cd.Puzzle(999, (1, 1, 1))))


def reference(puzzle: cd.Puzzle, text: str) -> bool:
    """An independent, slower verifier for clean traces."""
    left = sorted(puzzle.numbers)
    lines = text.split("\n")
    for line in lines:
        head, _, tail = line.partition(">")
        found = re.fullmatch(r"(\d+)([-+*/])(\d+)=(\d+)", head, re.ASCII)
        if not found:
            return False
        a, b, claimed = int(found[1]), int(found[3]), int(found[4])
        for used in (a, b):
            if used not in left:
                return False
            left.remove(used)
        exact = {"+": a + b, "-": a - b, "*": a * b, "/": a / b if b else 0}[found[2]]
        if exact != claimed or not 1 <= exact <= cd.MAX_VALUE:
            return False
        left = sorted([*left, claimed])
        listed = sorted(map(int, tail.split(","))) if re.fullmatch(r"\d+(,\d+)*", tail, re.ASCII) else None
        if listed != left and not (len(left) == 1 and ">" not in line):
            return False
    return left == [puzzle.target]


@given(solvable, st.data())
def test_a_mutated_trace_passes_only_if_it_still_evaluates(puzzle, data):
    text = cd.trace_text(puzzle.numbers, cd.solve(puzzle) or ())
    at = data.draw(st.integers(0, len(text) - 1))
    put = data.draw(st.sampled_from([*"0123456789+-*/=>,\n", ""]))
    mutated = text[:at] + put + text[at + 1 :]
    assume(
        mutated != text
        and "\n\n" not in mutated
        and not mutated.startswith("\n")
        and not mutated.endswith("\n")
    )
    found = cd.check(puzzle, mutated)
    assert found.passed == reference(puzzle, mutated)
    assert found.passed == (found.error_kind is None) == (found.line is None)


@given(puzzles, st.text() | NOISE)
def test_check_never_raises(puzzle, text):
    found = cd.check(puzzle, text)
    assert found.reason
    assert found.passed == (found.error_kind is None)


@given(puzzles, NOISE)
def test_every_line_may_be_noise(puzzle, text):
    trace = next(cd.traces(puzzle.numbers))
    assert cd.check(puzzle, f"{cd.trace_text(puzzle.numbers, trace)}\n{text}").reason


@pytest.mark.parametrize(
    ("answer", "kind", "line", "words"),
    [
        ("", "wrong_length", 1, "still to be used: 3 5 7 8"),
        ("hello", "malformed", 1, "'hello'"),
        ("8*3=25>5,7,25", "bad_arithmetic", 1, "8*3 is 24, not 25"),
        ("8*9=72>3,5,7", "number_not_available", 1, "9 is not available"),
        ("8*8=64>3,5,7", "number_not_available", 1, "8 is not available"),
        ("3-8=5>5,7,5", "out_of_range", 1, "3-8"),
        ("8/3=2>5,7,2", "out_of_range", 1, "8/3"),
        ("8*3=24>5,24", "remaining_wrong", 1, "what is left is 5 7 24"),
        ("8*3=24>5,7,24\n7-5=2", "remaining_wrong", 2, "2 24"),
        ("8*3=24>5,7,24", "wrong_length", 1, "still to be used: 5 7 24"),
        (GOOD, "target_not_reached", 3, "the result is 22, not 24"),
        (f"{GOOD}\n1+1=2", "wrong_length", 4, "nothing is left"),
    ],
)
def test_the_first_wrong_line_is_named_with_its_reason(answer, kind, line, words):
    found = cd.check(PUZZLE, answer)
    assert (found.passed, found.error_kind, found.line) == (False, kind, line)
    assert words in found.reason


def test_order_and_outer_blanks_of_an_answer_do_not_matter():
    puzzle = cd.Puzzle(22, (8, 7, 5, 3))
    assert cd.check(puzzle, GOOD).passed
    assert cd.check(puzzle, " 3*8=24>24,7,5 \n7-5=2>2,24\r\n24-2=22>22\n").passed


def seen(task: Task, answer: str, *, unfinished: bool = False) -> View[str]:
    kind, final = ("step", None) if unfinished else ("answer", answer)
    attempt = Attempt(id="t.1", kind=kind, messages=(assistant(answer),), answer=final)
    return View(task=task, answer=final, attempt=attempt)


def test_the_verifier_names_the_first_error_as_feedback():
    assert countdown.function(seen(task_of(cd.Puzzle(22, (3, 5, 7, 8))), GOOD)).verdict == Verdict.PASS
    failed = countdown.function(seen(task_of(PUZZLE), GOOD))
    assert (failed.verdict, failed.score, failed.first_error) == (Verdict.FAIL, 0.0, 2)
    assert "22, not 24" in failed.text
    assert countdown.function(seen(Task.of("What is love?"), GOOD)).verdict == Verdict.ABSTAIN


def test_lines_that_end_no_answer_fail_where_they_are_wrong_already():
    """Else nothing is known of them."""
    task, first, wrong = task_of(PUZZLE), GOOD.splitlines()[0], "8*3=24>5,24"
    assert countdown.function(seen(task, first, unfinished=True)).verdict == Verdict.ABSTAIN
    assert countdown.function(seen(task, first)).verdict == Verdict.FAIL, "it is no answer"
    failed = countdown.function(seen(task, wrong, unfinished=True))
    assert (failed.verdict, failed.first_error) == (Verdict.FAIL, 0)


def test_importing_the_demo_needs_the_standard_library_only():
    heavy = "{'numpy', 'onnxruntime', 'torch', 'onnx'}"
    code = f"import sys, critic_loop.demo; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
