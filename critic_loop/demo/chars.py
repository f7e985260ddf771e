"""The alphabet of the small model and the prompt it reads.

Knows how characters become token ids, and how a puzzle with the attempts that
were rejected becomes the model's prompt:

    24:3,5,7,8!8*3,7-5,24-2=22!7+5,12*3,36-8=28

Does not know what a right answer is (`countdown`) nor how text is sampled.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from critic_loop.demo.countdown import Puzzle

PAD_ID = 0
END_ID = 1
ALPHABET = "\n!*+,-/0123456789:=>"
"""Characters in the order of their ids, which begin at 2."""

VOCAB_SIZE = 24
"""Rows of the embedding; ids past the alphabet are never used."""

CONTEXT_TOKENS = 256
"""Longest sequence, prompt and answer together."""

MAX_REJECTED = 5
"""How many rejected attempts the prompt shows: the latest ones."""

REVISED_SIZE = 4
"""Rejected attempts are shown for puzzles of so many numbers only.

The model learnt to read them there. For others they would only mislead it, so each of its
attempts at those is a fresh one.
"""

_FIRST_CHAR_ID = 2
_ID_OF = {char: index for index, char in enumerate(ALPHABET, start=_FIRST_CHAR_ID)}
_STEP = re.compile(r"(\d{1,4}[-+*/]\d{1,4})=(\d{1,4})", re.ASCII)
_PROMPT_TOKENS = 176
_MAX_STEPS = 5


def encode(text: str) -> list[int]:
    """Returns token ids; raises KeyError on a character outside the alphabet."""
    return [_ID_OF[char] for char in text]


def decode(token_ids: Iterable[int]) -> str:
    """Returns the text of token ids; padding, end and unused ids have none."""
    last = _FIRST_CHAR_ID + len(ALPHABET)
    return "".join(ALPHABET[i - _FIRST_CHAR_ID] for i in token_ids if _FIRST_CHAR_ID <= i < last)


def compact(attempt_text: str) -> str:
    """Shortens an attempt to its steps and its result: `8*3,7-5,24-2=22`.

    Lines without arithmetic are dropped; the answer is empty if none has any.
    """
    steps = _STEP.findall(attempt_text)[:_MAX_STEPS]
    return ",".join(expression for expression, _ in steps) + f"={steps[-1][1]}" if steps else ""


def char_prompt(puzzle: Puzzle, rejected: Sequence[str] = ()) -> str:
    """Writes the model's prompt; the oldest rejected attempts are left out if room is short."""
    if len(puzzle.numbers) != REVISED_SIZE:
        rejected = ()
    head = f"{puzzle.target}:{','.join(map(str, puzzle.numbers))}"
    short = [text for attempt in rejected if (text := compact(attempt))][-MAX_REJECTED:]
    while short and len(head) + sum(len(text) + 1 for text in short) >= _PROMPT_TOKENS:
        short.pop(0)
    return "".join([head, *(f"!{text}" for text in short), "\n"])
