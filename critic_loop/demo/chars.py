"""The tokens of the small model and the three prompts that it reads.

Knows how text becomes token ids, and how a puzzle, an answer to judge, or the answers that were
rejected become a prompt. One token says which role the model plays:

    <draft>24:3,5,7,8                         write an answer
    <critique>24:3,5,7,8                      judge these lines
    Line 1: 8*3=24>5,7,24
    Line 2: 7-5=2>24,2
    Line 3: 24-2=22
    ?
    <revise>24:3,5,7,8!8*3?7-5                write another answer; of the last one, line 1 was
                                              accepted and line 2 was not

A number below 100 is one token, a larger one two: its hundreds, then its last two digits. The words of
a critique are tokens of their own, so that a critique of three lines takes 12 of them. Everything else is
written character by character.

Does not know what a right answer is (`countdown`) nor how text is sampled.
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
"""Token texts in the order of their ids; the first two, padding and end, have none."""

VOCAB_SIZE = 160
"""Rows of the embedding; ids past the tokens are never used."""

CONTEXT_TOKENS = 256
"""Longest sequence, prompt and answer together."""

MAX_REJECTED = 1
"""How many rejected answers a prompt shows: the latest. More were tried, and mend less (model card)."""

_PROMPT_TOKENS = 170
_CLIPPED = 20
_ID_OF = {token: index for index, token in enumerate(TOKENS) if token}
_WORDS = sorted((token for token in _ID_OF if not token.isdigit()), key=len, reverse=True)
SPLIT = "|".join([*map(re.escape, _WORDS), r"[0-9](?=(?:[0-9][0-9])+(?![0-9]))", "[0-9][0-9]", "[0-9]"])
"""A regular expression for one token of a text, to be tried from left to right."""

_TOKEN = re.compile(SPLIT + "|(.)", re.DOTALL)
_FOREIGN = re.compile(r"[^*+,\-/0-9:=>]")

_LINE_VERDICT = re.compile(rf"^Line \d: ({'|'.join(LINE_VERDICTS)}) \((\d\d)%\)$", re.MULTILINE)
_ANSWER_VERDICT = re.compile(rf"({CORRECT_ANSWER}|{WRONG_ANSWER}) \((\d\d)%\)")

LINE_VERDICT_IDS = tuple(_ID_OF[token] for token in LINE_VERDICTS)
ANSWER_VERDICT_IDS = (_ID_OF[CORRECT_ANSWER], _ID_OF[WRONG_ANSWER])
CONFIDENCE_IDS = tuple(_ID_OF[token] for token in _CONFIDENCES)


@dataclass(frozen=True, slots=True)
class Rejected:
    """An answer that was not accepted, and the first line that the critique objected to."""

    answer: str
    line: int | None = None
    """Counted from 1; None if nothing is known of which line is at fault."""


def encode(text: str) -> list[int]:
    """Returns token ids, the longest token first; raises KeyError on a foreign character."""
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
    """Returns the lines of an answer in the model's own characters, clipped: any text may stand there."""
    return [_FOREIGN.sub("", line)[:_CLIPPED] for line in answer.strip().splitlines()[:MOST_LINES]]


def draft_prompt(puzzle: Puzzle) -> str:
    """Writes the prompt for a first answer."""
    return f"{DRAFT}{_head(puzzle)}\n"


def critique_prompt(puzzle: Puzzle, answer: str) -> str:
    """Writes the prompt for a critique of an answer."""
    numbered = zip(_LINE_HEADS, lines_of(answer), strict=False)
    return "".join([f"{CRITIQUE}{_head(puzzle)}\n", *(f"{head}{line}\n" for head, line in numbered), "?"])


def revise_prompt(puzzle: Puzzle, rejected: Sequence[Rejected], most: int = MAX_REJECTED) -> str:
    """Writes the prompt for another answer after so many rejected ones; fewer if room is short."""
    shown = [_path(one) for one in rejected][-most:]
    head = f"{REVISE}{_head(puzzle)}"
    while shown and len(head) + sum(map(len, shown)) > _PROMPT_TOKENS:
        shown.pop(0)
    return "".join([head, *shown, "\n"])


def rejected_line(critique: str) -> int | None:
    """Returns the first line that a critique or a verifier's reason objects to, counted from 1, or None.

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
    """Returns the probability of being correct that a critique gives an answer; 0.5 if it says nothing."""
    found = _ANSWER_VERDICT.search(critique)
    if found is None:
        return 0.5
    share = int(found[2]) / 100
    return share if found[1] == CORRECT_ANSWER else 1 - share


def line_verdicts(critique: str) -> list[tuple[str, int]]:
    """Returns what a critique says of each line, and its confidence in percent."""
    return [(found[1], int(found[2])) for found in _LINE_VERDICT.finditer(critique)]


def _head(puzzle: Puzzle) -> str:
    return f"{puzzle.target}:{','.join(map(str, puzzle.numbers))}"


def _path(one: Rejected) -> str:
    """Returns `!8*3?7-5`: the accepted lines, then the first that was not; `!8*3,7-5,24-2` if none is known."""
    steps = [line.split("=")[0][:8] for line in lines_of(one.answer)]
    if one.line is None or not 1 <= one.line <= len(steps):
        return f"!{','.join(steps)}"
    return f"!{','.join(steps[: one.line - 1])}?{steps[one.line - 1]}"
