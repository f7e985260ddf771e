"""What changed from one answer to the next, as lines that can be read without colour.

Knows texts. Does not know who shows them: text is handed on as it is, not made safe.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

_CONTEXT = 2
"""Equal lines that are kept around a change."""
_MOST_LINES = 4_000
_MOST_WORDS = 400
_LONG = 120
"""A text with a longer line is prose: it is compared sentence by sentence."""
_SENTENCE = re.compile(r"(?<=[.!?;])\s+|(?<=[。!?;])")
_JOINED = r"[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]"
_WORD = re.compile(rf"{_JOINED}|(?:(?!{_JOINED})\w)+|\s+|[^\w\s]")
"""Scripts that leave no space between words are compared character by character."""

Op = Literal["+", "-", " ", "…"]


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a line."""

    text: str
    changed: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """A line that came, went or stayed; `…` stands for lines that stayed and are left out."""

    op: Op
    pieces: tuple[Piece, ...]

    @property
    def text(self) -> str:
        """The whole line."""
        return "".join(piece.text for piece in self.pieces)


def diff(old: str, new: str) -> tuple[Line, ...]:
    """Return what `new` changed in `old`; empty where they are equal."""
    if old == new:
        return ()
    before, after = old.splitlines(), new.splitlines()
    if max(map(len, (*before, *after)), default=0) > _LONG:
        before, after = _sentences(before), _sentences(after)
    if [line.expandtabs().rstrip() for line in before] == [line.expandtabs().rstrip() for line in after]:
        return (_left_out("only white space changed"),)
    if len(before) + len(after) > _MOST_LINES:
        return (_left_out(f"too long to compare: {len(before):,} and {len(after):,} lines"),)
    return tuple(_compared(before, after))


def _sentences(lines: Sequence[str]) -> list[str]:
    return [sentence for line in lines for sentence in (list(filter(None, _SENTENCE.split(line))) or [""])]


def _compared(before: Sequence[str], after: Sequence[str]) -> Iterator[Line]:
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=len(before) + len(after) > 400)
    codes = matcher.get_opcodes()
    for number, (tag, a, b, c, d) in enumerate(codes):
        if tag == "equal":
            yield from _kept(before[a:b], first=number == 0, last=number == len(codes) - 1)
        elif b - a == d - c:
            pairs = [_words(old, new) for old, new in zip(before[a:b], after[c:d], strict=True)]
            yield from (Line("-", went) for went, _ in pairs)
            yield from (Line("+", came) for _, came in pairs)
        else:
            yield from (Line("-", (Piece(line, changed=True),)) for line in before[a:b])
            yield from (Line("+", (Piece(line, changed=True),)) for line in after[c:d])


def _kept(lines: Sequence[str], *, first: bool, last: bool) -> Iterator[Line]:
    head = 0 if first else _CONTEXT
    tail = 0 if last else _CONTEXT
    left_out = len(lines) - head - tail
    if left_out < 2:
        yield from (Line(" ", (Piece(line),)) for line in lines)
        return
    yield from (Line(" ", (Piece(line),)) for line in lines[:head])
    yield _left_out(f"{left_out:,} lines as before")
    yield from (Line(" ", (Piece(line),)) for line in lines[len(lines) - tail :])


def _left_out(text: str) -> Line:
    return Line("…", (Piece(text),))


def _words(old: str, new: str) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
    """Return both lines with the words that differ marked."""
    before, after = _WORD.findall(old), _WORD.findall(new)
    if len(before) + len(after) > _MOST_WORDS:
        return (Piece(old, changed=True),), (Piece(new, changed=True),)
    codes = difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    went = [Piece("".join(before[a:b]), changed=tag != "equal") for tag, a, b, _, _ in codes if b > a]
    came = [Piece("".join(after[c:d]), changed=tag != "equal") for tag, _, _, c, d in codes if d > c]
    return tuple(went), tuple(came)
