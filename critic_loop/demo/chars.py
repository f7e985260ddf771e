"""The tokens of the small model and the three prompts that it reads.

Knows how to convert text to token ids, and how to write a prompt for a puzzle, an answer to judge, or rejected
answers. The first token selects the model's role:

    <draft>24:3,5,7,8                         write an answer
    <critique>24:3,5,7,8                      judge these lines
    Line 1: 8*3=24>5,7,24
    Line 2: 7-5=2>24,2
    Line 3: 24-2=22
    ?
    <revise>24:3,5,7,8!8*3?7-5                write another answer; of the last one, line 1 was
                                              accepted and line 2 was not

A number below 100 is one token; a larger one is two: its hundreds, then its last two digits. The phrases of a
critique are single tokens, so a critique of three lines takes 12 tokens. All other text has one token per
character.

Does not know which answer is right (`countdown`) or how text is sampled.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from critic_loop.demo.countdown import Puzzle

PAD_ID = 0
END_ID = 1

DRAFT, CRITIQUE, REVISE = "<draft>", "<critique>", "<revise>"
REACHABLE, DEAD_END, WRONG = "right, reachable", "right, dead end", "wrong"
LINE_VERDICTS = (REACHABLE, DEAD_END, WRONG)
CORRECT_ANSWER, WRONG_ANSWER = "Verdict: correct", "Verdict: wrong"
PERCENTS = (50, 60, 70, 80, 90, 95, 99)
"""Confidences that the model can express."""

MOST_LINES = 5
_LINE_HEADS = tuple(f"Line {number}: " for number in range(1, MOST_LINES + 1))
_CONFIDENCES = tuple(f" ({percent}%)\n" for percent in PERCENTS)

TOKENS: tuple[str, ...] = (
    "",
    "",
    *"\n!*+,-/:=>?",
    *map(str, range(10)),
    *(f"{number:02d}" for number in range(100)),
    DRAFT,
    CRITIQUE,
    REVISE,
    *_LINE_HEADS,
    *LINE_VERDICTS,
    CORRECT_ANSWER,
    WRONG_ANSWER,
    *_CONFIDENCES,
)
"""The texts of all tokens by id; those of the first two, padding and end, are empty."""

VOCAB_SIZE = 160
"""The number of rows of the embedding; ids beyond the tokens are not used."""

CONTEXT_TOKENS = 256
"""The length of the longest sequence, prompt and answer together."""

MAX_REJECTED = 1
"""The number of rejected answers in a prompt, the latest. More gave fewer right revisions (model card)."""

_PROMPT_TOKENS = 170
_CLIPPED = 20
_ID_OF = {token: index for index, token in enumerate(TOKENS) if token}
_WORDS = sorted((token for token in _ID_OF if not token.isdigit()), key=len, reverse=True)
SPLIT = "|".join([*map(re.escape, _WORDS), r"[0-9](?=(?:[0-9][0-9])+(?![0-9]))", "[0-9][0-9]", "[0-9]"])
"""A regular expression that matches the next token of a text, from left to right."""

_TOKEN = re.compile(SPLIT + "|(.)", re.DOTALL)
_FOREIGN = re.compile(r"[^*+,\-/0-9:=>]")

_LINE_VERDICT = re.compile(rf"^Line \d: ({'|'.join(LINE_VERDICTS)}) \((\d\d)%\)$", re.MULTILINE)
_ANSWER_VERDICT = re.compile(rf"({CORRECT_ANSWER}|{WRONG_ANSWER}) \((\d\d)%\)")

LINE_VERDICT_IDS = tuple(_ID_OF[token] for token in LINE_VERDICTS)
ANSWER_VERDICT_IDS = (_ID_OF[CORRECT_ANSWER], _ID_OF[WRONG_ANSWER])
CONFIDENCE_IDS = tuple(_ID_OF[token] for token in _CONFIDENCES)


@dataclass(frozen=True, slots=True)
class Rejected:
    """An answer that was not accepted, and the first line that the critique rejected."""

    answer: str
    line: int | None = None
    """The line's number, from 1; None if it is not known which line is wrong."""


def encode(text: str) -> list[int]:
    """Returns the token ids of a text; at each position the longest token matches.

    Raises:
        KeyError: a character has no token.
    """
    ids = list[int]()
    for found in _TOKEN.finditer(text):
        if found[1] is not None:
            raise KeyError(found[1])
        ids.append(_ID_OF[found[0]])
    return ids


def decode(token_ids: Iterable[int]) -> str:
    """Returns the text of token ids; padding, end and unused ids have none."""
    return "".join(TOKENS[i] for i in token_ids if i < len(TOKENS))


def lines_of(answer: str) -> list[str]:
    """Returns the first lines of an answer, shortened and without characters that have no token."""
    return [_FOREIGN.sub("", line)[:_CLIPPED] for line in answer.strip().splitlines()[:MOST_LINES]]


def draft_prompt(puzzle: Puzzle) -> str:
    """Writes the prompt for a first answer."""
    return f"{DRAFT}{_head(puzzle)}\n"


def critique_prompt(puzzle: Puzzle, answer: str) -> str:
    """Writes the prompt for a critique of an answer."""
    numbered = zip(_LINE_HEADS, lines_of(answer), strict=False)
    return "".join([f"{CRITIQUE}{_head(puzzle)}\n", *(f"{head}{line}\n" for head, line in numbered), "?"])


def revise_prompt(puzzle: Puzzle, rejected: Sequence[Rejected], most: int = MAX_REJECTED) -> str:
    """Writes the prompt for a revision, with the last `most` rejected answers, or fewer if it gets too long."""
    shown = [_path(one) for one in rejected][-most:]
    head = f"{REVISE}{_head(puzzle)}"
    while shown and len(head) + sum(map(len, shown)) > _PROMPT_TOKENS:
        shown.pop(0)
    return "".join([head, *shown, "\n"])


def rejected_line(critique: str) -> int | None:
    """Returns the number of the first line that a critique or a verifier's reason rejects, from 1, or None.

    That is the first `line N:`, in whatever case, that is not followed by ` right, reachable`.
    """
    for part in critique.lower().split("line ")[1:]:
        if part[1:2] == ":" and part[0] in "0123456789" and not part.startswith(f": {REACHABLE}", 1):
            return int(part[0])
    return None


def accepts(critique: str) -> bool:
    """Returns whether a critique accepts the answer."""
    return CORRECT_ANSWER in critique


def confidence(critique: str) -> float:
    """Returns a critique's probability that the answer is correct, in [0, 1]; 0.5 without a verdict."""
    found = _ANSWER_VERDICT.search(critique)
    if found is None:
        return 0.5
    share = int(found[2]) / 100
    return share if found[1] == CORRECT_ANSWER else 1 - share


def line_verdicts(critique: str) -> list[tuple[str, int]]:
    """Returns a critique's verdict on each line, with its confidence in percent."""
    return [(found[1], int(found[2])) for found in _LINE_VERDICT.finditer(critique)]


def _head(puzzle: Puzzle) -> str:
    return f"{puzzle.target}:{','.join(map(str, puzzle.numbers))}"


def _path(one: Rejected) -> str:
    """Returns `!8*3?7-5`: the accepted lines, then the rejected one; `!8*3,7-5,24-2` if it is not known."""
    steps = [line.split("=")[0][:8] for line in lines_of(one.answer)]
    if one.line is None or not 1 <= one.line <= len(steps):
        return f"!{','.join(steps)}"
    return f"!{','.join(steps[: one.line - 1])}?{steps[one.line - 1]}"
