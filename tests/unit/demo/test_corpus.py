"""What the small model is to learn: examples that tell the truth."""

import random
from collections import Counter

from critic_loop.demo.chars import LINE_VERDICTS, Rejected, line_verdicts
from critic_loop.demo.corpus import (
    Chain,
    Mix,
    critique_example,
    drawn,
    examples,
    honest_example,
    own_examples,
    revise_example,
)
from critic_loop.demo.countdown import EASY, HARD, Puzzle, check, is_right, sample_puzzles
from critic_loop.demo.reach import judge

PUZZLE = Puzzle(24, (3, 5, 7, 8))
FORCED = "8+7=15>3,5,15\n15+5=20>3,20\n20-3=24"


def puzzle_of(prompt: str) -> Puzzle:
    target, _, rest = prompt.partition(">")[2].partition("\n")[0].partition(":")
    return Puzzle(int(target), tuple(map(int, rest.split("!")[0].split("?")[0].split(","))))


def test_the_same_seed_makes_the_same_examples() -> None:
    assert examples("a", Mix(), 30) == examples("a", Mix(), 30)
    assert examples("a", Mix(), 30) != examples("b", Mix(), 30)


def test_no_example_is_of_a_held_out_puzzle_and_every_role_occurs() -> None:
    made = examples("c", Mix(), 300)
    assert {puzzle_of(one.prompt).split for one in made} == {"train"}
    roles = Counter(one.prompt.partition(">")[0] for one in made)
    assert set(roles) == {"<draft", "<critique", "<revise"}


def test_solutions_are_solutions_and_their_choices_hold_what_was_taken() -> None:
    for one in examples("d", Mix(), 300):
        if one.prompt.startswith("<critique>") or one.results_only:
            continue
        assert check(puzzle_of(one.prompt), one.answer).passed
        for line, beginnings in zip(one.answer.split("\n"), one.choices, strict=True):
            if beginnings:
                assert line.split("=")[0] + "=" in dict(beginnings)
                assert abs(sum(dict(beginnings).values()) - 1) < 1e-9


def test_an_honest_answer_says_what_the_steps_come_to() -> None:
    made = honest_example("<draft>", PUZZLE, FORCED)
    assert made.results_only
    assert made.answer == "8+7=15>3,5,15\n15+5=20>3,20\n20-3=17"


def test_an_honest_answer_ends_before_what_cannot_be_worked_out_and_does_not_say_that_it_ends() -> None:
    assert honest_example("<draft>", PUZZLE, "8+7=15>3,5,15\n9+5=14>3,14\n14-3=24").answer == "8+7=15>3,5,15\n"
    assert all(is_right(line) for line in honest_example("<draft>", PUZZLE, FORCED).answer.split("\n"))


def test_a_critique_tells_the_truth_about_every_line() -> None:
    rng = random.Random(1)
    for puzzle in [*sample_puzzles(5, 20, EASY, split="train"), *sample_puzzles(5, 5, HARD, split="train")]:
        said = line_verdicts(critique_example(rng, puzzle, FORCED).answer)
        truth = [LINE_VERDICTS[2 if one is None else 0 if one else 1] for one in judge(puzzle, FORCED)]
        assert [word for word, _ in said] == truth


def test_a_revision_keeps_the_lines_that_still_lead_somewhere_and_no_others() -> None:
    rng = random.Random(2)
    alive, dead = "8+3=11>5,7,11", "8*3=24>5,7,24"  # 7*5-11 is 24; 5, 7 and 24 never make 24
    assert judge(PUZZLE, alive) == [True]
    assert judge(PUZZLE, dead) == [False]
    keeps = revise_example(rng, PUZZLE, [Rejected(f"{alive}\n11+5=16>7,16\n16+7=23", 2)], Mix(unmarked=0))
    assert keeps.answer.split("\n")[0] == alive
    assert keeps.choices[0] == ()
    leaves = revise_example(rng, PUZZLE, [Rejected(f"{dead}\n7-5=2>24,2\n24-2=22", 2)], Mix(unmarked=0))
    assert leaves.answer.split("\n")[0] != dead


def test_own_answers_teach_critique_revision_and_honest_results() -> None:
    chain = Chain(puzzle=PUZZLE, answers=(Rejected(FORCED, 1),))
    made = own_examples("e", Mix(draft=0, honest=0.5), [chain])
    assert [one.prompt.partition(">")[0] for one in made] == ["<critique", "<revise", "<draft"]
    assert made[2].results_only


def test_drawn_puzzles_keep_to_the_shares_asked_for() -> None:
    rng = random.Random(3)
    sizes = Counter(len(drawn(rng, Mix(hard=0.7, other=0)).numbers) for _ in range(200))
    assert 110 < sizes[5] < 170
