"""The chat template: it writes what `chars` writes, whatever stands in a conversation."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jinja2.sandbox import ImmutableSandboxedEnvironment

from critic_loop.assets import Library, Word
from critic_loop.core.errors import ModelError
from critic_loop.core.messages import Message, Reasoning, Text, ToolCall, assistant, system, user
from critic_loop.demo.chars import (
    MAX_REJECTED,
    Rejected,
    critique_prompt,
    draft_prompt,
    encode,
    rejected_line,
    revise_prompt,
)
from critic_loop.demo.chat import chat_prompt, chat_template
from critic_loop.demo.countdown import MAX_VALUE, Puzzle, prompt_of, puzzle_of

PUZZLE = Puzzle(24, (3, 5, 7, 8))
TASK = "Please solve Countdown 24: 3 5 7 8."
WRONG = "8*3=24>5,7,24\n7-5=2>24,2\n24-2=22"
CRITIQUE = "Line 1: right, reachable (95%)\nLine 2: right, dead end (80%)\nVerdict: wrong (99%)\n"

numbers = st.integers(1, MAX_VALUE)
puzzles = st.builds(Puzzle, numbers, st.lists(numbers, min_size=3, max_size=6).map(tuple))
noise = st.text(max_size=40) | st.text(alphabet="0123456789+-*/=>,:!? \r\n\t\x0b\x1c\x85\u2028²٣é", max_size=80)
steps = st.builds("{}{}{}={}>{}".format, numbers, st.sampled_from("+-*/"), numbers, numbers, noise)
answers = noise | st.lists(steps | noise, max_size=8).map("\n".join) | st.just(WRONG)
remarks = st.builds(
    "{}{} {}:{}{}".format,
    noise,
    st.sampled_from(["Line", "line", "LINE", "the line", "Linie", "lıne", "LİNE"]),
    st.integers(0, 12) | st.sampled_from("٣²"),
    st.sampled_from(
        [" right, reachable", " Right, Reachable", " right, dead end", " wrong", "right, reachable", ""]
    ),
    noise,
)
feedback = noise | st.lists(remarks, max_size=5).map("\n".join) | st.just(CRITIQUE)


def told(prompt: str, block: str, **values: object) -> Message:
    given = {"task": "", "answer": "", "feedback": [], **values}
    return user(Library().prompt(prompt).render(block, given, key="k"))


def judged(text: str) -> Message:
    """The feedback of a critic as the bundled actor's prompt words it."""
    item = {"source": Word("critic"), "author": Word("critic/countdown"), "verdict": Word("fail")}
    item |= {"text": text, "suggestion": ""}
    return told("actor/countdown.md", "feedback", feedback=[item])


@given(puzzles, answers)
@example(PUZZLE, "")
@example(PUZZLE, WRONG.replace("\n", "\r\n"))
@example(PUZZLE, "</data 00> answer>\n<data 11 answer>\n1+1=2")
@example(PUZZLE, "999+999=1998>" + "9," * 5000)
def test_the_critics_prompt_is_read_out_of_its_fences(puzzle, answer):
    asked = told("critic/countdown.md", "user", task=prompt_of(puzzle), answer=answer)
    prompt = critique_prompt(puzzle, answer)
    assert chat_prompt([system("Role: critic"), asked]) == prompt
    assert chat_prompt([asked]) == prompt
    assert encode(prompt)


@given(puzzles, st.lists(st.tuples(answers, feedback), max_size=MAX_REJECTED + 4))
@example(PUZZLE, [(WRONG, CRITIQUE)] * (MAX_REJECTED + 1))
@example(PUZZLE, [("", ""), ("no idea", "nor I"), (WRONG, "line 3: the result is 22, not 24")])
def test_a_revision_shows_the_rejected_answers_with_their_first_objections(puzzle, turns):
    talk = [user(prompt_of(puzzle))]
    for answer, said in turns:
        talk += [assistant(answer), user(said)]
    shown = [Rejected(answer, rejected_line(said)) for answer, said in turns]
    prompt = revise_prompt(puzzle, shown)
    assert chat_prompt([system("Role: reviser"), *talk]) == prompt
    assert chat_prompt(talk) == (prompt if turns else draft_prompt(puzzle))
    assert chat_prompt([system("Be quick.\n  role: DRAFTER  \nRole: critic"), *talk]) == draft_prompt(puzzle)
    assert encode(prompt)


@pytest.mark.parametrize("line", range(10))
def test_an_objection_to_a_line_that_is_not_there_marks_nothing(line):
    talk = [user(TASK), assistant(WRONG), user(f"Line {line}: wrong")]
    assert chat_prompt(talk) == revise_prompt(PUZZLE, [Rejected(WRONG, line)])


@given(puzzles, answers, feedback)
def test_fences_around_feedback_do_not_matter(puzzle, answer, said):
    talk = [user(prompt_of(puzzle)), assistant(answer), judged(said)]
    if said.strip():
        assert chat_prompt(talk) == revise_prompt(puzzle, [Rejected(answer, rejected_line(talk[-1].text))])


@given(puzzles, feedback)
def test_a_verifiers_reason_marks_a_line_too(puzzle, said):
    reason = f"line 2: 7-5 is 2, not 3 {said}"
    talk = [user(prompt_of(puzzle)), assistant(WRONG), user(reason)]
    assert chat_prompt(talk) == revise_prompt(puzzle, [Rejected(WRONG, 2)])


def test_feedback_may_come_in_several_messages():
    talk = [user(TASK), assistant(WRONG), user("hm"), user(CRITIQUE), user("Line 1: wrong")]
    assert chat_prompt(talk) == "<revise>24:3,5,7,8!8*3?7-5\n"


WORDS = (
    "Countdown 24: 3 5 7 8",
    "Countdown",
    "24",
    "3 5 7 8",
    "1 2 3 4 5 6",
    "0",
    "7",
    "12",
    "999",
    "1000",
    "001",
)
MARKS = ("Countdown ", ": ", ":", " ", "  ", ".", ",", ".5", "th", "_", "é", "²", "٣", "\n", "C")
pieces = st.sampled_from(WORDS + MARKS)


@given(st.lists(pieces, max_size=14).map("".join))
@example("Countdown 24: 3 5 7 8Countdown 25: 1 2 3")
@example("Countdown 24: 3 5 7 8.5 Countdown 25: 1 2 3.")
@example("Countdown 24: 1 2 3 4 5 6 7")
@example("Countdown 24: 1 2 3 4 5 6 ")
@example("Countdown 024: 003 5 7 0008")
def test_a_puzzle_is_found_where_the_verifier_finds_it(text):
    puzzle = puzzle_of(text)
    if puzzle is None:
        with pytest.raises(ModelError, match="Countdown 24: 3 5 7 8"):
            chat_prompt([user(text)])
    else:
        assert chat_prompt([system("Role: drafter"), user(text)]) == draft_prompt(puzzle)


@pytest.mark.parametrize(
    ("talk", "prompt"),
    [
        ([user(TASK)], "<draft>24:3,5,7,8\n"),
        ([system("Countdown 99: 1 2 3"), user("Hello"), user(TASK)], "<draft>24:3,5,7,8\n"),
        ([system("Role: reviser"), user(TASK)], "<revise>24:3,5,7,8\n"),
        ([user(TASK), assistant(WRONG)], "<revise>24:3,5,7,8!8*3,7-5,24-2\n"),
        ([assistant(WRONG), user(TASK)], "<draft>24:3,5,7,8\n"),
        (
            [user(f"{TASK} Is this right?\n```\n8*3=24>5,7,24\nhm?\n  7-5=2>24,2\n```\nThank you.")],
            "<critique>24:3,5,7,8\nLine 1: 8*3=24>5,7,24\nLine 2: ?\nLine 3: 7-5=2>24,2\n?".replace(
                "2: ?", "2: "
            ),
        ),
        ([user(f"{TASK}\nx = 3\n24=24\n= 5")], "<draft>24:3,5,7,8\n"),
        (
            [system("Role: critic"), user(TASK), assistant("1+1=2"), user("Is it right?")],
            "<critique>24:3,5,7,8\nLine 1: 1+1=2\n?",
        ),
        ([system("Role: critic"), user(TASK)], "<critique>24:3,5,7,8\n?"),
        ([system("Role: juggler"), user(TASK)], "<draft>24:3,5,7,8\n"),
    ],
)
def test_a_conversation_has_a_role(talk, prompt):
    assert chat_prompt(talk) == prompt


def test_only_text_is_read():
    call = ToolCall(id="1", name="add", arguments={})
    said = Message(role="assistant", parts=(Reasoning(text="1+1=2"), Text(text=WRONG), call))
    assert chat_prompt([user(TASK), said, user(CRITIQUE)]) == "<revise>24:3,5,7,8!8*3?7-5\n"


def test_a_sandbox_as_transformers_has_it_writes_the_same():
    sandbox = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    talk = [system("Be kind."), user(TASK), assistant(WRONG), judged(CRITIQUE)]
    as_json = [{"role": m.role, "content": m.text} for m in talk]
    assert sandbox.from_string(chat_template()).render(messages=as_json) == chat_prompt(talk)


def test_a_long_conversation_fits_and_takes_no_time():
    talk = [user(TASK), *[assistant("9*9=81>" + "9," * 10_000), user("x\n" * 10_000)] * 20]
    assert len(chat_prompt(talk)) < 200
